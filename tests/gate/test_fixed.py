"""The gate on a fixed set of images: verdicts, and never a silent pass."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import GATED, grid, row

from loraeval.baselines import Baseline, Profile, freeze
from loraeval.errors import ScoresError, StaleError, UsageError
from loraeval.gate import GateOptions, check_comparable, gate_rows
from loraeval.gate.text import verdict_table
from loraeval.outcome import exit_code
from loraeval.records import Checkpoint, Comparison, ScoreRow, Verdict

X = Checkpoint("x", file="x.safetensors")


def one(baseline: Baseline, rows: list[ScoreRow], options: GateOptions | None = None) -> Verdict:
    (verdict,) = gate_rows(baseline, rows, options, checkpoint=X)
    return verdict


def by_metric(verdict: Verdict) -> dict[str, Comparison]:
    return {item.metric: item for item in verdict.comparisons}


def test_identical_quality_passes_and_worse_fails(baseline: Baseline) -> None:
    good = one(baseline, grid(draw=11))
    assert good.outcome == "pass", good.reason
    assert all(item.pairing in ("prompt+seed", None) for item in good.comparisons)
    bad = one(baseline, grid(draw=11, worse=0.1))
    assert bad.outcome == "fail"
    assert by_metric(bad)["grid"].outcome == "fail"
    assert by_metric(bad)["style"].outcome == "pass"
    assert "grid fell by 0.09 (0.70 against 0.79)" in bad.reason
    assert f"margin {baseline.margins['grid']:.3g}" in bad.reason


def test_the_interval_decides(baseline: Baseline) -> None:
    for worse in (0.0, 0.02, 0.03, 0.06):
        item = by_metric(one(baseline, grid(draw=12, worse=worse)))["grid"]
        assert item.low is not None
        assert item.high is not None
        assert (item.outcome == "pass") == (item.low > -item.margin)
        assert (item.outcome == "fail") == (item.high < -item.margin)


def test_undecided_says_how_many_more(baseline: Baseline) -> None:
    rows = [r for r in grid(draw=13, worse=0.02) if r.seed == 0][:10]
    verdict = one(baseline, rows)
    assert verdict.outcome == "inconclusive"
    item = next(item for item in verdict.comparisons if item.outcome == "inconclusive")
    assert item.more is not None
    assert item.more > 1
    assert f"about {item.more} more would probably decide" in verdict.reason


def test_pairing_is_the_strongest_that_all_rows_allow(baseline: Baseline) -> None:
    def pairing(rows: list[ScoreRow]) -> str | None:
        return by_metric(one(baseline, rows))["grid"].pairing

    rows = grid(draw=14, prompts=10)
    assert pairing(rows) == "prompt+seed"
    assert pairing([replace(r, seed=None) for r in rows]) == "prompt"
    assert pairing([replace(rows[0], seed=99), *rows[1:]]) == "prompt"
    found = [replace(r, recipe=None, prompt_digest="other") for r in rows]
    assert pairing(found) == "unpaired"
    assert "not paired" in one(baseline, found).comparisons[0].reason


def test_a_single_image_can_fail_but_hardly_pass(baseline: Baseline) -> None:
    collapsed = row("p1", 0, scores={"grid": 0.0, "style": 0.1, "health": 1.0})
    assert one(baseline, [collapsed]).outcome == "fail"
    assert one(baseline, [row("p1", 0)]).outcome == "inconclusive"


def test_ceiling_scores_have_no_infinite_confidence() -> None:
    perfect = [
        replace(r, scores={"grid": 1.0, "style": 1.0, "health": 1.0}) for r in grid(prompts=8)
    ]
    baseline = freeze("golden", perfect, profile=Profile("t", GATED))
    verdict = one(baseline, perfect)
    assert verdict.outcome == "pass"
    item = verdict.comparisons[0]
    assert item.low is not None
    assert item.high is not None
    assert item.low < 0 < item.high
    assert baseline.margins["grid"] >= 0.02
    few = one(baseline, perfect[:2])
    assert few.outcome == "inconclusive"
    assert "too few to pass" in few.reason


def test_margins_can_be_replaced(baseline: Baseline) -> None:
    rows = grid(draw=15, worse=0.1)
    assert one(baseline, rows).outcome == "fail"
    assert one(baseline, rows, GateOptions(margins={"grid": 0.2})).outcome == "pass"


def test_min_images_holds_the_verdict_back(baseline: Baseline) -> None:
    rows = grid(draw=11)[:100]
    item = one(baseline, rows, GateOptions(min_images=120)).comparisons[0]
    assert item.outcome == "inconclusive"
    assert item.more == 20


# Never a silent pass.


def test_no_images(baseline: Baseline) -> None:
    with pytest.raises(ScoresError, match="never a pass"):
        gate_rows(baseline, [])
    with pytest.raises(ScoresError, match="never a pass"):
        gate_rows(baseline, [], checkpoint=X)


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1, 1.5])
def test_what_is_no_score_is_refused(baseline: Baseline, value: float) -> None:
    rows = [row(scores={"grid": value, "style": 0.7, "health": 1.0})]
    with pytest.raises(ScoresError, match="expected grid in"):
        gate_rows(baseline, rows)


def test_an_unmeasured_scorer_fails_with_its_reason(baseline: Baseline) -> None:
    rows = grid(draw=11)
    scores = {**rows[3].scores, "style": None}
    rows[3] = replace(rows[3], scores=scores, details={"style": {"reason": "no reference"}})
    verdict = one(baseline, rows)
    assert verdict.outcome == "fail"
    assert "could not be measured on 1 of 160 images (no reference)" in verdict.reason
    never = [replace(r, scores={"grid": 0.8, "health": 1.0}) for r in grid(draw=11)]
    assert "style could not be measured on 160 of 160" in one(baseline, never).reason
    unpaired = [replace(r, recipe=None, prompt_digest="other") for r in never]
    assert one(baseline, unpaired).outcome == "fail"
    # Not even where inconclusive counts as pass.
    assert exit_code([one(baseline, never)], "pass") == 1


def test_what_the_baseline_could_not_measure_either_is_no_fault() -> None:
    def without(rows: list[ScoreRow]) -> list[ScoreRow]:
        return [
            replace(r, scores={**r.scores, "style": None}) if r.prompt_id == "p0" else r
            for r in rows
        ]

    baseline = freeze("golden", without(grid(draw=2)), profile=Profile("t", GATED))
    found = [replace(r, recipe=None) for r in without(grid(draw=11))]
    verdict = one(baseline, found)
    assert verdict.outcome == "pass"
    assert by_metric(verdict)["style"].n == 156


@pytest.mark.parametrize("health", [0.0, 0.3, 0.5])
def test_one_broken_image_fails(baseline: Baseline, health: float) -> None:
    rows = grid(draw=11)
    seen = {"health": {"seen": {"black": "all black"}}}
    rows[5] = replace(rows[5], scores={"grid": 0.0, "style": None, "health": health}, details=seen)
    if health == 0.5:
        rows[5] = replace(rows[5], scores={**grid()[5].scores, "health": health})
    verdict = one(baseline, rows)
    assert verdict.outcome == "fail"
    assert "1 of 160 images not healthy" in verdict.reason
    assert "all black" in verdict.reason


def test_all_broken_images_fail_on_everything(baseline: Baseline) -> None:
    black = [row(f"p{n}", 0, scores={"grid": None, "style": None, "health": 0.0}) for n in (1, 2)]
    verdict = one(baseline, black)
    assert [item.outcome for item in verdict.comparisons] == ["fail"] * 3


def test_a_broken_image_fails_even_where_health_is_not_gated() -> None:
    baseline = freeze("golden", grid(draw=2), profile=Profile("t", ("grid",)))
    rows = grid(draw=11)
    rows[0] = replace(rows[0], scores={**rows[0].scores, "health": 0.0})
    assert one(baseline, rows).outcome == "fail"


def test_unmeasured_health_fails(baseline: Baseline) -> None:
    rows = [replace(r, scores={**r.scores, "health": None}) for r in grid(draw=11)]
    assert "health could not be measured" in one(baseline, rows).reason


def test_a_lora_without_effect_fails(baseline: Baseline) -> None:
    idle = {"lora": {"no_effect": True}}
    rows = [replace(r, details=idle) if n < 2 else r for n, r in enumerate(grid(draw=11))]
    verdict = one(baseline, rows)
    assert verdict.outcome == "fail"
    assert "no effect" in verdict.reason
    assert len(verdict.comparisons) == 3
    rows[0] = replace(rows[0], details={"lora": {"no_effect": False}})
    assert one(baseline, rows).outcome == "pass"


# Stale: never compared.


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"encoder": "other@11"}, "encoder"),
        ({"encoder": None}, "encoder"),
        ({"recipe": "recipe-b"}, "recipe"),
        ({"prompt_digest": "changed"}, "another text"),
        ({"prompt_id": "p99"}, "no prompt 'p99'"),
        ({"versions": {"grid": "2", "style": "1", "health": "1"}}, "version"),
        ({"versions": {}}, "version"),
    ],
)
def test_stale(baseline: Baseline, change: dict[str, object], word: str) -> None:
    rows = [replace(grid(draw=11)[0], **change)]  # type: ignore[arg-type]
    with pytest.raises(StaleError, match=word):
        check_comparable(baseline, rows)
    verdict = one(baseline, rows)
    assert verdict.outcome == "stale"
    assert "loraeval baseline freeze golden" in verdict.reason
    assert all(item.estimate is None for item in verdict.comparisons)


def test_another_profile_is_stale(baseline: Baseline) -> None:
    other = Profile("other", GATED, lattice=(16, 16))
    (verdict,) = gate_rows(baseline, grid(), checkpoint=X, profile=other)
    assert verdict.outcome == "stale"


def test_found_renders_may_have_another_recipe(baseline: Baseline) -> None:
    found = [replace(r, recipe=None, prompt_digest="another") for r in grid(draw=11, worse=0.5)]
    assert one(baseline, found).outcome == "fail"


def test_one_verdict_per_checkpoint(baseline: Baseline) -> None:
    rows = grid(draw=11, epoch=1) + grid(draw=12, epoch=2, worse=0.2)
    found = gate_rows(baseline, rows)
    assert [(v.checkpoint.label, v.outcome) for v in found] == [
        ("golden epoch 1", "pass"),
        ("golden epoch 2", "fail"),
    ]


def test_step_saves_of_one_epoch_and_other_strengths_are_checkpoints_of_their_own(
    baseline: Baseline,
) -> None:
    rows = [replace(r, epoch=1, step=s, strength=w) for s in (100, 200) for w in (1.0, 0.5)
            for r in grid(draw=11)]  # fmt: skip
    rows += [replace(r, checkpoint=f"{f}/x.safetensors") for f in "ab" for r in grid(draw=11)]
    labels = [v.checkpoint.label for v in gate_rows(baseline, rows)]
    assert labels == [
        "golden epoch 1 step 100", "golden epoch 1 step 100 at strength 0.5",
        "golden epoch 1 step 200", "golden epoch 1 step 200 at strength 0.5",
        "a/x.safetensors", "b/x.safetensors",
    ]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 0.3), st.integers(1, 60), st.integers(0, 1000))
def test_more_loss_never_helps(loss: float, count: int, draw: int) -> None:
    baseline = freeze("golden", grid(draw=2), profile=Profile("t", GATED))
    rank = {"fail": 0, "inconclusive": 1, "pass": 2}
    rows = grid(draw=draw)[:count]
    worse = [
        replace(r, scores={**r.scores, "grid": max(0.0, r.scores["grid"] - loss)}) for r in rows
    ]  # type: ignore[operator]
    before, after = (by_metric(one(baseline, x))["grid"] for x in (rows, worse))
    assert rank[after.outcome] <= rank[before.outcome]


@pytest.mark.parametrize(
    "wrong",
    [{"alpha": 0}, {"alpha": 0.9}, {"power": 1.0}, {"min_images": 0}, {"max_images": 0},
     {"min_images": 9, "max_images": 8}, {"margins": {"grid": 2.0}}],
)  # fmt: skip
def test_options_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        GateOptions(**wrong)  # type: ignore[arg-type]


def test_the_table_is_aligned(baseline: Baseline) -> None:
    text = verdict_table([one(baseline, grid(draw=11, worse=0.2)), one(baseline, grid(draw=11))])
    lines = text.split("\n")
    assert lines[0] == "FAIL  x.safetensors  against golden"
    assert lines[1].split()[:3] == ["metric", "verdict", "candidate"]
    assert len({line.index("FAIL") for line in lines[2:3]} | {lines[1].index("verdict")}) == 1
    assert "grid fell by" in text
    assert max(map(len, lines)) <= 110
    assert verdict_table([]) == ""


def test_baseline_file_round_trip_gives_the_same_verdict(
    baseline: Baseline, tmp_path: Path
) -> None:
    from loraeval.baselines import read_baseline, write_baseline

    write_baseline(baseline, tmp_path / "golden")
    again = read_baseline("golden", tmp_path)
    rows = grid(draw=11)
    ours, theirs = one(baseline, rows), one(again, rows)
    assert ours.outcome == theirs.outcome
    assert ours.comparisons[0].estimate == pytest.approx(theirs.comparisons[0].estimate, abs=1e-5)


def test_a_copy_is_no_further_evidence(baseline: Baseline) -> None:
    rows = [r for r in grid(draw=13, worse=0.02) if r.seed == 0][:5]
    assert one(baseline, rows * 40) == one(baseline, rows)
    changed = replace(rows[0], scores={**rows[0].scores, "grid": 0.1})
    with pytest.raises(ScoresError, match="given twice with different scores"):
        one(baseline, [*rows, changed])


@pytest.mark.parametrize("alpha", [1e-12, 1e-300])
def test_a_tiny_alpha_decides_nothing(baseline: Baseline, alpha: float) -> None:
    verdict = one(baseline, grid(draw=11)[:20], GateOptions(alpha=alpha))
    assert verdict.outcome == "inconclusive"
    assert "nan" not in verdict.reason
