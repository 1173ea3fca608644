"""The drawing of a portrait: one list of layers, evaluated on any grid.

A portrait is a stack of shapes given as distance fields in cell units: negative inside, zero on
the edge. Thresholded at the 24x24 cell centres they are the pixel art; evaluated on a fine grid
with soft edges they are the photograph-like picture of the same scene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating]
"""A distance field in cells, any two-dimensional shape."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One shape: the colour ``slot`` it takes, ``tone`` in [-1, 1] (darker, lighter), its field."""

    slot: str
    tone: float
    field: Field


@dataclass(frozen=True, slots=True)
class Genes:
    """The geometry of a portrait: a style and three small integers for each attribute.

    ``face`` is (half width step, half height step, jaw); each of the others is (style, a, b, c)
    with the style a key of the tables below.
    """

    face: tuple[int, int, int]
    mouth: int
    brow: int
    hair: tuple[str, int, int, int]
    beard: tuple[str, int]
    headwear: tuple[str, int, int, int]
    eyewear: tuple[str, int, int, int]
    jewellery: tuple[str, int, int, int]
    clothing: tuple[str, int, int, int]
    background: tuple[str, int, int, int]


class Canvas:
    """A grid of points in cell units and the layers drawn on it so far.

    ``x`` and ``y`` are float32 arrays of one shape; the portrait spans 0 to 24 on both axes.
    """

    def __init__(self, x: Field, y: Field) -> None:
        self.x = x
        self.y = y
        self.layers: list[Layer] = []

    def ellipse(self, cx: float, cy: float, rx: float, ry: float) -> Field:
        """Return the (approximate) distance to an axis-parallel ellipse."""
        u = (self.x - np.float32(cx)) * np.float32(1 / rx)
        v = (self.y - np.float32(cy)) * np.float32(1 / ry)
        out: Field = (np.sqrt(u * u + v * v) - np.float32(1)) * np.float32(min(rx, ry))
        return out

    def box(self, x0: float, y0: float, x1: float, y1: float) -> Field:
        """Return the distance (Chebyshev) to the box with these corners."""
        u = np.abs(self.x - np.float32((x0 + x1) / 2)) - np.float32((x1 - x0) / 2)
        v = np.abs(self.y - np.float32((y0 + y1) / 2)) - np.float32((y1 - y0) / 2)
        out: Field = np.maximum(u, v)
        return out

    def above(self, y0: float, slope: float = 0.0) -> Field:
        """Return the distance to the half plane above a line through (12, ``y0``)."""
        return self.y - np.float32(y0) - np.float32(slope) * (self.x - np.float32(12))

    def add(self, slot: str, field: Field, tone: float = 0.0) -> None:
        """Draw one more shape on top."""
        self.layers.append(Layer(slot, tone, field))


def face_size(genes: Genes) -> tuple[float, float]:
    """Return the half width and half height of the head in cells."""
    return 4.6 + 0.5 * genes.face[0], 5.6 + 0.4 * genes.face[1]


Drawer = Callable[[Canvas, Genes], None]


def draw_background(c: Canvas, genes: Genes) -> None:
    """Draw the backdrop; its second tone is the slot ``background2``."""
    kind, a, b, _ = genes.background
    everywhere = np.full_like(c.x, -9)
    c.add("background", everywhere)
    if kind == "split":
        edge = 8.0 + 2 * a
        c.add("background2", (c.x - np.float32(edge)) if b % 2 else (c.y - np.float32(edge)))
    elif kind == "checkered":
        step = np.float32((2, 3, 4, 6, 8)[a % 5])
        odd = (np.floor(c.x / step) + np.floor(c.y / step)) % 2
        near = np.minimum(
            np.abs(c.x / step - np.round(c.x / step)), np.abs(c.y / step - np.round(c.y / step))
        )
        c.add("background2", (np.where(odd > 0, -near, near) * step).astype(np.float32))


def draw_body(c: Canvas, genes: Genes) -> None:
    """Draw shoulders, the clothing's details and the neck."""
    style, a, b, shade = genes.clothing
    width = 8.0 + 0.8 * a
    shoulders = np.minimum(
        c.ellipse(12, 25.5, width, 6.5 + 0.4 * b), c.box(12 - width + 1, 22.4, 11 + width, 25)
    )
    neck = c.box(10, 15, 14, 20.2 + 0.4 * (b % 2))
    c.add("clothing", shoulders)
    if style in ("turtleneck", "scarf"):
        c.add("skin", neck, -0.18)
        c.add("clothing", c.box(9.2 - 0.4 * a, 17.2, 14.8 + 0.4 * a, 20.4), 0.22)
        if style == "scarf":
            c.add("clothing", c.box(14, 20, 16.2, 25), 0.22)
        return
    if style == "jacket":
        c.add("clothing", c.box(10, 19, 14, 25), 0.55)
        c.add(
            "clothing",
            np.maximum(np.abs(np.abs(c.x - 12) - (c.y - 17) * 0.5) - 0.7, 18 - c.y),
            -0.35,
        )
    elif style == "striped":
        stripe = np.float32(2 + shade % 2)
        c.add("clothing", np.maximum(shoulders, np.abs((c.y % stripe) - 0.5) - 0.5), 0.4)
    elif style == "overalls":
        strap = np.abs(np.abs(c.x - 12) - np.float32(4.0 + 0.5 * a)) - 0.8
        c.add("clothing", np.maximum(shoulders, strap), -0.4)
    elif style == "hoodie":
        c.add("clothing", c.ellipse(12, 20.4, 5.6, 2.6), -0.25)
    elif style == "dress":
        c.add("skin", np.maximum(shoulders, c.above(20.6 + 0.4 * b)), -0.06)
    c.add("skin", neck, -0.18)
    if style in ("vneck", "shirt"):
        c.add("skin", np.maximum(np.abs(c.x - 12) + (c.y - 23.2) * 0.8, 19 - c.y), -0.1)
    if style == "shirt":
        collar = np.abs(np.abs(c.x - 12) - (22 - c.y) * 0.7) - 0.7
        c.add("clothing", np.maximum(np.maximum(collar, c.y - 22.4), 18.4 - c.y), 0.5)


def draw_face(c: Canvas, genes: Genes) -> None:
    """Draw head, ears, eyes, brows, nose and mouth."""
    rx, ry = face_size(genes)
    jaw = genes.face[2]
    head = c.ellipse(12, 11, rx, ry)
    if jaw == 1:
        head = np.minimum(head, c.box(12 - rx + 1.1, 10, 11 + rx - 0.1, 15.4))
    elif jaw == 2:
        head = np.minimum(head, c.ellipse(12, 14, rx - 1.2, 3.4))
    ears = np.minimum(c.ellipse(12 - rx, 11.6, 1.0, 1.3), c.ellipse(12 + rx, 11.6, 1.0, 1.3))
    c.add("skin", ears, -0.12)
    c.add("skin", head)
    c.add("skin", np.maximum(head, np.float32(12 + 0.55 * rx) - c.x), -0.14)
    for side in (-1, 1):
        inner = 12 + side * 1.0
        c.add("white", c.box(*sorted_x(inner + side * 1.0, inner + side * 3.0, 10, 12)))
        shift = side * 1.0 if genes.mouth % 2 else side * 2.0
        c.add("eyes", c.box(*sorted_x(inner + shift, inner + shift + side, 10, 12)))
        lift = 0.0 if genes.brow < 2 else 1.0
        if genes.brow != 3:
            c.add(
                "hair", c.box(*sorted_x(inner + side, inner + side * 3, 8 + lift, 9 + lift)), -0.45
            )
    c.add("skin", c.box(11 + genes.mouth % 2, 11.4, 12 + genes.mouth % 2, 14), -0.25)
    wide = (10, 14) if genes.mouth < 2 else (9, 14) if genes.mouth == 2 else (10, 15)
    c.add("lips", c.box(wide[0], 15, wide[1], 16))
    if genes.mouth == 1:
        c.add("lips", c.box(11, 15.4, 13, 17), 0.15)


def sorted_x(x0: float, x1: float, y0: float, y1: float) -> tuple[float, float, float, float]:
    """Return box corners with x in order, so that a mirrored box stays a box."""
    return min(x0, x1), y0, max(x0, x1), y1


def draw_beard(c: Canvas, genes: Genes) -> None:
    """Draw facial hair, in the hair's colour."""
    style, a = genes.beard
    rx, ry = face_size(genes)
    if style == "moustache":
        c.add("hair", c.box(9.0 + a % 2, 14, 15.0 - a % 2, 15), -0.2)
    elif style == "goatee":
        c.add("hair", c.box(10.2, 16, 13.8, 17.6 + 0.5 * a), -0.15)
    elif style == "beard":
        outer = np.maximum(c.ellipse(12, 12, rx + 0.3, ry + 0.4 + 0.5 * a), 13.4 - c.y)
        c.add("hair", np.maximum(outer, -c.box(10, 14.9, 14, 16.1)), -0.15)
