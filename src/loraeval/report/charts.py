"""The epoch chart: one definition, drawn in the HTML report and as PNG and SVG.

A small multiple for each scorer: the mean by epoch with its interval as a band, the baseline's
level as a line with its own band, the recommended epoch marked.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.errors import MissingExtraError, ScoresError
from loraeval.records import ScoreRow
from loraeval.report.chart_theme import chart_config
from loraeval.report.data import BaselineView, Selection, main_metrics
from loraeval.report.files import write_bytes_atomically
from loraeval.report.series import EpochPoint, Interval, epoch_points, student_interval
from loraeval.scores_file import write_text_atomically

if TYPE_CHECKING:
    from types import ModuleType

PANEL_WIDTH, PANEL_HEIGHT = 300, 170
"""Size of one small multiple in pixels, without its axes."""

COLUMNS = 3
"""Small multiples beside each other."""

PIXEL_RATIO = 2.0
"""Pixels of the PNG for each CSS pixel."""

MIN_SPAN = 0.1
"""A panel's axis spans at least this much: a spread of some thousandths must not look like a
cliff."""


def epoch_chart(
    rows: Sequence[ScoreRow],
    *,
    baseline: BaselineView | None = None,
    selection: Selection | None = None,
    metrics: Sequence[str] | None = None,
    title: str = "Scores by epoch",
    interval: Interval = student_interval,
) -> Any:
    """Return the chart of ``rows`` as an Altair chart.

    ``metrics`` defaults to the scorers' main metrics; those without any number are left out.
    Raises ``ScoresError`` where no row has an epoch and a number, ``MissingExtraError`` without
    the extra ``charts``.
    """
    alt = altair_module()
    wanted = main_metrics(rows) if metrics is None else tuple(metrics)
    points = epoch_points(rows, wanted, interval)
    drawn = [name for name in wanted if any(point.metric == name for point in points)]
    if not drawn:
        raise ScoresError(
            "a chart by epoch needs rows with an epoch and a score, found none; "
            "score a series of checkpoints, or give the images' epochs in the renders manifest"
        )
    panels = [
        _panel(alt, name, [p for p in points if p.metric == name], baseline, selection)
        for name in drawn
    ]
    sentence = textwrap.wrap(chart_sentence(points, baseline, selection), 75 * min(2, len(panels)))
    chart = alt.concat(
        *panels,
        columns=min(COLUMNS, len(panels)),
        bounds="flush",  # panels line up whatever their axes' labels are
        spacing={"row": 96, "column": 62},
    )
    return chart.properties(
        title=alt.TitleParams(text=title, subtitle=sentence, fontSize=17, offset=16)
    ).configure(**chart_config())


def chart_sentence(
    points: Sequence[EpochPoint], baseline: BaselineView | None, selection: Selection | None
) -> str:
    """Return the sentence under the chart's title: what to keep and why, what the marks mean."""
    if not points:
        return ""
    counts = sorted({point.n for point in points})
    prompts = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    marks = f"Mean over {prompts} prompts an epoch, band: 95 % interval of the mean"
    if baseline is not None and baseline.means:
        marks += f"; dashed: baseline {baseline.name}"
    if selection is not None and selection.epoch is not None:
        marks += f"; diamond: epoch {selection.epoch}"
    chosen = "" if selection is None else selection.reason.rstrip().removesuffix(".") + ". "
    return f"{chosen}{marks}."


def save_chart(chart: Any, folder: Path, stem: str) -> tuple[Path, Path]:
    """Write ``chart`` as ``stem.png`` and ``stem.svg``; equal charts give equal bytes.

    Raises ``MissingExtraError`` without the extra ``charts``.
    """
    spec = chart.to_json(indent=None)
    png, svg = folder / f"{stem}.png", folder / f"{stem}.svg"
    write_bytes_atomically(png, chart_png(spec))
    write_text_atomically(svg, chart_svg(spec))
    return png, svg


def chart_png(spec: str) -> bytes:
    """Return a Vega-Lite specification, as JSON, drawn as PNG."""
    return bytes(_converter().vegalite_to_png(spec, scale=PIXEL_RATIO, allowed_base_urls=[]))


def chart_svg(spec: str) -> str:
    """Return a Vega-Lite specification, as JSON, drawn as SVG."""
    return str(_converter().vegalite_to_svg(spec, allowed_base_urls=[])) + "\n"


def chart_script() -> str:
    """Return the JavaScript that draws such a specification in a page: vega-embed and all it
    needs, for a ``<script>`` tag, no address of any network in use.
    """
    return str(_converter().javascript_bundle())


def _panel(
    alt: ModuleType,
    metric: str,
    points: Sequence[EpochPoint],
    baseline: BaselineView | None,
    selection: Selection | None,
) -> Any:
    level = None if baseline is None else baseline.means.get(metric)
    band = None if baseline is None else baseline.bands.get(metric)
    low, high = axis_domain(points, level, band)
    epochs = [point.epoch for point in points]
    x = alt.X(
        "epoch:Q",
        title="epoch",
        scale=alt.Scale(domain=[min(epochs) - 0.5, max(epochs) + 0.5], nice=False, zero=False),
        axis=alt.Axis(values=_ticks(epochs), format="d", grid=False),
    )
    y_scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    y = alt.Y(
        "mean:Q",
        title="score, 1 is best",
        scale=y_scale,
        axis=alt.Axis(tickCount=5, labelBound=True),
    )
    chosen = None if selection is None else selection.epoch
    data = _values(alt, [_record(point, level, band, point.epoch == chosen) for point in points])
    tooltip = [
        alt.Tooltip("epoch:Q", title="epoch", format="d"),
        alt.Tooltip("mean:Q", title=metric, format=".3f"),
        alt.Tooltip("interval:N", title="95 % interval"),
        alt.Tooltip("n:Q", title="prompts", format="d"),
        alt.Tooltip("images:Q", title="images", format="d"),
        alt.Tooltip("unscored:Q", title="unscored", format="d"),
        alt.Tooltip("baseline:N", title="baseline"),
    ]
    layers = _baseline_layers(alt, baseline, level, band, y_scale)
    scored = alt.Chart(data).encode(x=x)
    layers += [
        scored.mark_area(style="score-band").encode(y=alt.Y("low:Q", scale=y_scale), y2="high:Q"),
        scored.mark_rule(style="score-whisker").encode(
            y=alt.Y("low:Q", scale=y_scale), y2="high:Q"
        ),
        scored.mark_line(style="score-line").encode(y=y),
        scored.mark_point(style="score-point", filled=True, opacity=1).encode(y=y, tooltip=tooltip),
    ]
    if chosen in epochs:
        layers += _chosen_layers(alt, points, int(chosen or 0), x, y, tooltip)
    heading = alt.TitleParams(text=metric, subtitle=_caption(points, chosen, baseline, metric))
    return alt.layer(*layers).properties(title=heading, width=PANEL_WIDTH, height=PANEL_HEIGHT)


def _baseline_layers(
    alt: ModuleType,
    baseline: BaselineView | None,
    level: float | None,
    band: tuple[float, float] | None,
    y_scale: Any,
) -> list[Any]:
    if baseline is None or level is None:
        return []
    layers = []
    if band is not None:
        data = _values(alt, [{"low": band[0], "high": band[1]}])
        layers.append(
            alt.Chart(data)
            .mark_rect(style="baseline-band")
            .encode(y=alt.Y("low:Q", scale=y_scale), y2="high:Q")
        )
    line = alt.Chart(_values(alt, [{"level": level}])).mark_rule(style="baseline-line")
    return [*layers, line.encode(y=alt.Y("level:Q", scale=y_scale))]


def _chosen_layers(
    alt: ModuleType,
    points: Sequence[EpochPoint],
    chosen: int,
    x: Any,
    y: Any,
    tooltip: list[Any],
) -> list[Any]:
    point = next(point for point in points if point.epoch == chosen)
    marked = alt.Chart(_values(alt, [_record(point, None, None, True)])).encode(x=x)
    return [
        marked.mark_rule(style="chosen-rule"),
        marked.mark_point(style="chosen-point", filled=True, opacity=1, shape="diamond").encode(
            y=y, tooltip=tooltip
        ),
    ]


def _caption(
    points: Sequence[EpochPoint], chosen: int | None, baseline: BaselineView | None, metric: str
) -> str:
    parts = [f"epoch {p.epoch}: {p.mean:.3f}" for p in points if p.epoch == chosen]
    if baseline is not None and metric in baseline.means:
        parts.append(f"baseline {baseline.means[metric]:.3f}")
    return " · ".join(parts)


def axis_domain(
    points: Sequence[EpochPoint], level: float | None, band: tuple[float, float] | None
) -> tuple[float, float]:
    """Return the axis of a panel: all marks with a little air, at least ``MIN_SPAN``, in [0, 1]."""
    marks = [point.mean for point in points]
    marks += [value for point in points for value in (point.low, point.high) if value is not None]
    marks += [] if level is None else [level]
    marks += [] if band is None else list(band)
    low, high = min(marks), max(marks)
    spare = max(0.06 * (high - low), (MIN_SPAN - (high - low)) / 2, 0.005)
    low, high = low - spare, high + spare
    if high > 1.01:
        low, high = low - (high - 1.01), 1.01
    if low < -0.01:
        low, high = -0.01, min(1.01, high + (-0.01 - low))
    return round(low, 4), round(high, 4)


def _ticks(epochs: Sequence[int]) -> list[int]:
    distinct = sorted(set(epochs))
    step = -(-len(distinct) // 12)
    return distinct[::step]


def _record(
    point: EpochPoint, level: float | None, band: tuple[float, float] | None, chosen: bool
) -> dict[str, Any]:
    if point.low is None or point.high is None:
        interval = "none: one prompt"
    else:
        interval = f"{point.low:.3f} to {point.high:.3f}"
    text = "none" if level is None else f"{level:.3f}"
    if band is not None:
        text += f" ({band[0]:.3f} to {band[1]:.3f})"
    return {
        "epoch": point.epoch,
        "mean": point.mean,
        "low": point.low,
        "high": point.high,
        "interval": interval,
        "n": point.n,
        "images": point.images,
        "unscored": point.unscored,
        "baseline": text,
        "chosen": chosen,
    }


def _values(alt: ModuleType, records: Sequence[Mapping[str, Any]]) -> Any:
    return alt.Data(values=[dict(record) for record in records])


def altair_module() -> ModuleType:
    """Return altair; raises ``MissingExtraError`` without the extra ``charts``."""
    try:
        import altair as alt
    except ImportError as error:
        raise MissingExtraError("altair", "charts", "the epoch chart") from error
    return alt


def _converter() -> ModuleType:
    try:
        import vl_convert
    except ImportError as error:
        raise MissingExtraError("vl-convert-python", "charts", "the epoch chart") from error
    return vl_convert
