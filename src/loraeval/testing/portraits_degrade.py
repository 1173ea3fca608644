"""Ways to spoil a picture by a known amount, for benches that ask how a score responds.

Each takes and returns uint8 HxWx3 sRGB and leaves its input alone.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Rgb = NDArray[np.uint8]


def _whole(picture: NDArray[np.floating]) -> Rgb:
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def blur(rgb: Rgb, sigma: float) -> Rgb:
    """Gaussian blur; ``sigma`` in pixels, 0 changes nothing."""
    return _whole(ndimage.gaussian_filter(rgb.astype(np.float64), (sigma, sigma, 0)))


def add_noise(rgb: Rgb, deviation: float, seed: int = 0) -> Rgb:
    """Gaussian noise of this standard deviation in 8-bit levels, each channel on its own."""
    noise = np.random.default_rng([seed, 1]).standard_normal(rgb.shape)
    return _whole(rgb.astype(np.float64) + deviation * noise)


def jpeg(rgb: Rgb, quality: int) -> Rgb:
    """Save as JPEG of this quality (1 to 95) and read back."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def shift_colours(rgb: Rgb, levels: float, seed: int = 0) -> Rgb:
    """Add one random offset of length ``levels`` (8-bit, Euclidean) to every pixel."""
    direction = np.random.default_rng([seed, 2]).standard_normal(3)
    return _whole(rgb.astype(np.float64) + levels * direction / np.linalg.norm(direction))


def resample(rgb: Rgb, size: int, back: bool = True) -> Rgb:
    """Resize to ``size`` x ``size`` with a bicubic filter and, with ``back``, to the old size."""
    image = Image.fromarray(rgb)
    small = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC) if back else small)


def stray_cells(cells: Rgb, share: float, seed: int = 0) -> Rgb:
    """Give a ``share`` of the cells of a cell grid a random colour."""
    rng = np.random.default_rng([seed, 3])
    out = cells.copy()
    hit = rng.permutation(cells.shape[0] * cells.shape[1])[: round(share * cells[..., 0].size)]
    out.reshape(-1, 3)[hit] = rng.integers(0, 256, (hit.size, 3), dtype=np.uint8)
    return out


def move_lattice(cells: Rgb, size: int, period: float, seed: int = 0) -> Rgb:
    """Draw a cell grid with the wrong ``period`` in pixels, cropped or mirrored to ``size``.

    The offset is drawn from the seed: this is a picture with a lattice, but not the one asked for.
    """
    offset = float(np.random.default_rng([seed, 4]).uniform(0, period))
    count = cells.shape[0]
    index = np.floor((np.arange(size) + offset) / period).astype(np.intp) % (2 * count)
    index = np.where(index >= count, 2 * count - 1 - index, index)
    return np.ascontiguousarray(cells[index[:, None], index[None, :]])


def blend(one: Rgb, two: Rgb, share: float) -> Rgb:
    """Mix two pictures of one size: 0 is the first, 1 the second."""
    return _whole(one * (1.0 - share) + two * np.float64(share))
