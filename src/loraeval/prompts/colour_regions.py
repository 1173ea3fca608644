"""What a colour's name allows, as shapes in CIELAB: boxes, shares of namers, and their union."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loraeval.prompts.colour_naming import GROUPS, shares

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Box:
    """A box in LCh: lightness and chroma from low to high, hue within ``spread`` of ``hue``.

    ``spread`` 180 is any hue.
    """

    lightness: tuple[float, float]
    chroma: tuple[float, float]
    hue: float = 0.0
    spread: float = 180.0

    def nearest(self, lab: Array) -> Array:
        """Return for each row (L, a, b) of ``lab``, shape (n, 3), the box's nearest colour."""
        light = np.clip(lab[:, 0], *self.lightness)
        chroma = np.clip(np.hypot(lab[:, 1], lab[:, 2]), *self.chroma)
        angle = np.degrees(np.arctan2(lab[:, 2], lab[:, 1]))
        off = (angle - self.hue + 180.0) % 360.0 - 180.0
        hue = np.radians(self.hue + np.clip(off, -self.spread, self.spread))
        return np.stack([light, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)


FULL = 0.3
"""Share of namers from which a colour is fully what a word says; a twentieth of them is 0.17."""

_LEAST = 0.004
"""Least score that a distance is made of: 63 is far enough."""

HALF = 4.0
"""Distance that the scorer grades a half: ``1 / (1 + (d / HALF)^2)``."""


@dataclass(frozen=True, slots=True)
class Named:
    """What people call so: the share that names a colour one of ``groups``, as a distance.

    ``lightness`` and ``chroma`` are ramps (from, to) that modifiers put on it: nothing counts at
    ``from``, all at ``to``; None is no ramp.
    """

    groups: tuple[str, ...]
    lightness: tuple[float, float] | None = None
    chroma: tuple[float, float] | None = None

    def score(self, lab: Array) -> Array:
        """Return the score in [0, 1] of colours (n, 3)."""
        at = [GROUPS.index(group) for group in self.groups]
        score = np.minimum(shares(lab)[:, at].sum(axis=1) / FULL, 1.0)
        if self.lightness is not None:
            score = score * _ramp(lab[:, 0], self.lightness)
        if self.chroma is not None:
            score = score * _ramp(np.hypot(lab[:, 1], lab[:, 2]), self.chroma)
        return np.asarray(score)

    def distance(self, lab: Array) -> Array:
        """Return the distance that is graded as the score: 0 at 1, ``HALF`` at a half."""
        return HALF * np.sqrt(1 / np.maximum(self.score(lab), _LEAST) - 1)


def _ramp(values: Array, span: tuple[float, float]) -> Array:
    low, high = span
    return np.clip((values - low) / (high - low), 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class ColourRegion:
    """The colours that a name allows; ``centre`` is a typical one, ``#rrggbb``."""

    name: str
    centre: str
    boxes: tuple[Box, ...]
    named: tuple[Named, ...] = ()

    def distance(self, lab: npt.ArrayLike) -> Array:
        """Return how far colours are from the region, 0 inside.

        ``lab`` has shape (..., 3), CIELAB D65; the result drops the last axis. For words with
        naming data it is the distance whose grade is the share of namers; for boxes CIEDE2000 to
        the point that clamping L, C and h one by one gives, an upper bound of the true distance.
        """
        from skimage.color import deltaE_ciede2000

        points = np.asarray(lab, dtype=np.float64)
        flat = points.reshape(-1, 3)
        best = np.full(len(flat), np.inf)
        for named in self.named:
            best = np.minimum(best, named.distance(flat))
        for box in self.boxes:
            near = box.nearest(flat)
            delta = np.asarray(deltaE_ciede2000(flat, near), dtype=np.float64)  # type: ignore[no-untyped-call]
            inside = np.max(np.abs(flat - near), axis=1, initial=0.0) < 1e-6
            best = np.minimum(best, np.where(inside, 0.0, delta))
        return best.reshape(points.shape[:-1])

    def contains(self, lab: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return which of the colours, shape (..., 3), lie inside the region."""
        return np.asarray(self.distance(lab) == 0.0)
