"""What ``loraeval run`` says about files before it renders them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from loraeval.cli import main
from loraeval.evaluation.checkpoints import doubts
from loraeval.testing.kohya_files import write_series


@pytest.fixture
def epochs(tmp_path: Path) -> list[Path]:
    """Three epochs of one run in ``run/``."""
    return write_series(tmp_path / "run", epochs=3)


def test_a_whole_series_raises_no_doubt(epochs: list[Path], tmp_path: Path) -> None:
    assert doubts(["run"], tmp_path) == []
    assert doubts([str(path) for path in epochs], tmp_path) == []


def test_some_epochs_that_were_named_are_not_called_incomplete(
    epochs: list[Path], tmp_path: Path
) -> None:
    epochs[-1].unlink()
    assert doubts([str(epochs[0]), str(epochs[1])], tmp_path) == []
    assert any("last epoch is missing" in words for words in doubts(["run"], tmp_path))


def test_a_copy_is_named_in_a_folder_and_in_a_list(epochs: list[Path], tmp_path: Path) -> None:
    copy = shutil.copyfile(epochs[0], tmp_path / "run" / "copy-000009.safetensors")
    for texts in (["run"], [str(epochs[0]), str(copy)], ["run/*.safetensors"]):
        assert [words for words in doubts(texts, tmp_path) if "holds the same weights as" in words]


def test_a_folder_of_two_runs_says_so(epochs: list[Path], tmp_path: Path) -> None:
    write_series(tmp_path / "run", "other", epochs=2, metadata=None, rank=2)
    assert any("holds the epochs of 2 runs" in words for words in doubts(["run"], tmp_path))


def test_run_says_it_before_any_work(
    epochs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(epochs[0], tmp_path / "run" / "copy-000009.safetensors")
    assert main(["run", "run", "--out", "o"]) == 2
    first, second = capsys.readouterr().err.splitlines()[:2]
    assert "holds the same weights as" in first + second
