"""Margins with a meaning: how large a loss is still accepted, and what that looks like."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median

from loraeval.baselines.spread import Spread, spread_of
from loraeval.records import ScoreRow

SMALLEST = 0.02
"""No derived margin is smaller than two points of a hundred."""

RESOLVE_ALPHA = 0.05
RESOLVE_POWER = 0.9


@dataclass(frozen=True, slots=True)
class Margin:
    """A margin in the metric's own unit, the spread behind it, and its meaning in words."""

    metric: str
    value: float
    spread: Spread
    words: str


def values_by_prompt(rows: Sequence[ScoreRow], metric: str) -> dict[str, list[float]]:
    """Return the measured scores of ``metric`` by prompt (id and digest), in order."""
    found: dict[str, list[float]] = {}
    for row in rows:
        value = row.scores.get(metric)
        if value is not None:
            found.setdefault(prompt_key(row), []).append(value)
    return found


def prompt_key(row: ScoreRow) -> str:
    """Return what tells prompts apart: the id, and the digest of its text where known."""
    return f"{row.prompt_id}\x1f{row.prompt_digest or ''}"


def shift_seen_in(share: float) -> float:
    """Return the shift, in standard deviations, that changes a share ``share`` of the images.

    Two normal distributions one shift apart overlap but for ``share`` (their total variation
    distance ``2 * Phi(shift / 2) - 1``): at best, one image in ``1 / share`` shows which of the
    two it came from.

    >>> round(shift_seen_in(0.2), 3)
    0.507
    """
    return 2 * NormalDist().inv_cdf((1 + share) / 2)


def seen_in(shift: float) -> float:
    """Return the share of images that a shift in standard deviations changes; the inverse."""
    return 2 * NormalDist().cdf(shift / 2) - 1


def in_words(share: float) -> str:
    """Return a share of images as people say it.

    >>> in_words(0.2), in_words(0.61)
    ('about one image of 5', 'about 6 images of 10')
    """
    if share < 0.34:
        return f"about one image of {1 / max(share, 1e-3):.0f}"
    return f"about {share * 10:.0f} images of 10" if share < 0.95 else "nearly every image"


def derive_margin(
    rows: Sequence[ScoreRow], metric: str, share: float, repeat: float = 0.0
) -> Margin:
    """Return the margin of ``metric`` from the baseline's own seed-to-seed spread.

    The largest of: the shift that people see in a share ``share`` of the images; the smallest
    loss that as many images as the baseline has for one checkpoint can tell from none (one-sided
    5 %, power 90 %); and ``SMALLEST``. ``repeat``, the drift between two machines, is added.
    Raises ``ValueError`` for fewer than two measured images.
    """
    spread = spread_of(values_by_prompt(rows, metric))
    wanted = shift_seen_in(share) * spread.within
    resolved = resolution(rows, metric, spread)
    value = max(wanted, resolved, SMALLEST) + repeat
    words = f"a difference seen in {in_words(seen_in(value / spread.within))}"
    if value - repeat == resolved and resolved > wanted:
        words += "; the baseline has too few images for a finer margin"
    elif value - repeat == SMALLEST and wanted < SMALLEST:
        words = f"the smallest margin used: {SMALLEST:g} of the score's range"
    if repeat > 0:
        words += f"; {repeat:.3f} of it allows for another machine or library version"
    return Margin(metric, round(value, 4), spread, words)


def resolution(rows: Sequence[ScoreRow], metric: str, spread: Spread) -> float:
    """Return the smallest loss that one checkpoint's images can tell from none.

    The images of one checkpoint are counted as in the baseline itself (the median over its run
    and epoch groups).
    """
    groups: dict[tuple[str, int | None], int] = {}
    for row in rows:
        if row.scores.get(metric) is not None:
            key = (row.run, row.epoch)
            groups[key] = groups.get(key, 0) + 1
    typical = median(groups.values())
    per_prompt = spread.images / spread.prompts
    error = spread.within * math.sqrt((1 + 1 / per_prompt) / typical)
    df = spread.df + typical - 1
    return (_t_quantile(1 - RESOLVE_ALPHA, df) + _t_quantile(RESOLVE_POWER, df)) * error


def repeat_drift(pairs: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, float]:
    """Return per metric the drift between a baseline and its repetition elsewhere.

    ``pairs`` maps a metric to (frozen, repeated) scores of the same prompt and seed. The drift is
    the absolute mean difference plus its one-sided 95 % uncertainty (normal), in score units; a
    metric with fewer than three pairs is left out.
    """
    found = {}
    for metric, scores in pairs.items():
        gaps = [again - frozen for frozen, again in scores]
        if len(gaps) < 3:
            continue
        mean = math.fsum(gaps) / len(gaps)
        variance = math.fsum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1)
        error = math.sqrt(variance / len(gaps))
        found[metric] = abs(mean) + NormalDist().inv_cdf(0.95) * error
    return found


def _t_quantile(level: float, df: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, level))
