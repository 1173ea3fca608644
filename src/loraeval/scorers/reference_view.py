"""One view of a style's reference: features, the bank's summary, and the scale between them.

Features are centred and scaled per dimension by the mean and spread of a bank of pictures in no
style, so that what all pictures share cancels out, and compared by cosine. A picture's similarity
is its mean cosine to its k nearest reference images. Two anchors calibrate it: 0 is the 95th
percentile of the bank, 1 the median of the reference images against each other, each left out
once. As text, features are int8 with the largest component 127.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

NEIGHBOURS = 5
"""Nearest reference images that a similarity is the mean over."""

BANK_SHARE = 0.95
"""Share of the bank that lies below similarity 0 on the calibrated scale."""

_SPREAD_FLOOR = 0.01
"""Added in quadrature to the bank's spread (of unit vectors), so that no dead dimension counts."""

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class View:
    """One view of a reference: features float32 (n, d), rows of length 1, and the bank's summary.

    ``mean`` and ``spread`` (d,) are the bank's per dimension; ``bank_level`` is the similarity
    that ``BANK_SHARE`` of the bank stays under.
    """

    features: Array
    mean: Array
    spread: Array
    bank_level: float

    def standardise(self, features: Array) -> Array:
        """Return features (m, d) centred and scaled by the bank, rows of length 1 again."""
        scaled = (features - self.mean) / np.sqrt(self.spread**2 + _SPREAD_FLOOR**2)
        length = np.linalg.norm(scaled, axis=1, keepdims=True)
        result: Array = (scaled / np.maximum(length, 1e-12)).astype(np.float32)
        return result

    @cached_property
    def standardised(self) -> Array:
        """The reference's own features, standardised."""
        return self.standardise(self.features)

    @cached_property
    def among(self) -> Array:
        """Cosines among the reference images (n, n), -1 on the diagonal: each left out once."""
        cosines: Array = self.standardised @ self.standardised.T
        np.fill_diagonal(cosines, -1.0)
        return cosines

    @cached_property
    def own_level(self) -> float:
        """Median leave-one-out similarity of the reference images."""
        return float(np.median(nearest_mean(self.among)))

    def cosines(self, features: Array) -> Array:
        """Return the cosines (m, n) of features (m, d) to each reference image."""
        result: Array = self.standardise(features) @ self.standardised.T
        return result

    def similarity(self, features: Array) -> Array:
        """Return the mean cosine to the nearest reference images, (m,)."""
        return nearest_mean(self.cosines(features))

    def calibrated(self, similarity: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map similarities to [0, 1]: the bank's level to 0, the reference's own level to 1."""
        share = (np.asarray(similarity, float) - self.bank_level) / (
            self.own_level - self.bank_level
        )
        return np.clip(share, 0.0, 1.0)


def nearest_mean(cosines: Array) -> Array:
    """Return the mean of the ``NEIGHBOURS`` largest cosines of each row, (m,)."""
    result: Array = np.sort(cosines, axis=1)[:, -NEIGHBOURS:].mean(axis=1)
    return result


def view_of(own: Array, bank: Array) -> View:
    """Return a view of exactly the numbers that ``to_json`` keeps."""
    kept = np.stack([unpack_feature(pack_feature(row)) for row in own])
    mean, spread = (
        stat.astype(np.float16).astype(np.float32) for stat in (bank.mean(0), bank.std(0))
    )
    view = View(kept, mean, spread, 0.0)
    level = float(np.quantile(view.similarity(bank), BANK_SHARE))
    return View(kept, mean, spread, round(level, 6))


def pack_feature(feature: Array) -> str:
    """Return the feature as base64 of int8, its largest component being 127 steps."""
    steps = np.rint(feature * (127.0 / max(float(np.abs(feature).max()), 1e-12))).astype(np.int8)
    return base64.b64encode(steps.tobytes()).decode("ascii")


def unpack_feature(text: str) -> Array:
    """Return the feature that ``pack_feature`` wrote, of length 1 again."""
    steps = np.frombuffer(base64.b64decode(text, validate=True), np.int8).astype(np.float32)
    length = float(np.linalg.norm(steps))
    if not length > 0:
        raise ValueError("a feature of length 0")
    result: Array = steps / np.float32(length)
    return result


def pack_statistic(values: Array) -> str:
    """Return a mean or spread as base64 of float16, little-endian."""
    return base64.b64encode(values.astype("<f2").tobytes()).decode("ascii")


def _unpack_statistic(text: str) -> Array:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32)


def read_view(held: Mapping[str, Any], rows: Sequence[str]) -> View:
    """Return the view of packed statistics and features; ``ValueError`` where they do not fit."""
    features = np.stack([unpack_feature(text) for text in rows])
    view = View(
        features,
        _unpack_statistic(held["mean"]),
        _unpack_statistic(held["spread"]),
        float(held["bank_level"]),
    )
    if not view.mean.shape == view.spread.shape == features.shape[1:]:
        raise ValueError("views of different lengths")
    if not all(np.isfinite(part).all() for part in (view.mean, view.spread, view.bank_level)):
        raise ValueError("numbers that are not finite")
    return view
