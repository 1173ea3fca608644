"""The sequential decision on one scorer: when is it sure of pass, when of fail.

Two one-sided tests share the boundary ``-margin``. PASS rejects "worse by the margin or more"
with a group-sequential t test on prompt clusters (``spending``, ``estimate``). FAIL rejects "not
worse by more than the margin" with half its error spent on the same t test and half on a bet
(``betting``), which sees a collapse within a few images because the baseline's level bounds the
loss. ``benchmarks/gate.py`` measured the alternatives; docs/gate.md has the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from loraeval.gate.betting import log_capital_worse
from loraeval.gate.estimate import cluster_mean, hall_limit, paired_residuals, variance_floor
from loraeval.gate.spending import Spending, nominal_levels

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOOK_EVERY = 4
"""Images between two looks of the t test; the bet looks at every image."""

FEWEST_CLUSTERS = 8
"""Prompts below which the spread of the candidate alone is not trusted."""

HOPELESS = 0.05
"""Predictive chance of a decision below which the gate stops and says inconclusive."""

KEPT = 0.65
"""Share of ``alpha`` that the PASS test spends; the rest is kept for scores so skewed that the t
distribution errs: with 0.85 of it, wrong passes on style came to 5.4 % (the seed's renders) and
6.3 % (the demo model's) in ``benchmarks/gate.py``."""

NEVER = np.iinfo(np.int64).max
"""Stands for "not decided"."""


@dataclass(frozen=True, slots=True)
class Plan:
    """When to look and how much error each look may spend.

    ``first`` and ``largest`` are numbers of images; ``alpha`` the error of a wrong pass of this
    scorer, ``alpha_fail`` of a wrong fail (already divided by the number of scorers).
    """

    first: int
    largest: int
    alpha: float
    alpha_fail: float
    spending: Spending = "pocock"
    bet_share: float = 0.5

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of images at which the t test looks; the last is ``largest``."""
        start = min(max(self.first, FEWEST_CLUSTERS), self.largest)
        return tuple(sorted({*range(start, self.largest, LOOK_EVERY), self.largest}))

    @property
    def pass_levels(self) -> tuple[float, ...]:
        """One-sided levels of the PASS test, one a look."""
        return nominal_levels(self.looks, self.largest, KEPT * self.alpha, self.spending)

    @property
    def fail_levels(self) -> tuple[float, ...]:
        """One-sided levels of the FAIL test's t part, one a look; 0 where the bet has all."""
        rest = self.alpha_fail * (1 - self.bet_share)
        if rest <= 0:
            return (0.0,) * len(self.looks)
        return nominal_levels(self.looks, self.largest, rest, self.spending)


@dataclass(frozen=True, slots=True)
class Decisions:
    """Images needed (…), ``NEVER`` where it did not happen: to pass, to fail, and until the
    images left would probably decide neither.
    """

    passed: Ints
    failed: Ints
    stuck: Ints


@dataclass(frozen=True, slots=True)
class Bounds:
    """Mean, one-sided lower and upper bound, and standard error, each (…)."""

    mean: Floats
    low: Floats
    high: Floats
    error: Floats


def bounds_at(residuals: Floats, clusters: Ints, level_low: float, level_high: float) -> Bounds:
    """Return mean, lower and upper bound (…) of residuals (…, n) at one-sided levels.

    One degree of freedom goes to the pairing weight that was fitted for the residuals. A level of
    0 gives an infinite bound; so do fewer than three clusters.
    """
    found = cluster_mean(residuals, clusters)
    df = found.clusters - 2
    if df < 1:
        infinite = np.full_like(found.mean, np.inf)
        return Bounds(found.mean, -infinite, infinite, infinite)
    variance = found.variance * (df + 1) / df
    error = np.sqrt(np.maximum(variance, variance_floor(residuals.shape[-1])))
    low, high = -np.inf * error, np.inf * error
    if level_low > 0:
        low = found.mean - hall_limit(float(stdtrit(df, 1 - level_low)), found.skewness) * error
    if level_high > 0:
        high = found.mean + hall_limit(float(stdtrit(df, 1 - level_high)), -found.skewness) * error
    return Bounds(found.mean, low, high, error)


def chance_to_decide(bounds: Bounds, margin: Floats, seen: int, plan: Plan) -> Floats:
    """Return the predictive chance (…) that the last look passes or fails, given this one.

    With a flat prior the last mean is normal about this one (Spiegelhalter, Freedman and
    Blackburn 1986, "Monitoring clinical trials: conditional or predictive power?"). Stopping on
    it can only lose decisions, so neither error grows.
    """
    if seen >= plan.largest:
        return np.zeros_like(bounds.mean)
    limit = -ndtri(plan.pass_levels[-1])
    last = bounds.error * np.sqrt(seen / plan.largest)
    moves = np.sqrt(bounds.error**2 - last**2)
    gap = np.abs(bounds.mean + margin)
    return np.asarray(ndtr((gap - limit * last) / moves), dtype=np.float64)


def decide(
    scores: Floats,
    same_seed: Floats,
    prompt_mean: Floats,
    clusters: Ints,
    spread: Floats | float,
    golden: Floats | float,
    margin: Floats | float,
    plan: Plan,
) -> Decisions:
    """Return after how many images each gate decides.

    ``scores``, ``same_seed`` and ``prompt_mean`` are (…, n) in the order of rendering: the
    candidate's score, the baseline's with the same prompt and seed, and the baseline's mean for
    the prompt. ``clusters`` (n,) holds prompts as numbers. ``spread``, ``golden`` (the
    baseline's mean of the whole grid) and ``margin`` are scalars or (…,).
    """
    count = scores.shape[-1]
    batch = scores.shape[:-1]
    margins = np.broadcast_to(np.asarray(margin, dtype=np.float64), batch)
    spreads = np.broadcast_to(np.asarray(spread, dtype=np.float64), batch)
    failed = np.full(batch, NEVER, dtype=np.int64)
    passed = np.full(batch, NEVER, dtype=np.int64)
    stuck = np.full(batch, NEVER, dtype=np.int64)
    if plan.bet_share > 0:
        level = np.broadcast_to(np.asarray(golden, dtype=np.float64), batch)
        capital = log_capital_worse(level[..., None], scores, margins[..., None])
        won = capital >= np.log(1 / (plan.alpha_fail * plan.bet_share))
        failed = np.where(won.any(axis=-1), won.argmax(axis=-1) + 1, NEVER)
    looks = plan.looks
    low_levels = plan.pass_levels
    high_levels = plan.fail_levels
    for look, low_level, high_level in zip(looks, low_levels, high_levels, strict=True):
        if look > count:
            break
        residuals = paired_residuals(
            scores[..., :look], same_seed[..., :look], prompt_mean[..., :look], spreads
        )
        if len(np.unique(clusters[:look])) < min(FEWEST_CLUSTERS, look):
            continue
        bounds = bounds_at(residuals, clusters[:look], low_level, high_level)
        passed = np.where((passed == NEVER) & (bounds.low > -margins), look, passed)
        failed = np.where((failed > look) & (bounds.high < -margins), look, failed)
        if look >= plan.largest / 2:
            hopeless = chance_to_decide(bounds, margins, look, plan) < HOPELESS
            stuck = np.where((stuck == NEVER) & hopeless, look, stuck)
    return Decisions(passed, failed, stuck)
