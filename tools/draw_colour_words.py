"""Draw what each colour word allows: docs/colour_words.png.

    python tools/draw_colour_words.py

A row is a word: its typical colour, then colours from all over its region, dark to light, sorted
from a fixed sample of sRGB; a number says which share of the whole sRGB cube lies inside.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage.color import rgb2lab

from loraeval.prompts.colour_names import COLOUR_HEX
from loraeval.prompts.colour_words import region

EXTRA = [
    "dark blue", "light blue", "bright green", "dark green", "light brown", "dark brown",
    "dark grey", "light grey", "hot pink", "ashy brown", "blue green", "red orange", "red hair",
    "light skin", "pale skin", "medium skin", "olive skin", "tan skin", "brown skin", "dark skin",
    "green skin", "dark", "light",
]  # fmt: skip
STEP = 8
SWATCHES = 26
CELL, ROW, LABEL, COLUMNS, GAP = 15, 22, 150, 2, 40


def sample() -> tuple[np.ndarray, np.ndarray]:
    """Return a regular grid of sRGB, uint8 (n, 3), and the same in CIELAB."""
    axis = np.append(np.arange(0, 255, STEP), 255)
    rgb = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return rgb, rgb2lab(rgb[None] / 255.0)[0]


def draw(path: Path) -> None:
    """Write the picture."""
    rgb, lab = sample()
    names = [*COLOUR_HEX, *EXTRA]
    rows = -(-len(names) // COLUMNS)
    width = LABEL + (SWATCHES + 6) * CELL + GAP
    page = Image.new("RGB", (COLUMNS * width + GAP, (rows + 1) * ROW + 10), "white")
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(13)
    for index, name in enumerate(names):
        found = region(name)
        assert found is not None
        left, top = GAP // 2 + index // rows * width, 8 + index % rows * ROW
        inside = np.flatnonzero(found.contains(lab))
        order = inside[np.argsort(lab[inside, 0], kind="stable")]
        picks = order[np.linspace(0, len(order) - 1, SWATCHES).astype(int)]
        pen.text((left, top), name, "black", font)
        pen.rectangle([left + LABEL, top, left + LABEL + 2 * CELL, top + CELL], found.centre)
        for place, pick in enumerate(picks):
            x = left + LABEL + (3 + place) * CELL
            pen.rectangle([x, top, x + CELL - 1, top + CELL], tuple(int(v) for v in rgb[pick]))
        x = left + LABEL + (3 + SWATCHES) * CELL + 6
        pen.text((x, top), f"{100 * len(inside) / len(lab):.1f} %", "black", font)
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/colour_words.png"))
