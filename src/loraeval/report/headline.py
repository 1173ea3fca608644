"""The sentence at the top of a report, and words for outcomes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from loraeval.outcome import ORDER, worst
from loraeval.records import Comparison, Outcome, Verdict
from loraeval.report.data import RunReport
from loraeval.report.series import axis_words, on_axis

WORDS: dict[Outcome, str] = {
    "pass": "pass",
    "fail": "fail",
    "inconclusive": "inconclusive",
    "stale": "not comparable",
}
"""Outcomes as people read them."""

SIGNS: dict[Outcome, str] = {"pass": "✓", "fail": "✕", "inconclusive": "?", "stale": "≠"}
"""A sign for each outcome, so that colour is never the only difference."""

_LEAD: dict[Outcome, str] = {
    "pass": "Keep epoch {epoch}: it passes against {baseline}.",
    "fail": "Keep none: even epoch {epoch}, the best of them, fails against {baseline}.",
    "inconclusive": "Not decided yet for epoch {epoch}, the best so far, against {baseline}.",
    "stale": "Epoch {epoch}, the best of them, cannot be compared with {baseline}.",
}
"""What the verdict of a series' best epoch means for whoever chooses one."""


@dataclass(frozen=True, slots=True)
class Headline:
    """What a person reads first: an outcome (None where nothing was gated) and a sentence."""

    outcome: Outcome | None
    sentence: str


def headline(data: RunReport) -> Headline:
    """Return the first sentence of a report.

    One verdict speaks for itself. Of a series, the recommended epoch's verdict leads; without a
    recommendation the gravest outcome does, and the sentence counts the rest.
    """
    if not data.verdicts:
        said = "" if data.selection is None else f" {data.selection.reason}"
        return Headline(
            None,
            f"{len(data.rows)} images scored; no baseline was named, so nothing is gated.{said}",
        )
    if len(data.verdicts) == 1:
        return Headline(data.verdicts[0].outcome, data.verdicts[0].reason)
    counts = Counter(verdict.outcome for verdict in data.verdicts)
    passed = counts.get("pass", 0)
    counted = (
        f"{passed} of {len(data.verdicts)} checkpoints pass against {data.verdicts[0].baseline}"
    )
    rest = [f"{counts[name]} {WORDS[name]}" for name in ORDER[:3] if counts.get(name)]
    counted += f" ({', '.join(rest)})." if rest else "."
    if data.selection is not None and data.selection.epoch is not None:
        chosen = verdict_of_epoch(data, data.selection.epoch)
        if chosen is None:
            return Headline(
                worst(verdict.outcome for verdict in data.verdicts),
                f"{data.selection.reason} {counted}",
            )
        lead = _LEAD[chosen.outcome].format(epoch=data.selection.epoch, baseline=chosen.baseline)
        lead = axis_words(lead, on_axis(data.rows)[1])
        return Headline(chosen.outcome, f"{lead} {data.selection.reason} {counted}")
    return Headline(worst(verdict.outcome for verdict in data.verdicts), counted)


def verdict_of_epoch(data: RunReport, epoch: int) -> Verdict | None:
    """Return the verdict of the checkpoint that the rows give ``epoch``; None where none is."""
    rows, axis = on_axis(data.rows)
    runs = {row.run for row in rows if row.epoch == epoch}
    for verdict in data.verdicts:
        saved = verdict.checkpoint.step if axis == "step" else verdict.checkpoint.epoch
        if saved == epoch and verdict.checkpoint.run in runs:
            return verdict
    return None


def difference(comparison: Comparison) -> str:
    """Return the difference to the baseline with its interval as text; empty where unknown."""
    if comparison.estimate is None:
        return ""
    text = f"{comparison.estimate:+.3f}"
    if comparison.interval is not None:
        low, high = comparison.interval
        text += f" [{low:+.3f}, {high:+.3f}]"
    return text.replace("-", "−")


def estimate(comparison: Comparison) -> str:
    """Return the difference to the baseline as text without its interval; empty where unknown."""
    return difference(comparison).split(" ", maxsplit=1)[0]
