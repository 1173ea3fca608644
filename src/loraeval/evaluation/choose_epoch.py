"""Choose an epoch of a series, rendering no more of the hopeless ones than it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    """Return the files of one run by epoch; raise ``CheckpointError`` for files of several runs."""
    from loraeval.checkpoints.series import find_series

    series = find_series(list(paths.values()))
    if len(series) != 1:
        names = ", ".join(item.name for item in series)
        raise CheckpointError(f"expected the epochs of one run to choose from, found {names}")
    found = {c.epoch: c.path for c in series[0].checkpoints if c.epoch is not None}
    if len(found) < 2 or len(found) < len(series[0].checkpoints):
        raise CheckpointError(
            f"expected at least two epochs with distinct numbers, found {sorted(found)}"
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
    while not race.done and (block := list(islice(pairs, setup.chunk))):
        scored: dict[tuple[int, str, int], ScoreRow] = {}
        for epoch in race.surviving:
            made: list[Render] = list(renderer.render_jobs(epochs[epoch], block))
            for render, row in zip(made, setup.panel.score(made), strict=True):
                scored[epoch, row.prompt_id, render.seed or 0] = row
                images[epoch, row.prompt_id, row.seed] = render
        for _ in block:
            wanted = race.next_round()
            if not wanted:
                break
            race.add_round([scored[key] for key in wanted])
    rows = tuple(race.rows)
    return SeriesRun(
        race.selection(),
        dict(race.dropped),
        race.saved,
        rows,
        tuple(images[row.epoch, row.prompt_id, row.seed] for row in rows),
    )
