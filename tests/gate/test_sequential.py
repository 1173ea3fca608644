"""The sequential gate: order, stopping, faults on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from worlds import GATED, grid, row

from loraeval.baselines import Baseline, Profile, freeze
from loraeval.errors import BaselineError, ScoresError, StaleError, UsageError
from loraeval.gate import GateOptions, SequentialGate
from loraeval.gate.sequential import rendering_order
from loraeval.records import Checkpoint, ScoreRow, Verdict

X = Checkpoint("x", file="x.safetensors")


def play(gate: SequentialGate, rows: list[ScoreRow]) -> Verdict:
    known = {(r.prompt_id, r.seed): r for r in rows}
    for pair in gate.order():
        gate.add(known[pair])
        if gate.verdict() is not None:
            break
    return gate.final(checkpoint=X)


def test_order_is_every_prompt_once_before_any_twice(baseline: Baseline) -> None:
    order = SequentialGate(baseline).order()
    assert len(order) == len(set(order)) == 160
    for turn in range(4):
        assert len({prompt for prompt, _ in order[40 * turn : 40 * turn + 40]}) == 40
    assert [p for p, _ in order[:40]] != sorted(p for p, _ in order[:40])
    assert order == rendering_order(baseline, GateOptions())
    assert order != rendering_order(baseline, GateOptions(seed=1))
    assert SequentialGate(baseline, GateOptions(max_images=40)).order() == order[:40]


def test_the_order_does_not_depend_on_scores(baseline: Baseline) -> None:
    other = freeze("golden", grid(draw=5), profile=Profile("t", GATED))
    assert SequentialGate(baseline).order() == SequentialGate(other).order()


def test_a_good_checkpoint_passes_early(baseline: Baseline) -> None:
    gate = SequentialGate(baseline)
    verdict = play(gate, grid(draw=21))
    assert verdict.outcome == "pass", verdict.reason
    assert verdict.checkpoint == X
    assert gate.saved > 0.3
    assert f"{gate.saved:.0%} not rendered" in verdict.reason
    item = verdict.comparisons[0]
    assert item.low is not None
    assert item.low > -item.margin
    assert item.pairing == "prompt+seed"


def test_a_collapse_fails_within_a_few_images(baseline: Baseline) -> None:
    gate = SequentialGate(baseline)
    verdict = play(gate, grid(draw=21, worse=0.75))
    assert verdict.outcome == "fail"
    assert gate.saved > 0.94
    item = verdict.comparisons[0]
    assert item.high is not None
    assert item.high < -item.margin
    assert item.n <= 8


def test_slightly_worse_fails_by_the_t_test(baseline: Baseline) -> None:
    verdict = play(SequentialGate(baseline), grid(draw=21, worse=0.07))
    assert verdict.outcome == "fail"
    assert verdict.comparisons[0].n >= 12
    high = verdict.comparisons[0].high
    assert high is not None
    assert high < -verdict.comparisons[0].margin


def test_borderline_is_given_up_and_says_so(baseline: Baseline) -> None:
    gate = SequentialGate(baseline)
    verdict = play(gate, grid(draw=21, worse=baseline.margins["grid"]))
    assert verdict.outcome == "inconclusive"
    assert "undecided" in verdict.reason
    assert gate.saved > 0


def test_max_images_ends_undecided(baseline: Baseline) -> None:
    gate = SequentialGate(baseline, GateOptions(max_images=36))
    verdict = play(gate, grid(draw=21, worse=0.03))
    assert verdict.outcome == "inconclusive"
    assert "of 36 images" in verdict.reason


def test_min_images_is_kept(baseline: Baseline) -> None:
    gate = SequentialGate(baseline, GateOptions(min_images=20))
    verdict = play(gate, grid(draw=21, worse=0.75))
    assert verdict.outcome == "fail"
    assert gate.saved == pytest.approx(1 - 20 / 160)


def test_a_broken_image_ends_it_at_once(baseline: Baseline) -> None:
    gate = SequentialGate(baseline, GateOptions(min_images=20))
    prompt, seed = gate.order()[0]
    gate.add(row(prompt, seed, scores={"grid": None, "style": None, "health": 0.0}))
    verdict = gate.verdict()
    assert verdict is not None
    assert verdict.outcome == "fail"


def test_a_broken_image_after_the_verdict_still_counts(baseline: Baseline) -> None:
    gate = SequentialGate(baseline)
    play(gate, grid(draw=21))
    seen = round((1 - gate.saved) * 160)
    prompt, seed = gate.order()[seen]
    gate.add(row(prompt, seed, scores={"grid": None, "style": None, "health": 0.0}))
    assert gate.final().outcome == "fail"


def test_an_unmeasured_scorer_ends_it_at_once(baseline: Baseline) -> None:
    gate = SequentialGate(baseline)
    prompt, seed = gate.order()[0]
    gate.add(row(prompt, seed, scores={"grid": 0.8, "style": None, "health": 1.0}))
    verdict = gate.verdict()
    assert verdict is not None
    assert verdict.outcome == "fail"
    assert "style could not be measured" in verdict.reason


def test_a_lora_without_effect_ends_it_after_two(baseline: Baseline) -> None:
    gate = SequentialGate(baseline)
    for prompt, seed in gate.order()[:2]:
        assert gate.verdict() is None
        gate.add(row(prompt, seed, details={"lora": {"no_effect": True}}))
    assert gate.final().outcome == "fail"
    assert "no effect" in gate.final().reason


def test_nothing_seen_is_refused(baseline: Baseline) -> None:
    with pytest.raises(ScoresError, match="never a pass"):
        SequentialGate(baseline).final()


def test_out_of_order_and_stale_rows_are_refused(baseline: Baseline) -> None:
    gate = SequentialGate(baseline)
    second = gate.order()[1]
    with pytest.raises(ScoresError, match="in the order"):
        gate.add(row(*second))
    first = row(*gate.order()[0])
    with pytest.raises(StaleError):
        gate.add(replace(first, recipe="recipe-b"))
    for pair in gate.order():
        gate.add(row(*pair))
    with pytest.raises(ScoresError, match="already"):
        gate.add(first)


def test_a_baseline_without_seeds_can_not_be_rendered() -> None:
    found = freeze("f", [replace(r, seed=None, image=f"{n}.png") for n, r in enumerate(grid())],
                   profile=Profile("t", GATED))  # fmt: skip
    with pytest.raises(BaselineError, match="has no seed"):
        SequentialGate(found)


def test_a_plan_that_can_never_pass_is_refused_before_the_first_image(baseline: Baseline) -> None:
    few = freeze("few", grid(prompts=4, seeds=40, draw=3), profile=Profile("t", GATED))
    with pytest.raises(BaselineError, match="grid has 4 prompts and needs 8"):
        SequentialGate(few)
    small = freeze("small", grid(prompts=10, seeds=2, draw=3), profile=Profile("t", GATED))
    with pytest.raises(BaselineError, match="grid has 20 images and needs 32; style has 20"):
        SequentialGate(small)
    with pytest.raises(UsageError, match="larger --max-images than 31"):
        SequentialGate(baseline, GateOptions(max_images=31))
    # A rise of 50 points is seen in few images: ln(0.035) / ln(0.5) = 4.84.
    assert SequentialGate(small, GateOptions(bad_share=0.5)).order()


def test_a_small_grid_is_decided_at_its_end() -> None:
    rows = grid(draw=2, prompts=9, seeds=1)
    small = freeze("s", rows, profile=Profile("t", GATED, margins={"grid": 0.3, "style": 0.3}))
    options = GateOptions(bad_share=0.4)
    good = play(SequentialGate(small, options), grid(draw=3, prompts=9, seeds=1))
    assert good.outcome == "pass", good.reason
    bad = [replace(r, scores={"grid": 0.05, "style": 0.1, "health": 1.0}) for r in rows]
    assert play(SequentialGate(small, options), bad).outcome == "fail"


@pytest.mark.parametrize("images", [12, 31])
def test_fewer_than_32_images_are_undecided_however_good(baseline: Baseline, images: int) -> None:
    gate = SequentialGate(baseline, GateOptions(margins={"grid": 0.9, "style": 0.9}))
    known = {(r.prompt_id, r.seed): r for r in grid(draw=2)}
    for pair in gate.order()[:images]:
        gate.add(known[pair])
        assert gate.verdict() is None
    found = gate.final()
    assert found.outcome == "inconclusive"
    assert "too few to pass: at least 32 show that fewer than 10 of 100 are bad" in found.reason
    gate.add(known[gate.order()[images]])
    assert (gate.final().outcome == "pass") == (images == 31)


def test_min_images_beyond_the_grid_says_how_many_are_lacking() -> None:
    small = freeze("small", grid(prompts=12, seeds=3, draw=3), profile=Profile("t", GATED))
    verdict = play(
        SequentialGate(small, GateOptions(min_images=100)), grid(prompts=12, seeds=3, draw=3)
    )
    assert verdict.outcome == "inconclusive"
    assert {item.more for item in verdict.comparisons if item.metric != "health"} == {64}


def test_a_tiny_alpha_can_never_pass_and_says_so(baseline: Baseline) -> None:
    with pytest.raises(BaselineError, match="grid has 160 images and needs 6560"):
        SequentialGate(baseline, GateOptions(alpha=1e-300))


def test_a_scorer_that_held_once_must_hold_with_the_others(baseline: Baseline) -> None:
    """grid is as good for 40 images, then collapses before style is sure: it counts as it is."""
    wide = GateOptions(margins={"grid": 0.1, "style": 0.013})
    gate = SequentialGate(baseline, wide)
    known = {(r.prompt_id, r.seed): r for r in grid(draw=21)}
    held = []
    for place, pair in enumerate(gate.order()):
        row = known[pair]
        if place >= 40:
            row = replace(row, scores={**row.scores, "grid": 0.45})
        gate.add(row)
        outcomes = {c.metric: c.outcome for c in gate.final().comparisons}
        held.append(outcomes["grid"] == "pass")
        if gate.verdict() is not None:
            break
    assert any(held)
    assert not held[-1]
    assert gate.final().outcome != "pass"
