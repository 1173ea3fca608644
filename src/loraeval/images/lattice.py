"""The pixel lattice of a picture, estimated from the picture alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MIN_PERIOD = 3.0
MAX_PERIOD_SHARE = 1 / 8


@dataclass(frozen=True, slots=True)
class AxisLattice:
    """The lattice along one axis: period and phase in pixels (a line lies at ``phase``)."""

    period: float
    phase: float
    coherence: float


@dataclass(frozen=True, slots=True)
class Lattice:
    """The lattice of a picture along x and y; ``width`` and ``height`` in pixels."""

    x: AxisLattice
    y: AxisLattice
    width: int
    height: int

    @property
    def columns(self) -> float:
        """Number of columns, fractional."""
        return self.width / self.x.period

    @property
    def rows(self) -> float:
        """Number of rows, fractional."""
        return self.height / self.y.period


def edge_profiles(
    rgb: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the edge energy between neighbouring columns (W-1) and rows (H-1)."""
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1)).astype(np.int16)
    across = np.abs(np.diff(planes, axis=2)).sum(axis=(0, 1), dtype=np.float64)
    down = np.abs(np.diff(planes, axis=1)).sum(axis=(0, 2), dtype=np.float64)
    return across, down


def estimate_lattice(rgb: npt.NDArray[np.uint8]) -> Lattice:
    """Estimate the lattice of ``rgb`` (H, W, 3)."""
    across, down = edge_profiles(rgb)
    height, width = rgb.shape[:2]
    return Lattice(_estimate_axis(across), _estimate_axis(down), width, height)


def _estimate_axis(profile: npt.NDArray[np.float64]) -> AxisLattice:
    length = len(profile) + 1
    position = np.arange(1, length)
    counts = np.arange(8, length / MIN_PERIOD, 0.1)
    total = profile.sum()
    if total <= 0:
        return AxisLattice(float(length), 0.0, 0.0)
    waves = np.exp(2j * np.pi * counts[:, None] * position[None, :] / length)
    sums = waves @ profile / total
    best = int(np.argmax(np.abs(sums)))
    period = length / counts[best]
    phase = float(np.angle(sums[best]) / (2 * np.pi) * period) % period
    return AxisLattice(float(period), phase, float(np.abs(sums[best])))
