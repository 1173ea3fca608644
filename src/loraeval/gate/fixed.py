"""One scorer on a fixed set of found images: bounds that hold whenever one looks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from loraeval.baselines import Baseline
from loraeval.gate.anytime import anytime_limit
from loraeval.gate.bad import FIRST_SHARE, NO_PASS, bad_level, bad_limits, fewest_images, newly_bad
from loraeval.gate.estimate import hall_limit
from loraeval.gate.far import far_below
from loraeval.gate.matching import Matched
from loraeval.gate.options import GateOptions
from loraeval.gate.parts import failing, missing_reason, scorers_tested
from loraeval.gate.sample import FORESEEABLE, estimate_fixed, images_to_decide
from loraeval.gate.sentences import bad_reason, comparison_reason
from loraeval.records import Comparison, Outcome


def compare(
    matched: Matched, baseline: Baseline, margin: float, options: GateOptions
) -> Comparison:
    """Return the comparison of one metric on a fixed set of matched images.

    The bounds hold at any number of images (``anytime``): ``low`` at one-sided confidence ``1 -
    alpha``, ``high`` at ``1 - alpha / metrics``. Pass is ``low > -margin`` with few enough bad
    images, fail is ``high < -margin``.
    """
    count = len(matched.scores)
    if count == 0 or (matched.missing and matched.pairing != "unpaired"):
        return failing(matched.metric, margin, count, missing_reason(matched))
    estimate = estimate_fixed(matched, baseline)
    level_high = options.alpha / scorers_tested(baseline) / 2  # the other half is for ranks
    skewness = np.array(estimate.skewness)
    down = hall_limit(anytime_limit(options.alpha, count, estimate.df), skewness)
    up = hall_limit(anytime_limit(level_high, count, estimate.df), -skewness)
    low = estimate.mean - float(down) * estimate.error
    high = estimate.mean + float(up) * estimate.error
    level = bad_level(matched.golden)
    bad = _bad(matched, level.level)
    limit = any_limit(count, options.bad_share, options.alpha)
    outcome: Outcome = "inconclusive"
    far = far_below(matched.scores, matched.golden)
    if high < -margin or (far is not None and far.chance <= level_high):
        outcome = "fail"
    elif low > -margin and (bad or 0) <= limit:
        outcome = "pass"
    if low > -margin and matched.missing:
        return failing(matched.metric, margin, count, missing_reason(matched))
    short = options.min_images is not None and count < options.min_images
    more = None
    if short or outcome == "inconclusive":
        outcome = "inconclusive"
        more = images_to_decide(estimate, margin, count, level_high, options, anytime=True)
        more = max(more or 0, (options.min_images or 0) - count) or None
        if estimate.mean > -margin and more is not None:
            more = max(more, first_pass(options) - count)
    candidate = float(np.mean(matched.scores))
    item = Comparison(
        metric=matched.metric,
        outcome=outcome,
        reason="",
        margin=margin,
        n=count,
        pairing=matched.pairing,
        estimate=estimate.mean,
        low=max(float(low), -1.0),
        high=min(float(high), 1.0),
        confidence=1 - options.alpha,
        baseline_mean=candidate - estimate.mean,
        candidate_mean=candidate,
        more=more,
        bad=bad,
        bad_level=level.level,
        bad_note=level.why,
    )
    only_bad = outcome == "inconclusive" and low > -margin and not short
    told = bad_reason(item, options.bad_share, first_pass(options)) if only_bad else None
    reason = told or comparison_reason(item)
    if outcome == "fail" and far is not None and high >= -margin:
        basis = f"{candidate:.2f} against {candidate - estimate.mean:.2f}"
        reason = f"{matched.metric} fell by {-estimate.mean:.2f} ({basis}): {far.words}"
    return replace(item, reason=reason)


def _bad(matched: Matched, level: float | None) -> int | None:
    """Return how many images are bad, of paired ones those whose golden twin is not."""
    if level is None:
        return None
    scores = np.array(matched.scores)
    paired = matched.pairing == "prompt+seed"
    twins = np.array(matched.same_seed) if paired else np.full_like(scores, np.inf)
    return int(newly_bad(scores, twins, level).sum())


def first_pass(options: GateOptions) -> int:
    """Return the first number of found images that can pass."""
    return fewest_images(options.bad_share, FIRST_SHARE * options.alpha)


def any_limit(count: int, tolerance: float, alpha: float) -> int:
    """Return how many of ``count`` found images may be bad to pass, whenever one looks."""
    first = fewest_images(tolerance, FIRST_SHARE * alpha)
    if count < first:
        return NO_PASS
    looks = tuple(range(first, max(FORESEEABLE, count) + 1))
    return bad_limits(looks, tolerance, alpha)[count - first]
