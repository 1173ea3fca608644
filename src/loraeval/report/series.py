"""Scores by epoch: means over prompts with an interval, ready to draw or to tabulate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

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


def in_epoch_order(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """Return ``rows`` run by run as they first appear, each run's epochs rising, else unchanged."""
    runs = {run: place for place, run in enumerate(dict.fromkeys(row.run for row in rows))}
    return sorted(rows, key=lambda row: (runs[row.run], -1 if row.epoch is None else row.epoch))


def epoch_points(rows: Sequence[ScoreRow], metrics: Sequence[str]) -> list[EpochPoint]:
    """Return one point a metric and epoch, in the order of ``metrics``, epochs rising.

    The intervals are those of ``loraeval.gate.epochs.metric_intervals``: prompts are the
    independent samples, seeds of one prompt are not. Rows without an epoch are left out; an epoch
    at which no image was scored has no point.
    """
    from loraeval.gate.epochs import metric_intervals

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
                )
            )
    return points
