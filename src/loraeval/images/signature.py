"""What a picture is, in a few bytes: a digest of its decoded pixels and a small signature.

The digest is the same for the same pixels whatever the file (PNG settings, metadata, name). The
signature is the mean colour of 8 × 8 blocks; pictures whose signatures lie near each other look
alike at a glance.
"""

from __future__ import annotations

import base64
import hashlib

import numpy as np
from numpy.typing import NDArray

BLOCKS = 8
"""Blocks a side."""


def pixel_facts(rgb: NDArray[np.uint8]) -> dict[str, str]:
    """Return ``digest`` (16 hex digits) and ``signature`` (base64) of a picture uint8 (h, w, 3)."""
    shape = f"{rgb.shape[1]}x{rgb.shape[0]}".encode()
    digest = hashlib.sha256(shape + np.ascontiguousarray(rgb).tobytes()).hexdigest()[:16]
    means = np.round(block_means(rgb)).astype(np.uint8)
    return {"digest": digest, "signature": base64.b64encode(means.tobytes()).decode()}


def block_means(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean colour of each block, (8, 8, 3) in levels of 255, rows first.

    A picture of fewer than 8 pixels a side repeats them.
    """
    parts = rgb.astype(np.float64)
    for axis in (0, 1):
        size = parts.shape[axis]
        if size < BLOCKS:
            parts = np.repeat(parts, -(-BLOCKS // size), axis=axis)
            size = parts.shape[axis]
        edges = np.linspace(0, size, BLOCKS + 1).round().astype(int)
        sums = np.add.reduceat(parts, edges[:-1], axis=axis)
        shape = [1, 1, 1]
        shape[axis] = BLOCKS
        parts = sums / np.diff(edges).reshape(shape)
    return parts


def read_signature(text: str) -> NDArray[np.float64] | None:
    """Return the 192 numbers of a signature, None where ``text`` is none."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    if len(raw) != BLOCKS * BLOCKS * 3:
        return None
    return np.frombuffer(raw, dtype=np.uint8).astype(np.float64)
