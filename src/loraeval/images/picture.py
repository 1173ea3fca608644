"""A picture: pixels, what the file was, and what is measured once for all scorers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from loraeval.errors import ImageError
from loraeval.images.cells import Cells, cells_of
from loraeval.images.lattice import Lattice, estimate_lattice
from loraeval.images.reading import ImageFacts, read_image


class Picture:
    """An sRGB picture, uint8 (H, W, 3), with its lattice and cells computed once.

    ``features`` holds encoder features by encoder id; the panel of scorers fills it in batches.
    The pixel array is read-only.
    """

    __slots__ = ("_cells", "_lattice", "facts", "features", "name", "rgb")

    def __init__(self, rgb: npt.NDArray[np.uint8], name: str, facts: ImageFacts) -> None:
        self.rgb = np.ascontiguousarray(rgb)
        self.rgb.setflags(write=False)
        self.name = name
        self.facts = facts
        self.features: dict[str, npt.NDArray[np.float32]] = {}
        self._lattice: Lattice | None = None
        self._cells: dict[tuple[int, int], Cells] = {}

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.rgb.shape[0])

    def lattice(self) -> Lattice:
        """Return the pixel lattice as estimated from the picture alone."""
        if self._lattice is None:
            self._lattice = estimate_lattice(self.rgb)
        return self._lattice

    def cells(self, lattice: tuple[int, int]) -> Cells:
        """Return the cell colours on the given lattice, (columns, rows).

        Raises ``ImageError`` where the picture has fewer pixels than the lattice has cells.
        """
        if lattice not in self._cells:
            self._cells[lattice] = cells_of(self.rgb, lattice)
        return self._cells[lattice]


def open_picture(path: Path, name: str | None = None) -> Picture:
    """Read the image at ``path`` as sRGB; ``name`` is what messages and scores call it.

    Raises ``ImageError`` with a named defect for a file that cannot be read safely; see
    ``loraeval.images.reading.read_image``.
    """
    rgb, facts = read_image(path, name)
    return Picture(rgb, name or str(path), facts)


def picture_from_array(rgb: npt.NDArray[np.uint8], name: str) -> Picture:
    """Return a picture of pixels that never were a file: uint8, (H, W, 3), sRGB.

    The array is taken as it is and made read-only. Raises ``ImageError`` for another shape or
    type.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise ImageError(
            f"{name}: expected sRGB pixels as uint8 (H, W, 3), found {rgb.dtype} {rgb.shape}"
        )
    return Picture(rgb, name, ImageFacts("array", "RGB", 8, False, 0.0, "none"))


LONGEST = 4
"""A side more than this many times the other is looked at about its centre only."""

MANY_PIXELS = 4 << 20
"""A picture with more pixels is averaged down by a whole factor before a network sees it."""


def bounded(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a picture (H, W, 3) that costs a network no more than an ordinary one.

    The middle part of a strip, ``LONGEST`` times as long as wide; averaged down where that still
    has more than ``MANY_PIXELS``. Any other picture comes back as it is.
    """
    height, width = rgb.shape[:2]
    most = LONGEST * min(height, width)
    if max(height, width) > most:
        tall, wide = min(height, most), min(width, most)
        top, left = (height - tall) // 2, (width - wide) // 2
        rgb = rgb[top : top + tall, left : left + wide]
    if rgb.shape[0] * rgb.shape[1] > MANY_PIXELS:
        factor = math.ceil(math.sqrt(rgb.shape[0] * rgb.shape[1] / MANY_PIXELS))
        rgb = np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).reduce(factor))
    return rgb
