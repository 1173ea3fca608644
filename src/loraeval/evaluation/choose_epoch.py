"""Choose an epoch of a series, rendering no more of the hopeless ones than it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.errors import CheckpointError, UsageError
from loraeval.evaluation.gate_run import GateSetup, jobs_of
from loraeval.records import Render, ScoreRow

if TYPE_CHECKING:
    from loraeval.gate.epochs import EpochSelection


@dataclass(frozen=True, slots=True)
class SeriesRun:
    """A chosen epoch and what the choice rests on; ``renders[i]`` belongs to ``rows[i]``."""

    selection: EpochSelection
    dropped: Mapping[int, str]
    saved: float
    rows: tuple[ScoreRow, ...]
    renders: tuple[Render, ...]

    @property
    def images(self) -> tuple[Path, ...]:
        """The image files, in the order of ``rows``."""
        return tuple(render.image for render in self.renders)


def epochs_of(paths: Mapping[str, Path]) -> dict[int, Path]:
    """Return the files of one run by epoch, or by step where it was saved by steps; raise
    ``CheckpointError`` for files of several runs.
    """
    from loraeval.checkpoints.series import find_series

    series = find_series(list(paths.values()))
    if len(series) != 1:
        names = ", ".join(item.name for item in series)
        raise CheckpointError(f"expected the epochs of one run to choose from, found {names}")
    by_step = series[0].axis == "step"
    numbers = [(c.step if by_step else c.epoch, c.path) for c in series[0].checkpoints]
    found = {number: path for number, path in numbers if number is not None}
    if len(found) < 2 or len(found) < len(series[0].checkpoints):
        raise CheckpointError(
            f"expected at least two {series[0].axis or 'epoch'}s with distinct numbers, found "
            f"{sorted(found)}"
        )
    return found


def choose_epoch(epochs: Mapping[int, Path], setup: GateSetup) -> SeriesRun:
    """Render the epochs side by side and drop those that are surely not the best.

    ``setup.chunk`` pairs of prompt and seed are rendered for one epoch before the next epoch's
    LoRA is loaded. Raises ``UsageError`` without a renderer and prompts.
    """
    from loraeval.gate import SuccessiveElimination
    from loraeval.gate.epochs import quality_scale
    from loraeval.gate.order import rendering_order
    from loraeval.report.series import axis_words

    renderer, prompts = setup.renderer, setup.prompts
    if renderer is None or prompts is None:
        raise UsageError("expected a base model and prompts to choose an epoch by rendering")
    gated = setup.baseline.profile.gated
    order = rendering_order(setup.baseline, setup.options)
    race = SuccessiveElimination(
        tuple(epochs),
        order,
        gated,
        quality_scale(setup.baseline.rows, gated),
        setup.options.alpha,
    )
    pairs = iter(jobs_of(order, prompts, setup.baseline.name))
    images: dict[tuple[int | None, str, int | None], Render] = {}
    axis = "epoch"
    while not race.done and (block := list(islice(pairs, setup.chunk))):
        scored: dict[tuple[int, str, int], ScoreRow] = {}
        for epoch in race.surviving:
            made: list[Render] = list(renderer.render_jobs(epochs[epoch], block))
            for render, row in zip(made, setup.panel.score(made), strict=True):
                axis = "epoch" if row.epoch is not None else "step"
                scored[epoch, row.prompt_id, render.seed or 0] = replace(row, epoch=epoch)
                images[epoch, row.prompt_id, row.seed] = render
        for _ in block:
            wanted = race.next_round()
            if not wanted:
                break
            race.add_round([scored[key] for key in wanted])
    numbered = tuple(race.rows)
    selection = race.selection()
    return SeriesRun(
        replace(selection, reason=axis_words(selection.reason, axis)),
        dict(race.dropped),
        race.saved,
        tuple(row if axis == "epoch" else replace(row, epoch=None) for row in numbered),
        tuple(images[row.epoch, row.prompt_id, row.seed] for row in numbered),
    )
