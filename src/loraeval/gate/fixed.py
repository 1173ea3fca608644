"""The gate on a fixed set of images: one comparison a metric, one verdict a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from scipy.special import stdtrit

from loraeval.baselines import Baseline, Profile, is_fault
from loraeval.errors import ScoresError, StaleError
from loraeval.gate.comparable import check_comparable
from loraeval.gate.estimate import hall_limit
from loraeval.gate.faults import health_comparison, no_effect_reason
from loraeval.gate.matching import BaselineIndex, Matched
from loraeval.gate.options import GateOptions
from loraeval.gate.sample import estimate_fixed, images_to_decide
from loraeval.gate.sentences import comparison_reason, images, verdict_reason
from loraeval.outcome import outcome_of
from loraeval.outside.text import distinct_tails
from loraeval.records import Checkpoint, Comparison, Outcome, ScoreRow, Verdict

FEWEST_TO_PASS = 4
"""Images below which nothing passes, however well they score: rare faults need a chance to show."""


def gate_rows(
    baseline: Baseline,
    rows: Iterable[ScoreRow],
    options: GateOptions | None = None,
    *,
    checkpoint: Checkpoint | None = None,
    profile: Profile | None = None,
) -> list[Verdict]:
    """Return one verdict per checkpoint (run, epoch or step, strength) in ``rows``, in order of
    appearance.

    With ``checkpoint`` all rows are of that one. Rows that must not be compared
    give a verdict ``stale`` with the reason. An image that is given twice counts once, as a copy
    is no further evidence. Raises ``ScoresError`` where there are no rows, and for an image with
    two different scores.
    """
    options = options or GateOptions()
    groups: dict[tuple[object, ...], list[ScoreRow]] = {}
    for row in rows:
        key = (row.checkpoint, row.run, row.epoch, row.step, row.strength)
        groups.setdefault(key if checkpoint is None else (), []).append(row)
    groups = {key: _each_once(members) for key, members in groups.items()}
    if not groups:
        check_comparable(baseline, [])
    named = [checkpoint] if checkpoint is not None else _named([g[0] for g in groups.values()])
    index = BaselineIndex(baseline)
    found = []
    for item, members in zip(named, groups.values(), strict=True):
        try:
            check_comparable(baseline, members, profile)
        except StaleError as error:
            found.append(stale_verdict(item, baseline, str(error), images=len(members)))
            continue
        found.append(_gate_group(item, index, members, options))
    return found


def _named(rows: Sequence[ScoreRow]) -> list[Checkpoint]:
    """Return the checkpoint of each row; files of one name in several folders are told apart."""
    tails = iter(distinct_tails([row.checkpoint for row in rows if row.checkpoint is not None]))
    return [
        replace(Checkpoint.of(row), file=None if row.checkpoint is None else next(tails))
        for row in rows
    ]


def _each_once(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    seen: dict[tuple[object, ...], ScoreRow] = {}
    for row in rows:
        first = seen.setdefault((row.run, row.epoch, row.image), row)
        if first.scores != row.scores:
            raise ScoresError(
                f"{row.image} of {Checkpoint.of(row).label} is given twice with different scores; "
                "give each image once"
            )
    return list(seen.values())


def stale_verdict(
    checkpoint: Checkpoint, baseline: Baseline, reason: str, images: int = 0
) -> Verdict:
    """Return the verdict for what must not be compared."""
    comparisons = tuple(
        Comparison(metric, "stale", reason, baseline.margins.get(metric, 0.0), 0)
        for metric in baseline.profile.gated
    )
    return Verdict(checkpoint, baseline.name, "stale", comparisons, reason, images=images)


def scorers_tested(baseline: Baseline) -> int:
    """Return how many gated metrics are tested, which FAIL is corrected for (health is a rule)."""
    return max(1, sum(metric != "health" for metric in baseline.profile.gated))


def margin_of(baseline: Baseline, metric: str, options: GateOptions) -> float:
    """Return the margin in force: the user's, else the baseline's."""
    return float(options.margins.get(metric, baseline.margins[metric]))


def failing(metric: str, margin: float, n: int, reason: str) -> Comparison:
    """Return the comparison of a metric that fails without a number."""
    return Comparison(metric, "fail", reason, margin, n)


def _gate_group(
    checkpoint: Checkpoint, index: BaselineIndex, rows: Sequence[ScoreRow], options: GateOptions
) -> Verdict:
    baseline, seen = index.baseline, len(rows)
    idle = no_effect_reason(rows)
    if idle is not None:
        comparisons = [
            failing(metric, baseline.margins.get(metric, 0.0), len(rows), idle)
            for metric in baseline.profile.gated
        ]
        fallen = tuple(comparisons)
        return Verdict(checkpoint, baseline.name, "fail", fallen, idle, images=seen)
    healthy = [row for row in rows if not is_fault(row)]
    pairing = index.pairing(rows)
    comparisons = []
    for metric in baseline.profile.gated:
        if metric == "health":
            comparisons.append(health_comparison(baseline, rows))
            continue
        margin = margin_of(baseline, metric, options)
        if not healthy:
            reason = f"{metric} could not be measured: none of the {images(len(rows))} is healthy"
            comparisons.append(failing(metric, margin, 0, reason))
            continue
        matched = index.match(healthy, metric, pairing)
        comparisons.append(compare(matched, baseline, margin, options))
    if "health" not in baseline.profile.gated and len(healthy) < len(rows):
        comparisons.append(health_comparison(baseline, rows))
    outcome = outcome_of(comparisons)
    reason = verdict_reason(outcome, comparisons, baseline.name)
    return Verdict(checkpoint, baseline.name, outcome, tuple(comparisons), reason, images=seen)


def compare(
    matched: Matched, baseline: Baseline, margin: float, options: GateOptions
) -> Comparison:
    """Return the comparison of one metric on a fixed set of matched images.

    ``low`` is the lower bound at one-sided confidence ``1 - alpha``, ``high`` the upper bound at
    ``1 - alpha / metrics``: pass is ``low > -margin`` and fail is ``high < -margin``.
    """
    count = len(matched.scores)
    if count == 0 or (matched.missing and matched.pairing != "unpaired"):
        return failing(matched.metric, margin, count, missing_reason(matched))
    estimate = estimate_fixed(matched, baseline)
    level_high = options.alpha / scorers_tested(baseline)
    skewness = np.array(estimate.skewness)
    down = hall_limit(float(stdtrit(estimate.df, 1 - options.alpha)), skewness)
    up = hall_limit(float(stdtrit(estimate.df, 1 - level_high)), -skewness)
    low = estimate.mean - float(down) * estimate.error
    high = estimate.mean + float(up) * estimate.error
    outcome: Outcome = "inconclusive"
    if high < -margin:
        outcome = "fail"
    elif low > -margin:
        outcome = "pass"
    if outcome == "pass" and matched.missing:
        return failing(matched.metric, margin, count, missing_reason(matched))
    short = options.min_images is not None and count < options.min_images
    more = None
    if short or outcome == "inconclusive":
        outcome = "inconclusive"
        more = images_to_decide(estimate, margin, count, level_high, options)
        more = max(more or 0, (options.min_images or 0) - count) or None
    candidate = float(np.mean(matched.scores))
    reason = comparison_reason(
        outcome,
        metric=matched.metric,
        estimate=estimate.mean,
        low=low,
        high=high,
        margin=margin,
        candidate_mean=candidate,
        baseline_mean=candidate - estimate.mean,
        n=count,
        pairing=matched.pairing,
        more=more,
    )
    if outcome == "pass" and count < FEWEST_TO_PASS:
        outcome, more = "inconclusive", FEWEST_TO_PASS - count
        reason = too_few_reason(matched.metric, count)
    return Comparison(
        metric=matched.metric,
        outcome=outcome,
        reason=reason,
        margin=margin,
        n=count,
        pairing=matched.pairing,
        estimate=estimate.mean,
        low=float(low),
        high=float(high),
        confidence=1 - options.alpha,
        baseline_mean=candidate - estimate.mean,
        candidate_mean=candidate,
        more=more,
    )


def too_few_reason(metric: str, count: int) -> str:
    """Return the sentence for scores that would pass were there more of them."""
    return (
        f"{metric} looks as good, but {images(count)} are too few to pass "
        f"(at least {FEWEST_TO_PASS})"
    )


def missing_reason(matched: Matched) -> str:
    """Return the sentence for a metric that was not measured where it had to be."""
    if not matched.missing:
        return f"{matched.metric} was measured on none of the images that the baseline has it for"
    total = len(matched.missing) + len(matched.scores)
    return (
        f"{matched.metric} could not be measured on {len(matched.missing)} of {images(total)} "
        f"({matched.missing[0].reason}); what was not measured never passes"
    )
