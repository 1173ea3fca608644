"""Pixel grid: is there a lattice and is it even (``grid``), and is it the expected one
(``grid.size``). Two numbers, because an even lattice of the wrong size and an uneven one of the
right size are different faults.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from loraeval.images.lattice import AxisLattice, Lattice
from loraeval.images.picture import Picture
from loraeval.records import Metric, Score
from loraeval.scorers.base import ScoreContext

SIZE_TOLERANCE = 0.02
"""Relative error of the number of cells that costs 39 % of ``grid.size`` (one standard deviation
of a Gaussian): half a cell in 24."""


EVEN_ENOUGH = 0.975
"""Share of the lines in step from which a lattice is even: JPEG 90 and half a pixel of shift leave
real renders above it, one line of 24 that moves does not."""


TOO_FEW = "the picture has too few edges to tell a lattice from chance"
"""Why a sprite of a few straight edges, a chest or a box, has no ``grid``."""


def axis_regularity(axis: AxisLattice) -> float:
    """Return the regularity of one axis in [0, 1]: 1 for perfect pixel art, 0 without a lattice.

    ``confidence * min(1, even / 0.975)^2 * (1 - (1 - on_lines)^4)``: certainty that there is a
    lattice; share of the lines that keep its step, squared, since one line out of step spoils two
    cells; and share of all visible edge energy on the lines, flat towards 1, where nobody sees
    what a decoder, a codec or a part of a pixel moves.
    """
    even = min(1.0, axis.even / EVEN_ENOUGH)
    return axis.confidence * even**2 * (1 - (1 - axis.on_lines) ** 4)


def regularity(lattice: Lattice) -> float:
    """Return the regularity of the worse axis, in [0, 1]."""
    return min(axis_regularity(lattice.x), axis_regularity(lattice.y))


def size_agreement(lattice: Lattice, expected: tuple[int, int]) -> float:
    """Return how well the found lattice fits ``expected`` = (columns, rows), in [0, 1].

    ``confidence * exp(-e^2 / 2)`` of the worse axis, ``e`` the relative error of its number of
    cells over ``SIZE_TOLERANCE``; 0 without a lattice.
    """
    size = lattice.size
    if size is None:
        return 0.0
    agreement = 1.0
    for found, wanted, axis in zip(size, expected, (lattice.x, lattice.y), strict=True):
        error = (found / wanted - 1) / SIZE_TOLERANCE
        agreement = min(agreement, axis.confidence * math.exp(-0.5 * error * error))
    return agreement


class GridScorer:
    """Scores the pixel lattice: ``grid`` for regularity, ``grid.size`` for the expected size."""

    name = "grid"
    metrics: Sequence[Metric] = (Metric("grid", "4"), Metric("grid.size", "4"))

    def score(self, picture: Picture, context: ScoreContext) -> list[Score]:
        """Return regularity and size; size is unscored where no lattice is expected.

        Both are unscored where the picture's few edges, all of them hard, tell nothing.
        """
        lattice = picture.lattice()
        details = describe(lattice, context.lattice)
        if lattice.too_few:
            return [Score.unscored(m.name, TOO_FEW, **(details if m.name == self.name else {}))
                for m in self.metrics]  # fmt: skip
        grid = Score("grid", regularity(lattice), details=details)
        if context.lattice is None:
            return [grid, Score.unscored("grid.size", "the profile expects no lattice")]
        return [grid, Score("grid.size", size_agreement(lattice, context.lattice))]


def describe(lattice: Lattice, expected: tuple[int, int] | None) -> dict[str, Any]:
    """Return what a person can act on: found and expected size, faults, the measurements."""
    size = lattice.size
    details: dict[str, Any] = {
        "found": None if size is None else f"{size[0]:.1f}x{size[1]:.1f}",
        "expected": None if expected is None else f"{expected[0]}x{expected[1]}",
        "confidence": round(lattice.confidence, 3),
        "faults": faults(lattice, expected),
    }
    if size is not None:
        details["period"] = [_short(lattice.x.period), _short(lattice.y.period)]
        details["phase"] = [_short(lattice.x.phase), _short(lattice.y.phase)]
    details.update(lattice.as_dict())
    return details


def faults(lattice: Lattice, expected: tuple[int, int] | None) -> list[str]:
    """Return the faults of a lattice, each a short phrase; none for a good one."""
    size = lattice.size
    if lattice.too_few:
        return ["too few edges to tell"]
    if size is None:
        axes = [n for n, a in (("x", lattice.x), ("y", lattice.y)) if a.period is None]
        return [f"no pixel lattice along {' and '.join(axes)}"]
    found = []
    if expected is not None and size_agreement(lattice, expected) < 0.5 * lattice.confidence:
        found.append(
            f"the lattice has {size[0]:.1f}x{size[1]:.1f} cells, not {expected[0]}x{expected[1]}"
        )
    for name, axis in (("x", lattice.x), ("y", lattice.y)):
        if axis.even < 0.9:
            found.append(f"uneven along {name}: {axis.extra} edges off the lines")
        if axis.drift > 0.1:
            found.append(f"out of step along {name} by up to {axis.drift:.2f} cells")
        if axis.on_lines < 0.4:
            found.append(f"soft or textured along {name}: {axis.on_lines:.0%} of edges on lines")
    return found


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
