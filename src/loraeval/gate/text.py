"""Verdicts as an aligned table for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from loraeval.gate.sentences import stopped_early
from loraeval.outside.text import clean
from loraeval.records import Comparison, Verdict

ADVICE_SHOWN = 3
"""Lines of advice on the terminal: where every prompt is off, more of them say nothing new."""

_HEAD = ("metric", "verdict", "candidate", "baseline", "change", "interval", "margin", "images")
_WORDS = {"pass": "pass", "fail": "FAIL", "inconclusive": "undecided", "stale": "STALE"}


def verdict_table(
    verdicts: Iterable[Verdict], *, width: int = 100, titles: Mapping[str, str] | None = None
) -> str:
    """Return a table of every verdict: a line a metric, then the reason, wrapped at ``width``.

    ``titles`` gives what to call a checkpoint instead of its outcome, by its file.
    Empty for no verdicts; no line break at the end.
    """
    blocks = []
    for verdict in verdicts:
        outcome = (titles or {}).get(verdict.checkpoint.file or "", _WORDS[verdict.outcome])
        title = clean(f"{outcome}  {verdict.checkpoint.label}  against {verdict.baseline}", 1000)
        lines = [title]
        if verdict.outcome != "stale" and verdict.comparisons:
            lines += _aligned([_HEAD, *(_cells(item) for item in verdict.comparisons)])
        lines += _reasons(verdict, width)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _reasons(verdict: Verdict, width: int) -> list[str]:
    if verdict.outcome in ("pass", "stale"):
        sentences = [verdict.reason]
    else:
        sentences = list(
            dict.fromkeys(c.reason for c in verdict.comparisons if c.outcome == verdict.outcome)
        ) or [verdict.reason]
        sentences[-1] += stopped_early(verdict.images, verdict.planned)
    sentences += [f"note: {note}" for note in verdict.notes]
    sentences += [f"advice: {advice}" for advice in verdict.advice[:ADVICE_SHOWN]]
    if (more := len(verdict.advice) - ADVICE_SHOWN) > 0:
        sentences.append(f"advice: {more} more lines like these in verdicts.json and the report")
    return [
        line
        for sentence in sentences
        for line in textwrap.wrap(
            clean(sentence, 10_000),
            width,
            initial_indent="  ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
    ]


def _cells(item: Comparison) -> tuple[str, ...]:
    return (
        item.metric,
        _WORDS[item.outcome],
        _number(item.candidate_mean),
        _number(item.baseline_mean),
        _signed(item.estimate),
        "-" if item.interval is None else " to ".join(map(_signed, item.interval)),
        f"-{item.margin:.3f}" if item.margin else "-",
        str(item.n),
    )


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return [
        "  "
        + "  ".join(
            cell.ljust(size) if place < 2 else cell.rjust(size)
            for place, (cell, size) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"
