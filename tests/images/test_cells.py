"""Cells with the lattice given: exact edges, robust colours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loraeval.errors import ImageError
from loraeval.images.cells import cell_edges, cells_of
from loraeval.images.picture import picture_from_array


def _cells(columns: int, rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


def _shown(cells: np.ndarray, width: int, height: int) -> np.ndarray:
    """Show cells between the pixel edges ceil(i * side / count), cell by cell."""
    rows, columns = cells.shape[:2]
    out = np.zeros((height, width, 3), np.uint8)
    for r in range(rows):
        for c in range(columns):
            top, bottom = -(-r * height // rows), -(-(r + 1) * height // rows)
            left, right = -(-c * width // columns), -(-(c + 1) * width // columns)
            out[top:bottom, left:right] = cells[r, c]
    return out


def test_edges_by_hand() -> None:
    assert cell_edges(512, 24)[:4].tolist() == [0, 22, 43, 64]
    assert cell_edges(512, 24)[-1] == 512


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 6), st.integers(0, 30))
def test_cells_come_back_exactly(columns: int, rows: int, scale: int, more: int) -> None:
    cells = _cells(columns, rows)
    shown = _shown(cells, columns * scale + min(more, columns - 1), rows * scale)
    got = cells_of(shown, (columns, rows))
    assert np.array_equal(got.rgb, cells)
    assert got.lattice == (columns, rows)


def test_a_third_of_stray_pixels_does_not_move_a_colour() -> None:
    cells = _cells(24, 24)
    shown = _shown(cells, 512, 512)
    rng = np.random.default_rng(1)
    stray = rng.random((512, 512)) < 0.3
    shown[stray] = rng.integers(0, 256, (int(stray.sum()), 3))
    assert np.abs(cells_of(shown, (24, 24)).rgb.astype(int) - cells).max() == 0


def test_more_cells_than_pixels() -> None:
    with pytest.raises(ImageError, match="does not fit"):
        cells_of(np.zeros((8, 8, 3), np.uint8), (24, 24))


def test_a_picture_samples_its_cells_once() -> None:
    picture = picture_from_array(_shown(_cells(8, 8), 64, 64), "p")
    assert picture.cells((8, 8)) is picture.cells((8, 8))
    assert picture.lattice() is picture.lattice()
