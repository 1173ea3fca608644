"""The examples and the notebook run as they stand, on the demo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.nightly


def test_the_series_is_rendered(repo: Path, demo_store: Path) -> None:
    script = repo / "examples" / "render_a_series.py"
    done = subprocess.run(
        [sys.executable, str(script), str(demo_store)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("epoch 1: ")
    first, second = (part.split()[-2] for part in done.stdout.strip().split(", "))
    assert first == second != "0"


def test_the_notebook_chooses_an_epoch(
    repo: Path, demo_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)
    cells = json.loads((repo / "examples" / "choose_an_epoch.ipynb").read_text())["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    space: dict[str, object] = {}
    stored = code.replace("seeds=[1]", f"seeds=[1], store={str(demo_store)!r}")
    assert stored != code
    exec(compile(stored, "choose_an_epoch.ipynb", "exec"), space)
    chosen = space["chosen"]
    assert chosen.epoch in (5, 10), chosen.reason  # type: ignore[attr-defined]
    answers = {d.metric: d.answer for d in space["loraeval"].compare(space["last"], space["first"])  # type: ignore[attr-defined]
               if d.prompt is None}  # fmt: skip
    assert "worse" not in answers.values()
