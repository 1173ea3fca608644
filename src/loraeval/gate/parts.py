"""Pieces that every gate's verdict is made of."""

from __future__ import annotations

from loraeval.baselines import Baseline
from loraeval.gate.bad import fewest_images
from loraeval.gate.matching import Matched
from loraeval.gate.options import GateOptions
from loraeval.gate.sentences import images
from loraeval.records import Checkpoint, Comparison, Verdict


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


def fewest_of(options: GateOptions) -> int:
    """Return the images below which nothing passes, however well they score."""
    return fewest_images(options.bad_share, options.alpha)


def margin_of(baseline: Baseline, metric: str, options: GateOptions) -> float:
    """Return the margin in force: the user's, else the baseline's."""
    return float(options.margins.get(metric, baseline.margins[metric]))


def failing(metric: str, margin: float, n: int, reason: str) -> Comparison:
    """Return the comparison of a metric that fails without a number."""
    return Comparison(metric, "fail", reason, margin, n)


def missing_reason(matched: Matched) -> str:
    """Return the sentence for a metric that was not measured where it had to be."""
    if not matched.missing:
        return f"{matched.metric} was measured on none of the images that the baseline has it for"
    total = len(matched.missing) + len(matched.scores)
    return (
        f"{matched.metric} could not be measured on {len(matched.missing)} of {images(total)} "
        f"({matched.missing[0].reason}); what was not measured never passes"
    )
