"""A bounded run of tools/fuzz.py over the targets that no room's own tests run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

QUICK = ("baseline", "profile", "selection", "recipe", "reference", "parameters-json", "ratings",
         "model-index", "store-png", "image-text", "panel",
         "script-toml", "script-gui", "shown-scores")  # fmt: skip
RECORD = ("script-powershell", "script-batch", "script-arrays", "script-log", "script-notebook",
          "script-dataset", "ai-toolkit", "onetrainer", "simpletuner", "simpletuner-env",
          "diffusion-pipe", "easy-scripts", "peft", "names", "norms", "a1111", "comfyui",
          "png-text", "samples-toml", "samples-json", "metadata-csv", "metadata-jsonl",
          "a1111-lines")  # fmt: skip
SLOW = ("safetensors", "script-shell", "image", "shown-metadata", "shown-page")


def run_fuzz(repo: Path, tmp_path: Path, names: tuple[str, ...], seconds: str) -> None:
    out = tmp_path / "fuzz.json"
    command = [sys.executable, "tools/fuzz.py", "--seconds", seconds, "--seed", "5",
               "--keep", str(tmp_path / "kept"), "--out", str(out)]  # fmt: skip
    for name in names:
        command += ["--target", name]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, timeout=1200)
    rows = {row["target"]: row for row in json.loads(out.read_text())}
    assert done.returncode == 0, done.stderr
    assert set(rows) == set(names)
    for row in rows.values():
        assert row["inputs"] == row["read"] + row["refused"] > 5, row
        assert row["read"] > 0, f"no input of {row['target']} was valid: its seeds are broken"
        assert row["memory_mb"] < 500, row


def test_no_input_breaks_a_reader(repo: Path, tmp_path: Path) -> None:
    run_fuzz(repo, tmp_path, QUICK, "0.4")


@pytest.mark.slow
def test_no_input_breaks_what_is_shown(repo: Path, tmp_path: Path) -> None:
    run_fuzz(repo, tmp_path, SLOW, "2")


@pytest.mark.nightly
def test_no_input_breaks_a_reader_of_a_trainers_files(repo: Path, tmp_path: Path) -> None:
    run_fuzz(repo, tmp_path, RECORD, "2")


def test_every_target_is_run_somewhere(repo: Path) -> None:
    """A target that is added to the table is run by this test or by one of the rooms'."""
    sys.path.insert(0, str(repo / "tools"))
    from fuzz_targets import TARGETS

    text = (repo / "tests/sources/test_fuzz.py").read_text("utf-8")
    for target in TARGETS:
        assert target.name in (*QUICK, *SLOW, *RECORD) or f'"{target.name}"' in text, target.name
