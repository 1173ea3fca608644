"""A gated run as files: ``verdict.json``, ``scores.jsonl``; whole or absent as a folder."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loraeval.atomic_files import write_text_atomically
from loraeval.evaluation.gate_run import GateRun
from loraeval.records import Comparison, Verdict
from loraeval.scores_file import read_scores, write_scores


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """Return ``verdict`` as plain JSON values."""
    return asdict(verdict)


def verdict_from_json(data: dict[str, Any]) -> Verdict:
    """Return the verdict that ``verdict_to_json`` wrote."""
    comparisons = tuple(Comparison(**item) for item in data["comparisons"])
    return Verdict(**{**data, "comparisons": comparisons})


def write_run(folder: Path, run: GateRun) -> None:
    """Write ``run`` as ``folder``, which appears whole or not at all."""
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        facts = {
            "checkpoint": run.checkpoint,
            "verdict": verdict_to_json(run.verdict),
            "images": [str(path) for path in run.images],
            "note": run.note,
        }
        write_text_atomically(beside / "verdict.json", json.dumps(facts, indent=1))
        if run.rows:
            write_scores(beside / "scores.jsonl", run.rows)
        beside.replace(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def read_run(folder: Path) -> GateRun:
    """Read what ``write_run`` wrote."""
    facts = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    scores = folder / "scores.jsonl"
    return GateRun(
        checkpoint=facts["checkpoint"],
        verdict=verdict_from_json(facts["verdict"]),
        rows=tuple(read_scores(scores)) if scores.exists() else (),
        images=tuple(Path(path) for path in facts["images"]),
        note=facts["note"],
    )
