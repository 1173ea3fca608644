"""Edge energy along each axis: where neighbouring columns and rows of pixels differ."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Profile = npt.NDArray[np.float64]
"""Mean absolute difference (sum over three channels, 8-bit steps) between pixel ``i`` and
``i + 1`` along an axis; entry ``i`` lies at position ``i + 1``. Length is the side minus one."""


def edge_profiles(rgb: npt.NDArray[np.uint8]) -> tuple[Profile, Profile]:
    """Return the edge energy along x (W - 1 values) and along y (H - 1) of (H, W, 3) pixels.

    >>> edge_profiles(np.array([[[0] * 3, [0] * 3, [9] * 3]], np.uint8))[0]
    array([ 0., 27.])
    """
    height, width = rgb.shape[:2]
    flat = rgb.reshape(height, width * 3)
    across = np.zeros((width - 1) * 3, dtype=np.int64)
    down = np.zeros(height - 1, dtype=np.int64)
    # A band of rows at a time stays in the processor's cache.
    for top in range(0, height, _BAND):
        band = flat[top : top + _BAND + 1]
        rows = band[:_BAND]
        across += _distance(rows[:, 3:], rows[:, :-3]).sum(axis=0, dtype=np.uint16)
        down[top : top + _BAND] = _distance(band[1:], band[:-1]).sum(axis=1, dtype=np.uint32)
    return across.reshape(-1, 3).sum(axis=1) / height, down / width


_BAND = 64


def _distance(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    larger: npt.NDArray[np.uint8] = np.maximum(first, second)
    np.subtract(larger, np.minimum(first, second), out=larger)
    return larger


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
