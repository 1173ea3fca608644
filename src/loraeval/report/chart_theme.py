"""Colours and type of the charts, light and dark, as a Vega-Lite config.

The colours are Okabe and Ito's (2008), which colour-blind people tell apart; marks differ in
shape and dash as well.
"""

from __future__ import annotations

from typing import Any

_LIGHT = {
    "text": "#1d1d1f",
    "quiet": "#5c5c61",
    "grid": "#e3e3e6",
    "ground": "#ffffff",
    "score": "#0072b2",
    "baseline": "#6b6b70",
    "chosen": "#c04f00",
}
_DARK = {
    "text": "#f2f2f4",
    "quiet": "#b4b4bb",
    "grid": "#3a3a40",
    "ground": "#1c1c1f",
    "score": "#56b4e9",
    "baseline": "#a8a8b0",
    "chosen": "#ff9a4d",
}


def chart_config(*, dark: bool = False) -> dict[str, Any]:
    """Return the Vega-Lite config that gives the chart's marks their colours."""
    tone = _DARK if dark else _LIGHT
    return {
        "background": tone["ground"],
        "font": "DejaVu Sans, Verdana, Arial, sans-serif",
        "view": {"stroke": tone["grid"]},
        "axis": {
            "labelColor": tone["quiet"],
            "titleColor": tone["quiet"],
            "gridColor": tone["grid"],
            "domainColor": tone["grid"],
            "tickColor": tone["grid"],
            "labelFontSize": 11,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
        },
        "title": {
            "color": tone["text"],
            "subtitleColor": tone["quiet"],
            "anchor": "start",
            "fontSize": 13,
            "subtitleFontSize": 12,
            "subtitlePadding": 6,
            "offset": 10,
        },
        "style": {
            "score-band": {"color": tone["score"], "fillOpacity": 0.22},
            "score-line": {"color": tone["score"], "strokeWidth": 2},
            "score-point": {"color": tone["score"], "stroke": tone["ground"], "size": 60},
            "score-whisker": {"color": tone["score"], "strokeWidth": 2, "strokeOpacity": 0.5},
            "baseline-band": {"color": tone["baseline"], "fillOpacity": 0.2},
            "baseline-line": {"color": tone["baseline"], "strokeWidth": 1.5, "strokeDash": [6, 3]},
            "margin-interval": {"color": tone["score"], "strokeWidth": 3, "strokeOpacity": 0.6},
            "margin-point": {"color": tone["score"], "stroke": tone["ground"]},
            "margin-limit": {"color": tone["chosen"]},
            "chosen-rule": {"color": tone["chosen"], "strokeWidth": 1.5, "strokeDash": [2, 2]},
            "chosen-point": {"color": tone["chosen"], "stroke": tone["ground"], "size": 160},
        },
    }
