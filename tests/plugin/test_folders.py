"""A folder under pytest: what is no known LoRA fails by name, the rest is told in a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loraeval.errors import CheckpointError
from loraeval.evaluation.checkpoints import MOST_FILES, expand_all
from loraeval.testing.kohya_files import write_lora, write_safetensors, write_series


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder as a trainer leaves it, with what else lies there."""
    folder = tmp_path / "out"
    folder.mkdir()
    write_series(folder, "good", rank=1)
    write_safetensors(folder / "odd.safetensors", {"a.b": np.ones(2, np.float32)}, {})
    (folder / "gone.safetensors").symlink_to(folder / "nowhere.safetensors")
    (folder / "cut.safetensors").write_bytes(b"\x10\0\0")
    (folder / "old.ckpt").write_bytes(b"PK")
    (folder / "older.pt").write_bytes(b"PK")
    (folder / "LOUD.SAFETENSORS").write_bytes(b"x")
    (folder / "samples").mkdir()
    (folder / "good-state").mkdir()
    (folder / "sample_prompts.txt").write_text("x")
    return folder


def test_nothing_in_a_folder_is_passed_over_in_silence(session: pytest.Pytester, out: Path) -> None:
    result = session.runpytest("--checkpoint", str(out))
    text = result.stdout.str()
    assert result.ret == 1
    for name, why in (
        ("odd", "*it holds no LoRA*"),
        ("gone", "*a link to nothing*"),
        ("cut", "*not a usable safetensors file*"),
    ):
        result.stdout.fnmatch_lines([f"{name}.safetensors: not gated: {why}"])
        assert f"FAIL  {name}.safetensors" in text
    result.assert_outcomes(passed=9, failed=3)
    heads = [line for line in result.outlines if line.startswith("LoRA gate: ")]
    (head,) = heads
    assert head.startswith(f"LoRA gate: {out}: not looked at: LOUD.SAFETENSORS (rename it to ")
    assert head.endswith("), old.ckpt, older.pt; sub-folders good-state, samples")


def test_numbered_sub_folders_are_searched_and_a_damaged_file_in_one_fails(tmp_path: Path) -> None:
    for step in (500, 1000):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        write_lora(folder / "pytorch_lora_weights.safetensors", rank=1, components=("te",))
    (tmp_path / "checkpoint-1000" / "pytorch_lora_weights.safetensors").write_bytes(b"\x10")
    refused: dict[Path, str] = {}
    names = expand_all([str(tmp_path)], Path("/"), refused=refused)
    assert list(names) == [
        "checkpoint-500/pytorch_lora_weights.safetensors",
        "checkpoint-1000/pytorch_lora_weights.safetensors",
    ]
    assert {path.parent.name for path in refused} == {"checkpoint-1000"}


def test_a_folder_with_more_files_than_any_run_saves_is_refused_in_a_sentence(
    tmp_path: Path,
) -> None:
    for number in range(MOST_FILES + 1):
        (tmp_path / f"x-{number:06d}.safetensors").touch()
    with pytest.raises(CheckpointError, match="the folder of one run"):
        expand_all([str(tmp_path)], Path("/"))


def test_a_file_name_is_a_file_name_before_it_is_a_pattern(tmp_path: Path) -> None:
    place = tmp_path / "proj[v1]"
    place.mkdir()
    for name in ("name[v2]-000002", "name2-000002", "namev-000002"):
        write_lora(place / f"{name}.safetensors", rank=1, components=("te",))
    wanted = "name[v2]-000002.safetensors"
    assert list(expand_all([wanted], place)) == [wanted]
    assert list(expand_all([wanted], place, found=True)) == [wanted]
    either = ["name2-000002.safetensors", wanted, "namev-000002.safetensors"]
    assert list(expand_all(["name[v2]-*.safetensors"], place)) == either, "as either may be meant"
    assert len(expand_all(["*.safetensors"], place)) == 3
    assert list(expand_all(["name[0-9]-*.safetensors"], place)) == ["name2-000002.safetensors"]
    for path in place.iterdir():
        path.unlink()
    assert list(expand_all([wanted], place, found=True)) == [wanted], "its renders are there"
    with pytest.raises(CheckpointError, match="found nothing there"):
        expand_all([wanted], place)
