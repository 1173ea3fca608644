"""One self-contained HTML page a run: opens from disk, asks nothing of any network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.errors import MissingExtraError, ScoresError
from loraeval.outside.files import write_text_atomically
from loraeval.records import ScoreRow
from loraeval.report.chart_files import chart_script, save_chart
from loraeval.report.chart_theme import chart_config
from loraeval.report.charts import epoch_chart, marks_sentence
from loraeval.report.data import RunReport, main_metrics, ordered_metrics
from loraeval.report.details import facts, lattice_overlay, reason, swatches
from loraeval.report.gallery import Gallery, build_gallery
from loraeval.report.github import write_job_files
from loraeval.report.headline import (
    SIGNS,
    WORDS,
    difference,
    estimate,
    headline,
    verdict_of_epoch,
)
from loraeval.report.margin_chart import margin_chart
from loraeval.report.markdown import summary_markdown
from loraeval.report.pictures import BUDGET_BYTES, EmbeddedImage, embed_images, find_image
from loraeval.report.series import epoch_points
from loraeval.report.tables import scores_csv

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = "index.html"
SCRIPTS = ("charts.js", "gallery.js", "viewer.js")
SWATCHES_IN_CELL = 4
"""Missing colours shown under a thumbnail; the viewer shows all."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One image of the gallery: its row, its embedded pictures, its number on the page."""

    number: int
    row: ScoreRow
    image: EmbeddedImage
    column: int
    line: int
    baseline: int | None = None


def write_report(
    folder: Path,
    data: RunReport,
    *,
    budget: int = BUDGET_BYTES,
    done: Callable[[], object] = lambda: None,
) -> Path:
    """Write the report of a run into ``folder`` and return the path of its ``index.html``.

    Beside the page: ``scores.csv``, ``summary.md``, what a CI job shows (``job_summary.md``,
    ``annotations.txt``), the epoch chart as PNG and SVG, and
    ``images/`` where the exact pixels do not fit the page's ``budget`` (bytes). ``done`` is called
    after each image. The page is written last: where it stands, all of the report stands.

    Raises ``OSError`` as the file system does. Without the extra ``charts`` the page says so where
    the charts would be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    baseline_rows = () if data.baseline is None else data.baseline.rows
    gallery = build_gallery(data.rows, baseline_rows, data.prompts)
    shots, baseline_shots = _shots(gallery, data, folder, budget, done)
    charts, problem = _charts(data)
    write_text_atomically(folder / "scores.csv", scores_csv(data.rows))
    pictures = {}
    if "epochs" in charts:
        save_chart(charts["epochs"], folder, "epochs")
        pictures["epochs.png"] = "Scores by epoch"
    summary = summary_markdown(
        data.verdicts, rows=data.rows, selection=data.selection, title=data.title, images=pictures
    )
    write_text_atomically(folder / "summary.md", summary)
    write_job_files(folder, data)
    page = render_page(data, gallery, shots, baseline_shots, charts, problem)
    write_text_atomically(folder / PAGE, page)
    return folder / PAGE


def render_page(
    data: RunReport,
    gallery: Gallery,
    shots: Sequence[Shot],
    baseline_shots: Sequence[Shot],
    charts: Mapping[str, Any],
    chart_problem: str | None,
) -> str:
    """Return the page's HTML; text from outside is escaped by the template engine."""
    from markupsafe import Markup  # for our own files and the fragment that is escaped already

    scripts = [_static(name) for name in SCRIPTS]
    if charts:
        scripts.insert(0, chart_script().replace("</script", "<\\/script"))
    chosen = None if data.selection is None else data.selection.epoch
    leading = data.verdicts[0] if len(data.verdicts) == 1 else None
    if chosen is not None and data.verdicts and leading is None:
        leading = verdict_of_epoch(data, chosen)
    csv = base64.b64encode(scores_csv(data.rows).encode()).decode("ascii")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            headline=headline(data),
            leading=leading,
            gallery=gallery,
            shots=shots,
            baseline_shots=baseline_shots,
            by_cell=_by_cell(shots),
            metrics=ordered_metrics(data.rows),
            means=_baseline_means(data),
            parameters=Markup(data.parameters_html or ""),  # noqa: S704
            chosen=chosen,
            gated=list(dict.fromkeys(c.metric for v in data.verdicts for c in v.comparisons)),
            words=WORDS,
            signs=SIGNS,
            difference=difference,
            estimate=estimate,
            missing=lambda row: [s for s in swatches(row.details) if s.missing][:SWATCHES_IN_CELL],
            payload=[_payload(shot, data) for shot in (*shots, *baseline_shots)],
            charts={name: _untitled(chart) for name, chart in charts.items()},
            chart_sentence=marks_sentence(
                epoch_points(data.rows, main_metrics(data.rows)), data.baseline, data.selection
            ),
            chart_configs={"light": chart_config(), "dark": chart_config(dark=True)},
            chart_problem=chart_problem,
            csv="data:text/csv;charset=utf-8;base64," + csv,
            css=Markup(_static("report.css")),  # noqa: S704
            scripts=[Markup(text) for text in scripts],  # noqa: S704
            policy=content_policy(scripts),
        )
        + "\n"
    )


def content_policy(scripts: Sequence[str]) -> str:
    """Return the Content-Security-Policy: these scripts and no other, no request to anywhere.

    Images may come from the page and from files beside it.
    """
    hashes = " ".join(
        "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob: 'self' file:; base-uri 'none'; form-action 'none'"
    )


def _untitled(chart: Any) -> dict[str, Any]:
    """Return the chart's specification without its title, which the page itself shows as text."""
    return {key: value for key, value in json.loads(chart.to_json()).items() if key != "title"}


def _baseline_means(data: RunReport) -> dict[str, float]:
    return {} if data.baseline is None else dict(data.baseline.means)


def _charts(data: RunReport) -> tuple[dict[str, Any], str | None]:
    try:
        charts = {}
        verdict = data.verdicts[0] if len(data.verdicts) == 1 else None
        if data.selection is not None and data.selection.epoch is not None and data.verdicts:
            verdict = verdict_of_epoch(data, data.selection.epoch) or verdict
        margin = None if verdict is None else margin_chart(verdict)
        if margin is not None:
            charts["margins"] = margin
        charts["epochs"] = epoch_chart(
            data.rows, baseline=data.baseline, selection=data.selection, title=data.title
        )
    except MissingExtraError as error:
        return {}, str(error)
    except ScoresError as error:
        return charts, str(error)
    return charts, None


def _shots(
    gallery: Gallery, data: RunReport, folder: Path, budget: int, done: Callable[[], object]
) -> tuple[list[Shot], list[Shot]]:
    places = [
        (line_number, column, row)
        for line_number, line in enumerate(gallery.lines)
        for column, rows in enumerate(line.cells)
        for row in rows
    ]
    theirs = [
        (line_number, line.baseline[0])
        for line_number, line in enumerate(gallery.lines)
        if line.baseline
    ]
    paths = [
        data.image_files.get(r.image) or find_image(data.images, r.image) for _, _, r in places
    ]
    names = [row.image for _, _, row in places]
    view = data.baseline
    if view is not None:
        paths += [
            view.image_files.get(r.image) or find_image(view.images, r.image) for _, r in theirs
        ]
        names += [row.image for _, row in theirs]
    images = embed_images(paths, names, folder, budget=budget, done=done)
    by_line = {line: len(places) + index for index, (line, _) in enumerate(theirs)}
    own = [
        Shot(number, row, images[number], column, line, by_line.get(line))
        for number, (line, column, row) in enumerate(places)
    ]
    other = [Shot(by_line[line], row, images[by_line[line]], -1, line) for line, row in theirs]
    return own, other


def _by_cell(shots: Sequence[Shot]) -> dict[tuple[int, int], list[Shot]]:
    cells: dict[tuple[int, int], list[Shot]] = {}
    for shot in shots:
        cells.setdefault((shot.line, shot.column), []).append(shot)
    return cells


def _payload(shot: Shot, data: RunReport) -> dict[str, Any]:
    row, image = shot.row, shot.image
    lattice = lattice_overlay(row.details)
    scorers = dict.fromkeys(name.split(".")[0] for name in row.scores)
    return {
        "number": shot.number,
        "line": shot.line,
        "column": shot.column,
        "baseline": shot.baseline,
        "name": row.image,
        "prompt": row.prompt_id,
        "text": data.prompts.get(row.prompt_id, ""),
        "seed": row.seed,
        "width": image.width,
        "height": image.height,
        "exact": image.exact,
        "file": image.file,
        "problem": image.problem,
        "scores": {name: row.scores[name] for name in ordered_metrics([row])},
        "reasons": {
            name: reason(row.details, name) for name, value in row.scores.items() if value is None
        },
        "swatches": [
            {
                "attribute": s.attribute,
                "wanted": s.wanted,
                "colour": s.colour,
                "found": s.found,
                "delta": s.delta_e,
                "missing": s.missing,
                "verdict": s.verdict,
                "where": s.where,
            }
            for s in swatches(row.details)
        ],
        "lattice": None
        if lattice is None
        else {
            "period": lattice.period,
            "phase": lattice.phase,
        },
        "facts": {name: facts(row.details, name) for name in scorers},
    }


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("loraeval.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    return environment


def _static(name: str) -> str:
    return (files("loraeval.report") / "static" / name).read_text(encoding="utf-8")
