"""Palette adherence: are the caption's colours there, where they belong, and little else?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from loraeval.images.cells import Cells
from loraeval.images.colour import distinct_colours
from loraeval.images.picture import Picture
from loraeval.records import Caption, Metric, Score
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.palette_layout import ZONES, Layout, Zone, layout_of, zone_mask
from loraeval.scorers.palette_match import (
    Wanted,
    code_distances,
    grade,
    wanted_colours,
    wanted_distances,
)
from loraeval.scorers.palette_verdicts import shares, verdicts

WEIGHTS = {"coverage": 0.45, "explained": 0.25, "background": 0.15, "binding": 0.15}
"""Exponents of the parts of ``palette`` where the caption lists no full palette; those that apply
are scaled to sum to 1."""

FULL_COVERAGE = 2 / 3
"""Exponent of coverage where the caption lists a full palette; the explained share has the rest.
A listed colour is promised, while shades that nobody listed are usual even in training images: of
150 real pairs the image that its own caption explains least is explained to two thirds. The AUC
against other images' captions is level from 0.6 to 0.7 (benchmarks/README.md)."""

FLOOR = 0.05
"""Least value of a part inside the product: one lost part does not hide the others."""

FALLBACK_CELLS = 32
"""Cells a side where neither the profile nor the picture has a lattice."""

MAX_CELLS = 4096
"""Cells that colours are compared on, 64×64: a finer lattice is seen in groups of 2×2 or more,
whose median counts. A caption's 256×256 would take ten seconds and gigabytes."""


@dataclass(frozen=True)
class PaletteParts:
    """The parts of the palette score, each in [0, 1] or None where the caption says nothing.

    ``explained`` is the share of cells that the wanted colours explain, whether or not the
    caption lists a full palette (``full``); ``right`` is the share of the ``judged`` attributes
    that have their colour and ``kept`` the share that shows no other attribute's; ``attributes``
    one row for each wanted colour.
    """

    coverage: float
    explained: float
    background: float | None
    binding: float | None
    full: bool
    attributes: list[dict[str, Any]] = field(default_factory=list)
    right: float | None = None
    kept: float | None = None
    judged: int = 0

    @property
    def overall(self) -> float:
        """Weighted geometric mean of the parts that apply.

        A full palette names a colour for every cell. Coverage and explained share then carry the
        score, and background and binding are two more terms of the mean that coverage is: each
        weighs like one colour, and a swapped attribute costs its cells' explained share too.
        """
        placed = [part for part in (self.background, self.binding) if part is not None]
        if self.full:
            named = len(self.attributes)
            covered = (named * self.coverage + sum(placed)) / (named + len(placed))
            return _product([(covered, FULL_COVERAGE), (self.explained, 1 - FULL_COVERAGE)])
        parts = {
            "coverage": self.coverage,
            "explained": self.explained,
            "background": self.background,
            "binding": self.binding,
        }
        return _product([(v, WEIGHTS[k]) for k, v in parts.items() if v is not None])


def _product(parts: list[tuple[float, float]]) -> float:
    """Return the geometric mean of (value, weight) pairs, values at least ``FLOOR``."""
    total = sum(weight for _, weight in parts)
    return math.exp(sum(weight * math.log(max(value, FLOOR)) for value, weight in parts) / total)


def palette_parts(
    cells: Cells,
    caption: Caption,
    layout: Layout | None = None,
    zones: dict[str, Zone] | None = None,
) -> PaletteParts | None:
    """Return the parts of the palette score of one picture, None where no colour is named.

    ``layout`` is ``layout_of(cells.lab)``, for callers that try many captions on one picture;
    ``zones`` replaces some of ``palette_zones.ZONES`` for another layout.
    """
    wanted = wanted_colours(caption)
    named = {one.hex for one in wanted}
    more = tuple(dict.fromkeys(c for c in (*caption.palette, *caption.tail) if c not in named))
    if not wanted and not more:
        return None
    rows, columns = cells.rgb.shape[:2]
    flat = cells.lab.reshape(-1, 3)
    distances = np.concatenate([wanted_distances(flat, wanted), code_distances(flat, more)])
    nearest = distances.min(axis=1)
    grid = distances.reshape(-1, rows, columns)
    layout = layout or layout_of(cells.lab)
    bindings = [
        bound
        for index, one in enumerate(wanted)
        if (bound := _binding(one, grid[index], layout)) is not None
    ]
    judged = verdicts(wanted, grid[: len(wanted)], cells, layout, caption.background_kind, zones)
    right, kept, count = shares(judged)
    return PaletteParts(
        coverage=float(grade(nearest).mean()),
        explained=float(grade(distances.min(axis=0)).mean()),
        background=_background(wanted, grid, layout.background, caption.background_kind),
        binding=float(np.mean(bindings)) if bindings else None,
        full=bool(caption.palette),
        right=right,
        kept=kept,
        judged=count,
        attributes=[one.row() for one in judged]
        + [_missing(code, nearest[len(wanted) + i]) for i, code in enumerate(more)],
    )


def _background(
    wanted: tuple[Wanted, ...],
    grid: npt.NDArray[np.float32],
    mask: npt.NDArray[np.bool_],
    kind: str,
) -> float | None:
    """Return the grade of the background's own cells against the background's colours.

    Mean over its cells of the grade of the nearest wanted colour; where a split, gradient or
    checkered background names several, times the mean coverage of each inside it. A gradient's
    shades between its ends are not named, so there only the coverage counts.
    """
    index = [at for at, one in enumerate(wanted) if one.attribute == "background"]
    if not index:
        return None
    if not mask.any():
        return 0.0
    inside = grid[index][:, mask]
    share = float(grade(inside.min(axis=0)).mean())
    covered = float(grade(inside.min(axis=1)).mean())
    if kind == "gradient":
        return covered
    return share if len(index) == 1 else math.sqrt(share * covered)


def _binding(one: Wanted, distance: npt.NDArray[np.float32], layout: Layout) -> float | None:
    """Return how well one wanted colour is bound: the grade where it belongs, None without a zone.

    The mean of the nearest cell's grade and of the last of the cells that the zone asks for.
    """
    if one.attribute not in ZONES:
        return None
    rows, columns = distance.shape
    place, needed = zone_mask(one.attribute, rows, columns)
    if one.attribute == "eyes":
        place = layout.eyes
    values = np.sort(distance[place])
    if not len(values):
        return None
    last = values[min(needed, len(values)) - 1]
    return 0.5 * float(grade(values[0])) + 0.5 * float(grade(last))


def _missing(code: str, nearest: np.float32) -> dict[str, Any]:
    """Return the row of details of a colour that belongs to no attribute."""
    return {"attribute": "palette", "wanted": code, "delta_e": round(float(nearest), 2)}


def colour_count_agreement(count: int, reference: Sequence[int]) -> float:
    """Return how usual ``count`` distinct colours are among reference counts, in [0, 1].

    1 inside the reference's 5th to 95th percentile; outside, the ratio to the nearer of them.
    """
    low, high = np.percentile(np.asarray(reference, dtype=np.float64), [5, 95])
    if count < low:
        return float(count / low)
    return float(high / count) if count > high else 1.0


_VERSIONS = {"palette.colours": "3", "palette.attributes": "1", "palette.leak": "1"}


class PaletteScorer:
    """Scores the picture's cells against its caption's colours.

    ``reference_counts`` are the distinct colours of reference images (``colours_in``); without
    them ``context.reference.colour_counts`` is used, and without that ``palette.colours`` is
    unscored.
    """

    name = "palette"
    metrics: Sequence[Metric] = tuple(
        Metric(name, _VERSIONS.get(name, "4"))
        for name in (
            "palette",
            "palette.coverage",
            "palette.precision",
            "palette.background",
            "palette.binding",
            "palette.attributes",
            "palette.leak",
            "palette.colours",
        )
    )

    def __init__(self, reference_counts: Sequence[int] | None = None) -> None:
        self._counts = tuple(reference_counts) if reference_counts else None

    def score(self, picture: Picture, context: ScoreContext) -> list[Score]:
        """Return the eight palette metrics; those that the caption does not allow are unscored."""
        lattice = colour_lattice(picture, context.lattice)
        cells = picture.cells(lattice)
        colours = self._colours(cells, context)
        parts = palette_parts(cells, context.prompt.caption)
        if parts is None:
            reason = "the prompt names no colour"
            return [*(Score.without_prompt(m.name, reason) for m in self.metrics[:-1]), colours]
        details = {
            "attributes": parts.attributes,
            "coverage": round(parts.coverage, 4),
            "explained": round(parts.explained, 4),
            "judged": f"{parts.judged} of {len(wanted_colours(context.prompt.caption))}",
            "cells": f"{lattice[0]}x{lattice[1]}",
        }
        return [
            Score("palette", parts.overall, details=details),
            Score("palette.coverage", parts.coverage),
            Score("palette.precision", parts.explained)
            if parts.full
            else Score.without_prompt("palette.precision", "the prompt lists no full palette"),
            _or_unscored("palette.background", parts.background, "names no background colour"),
            _or_unscored("palette.binding", parts.binding, "names no colour with a place"),
            _seen("palette.attributes", parts.right, "no attribute of the prompt is seen"),
            _seen("palette.leak", parts.kept, "fewer than two attributes to hold apart"),
            colours,
        ]

    def _colours(self, cells: Cells, context: ScoreContext) -> Score:
        counts = self._counts or (context.reference.colour_counts if context.reference else None)
        if not counts:
            return Score.unscored("palette.colours", "no reference images to count colours in")
        count = distinct_colours(cells.lab)
        return Score("palette.colours", colour_count_agreement(count, counts))


def colour_lattice(picture: Picture, lattice: tuple[int, int] | None) -> tuple[int, int]:
    """Return the lattice to take colours on: the expected one, else the found one, else a raster.

    Never more cells than pixels.
    """
    if lattice is None:
        size = picture.lattice().size
        lattice = (round(size[0]), round(size[1])) if size else (FALLBACK_CELLS, FALLBACK_CELLS)
    columns, rows = min(lattice[0], picture.width), min(lattice[1], picture.height)
    while columns * rows > MAX_CELLS:
        columns, rows = max(1, columns // 2), max(1, rows // 2)
    return columns, rows


def colours_in(picture: Picture, lattice: tuple[int, int] | None) -> int:
    """Return the distinct colours of ``picture``, counted the same way for every picture."""
    return distinct_colours(picture.cells(colour_lattice(picture, lattice)).lab)


def _seen(metric: str, value: float | None, reason: str) -> Score:
    return Score.unscored(metric, reason) if value is None else Score(metric, value)


def _or_unscored(metric: str, value: float | None, lacks: str) -> Score:
    if value is None:
        return Score.without_prompt(metric, f"the prompt {lacks}")
    return Score(metric, value)
