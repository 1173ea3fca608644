"""The one table of names: which run, epoch and step files and folders tell, by every trainer."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from loraeval.checkpoints.file_names import place_of, plain_number
from loraeval.checkpoints.layout import ModuleShape
from loraeval.checkpoints.series import describe_position, find_series
from loraeval.testing.kohya_files import write_lora

TINY: dict[str, Any] = {
    "rank": 1, "modules": {"lora_unet_mid_block_attentions_0_proj_in": ModuleShape(8, 8, 1)},
}  # fmt: skip
CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "names.txt"


def make(folder: Path, names: list[str], **more: Any) -> None:
    for seed, name in enumerate(reversed(names)):  # the wrong order in time
        write_lora(
            folder / f"{name}.safetensors", **{"metadata": None, "seed": seed} | more, **TINY
        )


def cases() -> list[tuple[str, list[str], str]]:
    if not CASES.is_file():
        return []
    found = []
    for line in CASES.read_text(encoding="utf-8").splitlines():
        match = re.fullmatch(r"## (.*?): (.*?) => (.*)", line)
        if match and not match[1].startswith("images"):
            found.append((match[1], match[2].split(), match[3]))
    return found


@pytest.mark.skipif(not CASES.is_file(), reason="the cases from the field are not beside it")
@pytest.mark.parametrize("case", cases(), ids=lambda case: case[0])
def test_names_from_the_field_are_the_series_that_they_are(
    case: tuple[str, list[str], str], tmp_path: Path
) -> None:
    _, names, expected = case
    folder = tmp_path / "my"
    make(folder, names)
    found = find_series(folder)
    if expected.startswith("two runs"):
        assert len(found) == 2
        for series in found:
            assert series.axis is None
            assert [(c.epoch, c.step) for c in series.checkpoints] == [(None, None)]
        return
    (series,) = found
    assert series.name == "my"
    axis = "step" if "step" in expected else "epoch"
    told = re.search(r"(?:steps|epochs) ([0-9, ]+[0-9])", expected)
    assert told is not None
    numbers = [int(n) for n in told[1].split(", ")]
    last = ", last" in expected
    assert series.axis == axis
    assert [getattr(c, axis) for c in series.checkpoints][: len(numbers)] == numbers
    assert [c.is_last for c in series.checkpoints] == [False] * len(numbers) + [True] * last
    also = re.search(r"\(epochs ([0-9, ]+)\)", expected)
    if also:
        assert [c.epoch for c in series.checkpoints] == [int(n) for n in also[1].split(", ")]
    guess = "guess" in expected
    assert series.guessed is guess
    assert any("guess" in text for text in series.warnings) is guess


@pytest.mark.parametrize(
    ("name", "epoch", "step", "run"),
    [
        ("hero_e3", 3, None, "hero"),
        ("hero-ep12", 12, None, "hero"),
        ("hero-12ep", 12, None, "hero"),
        ("heroEpoch7", 7, None, "hero"),
        ("hero_epoch2_step300", 2, 300, "hero"),
        ("hero_iter_900", None, 900, "hero"),
        ("hero-2000steps", None, 2000, "hero"),
        ("global_step40", None, 40, ""),
        ("Hero-STEP00000100", None, 100, "Hero"),
    ],
)
def test_people_write_epochs_in_many_ways(
    name: str, epoch: int | None, step: int | None, run: str
) -> None:
    place = place_of(name)
    assert place is not None
    assert (place.epoch, place.step, place.run) == (epoch, step, run)


@pytest.mark.parametrize(
    "name",
    ["style1", "face10", "blade2", "cape3", "footstep3", "wasteland5", "hero_v2", "hero-240115",
     "sdxl", "1", "film35", "iter", "reiter4", "e" * 400, "hero_final"],
)  # fmt: skip
def test_words_that_end_like_an_epoch_are_names(name: str) -> None:
    assert place_of(name) is None


def test_a_bare_number_is_no_epoch_of_a_lone_file_or_of_different_files(tmp_path: Path) -> None:
    make(tmp_path / "lone", ["hero-2"])
    (alone,) = find_series(tmp_path / "lone")
    assert (alone.axis, alone.guessed, alone.name) == (None, False, "hero-2")
    make(tmp_path / "two", ["hero-1"])
    write_lora(tmp_path / "two" / "hero-2.safetensors", metadata=None, seed=3, rank=2,
               modules=TINY["modules"])  # fmt: skip
    assert [s.axis for s in find_series(tmp_path / "two")] == [None, None]
    assert plain_number("hero2") is None


def test_metadata_of_steps_wins_over_bare_numbers(tmp_path: Path) -> None:
    for number, step in ((1, 250), (2, 500)):
        write_lora(
            tmp_path / f"hero-{number}.safetensors", seed=number, **TINY,
            metadata={"training_info": f'{{"step": {step}, "epoch": 4}}', "ss_output_name": "hero"},
        )  # fmt: skip
    (series,) = find_series(tmp_path)
    assert [c.step for c in series.checkpoints] == [250, 500]
    assert (series.axis, series.guessed) == ("step", False)


def test_where_only_file_times_order_the_files_that_is_said(tmp_path: Path) -> None:
    for seed, name in enumerate(["late", "early", "middle"]):
        path = write_lora(tmp_path / f"{name}.safetensors", seed=seed, **TINY,
                          metadata={"modelspec.title": "hero"})  # fmt: skip
        when = {"early": 1e9, "middle": 2e9 / 1.5, "late": 1.5e9}[name]
        os.utime(path, (when, when))
    (series,) = find_series(tmp_path)
    assert [c.path.stem for c in series.checkpoints] == ["early", "middle", "late"]
    assert any("only the times of the files" in text for text in series.warnings)


def test_checkpoint_folders_pass_over_optimizer_state(tmp_path: Path) -> None:
    make(tmp_path, ["checkpoint-500/pytorch_lora_weights", "checkpoint-1000/pytorch_lora_weights"])
    (tmp_path / "checkpoint-500" / "optimizer.safetensors").write_bytes(b"nothing")
    (tmp_path / "hero-000001-state").mkdir()
    (series,) = find_series(tmp_path)
    assert [c.step for c in series.checkpoints] == [500, 1000]
    assert [c.name for c in series.checkpoints] == [
        "checkpoint-500/pytorch_lora_weights.safetensors",
        "checkpoint-1000/pytorch_lora_weights.safetensors",
    ]
    assert series.warnings == ()


def test_a_file_alone_tells_its_place_by_its_folder() -> None:
    assert describe_position(Path("/x/hero/checkpoint-40/adapter_model.safetensors"), {}) == (
        "step 40 (file name)"
    )
    assert describe_position(Path("/x/style1.safetensors"), {}) is None
