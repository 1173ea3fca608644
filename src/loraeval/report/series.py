"""Scores by epoch: means over prompts with an interval, ready to draw or to tabulate."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from loraeval.records import ScoreRow


@dataclass(frozen=True, slots=True)
class EpochPoint:
    """One metric at one epoch: the mean and the 95 % interval of that mean.

    ``n`` counts the prompts that were scored, ``images`` the images, ``unscored`` the images that
    have no number. ``low`` and ``high`` are None where a single prompt gives no interval.
    """

    metric: str
    epoch: int
    mean: float
    low: float | None
    high: float | None
    n: int
    images: int
    unscored: int
    axis: str = "epoch"


def on_axis(rows: Sequence[ScoreRow]) -> tuple[list[ScoreRow], str]:
    """Return rows whose ``epoch`` counts what tells the checkpoints apart, and its name.

    Runs that were saved by steps have no epoch: there it is the step, and the name is ``step``.
    Rows of runs by epochs come back as they are.
    """
    if any(row.epoch is not None for row in rows) or all(row.step is None for row in rows):
        return list(rows), "epoch"
    return [replace(row, epoch=row.step) for row in rows], "step"


def axis_words(text: str, axis: str) -> str:
    """Return a sentence on epochs for the axis that the rows have.

    >>> axis_words("Keep epoch 500; epochs 1000 may be as good.", "step")
    'Keep step 500; steps 1000 may be as good.'
    """
    if axis == "epoch":
        return text
    return re.sub(r"\b([Ee])poch(s?)\b", lambda m: ("Step" if m[1] == "E" else "step") + m[2], text)


def in_epoch_order(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """Return ``rows`` run by run as they first appear, each run's epochs rising, else unchanged."""
    runs = {run: place for place, run in enumerate(dict.fromkeys(row.run for row in rows))}

    def place(row: ScoreRow) -> tuple[int, int, int]:
        epoch, step = (-1 if n is None else n for n in (row.epoch, row.step))
        return runs[row.run], epoch, step

    return sorted(rows, key=place)


def epoch_points(rows: Sequence[ScoreRow], metrics: Sequence[str]) -> list[EpochPoint]:
    """Return one point a metric and epoch, in the order of ``metrics``, epochs rising.

    The intervals are those of ``loraeval.gate.epochs.metric_intervals``: prompts are the
    independent samples, seeds of one prompt are not. Rows without an epoch are left out, unless
    all are by steps (``on_axis``); an epoch at which no image was scored has no point.
    """
    from loraeval.gate.epochs import metric_intervals

    rows, axis = on_axis(rows)
    by_epoch: defaultdict[int, list[ScoreRow]] = defaultdict(list)
    for row in rows:
        if row.epoch is not None:
            by_epoch[row.epoch].append(row)
    intervals = {epoch: metric_intervals(members) for epoch, members in by_epoch.items()}
    points = []
    for metric in metrics:
        for epoch in sorted(by_epoch):
            if metric not in intervals[epoch]:
                continue
            mean, low, high = intervals[epoch][metric]
            scored = [row for row in by_epoch[epoch] if row.scores.get(metric) is not None]
            prompts = len({row.prompt_id for row in scored})
            points.append(
                EpochPoint(
                    metric=metric,
                    epoch=epoch,
                    mean=mean,
                    low=low if prompts > 1 else None,
                    high=high if prompts > 1 else None,
                    n=prompts,
                    images=len(scored),
                    unscored=len(by_epoch[epoch]) - len(scored),
                    axis=axis,
                )
            )
    return points
