"""A folder of images of unknown make ends in one right sentence; the truth is planted here."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loraeval.cli import main
from loraeval.evaluation.first_look import advise, measurable, on_one_axis
from loraeval.records import ScoreRow
from loraeval.testing.portraits import render_pixel_art, scene


def rows_of(scores: Callable[[int, int], dict[str, float | None]], epochs: int = 5,
            images: int = 10, run: str = "mine") -> list[ScoreRow]:  # fmt: skip
    return [
        ScoreRow(f"{epoch}-{i}.png", run, None, epoch, f"p{i}", 1, scores(epoch, i))
        for epoch in range(1, epochs + 1)
        for i in range(images)
    ]


def noisy(rng: random.Random, mean: float, spread: float = 0.05) -> float:
    return min(1.0, max(0.0, rng.gauss(mean, spread)))


def test_the_planted_epoch_is_kept() -> None:
    rng = random.Random(4)
    best = rng.randint(1, 5)
    rows = rows_of(
        lambda epoch, _i: {"palette": noisy(rng, 0.9 if epoch == best else 0.6), "health": 1.0}
    )
    (advice,) = advise(rows)
    assert (advice.decision, advice.place, advice.rivals) == ("keep", best, ())
    assert advice.sentence == f"Keep epoch {best} of mine."


def test_equal_epochs_cannot_be_told_apart() -> None:
    rng = random.Random(1)
    (advice,) = advise(rows_of(lambda _e, _i: {"palette": noisy(rng, 0.8), "health": 1.0}))
    assert (advice.decision, advice.place) == ("cannot be told", None)
    assert "epochs 1, 2, 3, 4 and 5 do not differ" in advice.sentence


@pytest.mark.parametrize(
    ("scores", "word"),
    [
        ({"palette": 0.1, "health": 0.0}, "every image is broken"),
        ({"style": 0.02, "health": 1.0}, "hardly in the reference's style"),
        ({"style": 0.9, "style.memorisation": 0.05, "health": 1.0}, "repeats the reference"),
    ],
)
def test_a_run_without_a_good_epoch_is_not_kept(scores: dict[str, float], word: str) -> None:
    rng = random.Random(2)

    def drawn(_epoch: int, _i: int) -> dict[str, float | None]:
        return {name: noisy(rng, mean, 0.01) for name, mean in scores.items()}

    (advice,) = advise(rows_of(drawn))
    assert advice.decision == "none"
    assert word in advice.sentence


def test_what_is_no_pixel_art_is_not_judged_as_such() -> None:
    rows = rows_of(lambda _e, _i: {"grid": 0.01, "realism": 0.1, "style": 0.8, "health": 1.0})
    sight = measurable(rows)
    assert sight.metrics == ("style", "health")
    assert set(sight.left_out) == {"grid", "realism"}


def test_what_was_measured_on_few_images_is_left_out_with_its_reason() -> None:
    rows = rows_of(lambda _e, i: {"palette": 0.5 if i < 4 else None, "health": 1.0})
    rows = [replace(r, details={"palette": {"reason": "the prompt is unknown"}}) for r in rows]
    assert measurable(rows).left_out == {"palette": "the prompt is unknown (30 of 50 images)"}


def test_steps_are_the_axis_where_no_epoch_is_known() -> None:
    rows = [replace(r, epoch=None, step=500 * (r.epoch or 0)) for r in rows_of(_fixed)]
    placed, axis = on_one_axis(rows)
    assert (axis, {row.epoch for row in placed}) == ("step", {500, 1000, 1500, 2000, 2500})
    (advice,) = advise(rows)
    assert advice.sentence.startswith("Keep step 2500 of mine")


def _fixed(epoch: int, i: int) -> dict[str, float | None]:
    return {"palette": 0.1 * epoch + 0.01 * (i % 3), "health": 1.0}


def drawn(folder: Path, epochs: dict[int, float], images: int = 6) -> Path:
    """A folder an epoch of portraits, of which a share of the pixels' colours is exchanged."""
    rng = np.random.default_rng(0)
    for epoch, wrong in epochs.items():
        place = folder / f"epoch{epoch:02d}"
        place.mkdir(parents=True)
        for seed in range(images):
            made = scene(seed)
            pixels = render_pixel_art(made, 240)
            if wrong:
                turned = np.roll(pixels, 1, axis=2)
                pixels = np.where(rng.random((*pixels.shape[:2], 1)) < wrong, turned, pixels)
            Image.fromarray(pixels.astype(np.uint8)).save(place / f"p{seed}.png")
            (place / f"p{seed}.txt").write_text(made.caption)
    return folder


def test_try_ends_with_what_to_keep_and_how_to_freeze_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn(tmp_path / "mine", {1: 0.6, 2: 0.4, 3: 0.0})
    assert main(["try", "mine", "--out", "seen"]) == 0
    out = capsys.readouterr().out
    assert "Keep epoch 3 of mine" in out
    assert "not judged by style" not in out, "no reference was given: style was not asked for"
    assert (tmp_path / "seen" / "index.html").is_file()
    freeze = next(line.strip() for line in out.splitlines() if "baseline freeze" in line)
    assert "--select run=mine,epoch=3" in freeze


def test_try_names_all_that_is_missing_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lora-000001.safetensors").write_bytes(b"")
    assert main(["try", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "--base-model" in error
    assert "--prompts" in error
    assert len(error.splitlines()) == 1


def test_try_on_black_images_keeps_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for epoch in (1, 2):
        (tmp_path / "run" / f"epoch{epoch}").mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (128, 128)).save(tmp_path / "run" / f"epoch{epoch}" / f"{i}.png")
    assert main(["try", "run"]) == 1
    assert "Keep none of run" in capsys.readouterr().out
    assert (tmp_path / "loraeval-try" / "run" / "index.html").is_file()
