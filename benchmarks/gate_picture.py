"""Draw why three images are not enough: docs/gate.svg and docs/gate.png.

    python benchmarks/gate_picture.py

Each curve is the change that a checkpoint of identical quality seems to have, over 100,000 draws
from the real per-image scores (benchmarks/gate_scores.json), when so many images are averaged.
"""

from __future__ import annotations

import json
from pathlib import Path

import altair as alt
import numpy as np
import vl_convert

from _gate_worlds import HERE, MEASURED, load
from loraeval.baselines.margins import shift_seen_in
from loraeval.baselines.profile import SHARE

DRAWS = 100_000
METRIC = "style"
COUNTS = (3, 12, 60)


def curves() -> tuple[list[dict[str, object]], float, dict[int, float]]:
    """Return the points of the curves, the margin, and per count the share beyond the margin."""
    source = load(MEASURED["punks"])
    effects = source.effects[:, source.metrics.index(METRIC)]
    effects = effects - effects.mean()
    margin = float(shift_seen_in(SHARE) * effects.std(ddof=1))
    generator = np.random.default_rng(3)
    edges = np.linspace(-4 * margin, 4 * margin, 81)
    points: list[dict[str, object]] = []
    beyond = {}
    for count in COUNTS:
        drawn = effects[generator.integers(len(effects), size=(2, DRAWS, count))].mean(axis=2)
        change = drawn[0] - drawn[1]
        beyond[count] = float((change < -margin).mean())
        share, _ = np.histogram(change, bins=edges)
        label = f"{count} images"
        points += [
            {"change": float(middle), "share": float(part / DRAWS), "images": label}
            for middle, part in zip((edges[1:] + edges[:-1]) / 2, share, strict=True)
        ]
    return points, margin, beyond


def in_percent(share: float) -> str:
    """Return a share in whole per cent, never a zero that is none."""
    return f"{share:.0%}" if share >= 0.01 else "under 1%"


def main() -> None:
    """Draw and save."""
    points, margin, beyond = curves()
    names = [f"{count} images" for count in COUNTS]
    told = ", ".join(f"{in_percent(beyond[count])} with {count}" for count in COUNTS)
    base = alt.Chart(alt.Data(values=points)).encode(
        x=alt.X("change:Q", title=f"change of {METRIC} that you would measure"),
        y=alt.Y("share:Q", title=None, axis=None),
        color=alt.Color(
            "images:N",
            sort=names,
            title=None,
            scale=alt.Scale(domain=names, range=["#d55e00", "#0072b2", "#222222"]),
            legend=alt.Legend(orient="top-right", symbolType="stroke", labelFontSize=13),
        ),
    )
    line = alt.Chart(alt.Data(values=[{"at": -margin, "what": "margin"}]))
    chart = (
        (
            base.mark_line(strokeWidth=2.5, interpolate="monotone")
            + line.mark_rule(strokeDash=[5, 4], color="#777777").encode(x="at:Q")
            + line.mark_text(align="right", dx=-6, y=10, color="#555555", fontSize=13).encode(
                x="at:Q", text="what:N"
            )
        )
        .properties(
            width=620,
            height=260,
            title=alt.TitleParams(
                "The same checkpoint, measured again: where its score seems to be",
                subtitle=f"It looks worse than the margin by chance alone: {told}",
                anchor="start",
                fontSize=16,
                subtitleFontSize=13,
            ),
        )
        .configure_view(stroke=None)
        .configure_axis(grid=False, labelFontSize=12, titleFontSize=13)
    )
    text = json.dumps(chart.to_dict())
    docs = HERE.parent / "docs"
    (docs / "gate.svg").write_text(vl_convert.vegalite_to_svg(text), encoding="utf-8")
    Path(docs / "gate.png").write_bytes(vl_convert.vegalite_to_png(text, scale=2))
    print(f"{docs / 'gate.svg'}: {told}")


if __name__ == "__main__":
    main()
