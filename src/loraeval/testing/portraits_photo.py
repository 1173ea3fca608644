"""The photograph-like and the smooth drawn picture of a portrait."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from loraeval.testing.portraits_shapes import Field, Genes, Layer
from loraeval.testing.portraits_words import Colour, toned

LayersOf = Callable[[Genes, Field, Field], list[Layer]]
Picture = NDArray[np.float32]

_GRAIN = {"hair": 0.16, "clothing": 0.06, "headwear": 0.05, "skin": 0.025}
"""How strongly the surface of a slot is textured, as a share of its brightness."""


def _points(size: int) -> tuple[Field, Field]:
    axis = ((np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(24 / size)).astype(
        np.float32
    )
    return (
        np.ascontiguousarray(np.broadcast_to(axis[None, :], (size, size))),
        np.ascontiguousarray(np.broadcast_to(axis[:, None], (size, size))),
    )


def _warped(size: int, rng: np.random.Generator) -> tuple[Field, Field]:
    """Return the grid's points moved a little: shift, scale, turn and a slow wave."""
    x, y = _points(size)
    shift, wave = rng.uniform(-0.6, 0.6, 2), rng.uniform(0.1, 0.35, 2)
    scale, turn, phase = rng.uniform(0.95, 1.06), rng.uniform(-0.05, 0.05), rng.uniform(0, 6.3, 2)
    u, v = (x - 12) / np.float32(scale), (y - 12) / np.float32(scale)
    moved_x = u - np.float32(turn) * v + np.float32(12 + shift[0])
    moved_y = v + np.float32(turn) * u + np.float32(12 + shift[1])
    moved_x += np.float32(wave[0]) * np.sin(y * np.float32(0.45) + np.float32(phase[0]))
    moved_y += np.float32(wave[1]) * np.sin(x * np.float32(0.45) + np.float32(phase[1]))
    return moved_x.astype(np.float32), moved_y.astype(np.float32)


def _cloud(size: int, coarse: int, rng: np.random.Generator) -> Field:
    """Return smooth noise of unit-like scale: a coarse random grid, linearly enlarged."""
    small = rng.standard_normal((coarse + 1, coarse + 1)).astype(np.float32)
    at = np.linspace(0, coarse, size, endpoint=False).astype(np.float32)
    low = at.astype(np.intp)
    share = at - low
    share = share * share * (3 - 2 * share)
    rows = small[low] * (1 - share)[:, None] + small[low + 1] * share[:, None]
    out: Field = rows[:, low] * (1 - share)[None, :] + rows[:, low + 1] * share[None, :]
    return out


def _blurred(picture: Picture) -> Picture:
    """Return the picture under a 3x3 binomial blur, edges repeated."""
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    out: Picture = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) * np.float32(1 / 16)
    return out


def paint(
    genes: Genes,
    colours: Mapping[str, Colour],
    layers_of: LayersOf,
    size: int,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Return the photograph-like picture, uint8 ``size`` x ``size`` x 3."""
    x, y = _warped(size, rng)
    flat_x, flat_y = _points(size)
    soft = np.float32(rng.uniform(0.35, 0.6))
    light = np.float32(rng.uniform(0.10, 0.2)) * (1 if rng.random() < 0.7 else -1)
    rough = _cloud(size, 24, rng)
    strands = np.sin(x * np.float32(5.5) + 2 * _cloud(size, 5, rng)) * np.float32(0.8)
    broad = _cloud(size, 3, rng)
    picture = np.empty((size, size, 3), np.float32)
    for layer in layers_of(genes, x, y):
        slot, field = layer.slot, layer.field
        colour = np.array(toned(colours[slot], layer.tone), np.float32)
        if slot.startswith("background"):
            tone = np.float32(1) + np.float32(0.02) * broad
            shaded = colour * tone[..., None]
        else:
            depth = np.clip(field * np.float32(-0.4), 0, 1)
            tone = np.float32(0.8) + np.float32(0.24) * depth - light * (x - 12) * np.float32(0.1)
            grain = _GRAIN.get(slot, 0.0)
            if grain:
                tone = tone + np.float32(grain) * (strands if slot == "hair" else rough)
            shaded = colour * tone[..., None]
        cover = np.clip(np.float32(0.5) - field / soft, 0, 1)[..., None]
        if layer.slot == "background":
            picture[:] = shaded
            if genes.background[0] == "gradient":
                other = np.array(colours["background2"], np.float32)
                share = np.clip((y - 13) / np.float32(9), 0, 1)[..., None]
                picture += (other - colour) * share
        else:
            picture += (shaded - picture) * cover
    glow = np.float32(14) * np.exp(-((x - 9.5) ** 2 + (y - 9.0) ** 2) * np.float32(0.10))
    picture += glow[..., None]
    picture = _blurred(picture)
    fall = np.float32(1.0) - np.float32(0.00015) * ((flat_x - 12) ** 2 + (flat_y - 12) ** 2 - 110)
    picture *= fall[..., None]
    noise = rng.standard_normal((size, size, 3), dtype=np.float32)
    picture += noise * np.float32(rng.uniform(2.5, 6.0))
    out: NDArray[np.uint8] = np.clip(picture + np.float32(0.5), 0, 255).astype(np.uint8)
    return out


def render_field_picture(
    genes: Genes, colours: Mapping[str, Colour], layers_of: LayersOf, size: int
) -> NDArray[np.uint8]:
    """Return the flat picture with soft edges and no shading, uint8 ``size`` x ``size`` x 3."""
    x, y = _points(size)
    picture = np.empty((size, size, 3), np.float32)
    for layer in layers_of(genes, x, y):
        colour = np.array(toned(colours[layer.slot], layer.tone), np.float32)
        if layer.slot == "background":
            picture[:] = colour
            if genes.background[0] == "gradient":
                other = np.array(colours["background2"], np.float32)
                picture += (other - colour) * np.clip((y - 13) / np.float32(9), 0, 1)[..., None]
            continue
        cover = np.clip(np.float32(0.5) - layer.field * np.float32(size / 24), 0, 1)[..., None]
        picture += (colour - picture) * cover
    out: NDArray[np.uint8] = np.clip(picture + np.float32(0.5), 0, 255).astype(np.uint8)
    return out
