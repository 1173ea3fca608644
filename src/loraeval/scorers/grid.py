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


def axis_regularity(axis: AxisLattice) -> float:
    """Return the regularity of one axis in [0, 1]: 1 for perfect pixel art, 0 without a lattice.

    ``confidence * even^2 * on_lines^(1/3)``: certainty that there is a lattice, share of the lines
    that keep its step (squared: one line out of step spoils two cells), and, more gently, since
    shading and the decoder's texture are everywhere, share of all edge energy on the lines.
    """
    return axis.confidence * axis.even**2 * math.cbrt(axis.on_lines)


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
    metrics: Sequence[Metric] = (Metric("grid", "3"), Metric("grid.size", "3"))

    def score(self, picture: Picture, context: ScoreContext) -> list[Score]:
        """Return regularity and size; size is unscored where no lattice is expected."""
        lattice = picture.lattice()
        even = regularity(lattice)
        details = describe(lattice, context.lattice)
        grid = Score("grid", even, details=details)
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
