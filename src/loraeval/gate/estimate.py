"""The estimate behind every verdict: how much worse, and how sure, with prompts as clusters.

Images of one prompt share what the prompt does to them, so a prompt counts as one cluster
(Liang and Zeger 1986; the t distribution with clusters - 1 degrees of freedom follows Cameron
and Miller 2015, section VI). All functions take arrays of shape (…, n): the last axis is images,
the ones before it are simulated gates, so that the benchmark runs the very code the gate runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loraeval.baselines.spread import SPREAD_FLOOR

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHRINK = 4.0
"""How many images' worth of belief in a pairing weight of one half."""


@dataclass(frozen=True, slots=True)
class ClusterMean:
    """Means (…), variances and skewnesses of these means (…), the number of clusters, and the
    degrees of freedom behind the variance.
    """

    mean: Floats
    variance: Floats
    clusters: int
    skewness: Floats
    df: int


def cluster_mean(values: Floats, clusters: Ints) -> ClusterMean:
    """Return the mean over the last axis with its cluster-robust variance.

    ``clusters`` (n,) names the cluster of each image. The variance is
    ``G / (G - 1) * sum over clusters (sum of residuals) ** 2 / n ** 2``, which is ``s ** 2 / n``
    where every cluster holds one image; it is 0 for a single cluster. The mean of nothing raises.
    """
    count = values.shape[-1]
    if count == 0 or clusters.shape != (count,):
        raise ValueError(f"expected as many clusters as values, got {clusters.shape}, {count}")
    _, index = np.unique(clusters, return_inverse=True)
    groups = int(index.max()) + 1
    mean = values.mean(axis=-1)
    member = np.zeros((count, groups))
    member[np.arange(count), index] = 1.0
    sums = (values - mean[..., None]) @ member
    if groups == 1:
        return ClusterMean(mean, np.zeros_like(mean), 1, np.zeros_like(mean), 0)
    variance = groups / (groups - 1) * (sums**2).sum(axis=-1) / count**2
    scale = np.maximum((sums**2).sum(axis=-1), 1e-12)
    skewness = (sums**3).sum(axis=-1) / scale**1.5
    return ClusterMean(mean, variance, groups, skewness, groups - 1)


def prompt_mean_of(values: Floats, clusters: Ints, golden: Floats | float) -> ClusterMean:
    """Return the mean of prompt means over the last axis, for these prompts and new seeds.

    The variance is that within prompts, pooled, over each prompt's number of images (stratified
    sampling with every stratum seen: Cochran 1977, "Sampling Techniques", section 5.3), plus
    ``golden`` (…), that of the baseline's own mean. What a prompt does to the candidate adds no
    error: it is part of what is estimated. The skewness is that of all deviations from the mean,
    since deviations within pairs are symmetric whatever the scores.
    """
    _, index, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    groups, count = len(sizes), values.shape[-1]
    member = np.zeros((count, groups))
    member[np.arange(count), index] = 1.0
    means = values @ member / sizes
    mean = means.mean(axis=-1)
    inside = values - means[..., index]
    df = count - groups
    within = (inside**2).sum(axis=-1) / df
    weights = 1 / (sizes[index] * groups)
    moved = (values - mean[..., None]) * weights
    scale = np.maximum((moved**2).sum(axis=-1), 1e-12)
    skewness = (moved**3).sum(axis=-1) / scale**1.5
    variance = within * (1 / sizes).sum() / groups**2 + golden
    return ClusterMean(mean, variance, groups, skewness, df)


def hall_limit(limit: float, skewness: Floats) -> Floats:
    """Return how many standard errors below a skewed mean its lower bound lies, shape (…).

    ``limit`` is the t quantile for a symmetric mean, ``skewness`` (…) that of the mean. Scores near
    their ceiling fall far and rise little: the rare falls that were not seen yet make mean and
    spread both look too good. The bound inverts Hall's (1992, "On the removal of skewness by
    transformation", JRSS B 54:221-228) monotone cubic transformation of the t statistic. Skewness
    in the harmless direction is taken as 0, so the bound is never nearer than the symmetric one.

    >>> hall_limit(2.0, np.array([0.0, -0.1])).round(3).tolist()
    [2.0, 2.17]
    """
    bent = np.minimum(skewness, -1e-6)
    inner = np.cbrt(1 + bent * (limit - bent / 6))
    return np.asarray(np.maximum(limit, 3 / bent * (inner - 1)), dtype=np.float64)


def pairing_weight(
    scores: Floats, same_seed: Floats, prompt_mean: Floats, spread: Floats | float
) -> Floats:
    """Return how much of the baseline's seed effect the candidate shares, in [0, 1], shape (…).

    The regression of ``scores - prompt_mean`` on ``same_seed - prompt_mean`` through the origin,
    shrunk to one half by ``SHRINK`` images' worth of ``spread ** 2``. The regressor's mean over
    the grid is known to be 0, so the weight lowers the variance and adds no bias beyond order
    1 / n (the regression estimator: Cochran 1977, "Sampling Techniques", chapter 7).
    """
    regressor = same_seed - prompt_mean
    response = scores - prompt_mean
    prior = SHRINK * spread**2
    top = (regressor * response).sum(axis=-1) + prior / 2
    bottom = (regressor * regressor).sum(axis=-1) + prior
    return np.asarray(np.clip(top / bottom, 0.0, 1.0), dtype=np.float64)


def paired_residuals(
    scores: Floats, same_seed: Floats, prompt_mean: Floats, spread: Floats | float
) -> Floats:
    """Return candidate minus what the baseline predicts for the same prompt and seed, (…, n)."""
    weight = pairing_weight(scores, same_seed, prompt_mean, spread)[..., None]
    return scores - prompt_mean - weight * (same_seed - prompt_mean)


def variance_floor(count: int) -> float:
    """Return the smallest variance of a mean of ``count`` images that is ever believed."""
    return SPREAD_FLOOR**2 / count
