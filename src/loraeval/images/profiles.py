"""Edge energy along each axis: where neighbouring columns and rows of pixels visibly differ.

An edge counts in one of two ways. Between single pixels a channel must differ by more than
``COARSE``: hard edges, texture, stray pixels. Between the means of bands (``BANDS`` along the
edge, so that noise averages out) soft and weak edges count too, where the picture on both sides
differs by ``VISIBLE``, all three channels together. What is below both, noise of a few levels,
rounding, a codec's ripple, nobody sees, and it is no edge.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Profile = npt.NDArray[np.float64]
"""Mean visible difference (sum over three channels, 8-bit steps) between pixel ``i`` and
``i + 1`` along an axis; entry ``i`` lies at position ``i + 1``. Length is the side minus one."""

COARSE = 8
"""Difference of a channel, in 8-bit steps, between two neighbouring pixels that is no edge yet.
Noise with a standard deviation of 2 levels exceeds it in one of 200 pairs."""

VISIBLE = 9.0
"""Difference between the two sides of an edge, three channels together, from which it is seen:
about 1.2 CIELAB units in a grey, half the just noticeable difference."""

BANDS = 64
"""Bands that the picture is averaged in along an edge: a third of a cell of 24."""

SIDES = 128
"""The two sides of an edge are means of this part of the picture's length."""


def edge_profiles(rgb: npt.NDArray[np.uint8]) -> tuple[Profile, Profile]:
    """Return the edge energy along x (W - 1 values) and along y (H - 1) of (H, W, 3) pixels.

    >>> edge_profiles(np.array([[[0] * 3, [0] * 3, [90] * 3, [90] * 3]] * 2, np.uint8))[0]
    array([  0., 270.,   0.])
    """
    height, width = rgb.shape[:2]
    flat = rgb.reshape(height, width * 3)
    across = np.zeros((width - 1) * 3, dtype=np.int64)
    down = np.zeros(height - 1, dtype=np.int64)
    # A chunk of rows at a time stays in the processor's cache.
    for top in range(0, height, _CHUNK):
        chunk = flat[top : top + _CHUNK + 1]
        rows = chunk[:_CHUNK]
        across += _coarse(rows[:, 3:], rows[:, :-3]).sum(axis=0, dtype=np.uint16)
        down[top : top + _CHUNK] = _coarse(chunk[1:], chunk[:-1]).sum(axis=1, dtype=np.uint32)
    hard = across.reshape(-1, 3).sum(axis=1) / height, down / width
    picture = Image.fromarray(rgb)
    wide, tall = max(1, round(width / BANDS)), max(1, round(height / BANDS))
    along_x = np.asarray(picture.reduce((1, tall))).transpose(2, 0, 1)
    along_y = np.asarray(picture.reduce((wide, 1))).transpose(2, 1, 0)
    soft = _soft(np.ascontiguousarray(along_x)), _soft(np.ascontiguousarray(along_y))
    return np.maximum(hard[0], soft[0]), np.maximum(hard[1], soft[1])


_CHUNK = 64


def _coarse(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return how far two arrays (rows, values) differ beyond ``COARSE``."""
    larger: npt.NDArray[np.uint8] = np.maximum(first, second)
    np.subtract(larger, np.minimum(first, second), out=larger)
    least = np.full((1, larger.shape[1]), COARSE, np.uint8)  # a row is fast where a scalar is not
    np.maximum(larger, least, out=larger)
    np.subtract(larger, least, out=larger)
    return larger


def _soft(bands: npt.NDArray[np.uint8]) -> Profile:
    """Return the mean difference along the last axis of (3, bands, length), where it is seen."""
    length = bands.shape[2]
    reach = max(1, round(length / SIDES))
    padded = np.pad(bands, ((0, 0), (0, 0), (reach, reach)), mode="edge").astype(np.int32)
    step = np.abs(np.diff(padded[:, :, reach : reach + length], axis=2)).sum(axis=0)
    sums = np.cumsum(padded, axis=2, out=padded)
    seen = _sides(sums, reach, length) > VISIBLE * reach
    return np.asarray((step * seen).mean(axis=0), dtype=np.float64)


def _sides(sums: npt.NDArray[np.int32], reach: int, length: int) -> npt.NDArray[np.int32]:
    """Return how far ``reach`` pixels after each step differ from those before, summed."""
    # Step i lies between the padded pixels i + reach and i + reach + 1.
    away = sums[:, :, 2 * reach : 2 * reach + length - 1] + sums[:, :, : length - 1]
    away -= 2 * sums[:, :, reach : reach + length - 1]
    result: npt.NDArray[np.int32] = np.abs(away, out=away).sum(axis=0)
    return result


def above_floor(profile: Profile) -> Profile:
    """Return ``profile`` less its floor, not below 0.

    Noise, compression and texture put edges everywhere and would draw every phase estimate
    towards nothing. The floor is the 30th percentile and three times its height above the 5th.
    """
    if not len(profile):
        return profile
    low, base = (int(share * (len(profile) - 1)) for share in (0.05, 0.30))
    ordered = np.partition(profile, (low, base))
    floor = ordered[base] + 3 * (ordered[base] - ordered[low])
    lifted: Profile = np.maximum(profile - floor, 0)
    return lifted


RASTER = 8
"""Pixels between block borders: JPEG codes blocks of 8, a VAE decodes latents to blocks of 8."""

RASTER_FROM = 256
"""Shortest side in pixels whose raster is taken: smaller pictures have cells of about 8 pixels."""

RASTER_CAP = 0.08
"""The raster is taken for at most this share of the strongest edge, so that cells of 8 pixels
keep their lines."""


def without_raster(profile: Profile) -> Profile:
    """Return ``profile`` less what block borders add at every multiple of 8 pixels.

    That is the median there above the median of all, at most ``RASTER_CAP`` of the strongest
    edge: lines of a real lattice fall on a minority of the raster's, or are far stronger.
    """
    at = slice(RASTER - 1, None, RASTER)
    if len(profile) < RASTER_FROM:
        return profile
    excess = float(np.median(profile[at]) - np.median(profile))
    out = profile.copy()
    out[at] -= min(max(0.0, excess), RASTER_CAP * float(profile.max()))
    return out
