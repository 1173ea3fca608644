"""One gated checkpoint handed from process to process: ``scores.jsonl``, then ``verdict.json``,
with which it is whole. What people keep is ``run_folder``.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loraeval.evaluation.gate_run import GateRun
from loraeval.outside.files import write_text_atomically
from loraeval.records import (
    Caption,
    Checkpoint,
    Comparison,
    Prompt,
    PromptSet,
    Recipe,
    Render,
    Verdict,
)
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
        "renders": [_render_to_json(render) for render in run.renders],
        "order": run.order,
        "recipe": None if run.recipe is None else asdict(run.recipe),
        "prompt_set": None if run.prompts is None else run.prompts.name,
        "prompts": [prompt_to_json(p) for p in (run.prompts.prompts if run.prompts else ())],
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
        renders=tuple(_render_from_json(item) for item in facts["renders"]),
        order=tuple((prompt, seed) for prompt, seed in facts["order"]),
        prompts=_prompt_set(facts["prompt_set"], facts["prompts"]),
        recipe=_recipe(facts["recipe"]),
    )


def prompt_to_json(prompt: Prompt) -> dict[str, Any]:
    """Return a prompt without its caption, which follows from its text."""
    return {
        "id": prompt.id,
        "text": prompt.text,
        "negative": prompt.negative,
        "overrides": dict(prompt.overrides),
    }


def prompt_from_json(told: dict[str, Any]) -> Prompt:
    """Return the prompt that ``prompt_to_json`` wrote; its caption is not read."""
    text = told["text"]
    overrides = told.get("overrides", {})
    return Prompt(told["id"], text, Caption(text), told["negative"], overrides=overrides)


def _prompt_set(name: str | None, told: list[dict[str, Any]]) -> PromptSet | None:
    return None if name is None else PromptSet(name, tuple(map(prompt_from_json, told)))


def _recipe(told: dict[str, Any] | None) -> Recipe | None:
    return None if told is None else Recipe(**{**told, "seeds": tuple(told["seeds"])})


def _render_to_json(render: Render) -> dict[str, Any]:
    data = asdict(render)
    places = {name: str(data[name]) for name in ("image", "base_image") if data[name] is not None}
    return {**data, **places, "prompt": prompt_to_json(render.prompt)}


def _render_from_json(data: dict[str, Any]) -> Render:
    base = data["base_image"]
    places = {"image": Path(data["image"]), "base_image": None if base is None else Path(base)}
    return Render(**{**data, **places, "prompt": prompt_from_json(data["prompt"])})
