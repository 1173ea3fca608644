"""The estimate on a fixed set of images of any size, one included."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from loraeval.baselines import Baseline
from loraeval.baselines.margins import values_by_prompt
from loraeval.gate.anytime import anytime_limit
from loraeval.gate.estimate import cluster_mean, paired_residuals, variance_floor
from loraeval.gate.looks import FEWEST_CLUSTERS
from loraeval.gate.matching import Matched
from loraeval.gate.options import GateOptions

FORESEEABLE = 2000
"""More further images than this are not advised: the loss lies at the margin."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Candidate minus baseline, its standard error, degrees of freedom and skewness."""

    mean: float
    error: float
    df: float
    skewness: float = 0.0


def estimate_fixed(matched: Matched, baseline: Baseline) -> Estimate:
    """Return candidate minus baseline with the error of a sample of any size, one included.

    Prompts are clusters. From ``FEWEST_CLUSTERS`` prompts on, the candidate's own spread counts
    (Welch and Satterthwaite where the baseline's mean is a second sample); below, it is pooled
    with the spread inside the baseline and never taken to be smaller than that.
    """
    scores = np.array(matched.scores)
    _, clusters = np.unique(np.array(matched.prompts), return_inverse=True)
    if matched.pairing == "unpaired":
        return _estimate_unpaired(matched, baseline, scores, clusters)
    residuals = paired_residuals(
        scores,
        np.array(matched.same_seed),
        np.array(matched.prompt_mean),
        matched.spread.within,
    )
    found = cluster_mean(residuals, clusters)
    sizes = np.bincount(clusters)
    first = [int(np.argmax(clusters == group)) for group in range(len(sizes))]
    behind = np.array(matched.per_prompt)[first]
    within = matched.spread.within**2
    expected = float(((sizes / sizes.sum()) ** 2 * (within / sizes + within / behind)).sum())
    fitted = 1 if matched.pairing == "prompt+seed" else 0
    variance, df = _pool(
        float(found.variance), expected, found.clusters, matched.spread.df, len(scores), fitted
    )
    skewness = float(found.skewness) if found.clusters >= FEWEST_CLUSTERS else 0.0
    return Estimate(float(found.mean), math.sqrt(variance), df, skewness)


def _estimate_unpaired(
    matched: Matched, baseline: Baseline, scores: np.ndarray, clusters: np.ndarray
) -> Estimate:
    spread = matched.spread
    sizes = np.bincount(clusters)
    found = cluster_mean(scores, clusters)
    ours = float(
        ((sizes / sizes.sum()) ** 2 * (spread.between**2 + spread.within**2 / sizes)).sum()
    )
    variance, df = _pool(float(found.variance), ours, found.clusters, spread.df, len(scores), 0)
    golden = values_by_prompt(baseline.rows, matched.metric)
    counts = Counter({key: len(values) for key, values in golden.items()})
    shares = np.array(list(counts.values())) / spread.images
    numbers = np.array([value for values in golden.values() for value in values])
    groups = np.repeat(np.arange(len(golden)), [len(values) for values in golden.values()])
    model = float((shares**2 * spread.between**2).sum() + spread.within**2 / spread.images)
    theirs = max(float(cluster_mean(numbers, groups).variance), model)
    df_theirs = max(1, len(golden) - 1)
    total = variance + theirs
    satterthwaite = total**2 / (variance**2 / df + theirs**2 / df_theirs)
    return Estimate(float(found.mean) - spread.mean, math.sqrt(total), satterthwaite)


def _pool(
    own: float, expected: float, clusters: int, df_baseline: int, count: int, fitted: int
) -> tuple[float, float]:
    """Return variance and degrees of freedom from the candidate's own and the expected variance."""
    if clusters >= FEWEST_CLUSTERS:
        df = clusters - 1 - fitted
        return max(own * (clusters - 1) / df, variance_floor(count)), df
    df_own = clusters - 1
    ratio = own / expected
    pooled = (df_baseline + df_own * ratio) / (df_baseline + df_own)
    return max(expected * max(1.0, pooled), variance_floor(count)), df_baseline + df_own


def images_to_decide(
    estimate: Estimate,
    margin: float,
    count: int,
    level_high: float,
    options: GateOptions,
    anytime: bool = False,
) -> int | None:
    """Return how many further images would probably decide, None where not in sight.

    If the change stays where it is, and the error shrinks with the root of the images, the bound
    (with ``anytime`` the one that needs no memory) then clears the margin with probability
    ``options.power``.
    """
    gap = abs(estimate.mean + margin)
    level = options.alpha if estimate.mean > -margin else level_high
    if gap == 0:
        return None

    def decides(number: int) -> bool:
        limit = anytime_limit(level, number, max(1, number - 2)) if anytime else -ndtri(level)
        error = estimate.error * math.sqrt(count / number)
        return bool((limit + ndtri(options.power)) * error <= gap)

    most = count + FORESEEABLE
    if not decides(most):
        return None
    found = bisect_left(range(count + 1, most), True, key=decides) + count + 1
    return found - count
