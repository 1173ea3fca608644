"""Render every prompt and seed of every checkpoint, score it, and write what a baseline needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.evaluation import run_folder
from loraeval.evaluation.gate_run import with_base
from loraeval.evaluation.panels import score_renders
from loraeval.evaluation.set_measures import SetCollector, sets_to_json
from loraeval.outside.files import write_text_atomically
from loraeval.records import PromptSet, Render, ScoreRow
from loraeval.scores_file import write_scores

if TYPE_CHECKING:
    from loraeval.evaluation.engine import Engine
    from loraeval.evaluation.request import Request
    from loraeval.scorers.panel import Panel


def render_and_score(
    renderer: Engine,
    panel: Panel,
    checkpoints: Sequence[Path],
    prompts: PromptSet,
    folder: Path | None,
    *,
    bases: bool = False,
    request: Request | None = None,
) -> list[ScoreRow]:
    """Render the whole grid and write ``renders.jsonl``, ``scores.jsonl``, ``run.json``.

    The images appear in ``folder`` under their names, as links into the store where the file
    system allows, so that ``loraeval score`` and ``loraeval report`` find them there. Without a
    ``folder`` nothing is written outside the store. ``bases``
    also renders every pair at LoRA scale 0, for drift and for a LoRA without effect. ``run.json``
    holds the recipe and the prompt set, for ``loraeval baseline freeze``. The rows returned have
    no details, which the file alone holds: the memory of a long run stays flat.
    """
    seeds = renderer.recipe.seeds
    renders = in_order(renderer.render(checkpoints, prompts, seeds), checkpoints, prompts)
    made: dict[tuple[str, int | None], Path] = {}
    if bases:
        grid = [(prompt, seed) for prompt in prompts.prompts for seed in seeds]
        made = {(r.prompt.id, r.seed): r.image for r in renderer.render_jobs(None, grid)}
    # Not what the store happens to hold: the same run must give the same scores again.
    renders = [with_base(render, made) for render in renders]
    if folder is None:
        return [replace(row, details={}) for row in score_renders(panel, renders)]
    run_folder.begin(folder)
    run_folder.write_renders(folder, renders)
    sets = SetCollector(panel)
    rows: list[ScoreRow] = []

    def scored() -> Iterator[ScoreRow]:
        for row in score_renders(panel, renders, sets.seen):
            rows.append(replace(row, details={}))
            yield row

    write_scores(folder / "scores.jsonl", scored())
    if measured := sets.scores():
        text = json.dumps(sets_to_json(measured), indent=1)
        write_text_atomically(folder / "scores.sets.json", text)
    run_folder.finish(
        folder,
        kind="grid",
        request={} if request is None else request.to_json(),
        recipe=asdict(renderer.recipe),
        recipe_digest=renderer.recipe.digest,
        prompt_set=prompts.name,
        prompt_digest=prompts.digest,
        prompts=run_folder.texts_of(prompts.prompts),
        order=[[prompt.id, seed] for prompt in prompts.prompts for seed in seeds],
        options=None,
        checkpoints=[
            run_folder.facts_of(found, path)
            for found, path in zip(renderer.describe(checkpoints), checkpoints, strict=True)
        ],
        baseline=None,
    )
    return rows


def in_order(
    renders: Iterable[Render], checkpoints: Sequence[Path], prompts: PromptSet
) -> list[Render]:
    """Return ``renders`` by checkpoint, prompt and seed: they come as they are made, which after an
    interruption or with several workers is another order each time. A prompt that sets its own seed
    has one image, whatever the recipe's seeds: it counts once.
    """
    place = {path.name: index for index, path in enumerate(checkpoints)}
    line = {prompt.id: index for index, prompt in enumerate(prompts.prompts)}
    once = {(render.name, render.image): render for render in renders}
    return sorted(
        once.values(),
        key=lambda r: (place.get(r.checkpoint or "", -1), line[r.prompt.id], r.seed or 0),
    )
