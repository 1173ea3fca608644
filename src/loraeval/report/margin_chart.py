"""The verdict as a picture: each scorer's difference to the baseline against its margin."""

from __future__ import annotations

from typing import Any

from loraeval.records import Verdict
from loraeval.report.chart_files import altair_module
from loraeval.report.chart_theme import chart_config
from loraeval.report.headline import WORDS, difference

WIDTH, STEP = 430, 34
"""Width of the plot and height of one scorer's line in pixels."""


def margin_chart(verdict: Verdict) -> Any | None:
    """Return an Altair chart of ``verdict``'s comparisons; None where none has an estimate.

    A point and its interval for each scorer, a line at no difference, and a tick at the loss that
    is still accepted. Raises ``MissingExtraError`` without the extra ``charts``.
    """
    alt = altair_module()
    records = [
        {
            "metric": item.metric,
            "estimate": item.estimate,
            "low": item.estimate if item.low is None else item.low,
            "high": item.estimate if item.high is None else item.high,
            "margin": -item.margin,
            "outcome": WORDS[item.outcome],
            "text": difference(item),
            "n": item.n,
        }
        for item in verdict.comparisons
        if item.estimate is not None
    ]
    if not records:
        return None
    marks = [0.0]
    for record in records:
        marks += [float(record[key]) for key in ("low", "high", "margin")]  # type: ignore[arg-type]
    spare = 0.06 * (max(marks) - min(marks)) or 0.01
    domain = [round(min(marks) - spare, 4), round(max(marks) + spare, 4)]
    order = [record["metric"] for record in records]
    words = [WORDS[name] for name in ("pass", "fail", "inconclusive", "stale")]
    base = alt.Chart(alt.Data(values=records))
    y = alt.Y("metric:N", sort=order, title=None, axis=alt.Axis(ticks=False, labelFontSize=12))
    x_title = "candidate minus baseline; left is worse, tick: accepted loss"
    interval = base.mark_rule(style="margin-interval").encode(
        y=y,
        x=alt.X("low:Q", title=x_title, scale=alt.Scale(domain=domain, nice=False)),
        x2="high:Q",
    )
    point = base.mark_point(filled=True, opacity=1, size=130, style="margin-point").encode(
        y=y,
        x=alt.X("estimate:Q", title=x_title),
        shape=alt.Shape(
            "outcome:N",
            title=None,
            scale=alt.Scale(domain=words, range=["circle", "cross", "diamond", "square"]),
            legend=None,
        ),
        tooltip=[
            alt.Tooltip("metric:N", title="scorer"),
            alt.Tooltip("outcome:N", title="outcome"),
            alt.Tooltip("text:N", title="difference"),
            alt.Tooltip("margin:Q", title="accepted loss", format=".3f"),
            alt.Tooltip("n:Q", title="images", format="d"),
        ],
    )
    limit = base.mark_tick(style="margin-limit", thickness=3, size=22).encode(
        y=y, x=alt.X("margin:Q", title=x_title)
    )
    zero = (
        alt.Chart(alt.Data(values=[{"zero": 0}]))
        .mark_rule(style="baseline-line")
        .encode(x=alt.X("zero:Q", title=x_title))
    )
    chart = alt.layer(zero, limit, interval, point)
    return chart.properties(width=WIDTH, height=alt.Step(STEP)).configure(**chart_config())
