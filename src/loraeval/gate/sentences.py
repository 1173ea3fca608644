"""The one line a person reads: what fell, by how much, how sure, against which margin."""

from __future__ import annotations

from collections.abc import Sequence

from loraeval.records import Comparison, Outcome, Pairing

PAIRED = {
    "prompt+seed": "paired by prompt and seed",
    "prompt": "paired by prompt",
    "unpaired": "other prompts, so not paired",
}


def images(count: int) -> str:
    """Return ``count`` images in words."""
    return f"{count} image" if count == 1 else f"{count} images"


def comparison_reason(
    outcome: Outcome,
    *,
    metric: str,
    estimate: float,
    low: float,
    high: float,
    margin: float,
    candidate_mean: float,
    baseline_mean: float,
    n: int,
    pairing: Pairing,
    more: int | None,
    prompts: int | None = None,
    prompts_wanted: int = 0,
) -> str:
    """Return the sentence for a comparison that could be made.

    ``prompts`` is given where the spread is known from them alone: undecided with fewer than
    ``prompts_wanted``, it is prompts that are missing, not images.
    """
    basis = f"{images(n)}, {PAIRED[pairing]}"
    change = f"{candidate_mean:.2f} against {baseline_mean:.2f}"
    if outcome == "fail":
        return (
            f"{metric} fell by {-estimate:.2f} ({change}), surely by {_loss(high)}, "
            f"more than the margin {margin:.3g} ({basis})"
        )
    if outcome == "pass":
        moved = "rose" if estimate > 0 else "fell"
        return (
            f"{metric} is as good: it {moved} by {abs(estimate):.2f} ({change}), at worst it fell "
            f"by {_loss(low)}, within the margin {margin:.3g} ({basis})"
        )
    advice = "the loss is too close to the margin for any sensible number of images"
    if prompts is not None and prompts < prompts_wanted:
        counted = "1 prompt" if prompts == 1 else f"{prompts} prompts"
        advice = f"only {counted}: {prompts_wanted} or more decide with far fewer images"
    elif more is not None:
        advice = f"about {more} more would probably decide"
    return (
        f"{metric} is undecided: a change of {estimate:+.2f} ({change}), somewhere from "
        f"{_end(low)} to {_end(high)}, the margin -{margin:.3g} between ({basis}; {advice})"
    )


def stopped_early(seen: int, planned: int | None) -> str:
    """Return what a verdict's reason adds where fewer images were rendered than ``planned``."""
    if planned is None or seen >= planned:
        return ""
    return f" (after {seen} of {images(planned)}, {1 - seen / planned:.0%} not rendered)"


def verdict_reason(outcome: Outcome, comparisons: Sequence[Comparison], baseline: str) -> str:
    """Return the one line for the whole gate."""
    if outcome == "pass":
        names = ", ".join(item.metric for item in comparisons)
        return f"as good as {baseline} within every margin: {names}"
    chosen = [item for item in comparisons if item.outcome == outcome]
    chosen.sort(key=lambda item: (item.metric != "health", _excess(item)))
    return "; ".join(item.reason for item in chosen)


def _excess(item: Comparison) -> float:
    return (item.high if item.high is not None else -1.0) + item.margin


def _loss(bound: float) -> str:
    return f"{max(0.0, -bound):.2f}" if bound <= 0 else "nothing"


def _end(bound: float) -> str:
    return f"{max(-1.0, min(1.0, bound)):+.2f}"
