"""One scorer's evidence while images come: the comparison, and whether it needs further images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from loraeval.gate.bad import bad_level, newly_bad
from loraeval.gate.betting import surely_worse_by
from loraeval.gate.looks import (
    NEVER,
    Bounds,
    Decisions,
    Pairs,
    Plan,
    bounds_at,
    decide,
    estimate_at,
)
from loraeval.gate.matching import Matched
from loraeval.gate.options import GateOptions
from loraeval.gate.sample import Estimate, images_to_decide
from loraeval.gate.sentences import bad_reason, comparison_reason
from loraeval.records import Comparison, Outcome


@dataclass(frozen=True, slots=True)
class Judged:
    """A comparison, and whether no further image is wanted for it as long as it stays so."""

    comparison: Comparison
    settled: bool


def pairs_of(matched: Matched) -> Pairs:
    """Return the arrays of ``matched``."""
    _, clusters = np.unique(np.array(matched.prompts), return_inverse=True)
    return Pairs(
        scores=np.array(matched.scores),
        same_seed=np.array(matched.same_seed),
        prompt_mean=np.array(matched.prompt_mean),
        clusters=clusters,
        spread=matched.spread.within,
        golden=matched.spread.mean,
        golden_images=matched.spread.images,
    )


def judge(matched: Matched, margin: float, plan: Plan, options: GateOptions) -> Judged:
    """Return what the images of ``matched``, at least one, say of one metric by ``plan``.

    PASS is what the latest look says: a promise that held once and does not any more counts for
    nothing, so that all scorers hold at the same images.
    """
    pairs = pairs_of(matched)
    count = len(matched.scores)
    level = bad_level(matched.golden)
    made = decide(pairs, margin, plan, np.nan if level.level is None else level.level)
    enough = options.min_images is None or count >= options.min_images
    outcome = _outcome(made, count) if enough else "inconclusive"
    at = min(int(made.failed), count) if outcome == "fail" else _last_look(made, count) or count
    bounds = _bounds(pairs.first(at), plan, at)
    worse = surely_worse_by(
        matched.spread.mean, pairs.scores[:at], plan.alpha_fail * plan.bet_share
    )
    low = max(float(bounds.low), -1.0)
    high = min(float(bounds.high), 1.0 if worse is None else -worse, 1.0)
    more = _more(bounds, margin, count, plan, options) if outcome == "inconclusive" else None
    if not enough:
        more = max(more or 0, (options.min_images or 0) - count)
    bad = None
    if level.level is not None:
        bad = int(newly_bad(pairs.scores[:at], pairs.same_seed[:at], level.level).sum())
    comparison = Comparison(
        metric=matched.metric,
        outcome=outcome,
        reason="",
        margin=margin,
        n=at,
        pairing="prompt+seed",
        estimate=float(bounds.mean),
        low=low,
        high=high,
        confidence=1 - options.alpha,
        baseline_mean=float(pairs.scores[:at].mean()) - float(bounds.mean),
        candidate_mean=float(pairs.scores[:at].mean()),
        more=more,
        bad=bad,
        bad_level=level.level,
        bad_note=level.why,
        strict=plan.strict,
    )
    comparison = replace(comparison, reason=_reason(comparison, plan))
    settled = enough and (outcome != "inconclusive" or made.stuck < NEVER)
    return Judged(comparison, settled=bool(settled))


def _outcome(made: Decisions, count: int) -> Outcome:
    if made.failed < NEVER:
        return "fail"
    seen = [bool(held) for look, held in zip(made.looks, made.holds, strict=True) if look <= count]
    return "pass" if seen and seen[-1] else "inconclusive"


def _last_look(made: Decisions, count: int) -> int | None:
    return max((look for look in made.looks if look <= count), default=None)


def _bounds(pairs: Pairs, plan: Plan, at: int) -> Bounds:
    """Return the bounds that decide; before a pass can be, the lower one is that of the end."""
    level_low = level_high = 0.0
    if at in plan.looks:
        place = plan.looks.index(at)
        level_low, level_high = plan.pass_levels[place], plan.fail_levels[place]
        level_low = level_low or plan.pass_levels[-1]
    return bounds_at(estimate_at(pairs, plan.prompts), at, level_low, level_high)


def _more(
    bounds: Bounds, margin: float, count: int, plan: Plan, options: GateOptions
) -> int | None:
    lacking = plan.fewest - count
    if not np.isfinite(float(bounds.error)):
        return lacking if lacking > 0 else None
    facts = Estimate(float(bounds.mean), float(bounds.error), count)
    more = images_to_decide(facts, margin, count, plan.alpha_fail, options)
    return more if more is None or facts.mean <= -margin else max(more, lacking)


def _reason(item: Comparison, plan: Plan) -> str:
    """Return the sentence: of the mean, and of bad images where they alone hold a pass back."""
    mean_holds = item.low is not None and item.low > -item.margin
    if item.outcome == "inconclusive" and mean_holds:
        return bad_reason(item, plan.tolerance, plan.fewest)
    return comparison_reason(item)
