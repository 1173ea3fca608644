"""Scores by epoch: means over prompts with an interval, ready to draw or to tabulate."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from loraeval.records import ScoreRow

Interval = Callable[[Sequence[float]], tuple[float, float] | None]
"""From the values of independent prompts to the interval of their mean; None where one value
gives none."""


@dataclass(frozen=True, slots=True)
class EpochPoint:
    """One metric at one epoch: the mean over prompts and the interval of that mean.

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


def student_interval(
    values: Sequence[float], confidence: float = 0.95
) -> tuple[float, float] | None:
    """Return Student's t interval of the mean of ``values``, cut to [0, 1]; None for one value.

    Mean ± t(1 - (1 - confidence) / 2; n - 1) · s / √n, Student 1908.
    """
    from scipy.stats import t

    if len(values) < 2:
        return None
    half = (
        float(t.ppf(0.5 + confidence / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    )
    mean = fmean(values)
    return max(0.0, mean - half), min(1.0, mean + half)


def values_by_prompt(rows: Sequence[ScoreRow], metric: str) -> dict[str, float]:
    """Return the mean score of each prompt: seeds of one prompt are not independent samples."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for row in rows:
        value = row.scores.get(metric)
        if value is not None:
            found[row.prompt_id].append(value)
    return {prompt: fmean(values) for prompt, values in sorted(found.items())}


def epoch_points(
    rows: Sequence[ScoreRow],
    metrics: Sequence[str],
    interval: Interval = student_interval,
) -> list[EpochPoint]:
    """Return one point a metric and epoch, in the order of ``metrics``, epochs rising.

    Rows without an epoch are left out; an epoch at which no image was scored has no point.
    """
    by_epoch: defaultdict[int, list[ScoreRow]] = defaultdict(list)
    for row in rows:
        if row.epoch is not None:
            by_epoch[row.epoch].append(row)
    points = []
    for metric in metrics:
        for epoch in sorted(by_epoch):
            values = list(values_by_prompt(by_epoch[epoch], metric).values())
            if not values:
                continue
            band = interval(values)
            scored = sum(row.scores.get(metric) is not None for row in by_epoch[epoch])
            points.append(
                EpochPoint(
                    metric=metric,
                    epoch=epoch,
                    mean=fmean(values),
                    low=None if band is None else band[0],
                    high=None if band is None else band[1],
                    n=len(values),
                    images=scored,
                    unscored=len(by_epoch[epoch]) - scored,
                )
            )
    return points


def baseline_levels(
    rows: Sequence[ScoreRow], metrics: Sequence[str], interval: Interval = student_interval
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Return the means of a baseline's rows and their intervals, unscored metrics left out."""
    means: dict[str, float] = {}
    bands: dict[str, tuple[float, float]] = {}
    for metric in metrics:
        values = list(values_by_prompt(rows, metric).values())
        if values:
            means[metric] = fmean(values)
            band = interval(values)
            if band is not None:
                bands[metric] = band
    return means, bands
