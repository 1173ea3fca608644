"""The seed's real runs against the committed baseline: the verdicts that people gave."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from loraeval.cli import main

EXPECTED = {
    "SD15_PERFECT epoch 7": ("inconclusive", set()),
    "SDXL_nova epoch 2": ("fail", {"grid", "grid.size", "style"}),
    "SDXL_PERFECT epoch 1": ("fail", {"grid", "grid.size", "style", "realism"}),
    "broken_black epoch 1": (
        "fail",
        {
            "palette",
            "palette.binding",
            "palette.background",
            "grid",
            "grid.size",
            "style",
            "style.copies",
            "realism",
            "health",
        },
    ),
    "SDXL_civitai_V1 epoch 2": ("fail", {"grid", "grid.size"}),
}
"""Checkpoint to its verdict and the scorers that failed."""


@pytest.mark.slow
def test_the_verdicts_on_the_real_renders(
    punks: Path, repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = {(name.split()[0], int(name.split()[2])) for name in EXPECTED}
    rows = [json.loads(line) for line in (punks / "renders.jsonl").read_text().splitlines()]
    chosen = [row for row in rows if (row["run"], row["epoch"]) in wanted]
    for row in chosen:
        target = tmp_path / row["image"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(punks / row["image"], target)
    manifest = tmp_path / "renders.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in chosen))
    baseline = str(repo / "baselines" / "SD15_PERFECT")
    scores = str(tmp_path / "scores.jsonl")
    assert main(["score", str(manifest), "--baseline", baseline, "--out", scores]) == 0
    capsys.readouterr()
    assert main(["gate", "--baseline", baseline, "--scores", scores, "--json"]) == 1
    verdicts = json.loads(capsys.readouterr().out)["verdicts"]
    found = {
        v["checkpoint"]["label"]: (
            v["outcome"],
            {c["metric"] for c in v["comparisons"] if c["outcome"] == "fail"},
        )
        for v in verdicts
    }
    for name, wanted in EXPECTED.items():
        assert found[name] == wanted, name
    assert found.keys() == EXPECTED.keys()
