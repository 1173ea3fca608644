"""Prompts that carry a loss, the choice among epochs, and A against B."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from worlds import golden, grid, row

from loraeval.baselines import Baseline
from loraeval.cli import main
from loraeval.errors import ScoresError, StaleError
from loraeval.gate import GateOptions
from loraeval.gate.by_prompt import Falls, golden_falls, lost_prompts, prompt_advice
from loraeval.gate.compare import compare_rows, sentence
from loraeval.gate.keep import fair_mean, fair_score, keep_verdict
from loraeval.gate.matching import Matched
from loraeval.gate.order import rendering_order
from loraeval.records import ScoreRow
from loraeval.scores_file import write_scores


def first_round(rows: list[ScoreRow]) -> list[ScoreRow]:
    return [r for r in rows if r.seed == 0]


# By prompt.


def spoilt(rows: list[ScoreRow], prompts: set[str], value: float = 0.05) -> list[ScoreRow]:
    return [
        replace(r, scores={**r.scores, "grid": value}) if r.prompt_id in prompts else r
        for r in rows
    ]


def test_one_dead_prompt_of_forty_is_named_within_forty_images(baseline: Baseline) -> None:
    found = prompt_advice(baseline, spoilt(first_round(grid(draw=31)), {"p7"}), 0.05)
    assert len(found) == 1
    assert found[0].startswith("look at prompt p7: grid 0.05 against 0.8")
    assert "(1 image)" in found[0]
    assert prompt_advice(baseline, first_round(grid(draw=31)), 0.05) == ()


def test_a_tag_names_what_its_prompts_share(baseline: Baseline) -> None:
    tags = {f"p{n}": ("hats",) if n < 8 else ("plain",) for n in range(40)}
    rows = [
        replace(r, scores={**r.scores, "grid": (r.scores["grid"] or 0) - 0.12})
        if int(r.prompt_id[1:]) < 8
        else r
        for r in first_round(grid(draw=31))
    ]
    found = prompt_advice(baseline, rows, 0.05, tags)
    assert any("tagged hats: grid fell by 0.09" in told for told in found)
    assert not any("plain" in told for told in found)


def test_wrong_attributes_are_named(baseline: Baseline) -> None:
    world = golden()
    facts = {"palette": {"attributes": [{"attribute": "eyes", "fault": "another colour"},
                                        {"attribute": "hair"}]}}  # fmt: skip

    def as_palette(rows: list[ScoreRow]) -> list[ScoreRow]:
        return [
            replace(r, scores={"palette": r.scores["grid"], "health": 1.0},
                    versions={"palette": "1", "health": "1"}, details=facts)
            for r in rows
        ]  # fmt: skip

    from loraeval.baselines import Profile, freeze

    made = freeze("p", as_palette(list(world.rows)), profile=Profile("t", ("palette", "health")))
    bad = as_palette(spoilt(first_round(grid(draw=31)), {"p3"}))
    (told,) = prompt_advice(made, bad, 0.05)
    assert told.endswith("wrong there: eyes)")


def falls_by_hand() -> Falls:
    """50 falls: 45 of 0.01 and five of 0.1 to 0.5."""
    return Falls(np.array([0.01] * 45 + [0.1, 0.2, 0.3, 0.4, 0.5]), 3.0, 0.05, 150)


def test_the_limit_of_a_fall_by_hand() -> None:
    found = falls_by_hand()
    one = float(found.limit(0.001, np.array(1.0), np.array(4.0)))
    # Eight largest over the ninth (0.01): mean excess 1.5 / 8 - 0.01 * 5 / 8 = 0.18125; and the
    # exponential tail at a thousandth: 0.01 + 0.18125 * ln(8 / 50 / 0.001).
    tail = 0.01 + 0.18125 * math.log(160)
    assert one == pytest.approx(tail * math.sqrt(1.25) / math.sqrt(4 / 3))
    steady = replace(found, falls=np.full(50, 0.001))
    normal = float(stats.t.isf(0.001, 150)) * 0.05 * math.sqrt(1.25)
    assert float(steady.limit(0.001, np.array(1.0), np.array(4.0))) == pytest.approx(normal)
    # Nothing is news that is not half as far again as the largest golden fall.
    lone = replace(found, falls=np.array([0.001] * 99 + [0.9]))
    far = float(lone.limit(0.04, np.array(1.0), np.array(4.0)))
    assert far >= 1.5 * 0.9 * math.sqrt(1.25) / math.sqrt(4 / 3) - 1e-9


def test_golden_falls_are_from_the_other_seeds_of_the_prompt() -> None:
    rows = [row(f"p{n}", s, scores={"grid": 0.8 if s else 0.5}) for n in range(20) for s in (0, 1)]
    found = golden_falls(rows, "grid")
    assert found is not None
    assert sorted(set(found.falls.round(9))) == [-0.3, 0.3]
    assert (found.others, found.df) == (1.0, 20)
    assert found.spread == pytest.approx(math.sqrt(0.045))
    assert golden_falls(rows[:38], "grid") is None


@pytest.mark.parametrize("law", ["normal", "skewed", "with zeros"])
def test_sound_prompts_are_hardly_ever_named(law: str) -> None:
    generator = np.random.default_rng(4)

    def drawn(*size: int) -> np.ndarray:
        noise = generator.normal(size=size)
        if law == "normal":
            return np.asarray(0.7 + 0.05 * noise)
        if law == "skewed":
            return np.asarray(0.85 - 0.04 * (np.exp(0.8 * noise) - 1.4))
        return np.where(generator.random(size) < 0.03, 0.0, 0.75 + 0.06 * noise)

    named = dead = 0
    keys = tuple(f"p{n}" for n in range(40))
    for _ in range(300):
        base, ours = drawn(4, 40), drawn(40)
        falls = ((base.sum(axis=0) - base) / 3 - base).ravel()
        spread = math.sqrt(float(base.var(axis=0, ddof=1).mean()))
        known = Falls(falls, 3.0, spread, 120)
        means = tuple(base.mean(axis=0))

        def of(scores: np.ndarray, means: tuple[float, ...] = means) -> Matched:
            return Matched("x", "prompt", tuple(scores), means, means, (4,) * 40, keys, None)  # type: ignore[arg-type]

        named += bool(lost_prompts(of(ours), known, 0.05, 0.02))
        ours[5] = 0.0
        dead += any(key == "p5" for key, *_ in lost_prompts(of(ours), known, 0.05, 0.02))
    assert named <= 300 * 0.05 + 3 * math.sqrt(300 * 0.05 * 0.95)
    if law == "normal":
        assert dead >= 270


# Choosing among epochs.


def test_each_of_three_chosen_from_gets_a_third_of_the_error(baseline: Baseline) -> None:
    """At a third of alpha 43 images are needed: 0.9 ** 42 is above 0.7 * 0.05 / 3."""
    order = {pair: n for n, pair in enumerate(rendering_order(baseline, GateOptions()))}
    rows = [r for e in (1, 2, 3) for r in grid(draw=40 + e, epoch=e)]
    first = [r for r in rows if order[r.prompt_id, r.seed or 0] < 41]
    wide = GateOptions(margins={"grid": 0.2, "style": 0.2})
    found = keep_verdict(baseline, first, 2, wide)
    assert found.outcome == "inconclusive"
    assert found.notes[-1] == "gated at alpha / 3, as it was chosen among 3 epochs"
    assert found.comparisons[0].confidence == pytest.approx(1 - 0.05 / 3)
    more = [r for r in rows if order[r.prompt_id, r.seed or 0] < 43]
    assert keep_verdict(baseline, more, 2, wide).outcome == "pass"
    alone = [r for r in first if r.epoch == 2]
    assert keep_verdict(baseline, alone, 2, wide).outcome == "pass"


@pytest.mark.nightly
def test_the_chosen_of_ten_bad_epochs_is_not_kept(baseline: Baseline) -> None:
    loss = baseline.margins["grid"]
    kept = naive = 0
    for draw in range(12):
        rows = [r for e in range(10) for r in grid(draw=500 + 10 * draw + e, epoch=e, worse=loss)]
        best = max(
            range(10), key=lambda e: sum(r.scores["grid"] or 0 for r in rows if r.epoch == e)
        )
        found = keep_verdict(baseline, rows, best)
        kept += found.outcome == "pass"
        assert found.notes[-1] == "gated at alpha / 10, as it was chosen among 10 epochs"
        alone = [r for r in rows if r.epoch == best]
        naive += keep_verdict(baseline, alone, best, GateOptions(alpha=0.4)).outcome == "pass"
    assert kept <= 2
    assert naive > kept


def test_the_chosen_score_is_told_without_its_luck() -> None:
    """Ten equal epochs, 40 images each: the best one's mean is 0.24 spreads too high."""
    generator = np.random.default_rng(6)
    flattered, fair = [], []
    for _ in range(200):
        scores = generator.normal(0.7, 0.1, (40, 10))
        table = {f"p{n}": {e: [float(v)] for e, v in enumerate(r)} for n, r in enumerate(scores)}
        flattered.append(scores.mean(axis=0).max() - 0.7)
        found = fair_mean(table)
        assert found is not None
        fair.append(found - 0.7)
    margin = 0.0507
    assert np.mean(flattered) > 0.4 * margin
    assert abs(np.mean(fair)) < 0.1 * margin


def test_fair_score_by_hand() -> None:
    rows = [row(p, 1, epoch=e, scores={"grid": v}) for p, e, v in (
        ("a", 1, 0.9), ("a", 2, 0.1), ("b", 1, 0.2), ("b", 2, 0.3), ("c", 2, 1.0))]  # fmt: skip
    # Without a: epoch 2 leads (0.3 to 0.2) and scores 0.1 on a; without b: epoch 1, 0.2 on b.
    assert fair_score(rows, "grid") == pytest.approx(0.15)
    assert fair_score(rows[:2], "grid") is None


# A against B.


def test_two_runs_are_told_apart_or_not() -> None:
    first, second = grid(draw=1), grid(draw=2, run="other", worse=0.05)
    found = {d.metric: d for d in compare_rows(first, second) if d.prompt is None}
    assert found["grid"].answer == "better"
    assert found["style"].answer == "cannot be told"
    assert sentence(found["grid"], "A", "B").startswith("grid: A is better than B (0.8")
    back = {d.metric: d for d in compare_rows(second, first) if d.prompt is None}
    assert back["grid"].answer == "worse"
    assert back["grid"].low == pytest.approx(-found["grid"].high)


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    first, second = grid(draw=1, seeds=1), grid(draw=2, seeds=1, run="other")
    (grid_only,) = [d for d in compare_rows(first, second) if d.metric == "grid" and not d.prompt]
    gaps = [
        (a.scores["grid"] or 0) - (b.scores["grid"] or 0)
        for a, b in zip(first, second, strict=True)
    ]
    low, high = stats.ttest_1samp(gaps, 0).confidence_interval(0.975)  # two metrics
    assert (grid_only.low, grid_only.high) == (pytest.approx(low), pytest.approx(high))
    assert (grid_only.pairs, grid_only.seeds) == (40, True)


def test_pairs_by_seed_cancel_what_the_seeds_share() -> None:
    first = grid(draw=1)
    second = [
        replace(r, run="b", scores={**r.scores, "grid": (r.scores["grid"] or 0) - 0.02})
        for r in first
    ]
    (paired,) = [d for d in compare_rows(first, second) if d.metric == "grid" and not d.prompt]
    assert paired.answer == "better"
    blind = [replace(r, seed=None) for r in second]
    (loose,) = [d for d in compare_rows(first, blind) if d.metric == "grid" and not d.prompt]
    assert not loose.seeds
    assert loose.pairs == 40


def test_one_prompt_that_differs_is_found() -> None:
    first = grid(draw=1)
    second = spoilt(grid(draw=2, run="other"), {"p4"}, 0.3)
    better = [d.prompt for d in compare_rows(first, second)
              if d.metric == "grid" and d.prompt and d.answer == "better"]  # fmt: skip
    assert better == ["p4"]


def test_equal_runs_are_called_different_in_five_of_a_hundred_at_most() -> None:
    called = 0
    for draw in range(60):
        first, second = grid(draw=2 * draw, seeds=2), grid(draw=2 * draw + 1, seeds=2, run="b")
        called += any(
            d.answer != "cannot be told" for d in compare_rows(first, second) if not d.prompt
        )
    assert called <= 8


def test_what_cannot_be_compared_is_refused() -> None:
    rows = grid(prompts=3)
    with pytest.raises(ScoresError, match="no prompt that both have"):
        compare_rows(rows, [replace(r, prompt_id="other") for r in rows])
    with pytest.raises(ScoresError, match="none of one"):
        compare_rows(rows, [])
    with pytest.raises(StaleError, match="encoder"):
        compare_rows(rows, [replace(r, encoder="z@1") for r in rows])
    with pytest.raises(StaleError, match="two versions"):
        compare_rows(rows, [replace(r, versions={"grid": "9"}) for r in rows])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*grid(draw=1), *grid(draw=2, run="other", worse=0.1)]
    file = tmp_path / "s.jsonl"
    write_scores(file, rows)
    assert main(["compare", "run=golden", "run=other", "--scores", str(file)]) == 0
    assert "grid: run=golden is better than run=other" in capsys.readouterr().out
    assert main(["compare", "run=golden", "run=other", "--scores", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["answer"] == "better"
    assert main(["compare", "run=golden", "run=no", "--scores", str(file)]) == 2
