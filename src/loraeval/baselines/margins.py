"""Margins with a meaning: how large a loss is still accepted, and what that looks like."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from loraeval.baselines.spread import FEW, Spread, spread_of
from loraeval.records import ScoreRow

SMALLEST = 0.02
"""No derived margin is smaller than two points of a hundred."""

RESOLVE_ALPHA = 0.05
RESOLVE_POWER = 0.9


@dataclass(frozen=True, slots=True)
class Margin:
    """A margin in the metric's own unit, the spread behind it, and its meaning in words.

    ``lacking`` golden images are missing before the baseline's own mean is known well enough for
    a loss of this size, 0 where none is.
    """

    metric: str
    value: float
    spread: Spread
    words: str
    lacking: int = 0


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


def values_by_run(rows: Sequence[ScoreRow], metric: str) -> dict[str, list[float]]:
    """Return the measured scores by run, epoch and prompt: what only the seed tells apart."""
    found: dict[str, list[float]] = {}
    for row in rows:
        value = row.scores.get(metric)
        if value is not None:
            key = f"{row.run}\x1f{row.epoch}\x1f{prompt_key(row)}"
            found.setdefault(key, []).append(value)
    return found


def seed_spread(rows: Sequence[ScoreRow], metric: str) -> Spread:
    """Return the spread of ``metric`` with ``within`` from seed to seed of one checkpoint.

    A baseline of several runs does not get a wider margin where its runs differ: what one run does
    to a prompt and another does not is no luck of a seed. Where no checkpoint has several seeds a
    prompt, runs and epochs are taken together.
    """
    spread = spread_of(values_by_prompt(rows, metric))
    groups = values_by_run(rows, metric)
    df = spread.images - len(groups)
    if df < FEW:
        return spread
    inside = spread_of(groups)
    return replace(spread, within=inside.within, df=inside.df)


def golden_needed(within: float, margin: float) -> int:
    """Return how many golden images know their mean well enough to tell a loss of ``margin`` from
    none: one-sided 5 %, power 90 %, by the t distribution.

    >>> golden_needed(0.1, 0.0507)
    35
    """
    count = 2
    while count < 100_000:
        df = count - 1
        reach = _t_quantile(1 - RESOLVE_ALPHA, df) + _t_quantile(RESOLVE_POWER, df)
        if reach * within / math.sqrt(count) <= margin:
            break
        count += 1
    return count


def golden_lacking(rows: Sequence[ScoreRow], metric: str, margin: float) -> int:
    """Return how many golden images are missing for a loss of ``margin``, 0 where none is."""
    spread = seed_spread(rows, metric)
    return max(0, golden_needed(spread.within, margin) - spread.images)


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

    The larger of the shift that people see in a share ``share`` of the images and ``SMALLEST``;
    ``repeat``, the drift between two machines, is added. How many golden images there are does not
    change it: too few of them are ``lacking``, and nothing passes against them. Raises
    ``ValueError`` for fewer than two measured images.
    """
    spread = seed_spread(rows, metric)
    wanted = shift_seen_in(share) * spread.within
    value = max(wanted, SMALLEST) + repeat
    words = f"a difference seen in {in_words(seen_in(value / spread.within))}"
    if wanted < SMALLEST:
        words = f"the smallest margin used: {SMALLEST:g} of the score's range"
    if repeat > 0:
        words += f"; {repeat:.3f} of it allows for another machine or library version"
    value = round(value, 4)
    lacking = max(0, golden_needed(spread.within, value) - spread.images)
    if lacking:
        words += f"; about {lacking} golden images lacking to resolve it, so nothing passes"
    return Margin(metric, value, spread, words, lacking)


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
