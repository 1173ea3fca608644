"""What of a trainer's folder is the style: ``10_name`` folders, not masks, not regularisation."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from loraeval.scorers.reference_folder import reference_folders, reference_images


def fill(folder: Path, count: int, suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.new("RGB", (16, 16), (index, 0, 0)).save(folder / f"{index}{suffix}.png")


def test_kohyas_training_folder(tmp_path: Path) -> None:
    fill(tmp_path / "10_ohwx woman", 4)
    fill(tmp_path / "5_style", 3)
    fill(tmp_path / "reg", 5)
    fill(tmp_path / "masks", 5)
    (tmp_path / ".cache").mkdir()
    paths, lines = reference_images(tmp_path)
    assert len(paths) == 7
    assert {p.parent.name for p in paths} == {"10_ohwx woman", "5_style"}
    assert sorted(lines, reverse=True) == [
        "reg is left out of the reference: a folder of regularisation images",
        "masks is left out of the reference: a folder of masks",
    ]


def test_plain_folders_with_masks_beside_the_images(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    fill(tmp_path, 2, "-masklabel")
    fill(tmp_path / "raw", 9)
    paths, lines = reference_images(tmp_path)
    assert [p.name for p in paths] == ["0.png", "1.png", "2.png"]
    assert lines == ["0-masklabel.png is left out of the reference: a mask (2 of that kind)"]


def test_other_folders_are_looked_into_where_there_is_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path / "a", 2)
    fill(tmp_path / "b", 2)
    fill(tmp_path / "regularization_images", 2)
    paths, lines = reference_images(tmp_path)
    assert [p.parent.name for p in paths] == ["a", "a", "b", "b"]
    assert len(lines) == 1


def test_several_folders(tmp_path: Path) -> None:
    fill(tmp_path / "a", 4)
    fill(tmp_path / "b", 4)
    given = Path(f"{tmp_path / 'a'}{os.pathsep}b")
    assert reference_folders(given) == [tmp_path / "a", tmp_path / "b"]
    assert reference_folders(tmp_path / "a") == [tmp_path / "a"]


def test_score_with_a_training_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from loraeval.cli import main

    fill(tmp_path / "renders", 2)
    fill(tmp_path / "train" / "10_hero", 4)
    fill(tmp_path / "train" / "reg", 4)
    places = [str(tmp_path / "renders"), "--reference", str(tmp_path / "train")]
    assert main(["score", *places, "--scorers", "health", "--encoder", "none"]) == 0
    assert "reg is left out of the reference" in capsys.readouterr().err
