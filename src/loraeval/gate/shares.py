"""Gated shares of images (``baselines.shares``): counted, not averaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import betaincinv

from loraeval.baselines.shares import SHARES, score_of
from loraeval.gate.bad import NO_PASS, bad_limits
from loraeval.gate.betting import log_capital_worse
from loraeval.gate.fixed import any_limit, first_pass
from loraeval.gate.looks import Plan
from loraeval.gate.matching import BaselineIndex, unscored_reason
from loraeval.gate.options import GateOptions
from loraeval.gate.parts import failing, scorers_tested
from loraeval.gate.sentences import images
from loraeval.records import Comparison, Outcome, ScoreRow

OWN_SHARE = 0.1
"""Share of an error that the baseline's own share may cost."""

STEP = 0.005
"""Limits are rounded down to this, so that few of them are ever computed."""


def share_interval(count: int, images: int, alpha: float) -> tuple[float, float]:
    """Return the exact one-sided lower and upper bound of a share (Clopper and Pearson 1934)."""
    low = betaincinv(count, images - count + 1, alpha) if count else 0.0
    high = betaincinv(count + 1, images - count, 1 - alpha) if count < images else 1.0
    return float(low), float(high)


def tolerated(count: int, golden: int, rise: float, alpha: float) -> tuple[float, float]:
    """Return the share that a candidate must be below, and the error left to show it with.

    The baseline's own share counts by its lower bound, which takes ``OWN_SHARE`` of ``alpha``;
    where that is hardly above 0 it is taken as 0 and costs nothing.
    """
    low, _ = share_interval(count, golden, OWN_SHARE * alpha)
    extra = np.floor(low / STEP) * STEP
    if extra < 2 * STEP:
        return rise, alpha
    return min(0.99, rise + float(extra)), (1 - OWN_SHARE) * alpha


def compare_share(
    index: BaselineIndex,
    rows: Sequence[ScoreRow],
    metric: str,
    rise: float,
    options: GateOptions,
    plan: Plan | None = None,
) -> Comparison:
    """Return whether a share of images has not risen by ``rise``, at any time or by ``plan``."""
    share = SHARES[metric]
    baseline = index.baseline
    golden = [value for row in baseline.rows if (value := score_of(row, metric)) is not None]
    scores = [value for row in rows if (value := score_of(row, metric)) is not None]
    lost = [row for row in rows if score_of(row, metric) is None]
    if lost:
        why = unscored_reason(lost[0], share.metric)
        reason = (
            f"{metric} could not be measured on {len(lost)} of {images(len(rows))} ({why}); "
            "what was not measured never passes"
        )
        return failing(metric, rise, len(scores), reason)
    theirs = golden.count(0.0)
    ours, count = scores.count(0.0), len(scores)
    level = options.alpha / scorers_tested(baseline)
    _, highest = share_interval(theirs, len(golden), OWN_SHARE * level)
    bet = log_capital_worse(np.array([1 - highest]), np.array(scores), rise)
    outcome: Outcome = "inconclusive"
    if bool((bet >= np.log(1 / ((1 - OWN_SHARE) * level))).any()):
        outcome = "fail"
    elif ours <= pass_limit(theirs, len(golden), count, rise, options, plan):
        outcome = "pass"
    return Comparison(
        metric=metric,
        outcome=outcome,
        reason=_reason(metric, outcome, ours, count, theirs, len(golden), rise),
        margin=rise,
        n=count,
        estimate=theirs / len(golden) - ours / count,
        confidence=1 - options.alpha,
        baseline_mean=1 - theirs / len(golden),
        candidate_mean=1 - ours / count,
        more=first_pass(options) - count if outcome == "inconclusive" and not ours else None,
    )


def pass_limit(
    theirs: int, golden: int, count: int, rise: float, options: GateOptions, plan: Plan | None
) -> int:
    """Return how many of ``count`` images may be counted to pass."""
    below, alpha = tolerated(theirs, golden, rise, options.alpha)
    if plan is None:
        return any_limit(count, below, alpha)
    looks = tuple(look for look in plan.looks if look <= count)
    if not looks:
        return NO_PASS
    return bad_limits(plan.looks, below, alpha)[len(looks) - 1]


def _reason(
    metric: str, outcome: Outcome, ours: int, count: int, theirs: int, golden: int, rise: float
) -> str:
    told = (
        f"{ours} of {images(count)} are {SHARES[metric].words}, {theirs} of {golden} in the "
        "baseline"
    )
    points = f"{100 * rise:g} points"
    if outcome == "fail":
        return f"{metric} fell: {told}; surely a rise of more than {points}"
    if outcome == "pass":
        return f"{metric} is as good: {told}; the share has not risen by {points}"
    return f"{metric} is undecided: {told}; a rise of {points} is not ruled out"
