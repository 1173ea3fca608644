"""Pixel art or photograph: statistics of a picture that need no trained network.

The picture is brought to 8 pixels a cell of the expected lattice, so that the numbers mean the
same at 96 and at 1024 pixels, and taken to CIELAB. Distances are in CIELAB units, 2.3 of which
people just notice. Gradients count less ``UNSEEN``, which is 0 for what noise of two levels,
rounding or a codec at quality 90 leaves.

=============  ==================================================================================
``alignment``  share of gradient energy that runs along rows or columns, (gx² - gy²)² over
               (gx² + gy²)², times the balance of the two, 4·Ex·Ey over (Ex + Ey)². Cells have
               upright and level edges, as many of each; the world has edges of any angle, and a
               shaken camera those of one angle only.
``flatness``   share of pixels with no visible change within 5×5 pixels: cells are plain inside.
``sparsity``   share of all gradient that lies in the strongest fifth of the pixels: pixel art
               changes at edges only. (Photographs: heavy-tailed but everywhere; Huang and
               Mumford, 1999, "Statistics of natural images and models".)
``kurtosis``   log10 of the gradient's fourth moment over its squared second moment, likewise.
``sharpness``  largest step over 2 pixels against the range over 5×5 pixels, where that is an
               edge: 1 is a hard edge, 0.5 a soft one.
``plainness``  1 minus the share of pixels with a weak gradient: shading, texture, film grain.
``chroma``     minus log10 of the colour noise inside plain regions.
``economy``    1 minus the share of neighbouring cells whose colours differ a little (2.3 to 9):
               pixel art keeps a colour or changes it; a photograph shrunk to cells shades on.
``fall_off``   log10 of the power at high over that at middle spatial frequencies: edges keep it,
               smooth shading loses it.
=============  ==================================================================================
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from loraeval.images.colour import lab_of_rgb

PIXELS_A_CELL = 8
DEFAULT_CELLS = 24
"""Cells along the shorter side that are assumed for a style without a lattice."""

INVISIBLE = 6.0
"""A range in CIELAB that shows as no edge in a 5×5 patch: just noticeable plus the VAE's noise."""

EDGE = 15.0
"""A range in a 5×5 patch that is an edge beyond doubt."""

UNSEEN = 2.5
"""A gradient over 2 pixels, in CIELAB units, that nobody sees: just above the just noticeable."""

WEAK = (3.0, 8.0)
"""A gradient over 2 pixels that is seen as shading or texture, not as an edge."""

SHADES = (2.3, 9.0)
"""Distance of the colours of neighbouring cells that is neither the same colour nor another."""

MAX_SIDE = 1024
"""Pixels a side at ``PIXELS_A_CELL`` that are measured, about the centre: a strip of 8×16384
pixels is no larger a task than a square. A square of up to 128 cells is seen whole."""

FLAT_PICTURE = 0.05
"""Mean gradient below which a picture shows nothing to judge."""

Float = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RealismStatistics:
    """The statistics of one picture; see the module. Each is higher for pixel art."""

    alignment: float
    flatness: float
    sparsity: float
    kurtosis: float
    sharpness: float
    plainness: float
    chroma: float
    economy: float
    fall_off: float

    def as_dict(self) -> dict[str, float]:
        """Return the statistics by name."""
        return asdict(self)


def realism_statistics(
    rgb: npt.NDArray[np.uint8], cells: int = DEFAULT_CELLS
) -> RealismStatistics | None:
    """Measure uint8 sRGB (H, W, 3), whose shorter side has ``cells`` cells if it is pixel art.

    None for a picture with nothing in it: black, or one colour.
    """
    lab = lab_of_rgb(at_cell_scale(rgb, cells))
    along_x = lab[1:-1, 2:] - lab[1:-1, :-2]
    along_y = lab[2:, 1:-1] - lab[:-2, 1:-1]
    energy_x = np.einsum("ijk,ijk->ij", along_x, along_x)
    energy_y = np.einsum("ijk,ijk->ij", along_y, along_y)
    whole = np.sqrt(energy_x + energy_y)
    gradient = np.maximum(whole - UNSEEN, 0)
    if float(gradient.mean()) < FLAT_PICTURE:
        return None
    seen = (gradient / np.maximum(whole, UNSEEN)) ** 2
    energy_x *= seen
    energy_y *= seen
    energy = energy_x + energy_y
    span = np.sqrt(sum(_range(lab[..., plane]) ** 2 for plane in range(3)))[1:-1, 1:-1]
    plain = span < INVISIBLE
    edges = span > EDGE
    ordered = np.sort(gradient, axis=None)[::-1]
    steepest = ndimage.maximum_filter(gradient, 5)
    squared = float(np.mean(energy, dtype=np.float64))
    across, down = float(energy_x.sum(dtype=np.float64)), float(energy_y.sum(dtype=np.float64))
    balance = 4 * across * down / (across + down) ** 2
    aligned = float(((energy_x - energy_y) ** 2).sum() / (energy**2).sum())
    return RealismStatistics(
        alignment=aligned * balance,
        flatness=float(plain.mean()),
        sparsity=float(ordered[: ordered.size // 5].sum() / ordered.sum()),
        kurtosis=float(np.log10(np.mean(energy.astype(float) ** 2) / squared**2)),
        sharpness=float(np.mean(steepest[edges] / span[edges])) if edges.any() else 0.0,
        plainness=1.0 - float(((whole > WEAK[0]) & (whole < WEAK[1])).mean()),
        chroma=-_colour_noise(lab, plain),
        economy=_economy(lab),
        fall_off=_fall_off(lab[..., 0]),
    )


def at_cell_scale(rgb: npt.NDArray[np.uint8], cells: int) -> npt.NDArray[np.uint8]:
    """Return the picture with ``PIXELS_A_CELL`` pixels a cell along its shorter side.

    Averaged down; smoothly enlarged, but a picture of at most 2 pixels a cell by whole pixels.
    At most ``MAX_SIDE`` pixels of each side are made, those about the centre.
    """
    side = cells * PIXELS_A_CELL
    rgb, side = _about_the_centre(rgb, side)
    height, width = rgb.shape[:2]
    if 4 * min(height, width) <= side:
        factor = max(1, min(-(-4 * side // min(height, width)), 2 * MAX_SIDE // min(height, width)))
        rgb = rgb.repeat(factor, axis=0).repeat(factor, axis=1)
        height, width = rgb.shape[:2]
    scale = side / min(height, width)
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    method = Image.Resampling.BOX if scale <= 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize(size, method))


def _about_the_centre(rgb: npt.NDArray[np.uint8], side: int) -> tuple[npt.NDArray[np.uint8], int]:
    """Return what is measured of a picture whose shorter side becomes ``side``, and its side."""
    height, width = rgb.shape[:2]
    shorter = min(height, width)
    most = max(MIN_CROP, MAX_SIDE * shorter // side)
    if max(height, width) <= most:
        return rgb, side
    tall, wide = min(height, most), min(width, most)
    top, left = (height - tall) // 2, (width - wide) // 2
    part = rgb[top : top + tall, left : left + wide]
    return part, min(MAX_SIDE, max(1, round(side * min(tall, wide) / shorter)))


MIN_CROP = 8
"""Fewest pixels a side that are measured; they may then have less than ``PIXELS_A_CELL`` a cell."""


def _range(plane: Float) -> Float:
    span: Float = ndimage.maximum_filter(plane, 5) - ndimage.minimum_filter(plane, 5)
    return span


def _colour_noise(lab: Float, plain: npt.NDArray[np.bool_]) -> float:
    """Return log10 of the mean square root of high-frequency a*, b* energy in plain regions."""
    if not plain.any():
        return 0.0
    energy = 0.0
    for plane in (1, 2):
        detail = lab[..., plane] - ndimage.uniform_filter(lab[..., plane], 3)
        energy += float(np.mean(detail[1:-1, 1:-1][plain] ** 2))
    return float(np.log10(np.sqrt(energy) + 0.05))


def _economy(lab: Float) -> float:
    """Return the share of neighbouring cells that have one colour or clearly two."""
    rows, columns = lab.shape[0] // PIXELS_A_CELL, lab.shape[1] // PIXELS_A_CELL
    if min(rows, columns) < 2:
        return 1.0
    blocks = lab[: rows * PIXELS_A_CELL, : columns * PIXELS_A_CELL]
    blocks = blocks.reshape(rows, PIXELS_A_CELL, columns, PIXELS_A_CELL, 3)
    cells = blocks[:, 2:-2, :, 2:-2].mean(axis=(1, 3))
    away = [np.linalg.norm(np.diff(cells, axis=axis), axis=2).ravel() for axis in (0, 1)]
    steps = np.concatenate(away)
    return 1.0 - float(((steps > SHADES[0]) & (steps < SHADES[1])).mean())


def _fall_off(lightness: Float) -> float:
    """Return log10 of the power at 0.25 to 0.5 cycles a pixel over that at 0.06 to 0.2."""
    height, width = lightness.shape
    window = np.hanning(height)[:, None] * np.hanning(width)[None, :]
    power = np.abs(np.fft.rfft2((lightness - lightness.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    middle = power[(frequency >= 0.06) & (frequency < 0.2)].sum()
    high = power[(frequency >= 0.25) & (frequency < 0.5)].sum()
    return float(np.clip(np.log10((high + 1e-6) / (middle + 1e-6)), -4.0, 1.0))
