"""Show a comparison of training parameters: text, Markdown, JSON, an HTML fragment."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence

from loraeval.checkpoints.compare import ParameterComparison, Row, shown_value
from loraeval.checkpoints.parameters import SOURCES, ParameterValue
from loraeval.checkpoints.plan import Experiment
from loraeval.checkpoints.table import GROUPS
from loraeval.outside.text import clean

_MARKS = {"same": " ", "effective": "*", "inert": "o", "storage": "s", "unknown": "?"}
_LEGEND = (
    "* effective: both runs act on it   o inert: no effect in one of them   "
    "s storage, speed or a name   ? not known for every run"
)
_LETTERS = {"recorded": "r", "derived": "d", "script": "s", "stated": "w", "default": "·",
            "not stored": "?"}  # fmt: skip


def parameters_text(comparison: ParameterComparison, *, everything: bool = False) -> str:
    """Return the table for a terminal: one group after another, changed rows marked.

    Rows of names and logs are left out unless ``everything``.
    """
    rows = _chosen(comparison, everything=everything)
    if not rows:
        return _folded(comparison, everything=everything)
    head = ["", "parameter", *(clean(run.name, 28) for run in comparison.runs), "why"]
    body = [
        [
            _MARKS[row.effect],
            row.name,
            *(_cell(v, row.name) for v in row.values),
            clean(row.reason, 90),
        ]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head) - 1)]
    lines = [clean(comparison.headline, 2000), ""]
    lines += ["  ".join(c.ljust(w) for c, w in zip(head, [*widths, 0], strict=True)).rstrip()]
    group = ""
    for row, cells in zip(rows, body, strict=True):
        if row.group != group:
            group = row.group
            lines += ["", GROUPS[group]]
        lines.append(
            "  ".join(c.ljust(w) for c, w in zip(cells, [*widths, 0], strict=True)).rstrip()
        )
    lines += ["", *_equal(comparison, everything=everything), _LEGEND, _source_legend(), ""]
    lines += [f"- {clean(text, 600)}" for text in comparison.truths]
    lines += ["", clean(comparison.confounding, 2000)]
    lines += [f"  {line}" for line in _evidence(comparison)]
    return "\n".join(lines) + "\n"


def parameters_markdown(comparison: ParameterComparison, *, everything: bool = False) -> str:
    """Return the same as GitHub Markdown: a table a group, changed rows in bold."""
    lines: list[str] = [_cell_md(comparison.headline)]
    group = ""
    names = [_cell_md(run.name) for run in comparison.runs]
    for row in _chosen(comparison, everything=everything):
        if row.group != group:
            group = row.group
            lines += ["", f"### {GROUPS[group]}", ""]
            lines.append("| parameter | " + " | ".join(names) + " | difference |")
            lines.append("| --- " * (len(names) + 2) + "|")
        name = f"**{row.name}**" if row.effect == "effective" else row.name
        what = (
            ""
            if row.effect == "same"
            else f"**{row.effect}**"
            if row.effect == "effective"
            else row.effect
        )
        why = f"{what}: {_cell_md(row.reason)}" if row.reason else what
        cells = " | ".join(_cell_md(_cell(value, row.name)) for value in row.values)
        lines.append(f"| {name} | {cells} | {why} |")
    folded = [_cell_md(line) for line in _equal(comparison, everything=everything)]
    lines += ["", *folded, *([""] if folded else []), _source_legend(), ""]
    lines += ["### What follows", ""]
    lines += [f"- {_cell_md(clean(text, 600))}" for text in comparison.truths]
    lines += ["", "### Causes", "", _cell_md(clean(comparison.confounding, 2000)), ""]
    lines += [_cell_md(line) for line in _evidence(comparison)]
    return "\n".join(lines).strip() + "\n"


def parameters_html(comparison: ParameterComparison) -> str:
    """Return an escaped HTML fragment for the report: table, truths, causes. No script, no style
    beyond class names (``params``, ``effect-effective``, …).
    """
    lines = ['<section class="params">', f"<p>{_html(comparison.headline, 2000)}</p>"]
    lines += ["<table>", "<thead><tr><th>parameter</th>"]
    lines += [f"<th>{_html(run.name)}</th>" for run in comparison.runs]
    lines.append("<th>difference</th></tr></thead>")
    group = ""
    for row in _chosen(comparison, everything=False):
        if row.group != group:
            if group:
                lines.append("</tbody>")
            group = row.group
            span = len(comparison.runs) + 2
            title = _html(GROUPS[group])
            lines.append(f'<tbody><tr><th colspan="{span}" scope="rowgroup">{title}</th></tr>')
        cells = "".join(
            f'<td title="{_html(_source_text(value))}">{_html(_cell(value, row.name))}</td>'
            for value in row.values
        )
        effect = "" if row.effect == "same" else row.effect
        why = f"{effect}: {row.reason}" if row.reason else effect
        lines.append(
            f'<tr class="effect-{row.effect}"><td>{_html(row.name)}</td>{cells}'
            f"<td>{_html(why)}</td></tr>"
        )
    lines.append("</tbody></table>" if group else "</table>")
    lines += [f"<p>{_html(line, 4000)}</p>" for line in _equal(comparison, everything=False)]
    lines.append(f"<p>{_html(_source_legend())}</p>")
    lines.append(f"<p>{_html(comparison.confounding, 2000)}</p>")
    for items in (_evidence(comparison), comparison.truths):
        entries = "".join(f"<li>{_html(text, 600)}</li>" for text in items)
        if entries:
            lines.append(f"<ul>{entries}</ul>")
    lines.append("</section>")
    return "\n".join(lines) + "\n"


def comparison_json(comparison: ParameterComparison, plan: Sequence[Experiment] = ()) -> str:
    """Return the comparison, and the plan where there is one, as JSON text."""
    tree = comparison.to_json()
    if plan:
        tree["plan"] = [
            {"name": e.name, "change": e.change, "command": e.command, "shows": e.shows,
             "gpu_hours": e.gpu_hours, "basis": e.basis}
            for e in plan
        ]  # fmt: skip
    return json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def plan_text(plan: Sequence[Experiment]) -> str:
    """Return the experiments as shell text: comments, then the command."""
    if not plan:
        return "# No single change is left to try: no effective difference has two known values.\n"
    lines: list[str] = []
    for number, item in enumerate(plan, 1):
        cost = "not known" if item.gpu_hours is None else f"{_hours(item.gpu_hours)} GPU-hours"
        lines += [
            f"# Experiment {number}: {clean(item.change, 300)}",
            f"# Shows: {clean(item.shows, 600)}",
            f"# Cost: {cost} ({clean(item.basis, 300)})",
            *(clean(line, 2000) for line in item.command.splitlines()),
            "",
        ]
    return "\n".join(lines)


def _hours(hours: float) -> str:
    return "less than 0.1" if hours < 0.05 else f"about {hours:.1f}"


def _chosen(comparison: ParameterComparison, *, everything: bool) -> list[Row]:
    """Rows worth showing: what differs, or may; labels and what is equal only on request."""
    rows = []
    for row in comparison.rows:
        told = any((v.known and v.source != "default") or v.conflicts for v in row.values)
        labels = row.group == "output" or row.effect == "same"
        if everything or (not labels and (told or row.effect in ("effective", "storage", "inert"))):
            rows.append(row)
    return rows


_EQUAL_SHOWN = 24
"""So many names of equal parameters are listed."""


def _equal(comparison: ParameterComparison, *, everything: bool) -> Iterator[str]:
    """Fold what is equal into a line: first what somebody set, then how many defaults."""
    if everything:
        return
    rows = {row.name: row for row in comparison.rows}
    names = [name for name in comparison.equal if rows[name].group != "output"]
    set_ = [n for n in names if any(v.source != "default" for v in rows[n].values)]
    if set_:
        more = f" and {len(set_) - _EQUAL_SHOWN} more" if len(set_) > _EQUAL_SHOWN else ""
        listed = ", ".join(set_[:_EQUAL_SHOWN])
        yield f"Equal in all runs: {len(set_)} that a run sets ({listed}{more})."
    if len(names) > len(set_):
        yield f"Equal at the trainer's default: {len(names) - len(set_)}; --all lists them."


def _folded(comparison: ParameterComparison, *, everything: bool) -> str:
    lines = [clean(comparison.headline, 2000), *_equal(comparison, everything=everything)]
    return "\n".join(lines) + "\n"


def _cell(value: ParameterValue, name: str) -> str:
    return f"{clean(shown_value(value, name), 44)} [{_LETTERS[value.source]}]"


def _cell_md(text: str) -> str:
    escaped = html.escape(clean(text, 2000), quote=False)
    for sign in "\\|`*_[]":
        escaped = escaped.replace(sign, f"\\{sign}")
    return escaped


def _html(text: str, limit: int = 300) -> str:
    return html.escape(clean(text, limit))


def _source_text(value: ParameterValue) -> str:
    text = f"{SOURCES[value.source]}: {value.detail}" if value.detail else SOURCES[value.source]
    for claim in value.conflicts:
        text += f"; but {claim.source} says {claim.value}: {claim.detail}"
    return text


def _source_legend() -> str:
    words = {"recorded": "recorded", "derived": "derived", "script": "script", "stated": "written "
             "down by a person", "default": "default", "not stored": "not stored"}  # fmt: skip
    return "sources: " + ", ".join(f"[{_LETTERS[k]}] {word}" for k, word in words.items())


def _evidence(comparison: ParameterComparison) -> Iterator[str]:
    for number, (name, item) in enumerate(comparison.evidence, 1):
        if item is None:
            yield f"{number}. {name}: no source on its effect is at hand."
            continue
        sources = "; ".join(item.sources) or "no source at hand"
        yield f"{number}. {name}: {item.effect} ({sources})"
