"""A run in Markdown: for a CI job's summary, a pull request, a model card."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from loraeval.records import ScoreRow, Verdict
from loraeval.report.data import Selection, main_metrics
from loraeval.report.headline import SIGNS, WORDS, difference
from loraeval.report.series import epoch_points

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#!|~$&]|:(?=//)|(?<=www)\.)", re.IGNORECASE)


def escape(text: object) -> str:
    """Return ``text`` so that Markdown shows it as it is: no link, mention, image or HTML in it."""
    line = " ".join(str(text).split())
    line = "".join(c if c.isprintable() else "\ufffd" for c in line)  # no override of the direction
    shown = _SPECIAL.sub(r"\\\1", line)
    return shown.replace("@", "@\u200b")  # a space of no width keeps it from being a mention


def summary_markdown(
    verdicts: Sequence[Verdict],
    *,
    rows: Sequence[ScoreRow] = (),
    selection: Selection | None = None,
    title: str = "LoRA gate",
    images: Mapping[str, str] | None = None,
    diagrams: bool = False,
) -> str:
    """Return a summary: each checkpoint's verdict in a sentence, its table, the scores by epoch.

    ``images`` maps the address of a picture to its alternative text, in order. ``diagrams`` draws
    the scores by epoch as Mermaid charts, which the job summaries of GitHub and the pages of
    GitLab show although they show no file of the job.
    """
    parts = [f"## {escape(title)}"]
    if selection is not None:
        parts.append(f"**{escape(selection.reason)}**")
    if len(verdicts) > 1:
        parts.append(_overview(verdicts))
    elif verdicts:
        parts.append(_verdict(verdicts[0]))
    for address, words in (images or {}).items():
        parts.append(f"![{escape(words)}]({address})")
    if rows and diagrams:
        parts += _diagrams(rows)
    if rows:
        parts.append(_epochs(rows))
    if len(verdicts) > 1:
        parts += [
            f"<details><summary>{_html(verdict.checkpoint.label)}</summary>\n\n{_verdict(verdict)}\n\n"
            "</details>"
            for verdict in verdicts
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _verdict(verdict: Verdict) -> str:
    lines = [
        f"{SIGNS[verdict.outcome]} **{WORDS[verdict.outcome]}** {escape(verdict.reason)}",
        "",
    ]
    lines += _table(
        ["scorer", "verdict", "mean", "baseline", "difference [interval]", "margin", "images"],
        [
            [
                escape(item.metric),
                f"{SIGNS[item.outcome]} {WORDS[item.outcome]}",
                _number(item.candidate_mean),
                _number(item.baseline_mean),
                difference(item),
                _number(item.margin),
                str(item.n),
            ]
            for item in verdict.comparisons
        ],
    )
    said = [*verdict.notes, *verdict.advice]
    lines += ["", *(f"- {escape(words)}" for words in said)] if said else []
    return "\n".join(lines)


def _overview(verdicts: Sequence[Verdict]) -> str:
    metrics = list(dict.fromkeys(c.metric for v in verdicts for c in v.comparisons))
    lines = []
    for verdict in verdicts:
        cells = {item.metric: item for item in verdict.comparisons}
        line = [
            escape(verdict.checkpoint.label),
            f"{SIGNS[verdict.outcome]} **{WORDS[verdict.outcome]}**",
        ]
        for metric in metrics:
            item = cells.get(metric)
            value = "" if item is None or item.estimate is None else f" {item.estimate:+.3f}"
            line.append("" if item is None else SIGNS[item.outcome] + value.replace("-", "−"))
        lines.append(line)
    return "\n".join(_table(["checkpoint", "verdict", *map(escape, metrics)], lines))


def _epochs(rows: Sequence[ScoreRow]) -> str:
    metrics = main_metrics(rows)
    points = epoch_points(rows, metrics)
    epochs = sorted({point.epoch for point in points})
    means = {(point.metric, point.epoch): point.mean for point in points}
    if len(epochs) < 2:
        return ""
    lines = [
        [str(epoch), *(_number(means.get((metric, epoch))) for metric in metrics)]
        for epoch in epochs
    ]
    return "\n".join(_table(["epoch", *map(escape, metrics)], lines))


def _diagrams(rows: Sequence[ScoreRow]) -> list[str]:
    metrics = main_metrics(rows)
    points = epoch_points(rows, metrics)
    parts = []
    for metric in metrics:
        own = [point for point in points if point.metric == metric]
        if len(own) < 2:
            continue
        word = re.sub(r"[^A-Za-z0-9_. -]", "", metric)[:40]
        epochs = ", ".join(str(point.epoch) for point in own)
        means = ", ".join(f"{point.mean:.4f}" for point in own)
        parts.append(
            "```mermaid\nxychart-beta\n"
            f'  title "{word} by epoch"\n  x-axis "epoch" [{epochs}]\n  y-axis "{word}" 0 --> 1\n'
            f"  line [{means}]\n```"
        )
    return parts


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *(f"| {' | '.join(line)} |" for line in lines),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _html(text: str) -> str:
    return (
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    )
