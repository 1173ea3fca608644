"""The sequential decision on one scorer: when is it sure of pass, when of fail.

Two promises must hold at one and the same look for a PASS, each with its own error ``alpha``
(intersection-union test: Berger 1982): "the mean has not fallen by the margin", a group-sequential
t test on prompts (``spending``, ``estimate``), and "the share of bad images has not risen by
``tolerance``", exact (``bad``). Nothing passes before ``fewest_images``; FAIL does not wait: half
its error is spent on the same t test and half on a bet (``betting``), which sees a collapse within
a few images because the baseline's level bounds the loss. ``benchmarks/gate.py`` measured the
alternatives; benchmarks/README.md has the table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from loraeval.gate.bad import FIRST_SHARE, bad_limits, few_enough, fewest_images, newly_bad
from loraeval.gate.betting import log_capital_not_worse, log_capital_worse
from loraeval.gate.estimate import (
    ClusterMean,
    cluster_mean,
    hall_limit,
    pairing_weight,
    prompt_mean_of,
    variance_floor,
)
from loraeval.gate.spending import Spending, nominal_levels

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOOK_EVERY = 4
"""Images between two looks of the t test; the bet looks at every image."""

FEWEST_CLUSTERS = 8
"""Prompts below which the spread of the candidate alone is not trusted."""

FEW_REPEATS = 20
"""Images that repeat a prompt below which the spread from seed to seed is not trusted alone."""

HOPELESS = 0.05
"""Predictive chance of a decision below which the gate stops and says inconclusive."""

KEPT = 0.75
"""Share of ``alpha`` that the PASS test spends; the rest is kept for scores so skewed that the t
distribution errs: the left-skewed and zero-inflated worlds of ``benchmarks/gate.py`` pass most
often with it."""

LEVEL_SHARE = 0.1
"""Share of a strict PASS's error that the baseline's own mean may cost."""

STRICT_FRACTIONS = (0.25, 0.5, 0.95)
"""The strict bet's portfolio: large stakes, as scores that hold vary little."""

NEVER = np.iinfo(np.int64).max
"""Stands for "not decided"."""


@dataclass(frozen=True, slots=True)
class Plan:
    """When to look and how much error each look may spend.

    ``first`` and ``largest`` are numbers of images; ``alpha`` the error of a wrong pass of this
    scorer by either promise, ``alpha_fail`` of a wrong fail (already divided by the number of
    scorers). ``tolerance`` is the rise of the share of bad images that is not accepted;
    ``prompts`` how many prompts the plan holds (None: unknown, then prompts count as drawn at
    random and the spread between them is never taken out). ``strict`` promises the mean by a bet
    instead of the t test, whatever share of images collapses to whatever level.
    """

    first: int
    largest: int
    alpha: float
    alpha_fail: float
    spending: Spending = "pocock"
    bet_share: float = 0.5
    tolerance: float = 0.1
    prompts: int | None = None
    strict: bool = False

    @property
    def fewest(self) -> int:
        """The first number of images that can pass."""
        return max(FEWEST_CLUSTERS, fewest_images(self.tolerance, FIRST_SHARE * self.alpha))

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of images at which the t test looks; the last is ``largest``."""
        start = min(max(self.first, FEWEST_CLUSTERS), self.largest)
        steps = {*range(start, self.largest, LOOK_EVERY), self.largest}
        return tuple(sorted(steps | ({self.fewest} if self.fewest < self.largest else set())))

    @property
    def pass_levels(self) -> tuple[float, ...]:
        """One-sided levels of the PASS test, one a look: 0 before ``fewest`` images."""
        open_looks = tuple(look for look in self.looks if look >= self.fewest)
        shut = (0.0,) * (len(self.looks) - len(open_looks))
        if not open_looks:
            return shut
        return shut + nominal_levels(open_looks, self.largest, KEPT * self.alpha, self.spending)

    @property
    def fail_levels(self) -> tuple[float, ...]:
        """One-sided levels of the FAIL test's t part, one a look; 0 where the bet has all."""
        rest = self.alpha_fail * (1 - self.bet_share)
        if rest <= 0:
            return (0.0,) * len(self.looks)
        return nominal_levels(self.looks, self.largest, rest, self.spending)

    @property
    def bad_limits(self) -> tuple[int, ...]:
        """How many bad images each look may show to pass."""
        return bad_limits(self.looks, self.tolerance, self.alpha)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What each look says, the last axis being the plan's looks (…, looks), and images needed (…).

    ``holds`` says at which looks both promises hold, ``looks`` the images of each. ``failed`` and
    ``stuck`` are images needed to fail, and until the images left would probably decide neither;
    ``NEVER`` where that did not happen.
    """

    holds: NDArray[np.bool_]
    looks: tuple[int, ...]
    failed: Ints
    stuck: Ints


@dataclass(frozen=True, slots=True)
class Bounds:
    """Mean, one-sided lower and upper bound, and standard error, each (…)."""

    mean: Floats
    low: Floats
    high: Floats
    error: Floats


@dataclass(frozen=True, slots=True)
class Pairs:
    """One scorer's numbers in the order of rendering.

    ``scores``, ``same_seed`` and ``prompt_mean`` are (…, n): the candidate's score, the baseline's
    with the same prompt and seed, and the baseline's mean for the prompt; ``clusters`` (n,) holds
    prompts as numbers; ``spread`` the baseline's seed-to-seed spread, ``golden`` its mean over the
    whole grid, and ``golden_images`` how many images that rests on: scalars or (…,).
    """

    scores: Floats
    same_seed: Floats
    prompt_mean: Floats
    clusters: Ints
    spread: Floats | float
    golden: Floats | float
    golden_images: int

    def first(self, count: int) -> Pairs:
        """Return the first ``count`` images."""
        return replace(
            self,
            scores=self.scores[..., :count],
            same_seed=self.same_seed[..., :count],
            prompt_mean=self.prompt_mean[..., :count],
            clusters=self.clusters[:count],
        )


def estimate_at(pairs: Pairs, prompts: int | None) -> ClusterMean:
    """Return candidate minus baseline (…) over the images of ``pairs``, with its variance.

    Until every prompt of the plan is seen, prompts are clusters drawn from it. Once all are and
    ``FEW_REPEATS`` images repeat one, the spread between these very prompts is no error any more:
    the estimate is the mean of prompt means with the error from seed to seed (``prompt_mean_of``).
    """
    weight = pairing_weight(pairs.scores, pairs.same_seed, pairs.prompt_mean, pairs.spread)
    residuals = (
        pairs.scores - pairs.prompt_mean - weight[..., None] * (pairs.same_seed - pairs.prompt_mean)
    )
    seen = len(np.unique(pairs.clusters))
    if prompts is None or seen < prompts or residuals.shape[-1] - seen < FEW_REPEATS:
        return cluster_mean(residuals, pairs.clusters)
    golden = (1 - weight) ** 2 * np.asarray(pairs.spread) ** 2 / pairs.golden_images
    return prompt_mean_of(residuals, pairs.clusters, golden)


def bounds_at(found: ClusterMean, count: int, level_low: float, level_high: float) -> Bounds:
    """Return mean and one-sided bounds (…) of an estimate on ``count`` images.

    One degree of freedom goes to the pairing weight that was fitted for the residuals. A level of
    0 gives an infinite bound; so does fewer than one degree of freedom.
    """
    df = found.df - 1
    if df < 1:
        infinite = np.full_like(found.mean, np.inf)
        return Bounds(found.mean, -infinite, infinite, infinite)
    variance = found.variance * (df + 1) / df
    error = np.sqrt(np.maximum(variance, variance_floor(count)))
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
    it can only lose decisions, so neither error grows. Nothing is foreseen without an error.
    """
    if seen >= plan.largest:
        return np.zeros_like(bounds.mean)
    limit = -ndtri(plan.pass_levels[-1])
    with np.errstate(invalid="ignore"):
        last = bounds.error * np.sqrt(seen / plan.largest)
        moves = np.sqrt(bounds.error**2 - last**2)
        gap = np.abs(bounds.mean + margin)
        chance = ndtr((gap - limit * last) / moves)
    return np.where(np.isfinite(bounds.error), chance, 0.0)


def surely_not_worse(pairs: Pairs, margins: Floats, alpha: float) -> NDArray[np.bool_]:
    """Return after each image (…, n) whether a bet has shown that the mean holds.

    Nothing is assumed of the scores; the baseline's mean is taken at the upper end of its normal
    interval, which costs ``LEVEL_SHARE`` of ``alpha``.
    """
    margins = margins[..., None]
    capital = log_capital_not_worse(
        _highest_level(pairs, alpha)[..., None], pairs.scores, margins, STRICT_FRACTIONS
    )
    return np.asarray(capital >= np.log(1 / ((1 - LEVEL_SHARE) * alpha)))


def _highest_level(pairs: Pairs, alpha: float) -> Floats:
    reach = -ndtri(LEVEL_SHARE * alpha) / np.sqrt(pairs.golden_images)
    highest = np.asarray(pairs.golden) + reach * np.asarray(pairs.spread)
    batch = pairs.scores.shape[:-1]
    return np.broadcast_to(np.asarray(highest, dtype=np.float64), batch)


def strict_fewest(
    golden: float, spread: float, golden_images: int, margin: float, alpha: float, most: int
) -> int | None:
    """Return how many images the strict promise needs of a candidate that scores the baseline's
    mean on every one, None where ``most`` are not enough.
    """
    level = np.full(most, golden)
    pairs = Pairs(level, level, level, np.arange(most), spread, golden, golden_images)
    held = surely_not_worse(pairs, np.array(margin), alpha)
    return int(held.argmax()) + 1 if held.any() else None


def decide(
    pairs: Pairs, margin: Floats | float, plan: Plan, bad_level: Floats | float = np.nan
) -> Decisions:
    """Return what each look says and after how many images each gate is decided.

    ``margin`` and ``bad_level`` are scalars or (…,); a level of NaN makes no promise about bad
    images. Looks beyond the images given do not hold.
    """
    count = pairs.scores.shape[-1]
    batch = pairs.scores.shape[:-1]
    margins = np.broadcast_to(np.asarray(margin, dtype=np.float64), batch)
    failed = np.full(batch, NEVER, dtype=np.int64)
    stuck = np.full(batch, NEVER, dtype=np.int64)
    if plan.bet_share > 0:
        level = np.broadcast_to(np.asarray(pairs.golden, dtype=np.float64), batch)
        capital = log_capital_worse(level[..., None], pairs.scores, margins[..., None])
        won = capital >= np.log(1 / (plan.alpha_fail * plan.bet_share))
        failed = np.where(won.any(axis=-1), won.argmax(axis=-1) + 1, NEVER)
    level = np.broadcast_to(np.asarray(bad_level, dtype=np.float64), batch)[..., None]
    bad = newly_bad(pairs.scores, pairs.same_seed, level)
    few = len(np.unique(pairs.clusters)) if plan.prompts is None else plan.prompts
    strict = surely_not_worse(pairs, margins, plan.alpha) if plan.strict else None
    looks = plan.looks
    holds = np.zeros((*batch, len(looks)), dtype=bool)
    levels = zip(looks, plan.pass_levels, plan.fail_levels, plan.bad_limits, strict=True)
    for place, (look, low_level, high_level, limit) in enumerate(levels):
        if look > count:
            break
        enough = len(np.unique(pairs.clusters[:look])) >= FEWEST_CLUSTERS
        found = estimate_at(pairs.first(look), plan.prompts)
        bounds = bounds_at(found, look, low_level if enough else 0, high_level if enough else 0)
        if look >= plan.fewest:
            mean_holds = bounds.low > -margins if strict is None else strict[..., look - 1]
            holds[..., place] = mean_holds & few_enough(bad, look, limit)
        failed = np.where((failed > look) & (bounds.high < -margins), look, failed)
        if look >= plan.largest / 2 and (enough or few < FEWEST_CLUSTERS):
            chance = chance_to_decide(bounds, margins, look, plan) if enough else 0.0
            stuck = np.where((stuck == NEVER) & (chance < HOPELESS), look, stuck)
    return Decisions(holds, looks, failed, stuck)
