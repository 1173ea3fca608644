"""Gate one checkpoint: on images that exist, or rendering no more than the verdict needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self

from loraeval.errors import BaselineError, ScoresError, UsageError
from loraeval.evaluation.made_with import another_way
from loraeval.records import Checkpoint, Prompt, PromptSet, Recipe, Render, ScoreRow, Verdict

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.evaluation.engine import Engine
    from loraeval.gate import GateOptions
    from loraeval.scorers.panel import Panel

EFFECT_PAIRS = 2
"""Pairs of prompt and seed also rendered without the LoRA, to see that it does anything."""


@dataclass(frozen=True, slots=True)
class GateSetup:
    """Everything a gate needs besides the checkpoint.

    Either ``found`` holds renders that exist, or ``renderer`` and ``prompts`` make them. ``chunk``
    is how many images are rendered between two looks at the evidence.
    """

    baseline: Baseline
    panel: Panel
    options: GateOptions
    found: tuple[Render, ...] | None = None
    renderer: Engine | None = None
    prompts: PromptSet | None = None
    chunk: int = 8

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the renderer's workers and devices, where there is one."""
        if self.renderer is not None:
            self.renderer.close()


@dataclass(frozen=True, slots=True)
class GateRun:
    """A gated checkpoint: verdict and what it rests on; ``renders[i]`` belongs to ``rows[i]``.

    ``order`` is the prompt id and seed of every image that would have been rendered, in order, and
    ``prompts`` their set; ``recipe`` what they were made with. All three are empty for images that
    existed already.
    """

    verdict: Verdict
    rows: tuple[ScoreRow, ...]
    renders: tuple[Render, ...]
    order: tuple[tuple[str, int], ...] = ()
    prompts: PromptSet | None = None
    recipe: Recipe | None = None

    @property
    def images(self) -> tuple[Path, ...]:
        """The image files, in the order of ``rows``."""
        return tuple(render.image for render in self.renders)

    @property
    def checkpoint(self) -> Checkpoint:
        """What was gated."""
        return self.verdict.checkpoint


def gate_checkpoint(checkpoint: Path, setup: GateSetup, name: str | None = None) -> GateRun:
    """Gate ``checkpoint`` against the setup's baseline; ``name`` tells it from others of its file
    name.

    Raises ``LoraevalError`` where it cannot be gated at all: no images of it among the found ones,
    a file that cannot be loaded, a stale baseline.
    """
    name = name or checkpoint.name
    if setup.found is not None:
        return _gate_found(checkpoint.name, name, setup, setup.found)
    if setup.renderer is None or setup.prompts is None:
        raise UsageError(
            f"{checkpoint.name}: expected a base model to render with (--base-model, "
            "--lora-base-model) or images that exist already (--lora-renders); found neither"
        )
    return _gate_rendered(checkpoint, name, setup, setup.renderer, setup.prompts)


def _gate_found(file: str, name: str, setup: GateSetup, found: Sequence[Render]) -> GateRun:
    from loraeval.gate import gate_rows

    renders = renders_of(file, found)
    rows = tuple(setup.panel.score(renders))
    gated = replace(Checkpoint.of(renders[0]), file=name)
    (verdict,) = gate_rows(setup.baseline, rows, setup.options, checkpoint=gated)
    return GateRun(verdict, rows, tuple(renders))


_EPOCH = re.compile(r"^(?P<run>.+?)-(?P<epoch>\d{6})$")


def renders_of(name: str, found: Sequence[Render]) -> list[Render]:
    """Return the found renders of the checkpoint file called ``name``.

    A render belongs to it if it names the file, or if its run and epoch are the file name's
    (``NAME-000007.safetensors``); a name without an epoch takes the run's only or last epoch.
    Raises ``ScoresError`` naming the runs there are where none matches, and for a broken line of
    the manifest that could belong to this checkpoint as well as to any other: what was not
    measured never passes.
    """
    from loraeval.sources.manifest import UNKNOWN_RUN

    lost = [r for r in found if r.problem is not None and r.run == UNKNOWN_RUN]
    if lost:
        raise ScoresError(
            f"{lost[0].problem}; the line may belong to {name}, which cannot be gated without it "
            f"({len(lost)} such lines); repair or remove it"
        )
    stem = name.removesuffix(".safetensors")
    by_file = [r for r in found if r.checkpoint and Path(r.checkpoint).name in (name, stem)]
    if by_file:
        return by_file
    match = _EPOCH.match(stem)
    if match:
        run, epoch = match["run"], int(match["epoch"])
        chosen = [r for r in found if r.run == run and r.epoch == epoch]
    else:
        of_run = [r for r in found if r.run == stem]
        last = max((r.epoch for r in of_run if r.epoch is not None), default=None)
        chosen = [r for r in of_run if r.epoch == last]
    if not chosen:
        runs = sorted({r.run for r in found})
        listed = ", ".join(runs[:12]) + (" …" if len(runs) > 12 else "")
        raise ScoresError(
            f"expected renders of {name} in the manifest, found none; it holds the runs {listed} "
            "(name a checkpoint RUN-000007.safetensors for epoch 7 of RUN)"
        )
    return chosen


def _gate_rendered(
    checkpoint: Path, name: str, setup: GateSetup, renderer: Engine, prompts: PromptSet
) -> GateRun:
    from loraeval.gate import SequentialGate

    (gated,) = renderer.describe([checkpoint])
    gate = SequentialGate(setup.baseline, setup.options)
    order = jobs_of(gate.order(), prompts, setup.baseline.name)
    bases = {
        (render.prompt.id, render.seed): render.image
        for render in renderer.render_jobs(None, order[:EFFECT_PAIRS])
    }
    pairs = iter(order)
    above = name.rpartition("/")[0]
    renders: list[Render] = []
    rows: list[ScoreRow] = []
    while gate.verdict() is None and (jobs := list(islice(pairs, setup.chunk))):
        made = {(r.prompt.id, r.seed): r for r in renderer.render_jobs(checkpoint, jobs)}
        ordered = [with_base(made[prompt.id, seed], bases) for prompt, seed in jobs]
        if above:  # two files share the name: their images do not
            ordered = [replace(r, name=f"{above}/{r.name}") for r in ordered]
        for render, row in zip(ordered, setup.panel.score(ordered), strict=True):
            if gate.verdict() is None:
                renders.append(render)
                rows.append(row)
                gate.add(row)
    verdict = gate.final(checkpoint=replace(gated, file=name))
    if (line := another_way(rows, setup.baseline.provenance)) is not None:
        verdict = replace(verdict, reason=f"{verdict.reason}; {line}")
    return GateRun(
        verdict,
        tuple(rows),
        tuple(renders),
        gate.order(),
        prompts,
        renderer.recipe,
    )


def with_base(render: Render, bases: dict[tuple[str, int | None], Path]) -> Render:
    """Return ``render`` with the base model's image of the same prompt and seed, where made."""
    return replace(render, base_image=bases.get((render.prompt.id, render.seed)))


def jobs_of(
    order: Sequence[tuple[str, int]], prompts: PromptSet, baseline: str
) -> list[tuple[Prompt, int]]:
    """Return ``order``, pairs of prompt id and seed of ``baseline``, with the prompts themselves.

    Raises ``BaselineError`` for a prompt that the set does not hold, and for one whose own seed in
    the set is another than the baseline's: its image could be paired with none.
    """
    known = prompts.by_id()
    jobs = []
    for prompt_id, seed in order:
        if prompt_id not in known:
            raise BaselineError(
                f"the baseline {baseline} holds prompt {prompt_id!r}, which the prompt set "
                f"{prompts.name} does not; give the set it was frozen from, or freeze it anew"
            )
        prompt = known[prompt_id]
        own = prompt.overrides.get("seed", seed)
        if own != seed:
            raise BaselineError(
                f"the baseline {baseline} holds prompt {prompt_id!r} with seed {seed}, but the "
                f"prompt set {prompts.name} gives it its own seed {own}; give the set it was "
                "frozen from, or freeze it anew"
            )
        jobs.append((prompt, seed))
    return jobs
