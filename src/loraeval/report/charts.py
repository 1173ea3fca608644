"""The epoch chart: one definition, drawn in the HTML report and as PNG and SVG.

A small multiple for each scorer: the mean by epoch with its interval as a band, the baseline's
level as a line with its own band, the recommended epoch marked.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loraeval.errors import ScoresError
from loraeval.records import ScoreRow
from loraeval.report.chart_files import altair_module, save_chart
from loraeval.report.chart_theme import chart_config
from loraeval.report.data import BaselineView, Selection, main_metrics
from loraeval.report.series import EpochPoint, epoch_points

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["axis_domain", "chart_sentence", "epoch_chart", "marks_sentence", "save_chart"]

PANEL_WIDTH, PANEL_HEIGHT = 300, 170
"""Size of one small multiple in pixels, without its axes."""

COLUMNS = 3
"""Small multiples beside each other."""

MIN_SPAN = 0.1
"""A panel's axis spans at least this much: a spread of some thousandths must not look like a
cliff."""


MAX_RUNS = 12
"""Runs of one chart at most: each is a block of panels below the other, and takes seconds."""


def epoch_chart(
    rows: Sequence[ScoreRow],
    *,
    baseline: BaselineView | None = None,
    selection: Selection | None = None,
    metrics: Sequence[str] | None = None,
    title: str = "Scores by epoch",
) -> Any:
    """Return the chart of ``rows`` as an Altair chart.

    ``metrics`` defaults to the scorers' main metrics; those without any number are left out.
    Several runs get a block each, one below the other, and no recommended epoch.
    Raises ``ScoresError`` where no row has an epoch and a number, or there are more than
    ``MAX_RUNS`` runs, ``MissingExtraError`` without the extra ``charts``.
    """
    alt = altair_module()
    wanted = main_metrics(rows) if metrics is None else tuple(metrics)
    by_run = {
        run: points
        for run in dict.fromkeys(row.run for row in rows)
        if (points := epoch_points([row for row in rows if row.run == run], wanted))
    }
    if not by_run:
        raise ScoresError(
            "a chart by epoch needs rows with an epoch and a score, found none; "
            "score a series of checkpoints, or give the images' epochs in the renders manifest"
        )
    if len(by_run) > MAX_RUNS:
        raise ScoresError(
            f"a chart of {len(by_run)} runs cannot be read ({MAX_RUNS} at most fit one); draw each "
            "with: loraeval chart --run NAME"
        )
    if len(by_run) > 1:
        selection = None  # a selection is made among the epochs of one run
    blocks = {
        run: _block(
            alt, points, [name for name in wanted if _has(points, name)], baseline, selection
        )
        for run, points in by_run.items()
    }
    every = [point for points in by_run.values() for point in points]
    columns = max(min(COLUMNS, len({p.metric for p in points})) for points in by_run.values())
    sentence = textwrap.wrap(chart_sentence(every, baseline, selection), 75 * min(2, columns))
    heading = alt.TitleParams(text=title, subtitle=sentence, fontSize=17, offset=16)
    if len(blocks) == 1:
        (chart,) = blocks.values()
    else:
        named = [block.properties(title=run) for run, block in blocks.items()]
        chart = alt.vconcat(*named, spacing=40)
    return chart.properties(title=heading).configure(**chart_config())


def _has(points: Sequence[EpochPoint], metric: str) -> bool:
    return any(point.metric == metric for point in points)


def _block(
    alt: ModuleType,
    points: Sequence[EpochPoint],
    metrics: Sequence[str],
    baseline: BaselineView | None,
    selection: Selection | None,
) -> Any:
    panels = [
        _panel(alt, name, [p for p in points if p.metric == name], baseline, selection)
        for name in metrics
    ]
    return alt.concat(
        *panels,
        columns=min(COLUMNS, len(panels)),
        bounds="flush",  # panels line up whatever their axes' labels are
        spacing={"row": 96, "column": 62},
    )


def chart_sentence(
    points: Sequence[EpochPoint], baseline: BaselineView | None, selection: Selection | None
) -> str:
    """Return the sentence under the chart's title: what to keep and why, what the marks mean."""
    chosen = "" if selection is None else selection.reason.rstrip().removesuffix(".") + ". "
    return chosen + marks_sentence(points, baseline, selection)


def marks_sentence(
    points: Sequence[EpochPoint], baseline: BaselineView | None, selection: Selection | None
) -> str:
    """Return what the chart's marks mean; empty without points."""
    if not points:
        return ""
    counts = sorted({point.n for point in points})
    prompts = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    marks = f"Mean over {prompts} prompts an epoch, band: 95 % interval of the mean"
    if baseline is not None and baseline.means:
        grey = " and its interval in grey" if any(baseline.bands.values()) else ""
        marks += f"; dashed: baseline {baseline.name}{grey}"
    if selection is not None and selection.epoch is not None:
        marks += f"; diamond: epoch {selection.epoch}"
    return f"{marks}."


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
        title=points[0].axis,
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
        alt.Tooltip("epoch:Q", title=points[0].axis, format="d"),
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
    heading = alt.TitleParams(
        text=metric,
        subtitle=_caption(points, chosen, baseline, metric),
        frame="group",  # starts where the panel starts, whatever its axis labels are
    )
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
    air = max(0.01, 0.05 * (high - low))  # the labels of 0 and 1 stay inside of the panel
    if high > 1 + air:
        low, high = low - (high - 1 - air), 1 + air
    if low < -air:
        low, high = -air, min(1 + air, high + (-air - low))
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
