"""Ways in which a checkpoint can go wrong, made from portraits of 24x24 cells."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from loraeval.testing.portraits import render_illustration, render_photo, scene

SIZE = 240
"""Pixels a side of the pictures that are scored: ten a cell."""

Rgb = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """A portrait and what was asked: caption, 24x24 cells, and a number to draw chance from."""

    name: str
    caption: str
    cells: Rgb
    seed: int

    @property
    def chance(self) -> np.random.Generator:
        """The pair's own randomness."""
        return np.random.default_rng(self.seed)


def shown(cells: Rgb, size: int = SIZE) -> Rgb:
    """Return cells as a picture with hard edges."""
    rows, columns = (np.arange(size) * n // size for n in cells.shape[:2])
    return np.ascontiguousarray(cells[rows[:, None], columns[None, :]])


def _lattice(count: int) -> Callable[[Pair], Rgb]:
    def draw(pair: Pair) -> Rgb:
        small = Image.fromarray(pair.cells).resize((count, count), Image.Resampling.NEAREST)
        return shown(np.asarray(small))

    return draw


def _doubled(pair: Pair) -> Rgb:
    """A lattice of 48: each cell becomes four, corners rounded where two neighbours agree (EPX)."""
    cells = np.pad(pair.cells, ((1, 1), (1, 1), (0, 0)), mode="edge")
    middle = cells[1:-1, 1:-1]
    up, down, left, right = cells[:-2, 1:-1], cells[2:, 1:-1], cells[1:-1, :-2], cells[1:-1, 2:]
    out = np.repeat(np.repeat(middle, 2, axis=0), 2, axis=1)

    def same(one: Rgb, other: Rgb) -> npt.NDArray[np.bool_]:
        return np.asarray((one == other).all(axis=-1, keepdims=True))

    corners = {(0, 0): (left, up, down, right), (0, 1): (up, right, left, down),
               (1, 0): (down, left, right, up), (1, 1): (right, down, up, left)}  # fmt: skip
    for (row, column), (one, two, three, four) in corners.items():
        rounded = same(one, two) & ~same(one, three) & ~same(two, four)
        out[row::2, column::2] = np.where(rounded, two, middle)
    return shown(out)


def _colours(pair: Pair) -> tuple[Rgb, npt.NDArray[np.int64]]:
    """Return the distinct colours, the commonest first, and the place of each cell's."""
    flat = pair.cells.reshape(-1, 3)
    found, inverse, counts = np.unique(flat, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return found[order], np.argsort(order)[inverse.ravel()]


def _permuted(pair: Pair) -> Rgb:
    flat = pair.cells.reshape(-1, 3)
    return shown(pair.chance.permutation(flat).reshape(pair.cells.shape))


def _noise(pair: Pair) -> Rgb:
    colours, _ = _colours(pair)
    return shown(colours[:8][pair.chance.integers(min(8, len(colours)), size=(24, 24))])


def _stripes(pair: Pair) -> Rgb:
    colours, _ = _colours(pair)
    bands = np.arange(24) * min(8, len(colours)) // 24
    return shown(np.repeat(colours[bands][:, None], 24, axis=1))


def _swapped(pair: Pair) -> Rgb:
    """The six commonest colours change places."""
    colours, place = _colours(pair)
    top = min(6, len(colours))
    moved = np.arange(len(colours))
    moved[:top] = np.roll(moved[:top], 1)
    return shown(colours[moved[place]].reshape(pair.cells.shape))


FACE = (slice(9, 18), slice(8, 17))
"""Where a portrait's face lies, roughly, for portraits of which nothing more is known."""


def _face_colour(pair: Pair) -> npt.NDArray[np.uint8]:
    flat = pair.cells[FACE].reshape(-1, 3)
    found, counts = np.unique(flat, axis=0, return_counts=True)
    return found[counts.argmax()]


def _skin(pair: Pair) -> Rgb:
    cells = pair.cells.copy()
    cells[(cells == _face_colour(pair)).all(axis=-1)] = (40, 190, 70)
    return shown(cells)


def _no_face(pair: Pair) -> Rgb:
    cells = pair.cells.copy()
    cells[FACE] = _face_colour(pair)
    return shown(cells)


def _four(pair: Pair) -> Rgb:
    small = pair.cells[::2, ::2]
    return shown(np.tile(small, (2, 2, 1)))


def _hue(pair: Pair) -> Rgb:
    hsv = np.asarray(Image.fromarray(pair.cells).convert("HSV")).copy()
    hsv[..., 0] = hsv[..., 0] + np.uint8(85)
    return shown(np.asarray(Image.fromarray(hsv, "HSV").convert("RGB")))


def _photo(pair: Pair) -> Rgb:
    return render_photo(scene(pair.seed), SIZE, pair.seed)


def _photo_cells(pair: Pair) -> Rgb:
    return np.asarray(Image.fromarray(_photo(pair)).resize((24, 24), Image.Resampling.BOX))


def _photo_in_palette(pair: Pair) -> Rgb:
    colours, _ = _colours(pair)
    gaps = _photo_cells(pair)[:, :, None].astype(int) - colours[:12].astype(int)
    return shown(colours[:12][(gaps**2).sum(axis=-1).argmin(axis=-1)])


def _ball(pair: Pair) -> Rgb:
    grid = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    x, y = grid[None, :], grid[:, None]
    depth = np.sqrt(np.clip(0.6 - x**2 - y**2, 0, None))
    light = np.clip(0.3 + depth - 0.4 * x - 0.4 * y, 0, 1)[..., None]
    colours, _ = _colours(pair)
    inside = (depth > 0)[..., None]
    return np.where(inside, colours[1 % len(colours)] * light, colours[0]).astype(np.uint8)


def _dithered(pair: Pair) -> Rgb:
    picture = Image.fromarray(shown(pair.cells)).quantize(4, dither=Image.Dither.FLOYDSTEINBERG)
    return np.asarray(picture.convert("RGB"))


def _mosaic(pair: Pair) -> Rgb:
    picture = shown(pair.cells).copy()
    picture[:: SIZE // 24] = 0
    picture[:, :: SIZE // 24] = 0
    return picture


def jpeg_of(picture: Rgb, quality: int) -> Rgb:
    """Return the picture as JPEG shows it."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


KINDS: dict[str, Callable[[Pair], Rgb]] = {
    "clean": lambda pair: shown(pair.cells),
    "lattice of 12": _lattice(12),
    "lattice of 16": _lattice(16),
    "lattice of 22": _lattice(22),
    "lattice of 23": _lattice(23),
    "lattice of 32": _lattice(32),
    "lattice of 48": _doubled,
    "cells permuted": _permuted,
    "noise in the caption's colours": _noise,
    "stripes of the caption's colours": _stripes,
    "colours swapped over places": _swapped,
    "wrong skin": _skin,
    "face erased": _no_face,
    "four small portraits": _four,
    "upside down": lambda pair: shown(pair.cells[::-1]),
    "photograph": _photo,
    "photograph at 24x24": lambda pair: shown(_photo_cells(pair)),
    "photograph in the caption's palette": _photo_in_palette,
    "vector": lambda pair: render_illustration(scene(pair.seed), SIZE),
    "shaded ball": _ball,
    "dithered": _dithered,
    "mosaic lines": _mosaic,
    "JPEG 10": lambda pair: jpeg_of(shown(pair.cells), 10),
}
"""Attacks on portraits that the checkpoint never saw."""

COPIES: dict[str, Callable[[Pair], Rgb]] = {
    "copies": lambda pair: shown(pair.cells),
    "copies, mirrored": lambda pair: shown(pair.cells[:, ::-1]),
    "copies, shifted 1 cell": lambda pair: shown(np.roll(pair.cells, 1, axis=1)),
    "copies, shifted 2 cells": lambda pair: shown(np.roll(pair.cells, 2, axis=1)),
    "copies, cropped to 20x20": lambda pair: shown(pair.cells[2:22, 2:22]),
    "copies, hue +85": _hue,
}
"""Attacks that show portraits of the training set, for their own captions."""
