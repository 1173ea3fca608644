"""The seed's real runs, from the numbers that were measured on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loraeval.baselines import Baseline, Profile, freeze
from loraeval.gate import gate_rows, select_epoch
from loraeval.records import Checkpoint, ScoreRow, Verdict

GATED = ("palette", "grid", "style", "realism", "health")


@pytest.fixture(scope="module")
def rows(repo: Path) -> list[ScoreRow]:
    """Rows of found images: seeds and recipe unknown, no prompt of one run in another."""
    data = json.loads((repo / "benchmarks" / "gate_scores.json").read_text(encoding="utf-8"))
    return [
        ScoreRow(
            image=f"{number}.png",
            run=item["run"],
            checkpoint=None,
            epoch=item["epoch"],
            prompt_id=item["prompt_id"],
            seed=None,
            scores={metric: item["scores"].get(metric) for metric in GATED},
            prompt_digest=f"{item['run']}:{item['prompt_id']}",
        )
        for number, item in enumerate(data)
    ]


@pytest.fixture(scope="module")
def perfect(rows: list[ScoreRow]) -> Baseline:
    """Epochs 7 to 9 of the run that worked: 14 images."""
    return freeze(
        "SD15_PERFECT", rows, profile=Profile("p", GATED), select="run=SD15_PERFECT,epoch=7-9"
    )


def verdict(
    baseline: Baseline, rows: list[ScoreRow], run: str, epoch: int | None = None
) -> Verdict:
    chosen = [r for r in rows if r.run == run and epoch in (None, r.epoch)]
    (found,) = gate_rows(baseline, chosen, checkpoint=Checkpoint(run))
    return found


def failed(found: Verdict) -> set[str]:
    return {item.metric for item in found.comparisons if item.outcome == "fail"}


def test_fourteen_golden_images_pass_nobody(perfect: Baseline, rows: list[ScoreRow]) -> None:
    assert len(perfect.rows) == 14
    found = verdict(perfect, rows, "SD15_PERFECT", 7)
    assert found.outcome == "inconclusive"
    assert "at least 29" in found.reason
    assert {item.n for item in found.comparisons} == {5}
    assert found.comparisons[0].pairing == "prompt"


@pytest.mark.parametrize("run", ["SDXL_nova", "SDXL_PERFECT", "broken_black"])
def test_the_failures_fail(perfect: Baseline, rows: list[ScoreRow], run: str) -> None:
    found = verdict(perfect, rows, run)
    assert found.outcome == "fail"
    assert found.comparisons[0].pairing in ("unpaired", None)


def test_civitai_fails_on_its_grid_alone(perfect: Baseline, rows: list[ScoreRow]) -> None:
    assert failed(verdict(perfect, rows, "SDXL_civitai_V1")) == {"grid"}


def test_the_photographic_single_image_fails_on_grid_and_realism(
    perfect: Baseline, rows: list[ScoreRow]
) -> None:
    assert {"grid", "realism"} <= failed(verdict(perfect, rows, "SDXL_PERFECT"))


def test_five_images_an_epoch_can_not_tell_the_chosen_epoch_from_its_neighbours(
    rows: list[ScoreRow],
) -> None:
    found = select_epoch([r for r in rows if r.run == "SD15_PERFECT"], GATED)
    assert {5, 6, 7, 9} <= {found.epoch, *found.tied}


def test_the_first_epoch_fails_against_the_chosen_ones(rows: list[ScoreRow]) -> None:
    """Epoch 1 against 7 and 9: ten golden images pass nobody, but they see an unfinished epoch."""
    golden = freeze("p", rows, profile=Profile("p", GATED), select="run=SD15_PERFECT,epoch=7|9")
    assert "fail" in verdict(golden, rows, "SD15_PERFECT", 1).outcome


def test_wrong_colours_on_one_prompt_fail_from_five_images(
    perfect: Baseline, rows: list[ScoreRow]
) -> None:
    """Palette 0.08 to 0.17 where no golden image scored below 0.6."""
    assert "palette" in failed(verdict(perfect, rows, "SD15_bespoke_baby_hex"))


def test_no_epoch_passes_against_the_few_others(rows: list[ScoreRow]) -> None:
    """Leave one epoch out, all ten: 44 other images of few prompts each."""
    for epoch in range(1, 11):
        others = [r for r in rows if r.run == "SD15_PERFECT" and r.epoch != epoch]
        golden = freeze("p", others, profile=Profile("p", GATED))
        assert verdict(golden, rows, "SD15_PERFECT", epoch).outcome != "pass"
