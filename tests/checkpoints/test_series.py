"""A folder of checkpoints becomes runs in training order."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loraeval.checkpoints.layout import ModuleShape
from loraeval.checkpoints.series import find_series
from loraeval.errors import CheckpointError
from loraeval.testing.kohya_files import write_lora, write_series

SHARED_FOLDER = [HealthCheck.function_scoped_fixture]

TINY: dict[str, Any] = {
    "rank": 1, "modules": {"lora_unet_mid_block_attentions_0_proj_in": ModuleShape(8, 8, 1)}
}  # fmt: skip


def names(series: Any) -> list[str]:
    return [item.name for item in series.checkpoints]


def test_a_run_with_metadata_the_unsuffixed_file_is_last(tmp_path: Path) -> None:
    write_series(tmp_path, "run", epochs=11, **TINY)
    (series,) = find_series(tmp_path)
    assert [item.epoch for item in series.checkpoints] == list(range(1, 12))
    assert series.checkpoints[-1].name == "run.safetensors"
    assert series.checkpoints[-1].is_last
    assert (series.gaps, series.warnings, series.epochs) == ((), (), 11)


def test_metadata_wins_over_misleading_names(tmp_path: Path) -> None:
    paths = write_series(tmp_path, "run", epochs=3, **TINY)
    for path, name in zip(paths, ["z_best", "a-000099", "m"], strict=True):
        path.rename(tmp_path / f"{name}.safetensors")
    (series,) = find_series(tmp_path)
    assert names(series) == ["z_best.safetensors", "a-000099.safetensors", "m.safetensors"]


def test_names_alone(tmp_path: Path) -> None:
    for seed, name in enumerate(["run", "run-000002", "run-000010", "run-000001"]):
        write_lora(tmp_path / f"{name}.safetensors", metadata=None, seed=seed, **TINY)
    (series,) = find_series(tmp_path)
    assert names(series) == [
        "run-000001.safetensors", "run-000002.safetensors", "run-000010.safetensors",
        "run.safetensors",
    ]  # fmt: skip
    assert series.gaps == tuple(range(3, 10))
    assert series.checkpoints[-1].epoch == 11


def test_steps_and_human_renames(tmp_path: Path) -> None:
    for i, name in enumerate(["s-step00001200", "s-step00000600", "s"]):
        write_lora(tmp_path / "a" / f"{name}.safetensors", metadata=None, seed=i, **TINY)
    for i, name in enumerate(["fix_epoch8", "fix_ep10", "fix-E2"]):
        write_lora(tmp_path / "b" / f"{name}.safetensors", metadata=None, seed=i, **TINY)
    (steps,) = find_series(tmp_path / "a")
    assert [item.step for item in steps.checkpoints] == [600, 1200, None]
    assert steps.checkpoints[-1].is_last
    (renamed,) = find_series(tmp_path / "b")
    assert [item.epoch for item in renamed.checkpoints] == [2, 8, 10]


def test_step_saves_sort_between_epochs(tmp_path: Path) -> None:
    for name, epoch, steps in [("r-000001", 1, 10), ("r-step00000015", 1, 15), ("r", 2, 20)]:
        write_lora(tmp_path / f"{name}.safetensors", epoch=epoch, steps=steps, num_epochs=2,
                   seed=steps, output_name="r", **TINY)  # fmt: skip
    (series,) = find_series(tmp_path)
    assert [item.step for item in series.checkpoints] == [10, 15, 20]
    assert series.gaps == ()


def test_mixed_runs_are_told_apart(tmp_path: Path) -> None:
    write_series(tmp_path, "one", epochs=2, session_id=1, **TINY)
    for path in write_series(tmp_path / "x", "one", epochs=2, session_id=2, **TINY):
        shutil.move(path, tmp_path / f"again_{path.name}")
    write_lora(tmp_path / "stray-000003.safetensors", metadata=None, **TINY)
    series = find_series(tmp_path)
    assert [(s.name, len(s.checkpoints)) for s in series] == [("one", 2), ("one", 2), ("stray", 1)]
    assert any("2 training sessions" in text for text in series[0].warnings)


def test_gaps_a_missing_last_file_and_duplicates_are_reported(tmp_path: Path) -> None:
    paths = write_series(tmp_path, "run", epochs=6, **TINY)
    shutil.copy(paths[1], tmp_path / "favourite.safetensors")
    paths[2].unlink()
    paths[5].unlink()
    (series,) = find_series(tmp_path)
    assert series.gaps == (3, 6)
    assert names(series) == [p.name for p in paths if p.exists()]
    told = " ".join(series.warnings)
    assert "favourite.safetensors holds the same weights" in told
    assert "last epoch is missing" in told


def test_state_folders_samples_and_broken_files_do_not_stop_the_rest(tmp_path: Path) -> None:
    write_series(tmp_path, "run", epochs=2, **TINY)
    (tmp_path / "run-000001-state").mkdir()
    (tmp_path / "run-000001-state" / "model.safetensors").write_bytes(b"optimizer")
    (tmp_path / "sample").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "broken.safetensors").write_bytes(b"nonsense")
    (series,) = find_series(tmp_path)
    assert len(series.checkpoints) == 2
    assert any("broken.safetensors" in text for text in series.warnings)
    with pytest.raises(CheckpointError, match=r"broken\.safetensors"):
        find_series(tmp_path / "broken.safetensors")


def test_nothing_found_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected LoRA files"):
        find_series(tmp_path)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 10_000))
def test_the_order_does_not_depend_on_the_order_given(tmp_path: Path, seed: int) -> None:
    if not any(tmp_path.iterdir()):
        write_series(tmp_path, "run", epochs=7, **TINY)
    paths = sorted(tmp_path.iterdir())
    random.Random(seed).shuffle(paths)
    (series,) = find_series(paths)
    assert [item.epoch for item in series.checkpoints] == [1, 2, 3, 4, 5, 6, 7]
