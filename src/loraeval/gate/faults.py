"""What no statistics may average away: broken images, a LoRA that changes nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from loraeval.baselines import FAULT, Baseline
from loraeval.gate.matching import MAX_REASON, unscored_reason
from loraeval.gate.sentences import images
from loraeval.outside.text import clean
from loraeval.records import Comparison, Outcome, ScoreRow


def fault_reason(rows: Sequence[ScoreRow]) -> str | None:
    """Return the sentence for unhealthy images among ``rows``, None where all are healthy.

    Unhealthy is a health score of at most ``FAULT``: broken pixels, or the wrong size.
    """
    broken = [row for row in rows if (row.scores.get("health") or 0.0) <= FAULT]
    broken = [row for row in broken if row.scores.get("health") is not None]
    if not broken:
        return None
    first = broken[0]
    return f"{len(broken)} of {images(len(rows))} not healthy (first: {first.image}{_seen(first)})"


def _seen(row: ScoreRow) -> str:
    facts = row.details.get("health")
    if not isinstance(facts, dict):
        return ""
    seen = facts.get("seen")
    told = ", ".join(map(str, seen.values())) if isinstance(seen, dict) else facts.get("reason")
    return f": {clean(told, MAX_REASON)}" if told else ""


def no_effect_reason(rows: Sequence[ScoreRow]) -> str | None:
    """Return the sentence for a LoRA without effect, None where it has one or nobody looked.

    ``details["lora"]["no_effect"]`` of a row says whether the image equals the one at LoRA scale
    0; all rows that say it must agree.
    """
    flags = [
        facts["no_effect"]
        for row in rows
        if isinstance(facts := row.details.get("lora"), dict) and "no_effect" in facts
    ]
    if not flags or not all(flags):
        return None
    return (
        f"the LoRA has no effect: {len(flags)} of {len(flags)} images equal those of the base "
        "model without it; was it trained for this base model, and saved whole?"
    )


def health_comparison(baseline: Baseline, rows: Sequence[ScoreRow], fewest: int) -> Comparison:
    """Return the comparison of health: a rule for every image, not a mean.

    One broken image fails; that no more than the accepted share is broken is known from ``fewest``
    images on, and nothing passes before.
    """
    known = [value for row in rows if (value := row.scores.get("health")) is not None]
    golden = [value for row in baseline.rows if (value := row.scores.get("health")) is not None]
    unknown = [row for row in rows if row.scores.get("health") is None]
    broken = fault_reason(rows)
    outcome: Outcome
    if broken is not None:
        outcome, reason = "fail", broken
    elif unknown:
        why = unscored_reason(unknown[0], "health")
        outcome = "fail"
        reason = (
            f"health could not be measured on {len(unknown)} of {len(rows)} images ({why}); "
            "what was not measured never passes"
        )
    elif len(rows) < fewest:
        outcome = "inconclusive"
        reason = (
            f"health is undecided: {images(len(rows))}, all healthy, are too few to pass "
            f"(at least {fewest})"
        )
    else:
        outcome, reason = "pass", f"all {len(rows)} images are healthy"
    ours = math.fsum(known) / len(known) if known else None
    theirs = math.fsum(golden) / len(golden) if golden else None
    change = ours - theirs if ours is not None and theirs is not None else None
    return Comparison(
        metric="health",
        outcome=outcome,
        reason=reason,
        margin=baseline.margins.get("health", 0.0),
        n=len(rows),
        estimate=change,
        baseline_mean=theirs,
        candidate_mean=ours,
        more=fewest - len(rows) if outcome == "inconclusive" else None,
    )
