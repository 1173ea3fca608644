"""The one line a person reads: what fell, by how much, how sure, against which margin."""

from __future__ import annotations

from collections.abc import Sequence

from loraeval.records import Comparison, Outcome

PAIRED = {
    "prompt+seed": "paired by prompt and seed",
    "prompt": "paired by prompt",
    "unpaired": "other prompts, so not paired",
}


def images(count: int) -> str:
    """Return ``count`` images in words."""
    return f"{count} image" if count == 1 else f"{count} images"


def comparison_reason(item: Comparison) -> str:
    """Return the sentence for a comparison with an estimate and an interval."""
    numbers = (item.estimate, item.low, item.high, item.candidate_mean, item.baseline_mean)
    estimate, low, high, ours, theirs = (0.0 if n is None else n for n in numbers)
    basis = f"{images(item.n)}, {PAIRED[item.pairing or 'unpaired']}"
    change = f"{ours:.2f} against {theirs:.2f}"
    margin = f"{item.margin:.3g}"
    if item.outcome == "fail":
        return (
            f"{item.metric} fell by {-estimate:.2f} ({change}), surely by {_loss(high)}, "
            f"more than the margin {margin} ({basis})"
        )
    if item.outcome == "pass":
        moved = "rose" if estimate > 0 else "fell"
        return (
            f"{item.metric} is as good: it {moved} by {abs(estimate):.2f} ({change}), at worst it "
            f"fell by {_loss(low)}, within the margin {margin} ({basis}{bad_words(item)})"
        )
    advice = "the loss is too close to the margin for any sensible number of images"
    if item.more is not None:
        advice = f"about {item.more} more would probably decide"
    known = f"{item.metric} is undecided: a change of {estimate:+.2f} ({change})"
    if item.interval is None:
        return f"{known}, too few images to say more ({basis}; {advice})"
    return (
        f"{known}, somewhere from {_end(low)} to {_end(high)}; the margin, -{margin}, lies inside "
        f"that range ({basis}; {advice})"
    )


def bad_words(item: Comparison) -> str:
    """Return what a pass says of bad images, after the number of images."""
    if item.bad is None:
        return f"; no promise about bad images: {item.bad_note}" if item.bad_note else ""
    newly = "newly " if item.pairing == "prompt+seed" else ""
    return f"; {item.bad} of them {newly}bad, that is below {item.bad_level:.2f}"


def bad_reason(item: Comparison, tolerance: float, fewest: int) -> str:
    """Return the sentence for a mean that holds while the share of bad images may have risen."""
    points = f"{100 * tolerance:.3g} of 100"
    if item.n < fewest:
        return (
            f"{item.metric} looks as good, but {images(item.n)} are too few to pass: at least "
            f"{fewest} show that fewer than {points} are bad"
        )
    advice = f"; about {item.more} more would probably decide" if item.more else ""
    return (
        f"{item.metric} is undecided: its mean holds, but {item.bad} of {images(item.n)} are "
        f"{'newly ' if item.pairing == 'prompt+seed' else ''}bad "
        f"(below {item.bad_level or 0:.2f}), too many to be sure that fewer than {points} are"
        f"{advice}"
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
