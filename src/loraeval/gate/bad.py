"""The second promise: the share of bad images has not risen by ``T``.

A test of the mean that decides early cannot see that a few images collapse: ``n`` images show none
of a share ``q`` with probability ``(1 - q) ** n``. So the share of bad images is tested by itself,
with exact binomial limits. Where the baseline has the same prompt and seed, an image counts that is
bad and whose golden twin is not (``newly_bad``): their share is at least the rise, so no share of
the baseline's need be estimated. Elsewhere the baseline's own share is estimated, with its
interval; its error is counted by taking its lower end. Bad means at most 2 of 100 golden images,
where that lower end is 0 for any baseline of ordinary size, so a candidate passes where its share
is surely below ``T``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

FEWEST_TO_PLACE = 50
"""Golden images below which "below 98 of 100 of them" names no level."""

RARE = 0.02
"""Share of the golden images that may lie below the level."""

FIRST_SHARE = 0.7
"""Share of the error spent at the first look that could pass without a bad image; the rest is
spent with the logarithm of the images, so that one bad image by chance is no end of all hope."""

NO_PASS = -1
"""Limit of bad images at a look where nothing can pass yet."""


@dataclass(frozen=True, slots=True)
class BadLevel:
    """The score below which an image is bad, None where no promise can be made, and ``why``.

    ``count`` of the baseline's ``images`` lie below it.
    """

    level: float | None
    count: int
    images: int
    why: str = ""

    @property
    def share(self) -> float:
        """The baseline's own share of bad images."""
        return self.count / self.images if self.images else 0.0

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the exact two-sided interval of the share (Clopper and Pearson 1934)."""
        tail = (1 - confidence) / 2
        low = betaincinv(self.count, self.images - self.count + 1, tail) if self.count else 0.0
        high = (
            betaincinv(self.count + 1, self.images - self.count, 1 - tail)
            if self.count < self.images
            else 1.0
        )
        return float(low), float(high)


def bad_level(golden: Sequence[float]) -> BadLevel:
    """Return the level below which an image is bad, from the baseline's scores of one metric.

    It is the lower of half the baseline's mean and the score that ``1 - RARE`` of its images
    reach: an image below it is both. No promise is made where that level is 0, as no score is
    lower, and where fewer than ``FEWEST_TO_PLACE`` images cannot place it.
    """
    count = len(golden)
    if count < FEWEST_TO_PLACE:
        why = f"{count} golden images cannot place it (at least {FEWEST_TO_PLACE})"
        return BadLevel(None, 0, count, why)
    ordered = sorted(golden)
    level = min(math.fsum(ordered) / count / 2, ordered[math.floor(RARE * count)])
    if level <= 0:
        return BadLevel(None, 0, count, "golden images score 0 themselves")
    return BadLevel(level, sum(value < level for value in ordered), count)


def fewest_images(tolerance: float, alpha: float) -> int:
    """Return the number of images below which no method can promise a share below ``tolerance``.

    A share of exactly ``tolerance`` shows no bad image among ``n`` with probability ``(1 -
    tolerance) ** n``; any gate that passes while that is above ``alpha`` breaks its word.

    >>> fewest_images(0.1, 0.05)
    29
    """
    return max(1, math.ceil(math.log(alpha) / math.log1p(-tolerance)))


@lru_cache(maxsize=128)
def bad_limits(looks: tuple[int, ...], tolerance: float, alpha: float) -> tuple[int, ...]:
    """Return how many bad images each look may show to pass, ``NO_PASS`` where none may.

    ``looks`` are numbers of images, rising. If the share of bad images is ``tolerance`` or more,
    the chance that any look passes is at most ``alpha``: the probability of having passed is
    followed exactly over all looks (curtailed binomial sampling). ``FIRST_SHARE`` of ``alpha`` is
    for passing without a bad image, the rest grows with the logarithm of the images.
    """
    last = looks[-1]
    start = min(fewest_images(tolerance, FIRST_SHARE * alpha), last)
    state = np.zeros(last + 2)
    state[0] = 1.0
    seen, used = 0, 0.0
    limits: list[int] = []
    for look in looks:
        for _ in range(look - seen):
            state[1:] = state[1:] * (1 - tolerance) + state[:-1] * tolerance
            state[0] *= 1 - tolerance
        seen = look
        if look < start:
            limits.append(NO_PASS)
            continue
        grown = math.log(look / start) / math.log(last / start) if last > start else 1.0
        room = alpha * (FIRST_SHARE + (1 - FIRST_SHARE) * grown) - used
        crossed = np.cumsum(state)
        limit = int(np.searchsorted(crossed, room + 1e-12, side="right")) - 1
        limit = max(limit, NO_PASS)
        if limit >= 0:
            used += float(crossed[limit])
            state[: limit + 1] = 0.0
        limits.append(limit)
    return tuple(limits)


def few_enough(bad: NDArray[np.bool_], look: int, limit: int) -> NDArray[np.bool_]:
    """Return whether the first ``look`` images of ``bad`` (…, n) show at most ``limit`` bad."""
    return np.asarray(bad[..., :look].sum(axis=-1) <= limit)


def newly_bad(
    scores: NDArray[np.float64], same_seed: NDArray[np.float64], level: NDArray[np.float64] | float
) -> NDArray[np.bool_]:
    """Return which images (…, n) are bad where the baseline's of the same prompt and seed is not.

    The share of bad images rises by at most the share of newly bad ones, whatever the two have in
    common: a limit on these is one on the rise, and needs no estimate of the baseline's share. An
    image that was bad in the baseline too is no rise. A level of NaN makes none bad.

    >>> newly_bad(np.array([0.1, 0.1, 0.9]), np.array([0.9, 0.1, 0.1]), 0.5).tolist()
    [True, False, False]
    """
    return np.asarray((scores < level) & ~(same_seed < level))


def dead_prompts(prompts: int, tolerance: float) -> int:
    """Return the smallest whole number of prompts that is at least ``tolerance`` of ``prompts``.

    >>> dead_prompts(40, 0.1), dead_prompts(12, 0.1)
    (4, 2)
    """
    return math.ceil(round(tolerance * prompts, 9))
