"""A test by betting: money that an honest game can not multiply by ``1 / alpha``.

Waudby-Smith and Ramdas (2024, "Estimating means of bounded random variables by betting", JRSS B
86:1-27): if every loss lies in a known range and its mean is at most ``margin``, then the capital
``prod(1 + bet * (loss - margin))`` is a nonnegative supermartingale for every bet chosen before
the image is seen that can not go bankrupt; by Ville's inequality it ever reaches ``1 / alpha``
with probability at most ``alpha``. Nothing is assumed of the scores' distribution and the test
may stop at any image. The loss is taken against the baseline's level over the whole grid, which
bounds it (a candidate can not score above 1) and allows bets many times larger than the range
[-1, 1] would. The bet must not know which prompt comes next: sized by that prompt's own level, it
bets most where the baseline was lucky, and fails good checkpoints.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FRACTIONS = (0.05, 0.1, 0.2, 0.4, 0.8)
"""The portfolio: shares of the largest bet that can not go bankrupt, an equal stake on each."""


def log_capital_worse(
    expected: Floats,
    scores: Floats,
    margin: Floats | float,
    fractions: tuple[float, ...] = FRACTIONS,
) -> Floats:
    """Return the log capital after each image of a bet that the mean loss exceeds ``margin``.

    ``scores`` (…, n) and ``expected``, the baseline's level (… or …, 1), lie in [0, 1]. The loss is
    ``expected - scores``, at least ``expected - 1``.
    """
    excess = expected - scores - margin
    largest = 1.0 / np.maximum(1.0 - expected + margin, 1e-9)
    return _portfolio(excess, largest, fractions)


def log_capital_not_worse(
    expected: Floats,
    scores: Floats,
    margin: Floats | float,
    fractions: tuple[float, ...] = FRACTIONS,
) -> Floats:
    """Return the log capital of a bet that the mean loss is below ``margin``; shapes as above.

    The loss is at most ``expected``: with a small margin, a single collapsed image could outweigh
    all gain, which is why this bet needs at least ``log(1 / alpha) / margin`` images or so.
    """
    excess = margin - (expected - scores)
    largest = 1.0 / np.maximum(expected - margin, 1e-9)
    return _portfolio(excess, np.minimum(largest, 1e3), fractions)


def surely_worse_by(expected: float, scores: Floats, alpha: float) -> float | None:
    """Return the largest loss that the bet rules out a smaller mean of, None where there is none.

    ``scores`` are (n,), ``expected`` the baseline's level. The bet is made for every margin on a
    grid of hundredths, and the largest that any image so far has rejected counts: its negative is
    the upper end of a confidence sequence for the change, valid at any image.
    """
    surest = None
    for percent in range(100):
        capital = log_capital_worse(np.array([expected]), scores, percent / 100)
        if not bool((capital >= np.log(1 / alpha)).any()):
            break
        surest = percent / 100
    return surest


def _portfolio(excess: Floats, largest: Floats, fractions: tuple[float, ...]) -> Floats:
    logs = [np.cumsum(np.log1p(part * largest * excess), axis=-1) for part in fractions]
    stacked = np.stack(logs)
    peak = stacked.max(axis=0)
    return np.asarray(peak + np.log(np.mean(np.exp(stacked - peak), axis=0)), dtype=np.float64)
