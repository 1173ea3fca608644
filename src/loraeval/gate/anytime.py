"""Bounds that hold however many images are added, and whatever the reason was to add them.

Who gates found images, reads "about N more would probably decide" and adds them has looked twice;
a bound for one fixed sample then errs twice. This one needs no memory of earlier looks: the ratio
of the likelihood of the t statistic under effects drawn from a normal prior to that under none is
a martingale when the scale is unknown (Lai 1976, "On confidence sequences"; Wang and Ramdas 2025,
"Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance"), so it
ever reaches ``1 / alpha`` with probability at most ``alpha`` (Ville). Three priors keep
it useful from one image to some hundred.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

PRIORS = ((30.0, 0.15), (0.3, 0.25), (0.03, 0.6))
"""Variances of the effect, in spreads of one image squared, and the stake on each: a level far off
in one image, a clear fall in some ten, a fall of a margin in fifty."""


def log_evidence(t: float, count: int, df: float) -> float:
    """Return the log likelihood ratio of the t statistic ``t`` on ``count`` images, ``df`` degrees
    of freedom: a mean of the ratios for ``PRIORS``.
    """
    logs = []
    for prior, stake in PRIORS:
        grown = 1 + count * prior
        ratio = math.log1p(t * t / df) - math.log1p(t * t / (df * grown))
        logs.append((df + 1) / 2 * ratio - math.log(grown) / 2 + math.log(stake))
    return float(np.logaddexp.reduce(logs))


@lru_cache(maxsize=4096)
def anytime_limit(alpha: float, count: int, df: float) -> float:
    """Return how many standard errors below the mean its one-sided lower bound lies at any time.

    The evidence is the same for both signs, so one sign alone may reach half of it. Infinite where
    so few degrees of freedom can never show enough.

    >>> round(anytime_limit(0.05, 60, 58), 2)
    3.08
    """
    wanted = -math.log(2 * alpha)
    low, high = 0.0, 1.0
    while log_evidence(high, count, df) < wanted:
        low, high = high, high * 2
        if high > 1e9:
            return math.inf
    for _ in range(60):
        middle = (low + high) / 2
        if log_evidence(middle, count, df) < wanted:
            low = middle
        else:
            high = middle
    return high
