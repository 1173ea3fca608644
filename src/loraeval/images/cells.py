"""From pixels to cell colours, with the lattice given.

Edges lie at ``ceil(i * W / columns)``, as nearest-neighbour upscaling puts them. A cell's colour
is the per-channel median over its inner part, so that blur and ringing at its border, noise and
single stray pixels do not count. An image is never downscaled by picking one pixel a cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from loraeval.errors import ImageError
from loraeval.images.colour import Lab, lab_of_rgb

INNER = 0.5
"""Share of a cell's side, centred, that the colour is taken from."""

MAX_SAMPLES = 7
"""At most this many sample lines a cell side: 49 samples leave a standard error of a fifth of the
pixel noise, more only cost time."""


@dataclass(frozen=True)
class Cells:
    """The cell colours of one picture on one lattice.

    ``rgb`` (rows, columns, 3) uint8: the median colour.
    """

    rgb: npt.NDArray[np.uint8]

    @property
    def lattice(self) -> tuple[int, int]:
        """Columns and rows."""
        return self.rgb.shape[1], self.rgb.shape[0]

    @cached_property
    def lab(self) -> Lab:
        """CIELAB of ``rgb``, (rows, columns, 3)."""
        return lab_of_rgb(self.rgb)


def cell_edges(length: int, count: int) -> npt.NDArray[np.int64]:
    """Return the ``count + 1`` edges ``ceil(i * length / count)`` in pixels.

    >>> cell_edges(8, 3)
    array([0, 3, 6, 8])
    """
    return -(-np.arange(count + 1, dtype=np.int64) * length // count)


def cells_of(rgb: npt.NDArray[np.uint8], lattice: tuple[int, int]) -> Cells:
    """Return the cells of ``rgb`` (H, W, 3) on ``lattice`` = (columns, rows).

    Raises ``ImageError`` where the lattice has more cells than the image has pixels.
    """
    columns, rows = lattice
    height, width = rgb.shape[:2]
    if not (1 <= columns <= width and 1 <= rows <= height):
        raise ImageError(
            f"a lattice of {columns}x{rows} cells does not fit into {width}x{height} pixels"
        )
    return sample_cells(rgb, cell_edges(width, columns), cell_edges(height, rows))


def sample_cells(
    rgb: npt.NDArray[np.uint8], edges_x: npt.NDArray[np.int64], edges_y: npt.NDArray[np.int64]
) -> Cells:
    """Return the cells between the given pixel edges (increasing, at least 1 apart)."""
    at_x = _sample_positions(tuple(edges_x.tolist()))
    at_y = _sample_positions(tuple(edges_y.tolist()))
    columns, per_x = at_x.shape
    rows, per_y = at_y.shape
    block = rgb.take(at_y.reshape(-1), axis=0).take(at_x.reshape(-1), axis=1)
    block = block.reshape(rows, per_y, columns, per_x, 3).transpose(0, 2, 4, 1, 3)
    samples = block.reshape(rows, columns, 3, per_y * per_x)
    median = (per_y * per_x) // 2
    samples.partition(median, axis=-1)
    return Cells(np.ascontiguousarray(samples[..., median]))


@lru_cache(maxsize=64)
def _sample_positions(edges: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return sample coordinates (cells, samples): evenly spread over each cell's inner part.

    The number of samples is odd where cells allow it, so that the median is a real sample.
    """
    start = np.asarray(edges[:-1], dtype=np.float64)
    size = np.diff(np.asarray(edges, dtype=np.float64))
    smallest = int(size.min())
    count = min(MAX_SAMPLES, max(1, round(smallest * INNER)))
    count -= count % 2 == 0 and count > 2
    offset = (np.arange(count) + 0.5) / count * INNER + (1 - INNER) / 2
    return np.floor(start[:, None] + size[:, None] * offset[None, :]).astype(np.int64)
