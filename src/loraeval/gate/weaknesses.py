"""What keeps a verdict from being a PASS, or weakens it: too small a baseline, missing images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from loraeval.baselines import Baseline
from loraeval.baselines.margins import golden_lacking
from loraeval.baselines.shares import SHARES
from loraeval.baselines.softened import softened
from loraeval.gate.copies import pixel_digest
from loraeval.gate.options import GateOptions
from loraeval.gate.sentences import images, verdict_reason
from loraeval.outcome import outcome_of
from loraeval.records import Comparison, ScoreRow, Verdict

NAMED = 8
"""Missing images that a sentence names; ``Verdict.missing`` holds all."""


def resolved(item: Comparison, baseline: Baseline) -> Comparison:
    """Return ``item``, a PASS turned into undecided where golden images lack to resolve its margin.

    A FAIL stays: its own bound counts the baseline's error.
    """
    if item.outcome != "pass" or item.metric not in baseline.profile.gated:
        return item
    if item.metric == "health" or item.metric in SHARES:
        return item
    lacking = golden_lacking(baseline.rows, item.metric, item.margin)
    if not lacking:
        return item
    reason = (
        f"{item.metric} is undecided: about {lacking} golden images lacking to resolve a margin of "
        f"{item.margin:.3g}; no checkpoint can pass against {baseline.name}"
    )
    return replace(item, outcome="inconclusive", reason=reason)


def finished(
    verdict: Verdict,
    baseline: Baseline,
    rows: Sequence[ScoreRow],
    options: GateOptions,
    missing: Sequence[str] = (),
) -> Verdict:
    """Return ``verdict`` with what weakens it, and no PASS where that forbids one."""
    comparisons = tuple(resolved(item, baseline) for item in verdict.comparisons)
    outcome = outcome_of(comparisons)
    reason = verdict.reason
    if outcome != verdict.outcome:
        reason = verdict_reason(outcome, comparisons, baseline.name)
    notes = list(softened(baseline, options.margins))
    if options.bad_share != GateOptions.__dataclass_fields__["bad_share"].default:
        notes.append(f"bad images may rise by {100 * options.bad_share:g} of 100 (usual: 10)")
    if all(pixel_digest(row) is None for row in rows):
        notes.append("copies were not looked for: these scores carry no digest of the pixels")
    if missing:
        told = ", ".join(missing[:NAMED]) + (" …" if len(missing) > NAMED else "")
        lost = f"{images(len(missing))} of the plan missing: {told}"
        if outcome == "pass" and not options.allow_partial:
            outcome = "inconclusive"
            reason = (
                f"what was shown is as good as {baseline.name}, but a PASS needs the whole plan; "
                f"{lost}; give them, declare the prompts that were meant (--prompts SET), or "
                "accept it with --allow-partial"
            )
        elif outcome == "pass":
            notes.append(f"passed on a part of the plan (--allow-partial): {lost}")
    return replace(
        verdict,
        outcome=outcome,
        comparisons=comparisons,
        reason=reason,
        notes=tuple(notes),
        missing=tuple(missing),
    )
