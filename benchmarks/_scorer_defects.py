"""Planted defects at five strengths, on portraits of our own, and what scorers make of them.

The bench is a table of scorers by a table of defects. A further scorer joins by one line in
``benchmarks/scorers.py``: anything with ``score(picture, context)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from loraeval.images.picture import picture_from_array
from loraeval.prompts.building import caption_of
from loraeval.records import Prompt
from loraeval.scorers.base import ScoreContext, Scorer
from loraeval.testing.portraits import Scene, render_photo, render_pixel_art, scene
from loraeval.testing.portraits_degrade import add_noise, blend, blur, jpeg, resample

SIZE = 512
STRENGTHS = 5
Rgb = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Defect:
    """A defect: the metrics that must fall with it, five strengths, and how it is planted."""

    name: str
    targets: tuple[str, ...]
    strengths: tuple[float, ...]
    plant: Callable[[Scene, Rgb, float, int], Rgb]


def _palette_shift(portrait: Scene, rgb: Rgb, levels: float, seed: int) -> Rgb:
    """Turn every colour's hue and lightness the same way: channels moved apart by ``levels``."""
    del portrait, seed
    shift = np.array([1.0, -0.5, -0.8]) * levels
    toward = np.where(rgb.astype(np.float64) + shift > 255, -1, 1)
    return np.clip(rgb + shift * toward, 0, 255).astype(np.uint8)


def _hue_swap(portrait: Scene, rgb: Rgb, share: float, seed: int) -> Rgb:
    """Move the background from its colour towards the colour of opposite hue."""
    del rgb, seed
    cells = portrait.cells.astype(np.float64)
    mask = portrait.masks["background"]
    swapped = cells[mask][:, [2, 0, 1]]
    grey = np.ptp(swapped, axis=1, keepdims=True) < 30
    swapped = np.where(grey, 255 - swapped, swapped)
    cells[mask] = cells[mask] * (1 - share) + swapped * share
    return _shown(cells)


def _eye_swap(portrait: Scene, rgb: Rgb, share: float, seed: int) -> Rgb:
    """Move the eyes from their colour towards another: brown eyes come out blue."""
    del rgb, seed
    cells = portrait.cells.astype(np.float64)
    mask = portrait.masks["eyes"]
    other = 255 - cells[mask][:, [1, 2, 0]]
    cells[mask] = cells[mask] * (1 - share) + other * share
    return _shown(cells)


def _gradient(portrait: Scene, rgb: Rgb, share: float, seed: int) -> Rgb:
    """Lay a smooth gradient to the inverted colour over the background, pixel by pixel."""
    del seed
    mask = _up(portrait.masks["background"][..., None])[..., 0]
    ramp = np.linspace(0, share, SIZE)[:, None, None]
    out = rgb.astype(np.float64)
    mixed = out * (1 - ramp) + (255 - out) * ramp
    return np.where(mask[..., None], mixed, out).astype(np.uint8)


def _off_grid(portrait: Scene, rgb: Rgb, change: float, seed: int) -> Rgb:
    """Show the cells at a period larger by ``change``, cropped to the same size."""
    del rgb, seed
    period = SIZE / 24 * (1 + change)
    index = np.minimum(np.floor(np.arange(SIZE) / period).astype(int), 23)
    return np.ascontiguousarray(portrait.cells[index[:, None], index[None, :]])


def _edges(rng: np.random.Generator, share: float) -> npt.NDArray[np.int64]:
    """Return 25 cell edges of which a ``share`` moved by a tenth to two fifths of a cell."""
    edges = -(-np.arange(25) * SIZE // 24)
    moved = rng.permutation(np.arange(1, 24))[: round(share * 23)]
    edges[moved] += rng.integers(2, 9, len(moved)) * rng.choice([-1, 1], len(moved))
    return np.sort(edges)


def _mixed_sizes(portrait: Scene, rgb: Rgb, share: float, seed: int) -> Rgb:
    """Move a share of the lattice lines by up to two fifths of a cell, columns and rows alike."""
    del rgb
    rng = np.random.default_rng([seed, 5])
    x, y = (np.repeat(np.arange(24), np.diff(_edges(rng, share))) for _ in range(2))
    return np.ascontiguousarray(portrait.cells[y[:, None], x[None, :]])


def _doubled(portrait: Scene, rgb: Rgb, share: float, seed: int) -> Rgb:
    """Draw a dark seam of 3 to 7 pixels inside a share of the columns and rows of cells."""
    del portrait
    rng = np.random.default_rng([seed, 6])
    out = rgb.copy()
    edges = -(-np.arange(1, 24) * SIZE // 24)
    for axis in range(2):
        for edge in rng.permutation(edges)[: round(share * 23)]:
            where = [slice(None), slice(None)]
            start = edge + int(rng.integers(3, 12))
            where[axis] = slice(start, start + int(rng.integers(3, 8)))
            out[tuple(where)] = out[tuple(where)] // 2
    return out


def _stray(portrait: Scene, rgb: Rgb, share: float, seed: int) -> Rgb:
    """Scatter specks of 3 to 9 pixels in random colours, off the lattice."""
    del portrait
    rng = np.random.default_rng([seed, 7])
    out = rgb.copy()
    for _ in range(round(share * 576)):
        top, left = rng.integers(0, SIZE - 9, 2)
        tall, wide = rng.integers(3, 10, 2)
        out[top : top + tall, left : left + wide] = rng.integers(0, 256, 3)
    return out


def _stray_cells(portrait: Scene, rgb: Rgb, share: float, seed: int) -> Rgb:
    """Give a share of whole cells a random colour."""
    del rgb
    rng = np.random.default_rng([seed, 8])
    cells = portrait.cells.copy().reshape(-1, 3)
    hit = rng.permutation(576)[: round(share * 576)]
    cells[hit] = rng.integers(0, 256, (len(hit), 3))
    return _shown(cells.reshape(24, 24, 3))


def _anti_alias(portrait: Scene, rgb: Rgb, width: float, seed: int) -> Rgb:
    """Show the cells through a smooth enlargement: edges become ramps ``width`` pixels wide."""
    del portrait, seed
    from scipy.ndimage import uniform_filter

    soft = uniform_filter(rgb.astype(np.float64), (int(width), int(width), 0), mode="nearest")
    return np.round(soft).astype(np.uint8)


def _photo(portrait: Scene, rgb: Rgb, share: float, seed: int) -> Rgb:
    return blend(rgb, render_photo(portrait, SIZE, seed), share)


def _upsampled_photo(portrait: Scene, rgb: Rgb, share: float, seed: int) -> Rgb:
    """Blend in a photograph that was shrunk to 64 pixels and enlarged smoothly."""
    return blend(rgb, resample(render_photo(portrait, SIZE, seed), 64), share)


def _shown(cells: npt.NDArray[np.floating] | Rgb) -> Rgb:
    return _up(np.round(cells).astype(np.uint8))


def _up(cells: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    index = np.arange(SIZE) * 24 // SIZE
    return cells[index[:, None], index[None, :]]


GRID, PALETTE, DRIFT = ("grid",), ("palette",), ("grid", "style", "realism")
DEFECTS = (
    Defect("Gaussian blur, sigma px", GRID, (1, 2, 4, 6, 9), lambda _s, r, x, _k: blur(r, x)),
    Defect("JPEG quality", GRID, (90, 60, 30, 12, 4), lambda _s, r, x, _k: jpeg(r, int(x))),
    Defect("pixel noise, levels", GRID, (2, 5, 10, 20, 40), lambda _s, r, x, k: add_noise(r, x, k)),
    Defect("palette shift, levels", PALETTE, (6, 12, 24, 48, 90), _palette_shift),
    Defect(
        "background hue swap, share",
        ("palette", "palette.background"),
        (0.1, 0.2, 0.4, 0.7, 1),
        _hue_swap,
    ),
    Defect("eye colour swap, share", ("palette.binding",), (0.1, 0.2, 0.4, 0.7, 1), _eye_swap),
    Defect("gradient background", ("palette.background",), (0.1, 0.2, 0.4, 0.7, 1), _gradient),
    Defect("off-grid rescale", ("grid.size",), (0.01, 0.02, 0.04, 0.07, 0.12), _off_grid),
    Defect("mixed cell sizes, share", GRID, (0.1, 0.2, 0.4, 0.7, 1), _mixed_sizes),
    Defect("doubled lines, share", GRID, (0.1, 0.2, 0.4, 0.7, 1), _doubled),
    Defect("stray pixels, a cell", GRID, (0.02, 0.05, 0.1, 0.25, 0.6), _stray),
    Defect("stray cells, share", PALETTE, (0.02, 0.05, 0.1, 0.25, 0.6), _stray_cells),
    Defect("anti-aliasing, px", GRID, (3, 5, 8, 12, 18), _anti_alias),
    Defect("photograph blend", DRIFT, (0.1, 0.25, 0.5, 0.75, 1), _photo),
    Defect("upsampled photograph blend", DRIFT, (0.1, 0.25, 0.5, 0.75, 1), _upsampled_photo),
)


def context_of(portrait: Scene) -> ScoreContext:
    """Return what the scorers know of a portrait: its long caption, 24x24, 512x512."""
    text = portrait.long_caption
    return ScoreContext(
        prompt=Prompt(f"p{portrait.seed}", text, caption_of(text)),
        lattice=(24, 24),
        size=(SIZE, SIZE),
    )


def portraits(count: int, first: int) -> list[Scene]:
    """Return portraits with eyes and a solid background, from seed ``first`` on."""
    found: list[Scene] = []
    seed = first
    while len(found) < count:
        portrait = scene(seed, background="solid")
        if {"eyes", "background"} <= set(portrait.masks):
            found.append(portrait)
        seed += 1
    return found


def responses(
    scorers: Sequence[Scorer], scenes: Sequence[Scene], given: Mapping[str, Any]
) -> dict[str, dict[str, list[float]]]:
    """Return the mean of every metric by defect: at strength 0 and at the five strengths.

    ``given`` is what else the context holds: the reference, the encoder.
    """
    table: dict[str, dict[str, list[float]]] = {}
    clean = _means(scorers, [(s, render_pixel_art(s, SIZE)) for s in scenes], given)
    for defect in DEFECTS:
        steps = [clean]
        for strength in defect.strengths:
            planted = [
                (s, defect.plant(s, render_pixel_art(s, SIZE), strength, k))
                for k, s in enumerate(scenes)
            ]
            steps.append(_means(scorers, planted, given))
        table[defect.name] = {name: [step[name] for step in steps] for name in clean}
    return table


def _means(
    scorers: Sequence[Scorer], shown: Sequence[tuple[Scene, Rgb]], given: Mapping[str, Any]
) -> Mapping[str, float]:
    values: dict[str, list[float]] = {}
    for portrait, rgb in shown:
        picture = picture_from_array(rgb, f"p{portrait.seed}")
        context = replace(context_of(portrait), **given)
        for scorer in scorers:
            for score in scorer.score(picture, context):
                if score.value is not None:
                    values.setdefault(score.metric, []).append(score.value)
    return {name: float(np.mean(scores)) for name, scores in values.items()}


def falls(means: Sequence[float]) -> bool:
    """Return whether a response falls at every step and by a twentieth in all.

    Once it has reached 0.02 it may stay there, and until it has moved by ``UNSEEN`` it may stay
    where it began: the first doses of some defects are nothing that people see.
    """
    moved = [abs(mean - means[0]) > UNSEEN for mean in means]
    return means[0] - means[-1] >= 0.05 and all(
        b < a or b < 0.02 or not seen
        for (a, b), seen in zip(pairwise(means), moved[1:], strict=True)
    )


UNSEEN = 0.005
"""A quarter of the least unit (benchmarks/visibility.py)."""
