"""Which epoch to keep, and which others can not be told from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy.special import stdtr, stdtrit

from loraeval.baselines import is_fault
from loraeval.baselines.margins import prompt_key, values_by_prompt
from loraeval.baselines.spread import SPREAD_FLOOR, spread_of
from loraeval.errors import ScoresError
from loraeval.gate.additive import Additive, fit_additive
from loraeval.gate.estimate import cluster_mean, variance_floor
from loraeval.records import ScoreRow

Trend = Literal["improving", "plateau", "overtrained", "unclear"]
Interval = tuple[float, float, float]

SMALL = 0.5
"""A change of quality, in seed-to-seed standard deviations, that a plateau may still hold."""


@dataclass(frozen=True, slots=True)
class EpochSummary:
    """One epoch: its images, its quality (mean over the gated metrics, in seed-to-seed standard
    deviations above the series' mean, adjusted for which prompts it has), and per metric the mean
    with its 95 % interval (mean, low, high). ``faults`` counts broken images.
    """

    epoch: int
    images: int
    quality: float | None
    metrics: Mapping[str, Interval]
    faults: int = 0


@dataclass(frozen=True, slots=True)
class EpochSelection:
    """The recommended epoch, the others not distinguishable from it, and why.

    ``epoch`` is None where no epoch is free of broken images; ``tied`` are the other epochs that
    may be the best as well (at confidence ``1 - alpha`` for the whole set); ``trend`` says how the
    series ends and ``trend_reason`` on what evidence; ``reason`` is the sentence for people.
    """

    epoch: int | None
    tied: tuple[int, ...]
    reason: str
    trend: Trend
    trend_reason: str
    epochs: tuple[EpochSummary, ...]
    metrics: tuple[str, ...]
    alpha: float = 0.05
    excluded: Mapping[int, str] = field(default_factory=dict)


def metric_intervals(
    rows: Sequence[ScoreRow], confidence: float = 0.95
) -> dict[str, tuple[float, float, float]]:
    """Return per metric the mean and its interval (mean, low, high), prompts as clusters.

    The ends are clipped to [0, 1]. With a single prompt the interval is (mean, 0, 1): nothing is
    known of its spread.
    """
    found = {}
    for metric in dict.fromkeys(name for row in rows for name in row.scores):
        values = values_by_prompt(rows, metric)
        if values:
            found[metric] = _interval(values, confidence)
    return found


def select_epoch(
    rows: Sequence[ScoreRow], gated: Sequence[str] | None = None, *, alpha: float = 0.05
) -> EpochSelection:
    """Return which epoch of one run to keep.

    ``gated`` names the metrics that count (default: every undotted one). Quality is fitted as
    epoch + prompt, so that epochs rendered with other prompts stay comparable where some are
    shared. An epoch leaves the set of possible bests when some other is better at level ``alpha /
    (epochs - 1)``; the true best is then in the set with probability ``1 - alpha`` at least
    (Bonferroni; the idea of Hsu 1984, "Constrained simultaneous confidence intervals for multiple
    comparisons with the best"). Epochs with broken images are never recommended.

    Raises ``ScoresError`` where no row has an epoch or no gated metric was measured.
    """
    known = [row for row in rows if row.epoch is not None]
    if not known:
        raise ScoresError("expected rows with an epoch to choose among, found none")
    metrics = _counted_metrics(known, gated)
    quality = quality_of(known, metrics)
    numbers = sorted({row.epoch for row in known if row.epoch is not None})
    faulty = {row.epoch for row in known if is_fault(row)}
    usable = [
        (row, value)
        for row, value in zip(known, quality, strict=True)
        if value is not None and row.epoch not in faulty
    ]
    fit = fit_additive(
        [row.epoch for row, _ in usable if row.epoch is not None],
        [prompt_key(row) for row, _ in usable],
        [value for _, value in usable],
    )
    members: dict[int | None, list[ScoreRow]] = {}
    for row in known:
        members.setdefault(row.epoch, []).append(row)
    summaries = tuple(_summary(number, members[number], fit) for number in numbers)
    excluded = dict.fromkeys(sorted(number for number in faulty if number is not None), "broken")
    if not fit.levels:
        reason = "no epoch can be recommended: every epoch has broken images"
        return EpochSelection(
            None, (), reason, "unclear", reason, summaries, metrics, alpha, excluded
        )
    best = max(fit.levels, key=lambda number: (round(fit.level(number), 9), -number))
    beaten = _beaten(fit, alpha)
    tied = tuple(n for n in fit.levels if n != best and n not in beaten)
    for number in fit.levels:
        if number != best and number not in tied:
            excluded[number] = "worse"
    trend, trend_reason = _trend(fit, best, tied, alpha)
    reason = _reason(fit, best, tied, len(usable), excluded, trend_reason)
    return EpochSelection(
        best, tied, reason, trend, trend_reason, summaries, metrics, alpha, excluded
    )


def quality_of(
    rows: Sequence[ScoreRow],
    metrics: Sequence[str],
    scale: Mapping[str, tuple[float, float]] | None = None,
) -> list[float | None]:
    """Return per row the mean over ``metrics`` of (score - centre) / spread, None if unmeasured.

    ``scale`` maps metric to (centre, spread); by default they come from the rows themselves: the
    mean and the spread from seed to seed, at least twice ``SPREAD_FLOOR``.
    """
    scale = scale or quality_scale(rows, metrics)
    found: list[float | None] = []
    for row in rows:
        parts = [
            (value - scale[metric][0]) / scale[metric][1]
            for metric in metrics
            if metric in scale and (value := row.scores.get(metric)) is not None
        ]
        found.append(math.fsum(parts) / len(parts) if parts else None)
    return found


def quality_scale(
    rows: Sequence[ScoreRow], metrics: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Return per metric (centre, spread) as ``quality_of`` uses them."""
    found = {}
    for metric in metrics:
        values = values_by_prompt([row for row in rows if not is_fault(row)], metric)
        if sum(map(len, values.values())) >= 2:
            spread = spread_of(values)
            found[metric] = (spread.mean, max(spread.within, 2 * SPREAD_FLOOR))
    return found


def _counted_metrics(rows: Sequence[ScoreRow], gated: Sequence[str] | None) -> tuple[str, ...]:
    names = gated or list(dict.fromkeys(name for row in rows for name in row.scores))
    wanted = [name for name in names if name != "health" and (gated or "." not in name)]
    healthy = [row for row in rows if not is_fault(row)] or list(rows)
    scored = {name: sum(row.scores.get(name) is not None for row in healthy) for name in wanted}
    everywhere = tuple(name for name in wanted if scored[name] == len(healthy))
    found = everywhere or tuple(name for name in wanted if scored[name])
    if not found and any(not is_fault(row) for row in rows):
        raise ScoresError(
            f"expected scores of {', '.join(wanted) or 'some metric'} to choose an epoch by, "
            "found none"
        )
    return found


def _summary(number: int, members: Sequence[ScoreRow], fit: Additive) -> EpochSummary:
    intervals = metric_intervals(members)
    return EpochSummary(
        epoch=number,
        images=len(members),
        quality=fit.level(number) if number in fit.levels else None,
        metrics=intervals,
        faults=sum(map(is_fault, members)),
    )


def _beaten(fit: Additive, alpha: float) -> set[int]:
    """Return the epochs that are surely worse than some other, each at ``alpha`` for them all."""
    if fit.df <= 0:
        return set()
    level = alpha / max(1, len(fit.levels) - 1)
    gaps, errors = fit.gaps()
    surely = np.asarray(gaps > float(stdtrit(fit.df, 1 - level)) * errors)
    np.fill_diagonal(surely, val=False)
    worse = [bool(column.any()) for column in surely.T]
    return {epoch for epoch, beaten in zip(fit.levels, worse, strict=True) if beaten}


def _trend(fit: Additive, best: int, tied: Sequence[int], alpha: float) -> tuple[Trend, str]:
    levels = list(fit.levels)
    last = levels[-1]
    if len(levels) < 3 or fit.df < 1:
        return "unclear", "Too few epochs or images to say how the series ends."
    if last != best and last not in tied:
        gap, _ = fit.contrast({last: 1.0, best: -1.0})
        by = f"by {-gap:.1f} of the seed-to-seed spread"
        return (
            "overtrained",
            f"Overtrained: epoch {last} is surely worse than epoch {best}, {by}.",
        )
    late = levels[-max(3, len(levels) // 2) :]
    centre = float(np.mean(late))
    weights = {number: number - centre for number in late}
    norm = math.fsum(weight**2 for weight in weights.values())
    span = late[-1] - late[0]
    change, error = fit.contrast({n: weight / norm * span for n, weight in weights.items()})
    p_rise = float(stdtr(fit.df, -change / error))
    reach = float(stdtrit(fit.df, 1 - alpha / 2)) * error
    change_words = f"{change:+.1f} of the seed-to-seed spread"
    over = f"from epoch {late[0]} to {late[-1]} quality changes by {change_words}"
    proof = f"(95 % sure: {change - reach:+.1f} to {change + reach:+.1f})"
    if p_rise < alpha / 2:
        return "improving", f"Still improving: {over} {proof}; train longer."
    if p_rise > 1 - alpha / 2:
        return "overtrained", f"Overtrained: {over} {proof}."
    if abs(change) + reach <= 2 * SMALL:
        return "plateau", f"Plateau: {over} {proof}."
    return "unclear", f"No trend can be told from these images: {over} {proof}."


def _reason(
    fit: Additive,
    best: int,
    tied: Sequence[int],
    images: int,
    excluded: Mapping[int, str],
    trend: str,
) -> str:
    count = len(fit.levels)
    if count == 1:
        text = f"Epoch {best} is the only one without broken images to choose from."
    elif not tied:
        text = f"Epoch {best} is the best of {count}, and surely so ({images} images)."
    elif len(tied) == count - 1:
        text = (
            f"Epoch {best} scores highest, but no other epoch can be told from it with "
            f"{images} images."
        )
    else:
        text = (
            f"Epoch {best} scores highest; {_epochs(tied)} can not be told from it with "
            f"{images} images, the other {count - 1 - len(tied)} are worse."
        )
    broken = [number for number, why in excluded.items() if why == "broken"]
    if broken:
        text += f" Broken images rule out {_epochs(broken)}."
    return f"{text} {trend}"


def _epochs(numbers: Sequence[int]) -> str:
    """Return ``epochs 2-4 and 9`` for (2, 3, 4, 9)."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = [str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs]
    text = words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" and {words[-1]}"
    return f"epoch {text}" if len(numbers) == 1 else f"epochs {text}"


def _interval(values: Mapping[str, Sequence[float]], confidence: float) -> Interval:
    numbers = np.array([value for group in values.values() for value in group])
    clusters = np.repeat(np.arange(len(values)), [len(group) for group in values.values()])
    found = cluster_mean(numbers, clusters)
    mean = float(found.mean)
    if found.clusters < 2:
        return mean, 0.0, 1.0
    error = float(np.sqrt(max(float(found.variance), variance_floor(len(numbers)))))
    reach = float(stdtrit(found.clusters - 1, (1 + confidence) / 2)) * error
    return mean, max(0.0, mean - reach), min(1.0, mean + reach)
