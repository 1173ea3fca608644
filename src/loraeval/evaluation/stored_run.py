"""A gated run as files: ``scores.jsonl``, then ``verdict.json``, with which it is whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loraeval.evaluation.gate_run import GateRun
from loraeval.outside.files import write_text_atomically
from loraeval.records import Checkpoint, Comparison, Verdict
from loraeval.scores_file import read_scores, write_scores

VERDICT, SCORES = "verdict.json", "scores.jsonl"


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """Return ``verdict`` as plain JSON values; its checkpoint says also how people call it."""
    data = asdict(verdict)
    data["checkpoint"] = checkpoint_to_json(verdict.checkpoint)
    return data


def checkpoint_to_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return ``checkpoint`` as plain JSON values, its label among them for whoever reads them."""
    return {"label": checkpoint.label, **asdict(checkpoint)}


def checkpoint_from_json(data: dict[str, Any] | str) -> Checkpoint:
    """Return the checkpoint that ``checkpoint_to_json`` wrote, or the name that stood there."""
    if isinstance(data, str):
        file = data if data.endswith(".safetensors") else None
        return Checkpoint(data.removesuffix(".safetensors"), file=file)
    facts = {name: value for name, value in data.items() if name != "label"}
    return Checkpoint(**{**facts, "beside": tuple(facts.get("beside", ()))})


def verdict_from_json(data: dict[str, Any]) -> Verdict:
    """Return the verdict that ``verdict_to_json`` wrote."""
    comparisons = tuple(Comparison(**item) for item in data["comparisons"])
    checkpoint = checkpoint_from_json(data["checkpoint"])
    return Verdict(**{**data, "checkpoint": checkpoint, "comparisons": comparisons})


def write_run(folder: Path, run: GateRun) -> None:
    """Write ``run`` into ``folder``. The verdict comes last: with it the run is whole
    (``is_stored``), and what a killed writer left is written anew.
    """
    facts = {
        "verdict": verdict_to_json(run.verdict),
        "images": [str(path) for path in run.images],
        "note": run.note,
    }
    (folder / VERDICT).unlink(missing_ok=True)
    if run.rows:
        write_scores(folder / SCORES, run.rows)
    else:
        (folder / SCORES).unlink(missing_ok=True)
    write_text_atomically(folder / VERDICT, json.dumps(facts, indent=1))


def is_stored(folder: Path) -> bool:
    """Say whether ``folder`` holds a whole run."""
    return (folder / VERDICT).is_file()


def read_run(folder: Path) -> GateRun:
    """Read what ``write_run`` wrote."""
    facts = json.loads((folder / VERDICT).read_text(encoding="utf-8"))
    scores = folder / SCORES
    return GateRun(
        verdict=verdict_from_json(facts["verdict"]),
        rows=tuple(read_scores(scores)) if scores.exists() else (),
        images=tuple(Path(path) for path in facts["images"]),
        note=facts["note"],
    )
