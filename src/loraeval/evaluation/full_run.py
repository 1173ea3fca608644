"""Render every prompt and seed of every checkpoint, score it, and write what a baseline needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.evaluation.gate_run import with_base
from loraeval.evaluation.panels import score_renders
from loraeval.records import PromptSet, Render, ScoreRow
from loraeval.scores_file import write_scores, write_text_atomically

if TYPE_CHECKING:
    from loraeval.render.renderer import Renderer
    from loraeval.scorers.panel import Panel


def render_and_score(
    renderer: Renderer,
    panel: Panel,
    checkpoints: Sequence[Path],
    prompts: PromptSet,
    folder: Path,
    *,
    bases: bool = False,
) -> list[ScoreRow]:
    """Render the whole grid and write ``renders.jsonl``, ``scores.jsonl``, ``run.json``.

    ``bases`` also renders every pair at LoRA scale 0, for drift and for a LoRA without effect.
    ``run.json`` holds the recipe and the prompt set, for ``loraeval baseline freeze``.
    """
    seeds = renderer.recipe.seeds
    renders = list(renderer.render(checkpoints, prompts, seeds))
    if bases:
        grid = [(prompt, seed) for prompt in prompts.prompts for seed in seeds]
        made = {(r.prompt.id, r.seed): r.image for r in renderer.render_jobs(None, grid)}
        renders = [with_base(render, made) for render in renders]
    folder.mkdir(parents=True, exist_ok=True)
    manifest = "".join(json.dumps(manifest_row(r), ensure_ascii=False) + "\n" for r in renders)
    write_text_atomically(folder / "renders.jsonl", manifest)
    rows = list(score_renders(panel, renders))
    write_scores(folder / "scores.jsonl", rows)
    facts = {
        "recipe": asdict(renderer.recipe),
        "recipe_digest": renderer.recipe.digest,
        "prompt_set": prompts.name,
        "prompt_digest": prompts.digest,
        "checkpoints": [str(path) for path in checkpoints],
    }
    write_text_atomically(folder / "run.json", json.dumps(facts, indent=1))
    return rows


def manifest_row(render: Render) -> dict[str, object]:
    """Return one line of a renders manifest, as ``loraeval score`` reads it."""
    return {
        "image": str(render.image.resolve()),
        "run": render.run,
        "checkpoint": render.checkpoint,
        "epoch": render.epoch,
        "prompt_id": render.prompt.id,
        "prompt": render.prompt.text,
        "negative_prompt": render.prompt.negative,
        "seed": render.seed,
        "width": render.width,
        "height": render.height,
        "recipe": render.recipe,
    }
