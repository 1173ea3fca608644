"""A small chart for the report: which blocks of the model a LoRA moved, and how far."""

from __future__ import annotations

import html
import math

from loraeval.checkpoints.norms import STRIDE, Norms
from loraeval.outside.text import clean

ROW = 14
LABEL, BAR, NUMBER = 150, 240, 70
MOST = 24
"""Blocks of a component at most; the ones that moved least are left out, and counted."""


def block_chart(norms: Norms, name: str) -> str:
    """Return an HTML fragment: a bar a block, as long as the root mean square change of its
    weights, component by component. Text is escaped; colours are those of the page.
    """
    figures = []
    for part in norms.components:
        rows = [b for b in norms.blocks if b.component == part.component and math.isfinite(b.rms)]
        rows = [b for b in rows if b.weights]
        kept = sorted(rows, key=lambda b: -b.rms)[:MOST]
        shown = [b for b in rows if b in kept]
        if not shown:
            continue
        largest = max(b.rms for b in shown) or 1.0
        lines = [_row(i, b.block, b.rms / largest, b.rms) for i, b in enumerate(shown)]
        title = f"{part.component}: norm {part.norm:.3g} over {part.modules} layers"
        if len(rows) > len(shown):
            title += f", {len(rows) - len(shown)} blocks that moved less not shown"
        said = html.escape(clean(title, 200))
        figures.append(
            f'<p>{said}</p><svg role="img" aria-label="{said}" width="{LABEL + BAR + NUMBER}" '
            f'height="{ROW * len(shown) + 2}" fill="currentColor" font-size="11">'
            f"{''.join(lines)}</svg>"
        )
    if not figures:
        return ""
    about = "" if norms.exact else f", estimated from every {STRIDE}th channel"
    caption = f"How far {clean(name)} moved each block: root mean square change of a weight{about}."
    return (
        f'<figure class="blocks">{"".join(figures)}'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>\n"
    )


def _row(index: int, label: str, share: float, rms: float) -> str:
    y = ROW * index
    width = max(1, round(BAR * share))
    return (
        f'<text x="{LABEL - 6}" y="{y + 11}" text-anchor="end">{html.escape(clean(label, 24))}'
        f'</text><rect x="{LABEL}" y="{y + 2}" width="{width}" height="{ROW - 4}" opacity="0.6"/>'
        f'<text x="{LABEL + width + 5}" y="{y + 11}">{rms:.1e}</text>'
    )
