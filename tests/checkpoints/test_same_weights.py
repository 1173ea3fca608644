"""Copies among the files of a series are found, and different files are not read whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from loraeval.checkpoints import same_weights as module
from loraeval.checkpoints.header import Header, read_header
from loraeval.checkpoints.same_weights import same_weights
from loraeval.checkpoints.strangers import stranger
from loraeval.testing.kohya_files import write_lora


@pytest.fixture
def files(tmp_path: Path) -> list[Header]:
    """Six files without metadata, as ``--no_metadata`` leaves no hash: b copies a, e copies d."""
    paths = [
        write_lora(tmp_path / f"{name}.safetensors", seed=seed, metadata=None)
        for name, seed in (("a", 1), ("c", 3), ("d", 4), ("f", 6))
    ]
    shutil.copyfile(paths[0], tmp_path / "b.safetensors")
    shutil.copyfile(paths[2], tmp_path / "e.safetensors")
    return [read_header(path) for path in sorted(tmp_path.iterdir())]


def test_each_copy_is_named_once_with_its_original(files: list[Header]) -> None:
    found = {path.stem: words for path, words in same_weights(files)}
    assert found == {
        "b": "b.safetensors holds the same weights as a.safetensors",
        "e": "e.safetensors holds the same weights as d.safetensors",
    }


def test_only_files_that_look_alike_are_read_whole(
    files: list[Header], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    whole = module.data_sha256

    def counted(header: Header) -> str:
        read.append(header.path.stem)
        return whole(header)

    monkeypatch.setattr(module, "data_sha256", counted)
    assert len(list(same_weights(files))) == 2
    assert sorted(read) == ["a", "b", "d", "e"]


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"PK\x03\x04rest", "pickled"),
        (b"version https://git-lfs.github.c", "git lfs pull"),
        (b"<!DOCTYPE html>", "web page"),
        (b'{"ss_epoch": 1}', "text"),
        (b"accelerate launch train_network.", "text"),
    ],
)
def test_strangers_are_told_by_their_first_bytes(head: bytes, what: str) -> None:
    assert what in (stranger(head) or "")


def test_a_lora_is_no_stranger(files: list[Header]) -> None:
    for header in files:
        with header.path.open("rb") as file:
            assert stranger(file.read(32)) is None
    assert stranger(b"") is None
