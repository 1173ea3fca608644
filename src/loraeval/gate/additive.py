"""Least squares of quality on epoch + prompt, for series whose epochs share some prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ERROR_FLOOR = 0.1
"""Smallest residual standard deviation that is believed, in seed-to-seed spreads."""


@dataclass(frozen=True, slots=True)
class Additive:
    """The fit. ``levels`` are the epochs in order; ``df`` residual degrees of freedom;
    ``variance`` of a residual; contrasts of epochs come from ``contrast``.
    """

    levels: tuple[int, ...]
    effects: NDArray[np.float64]
    covariance: NDArray[np.float64]
    variance: float
    df: int
    plain: bool

    def level(self, epoch: int) -> float:
        """Return the epoch's quality, adjusted for its prompts."""
        return float(self.effects[self.levels.index(epoch)])

    def contrast(self, weights: Mapping[int, float]) -> tuple[float, float]:
        """Return the weighted sum of epoch qualities and its standard error."""
        row = np.zeros(len(self.levels))
        for epoch, weight in weights.items():
            row[self.levels.index(epoch)] = weight
        error = np.sqrt(max(float(row @ self.covariance @ row) * self.variance, 1e-12))
        return float(row @ self.effects), float(error)

    def gaps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return for every pair of ``levels`` the first's quality minus the second's and its
        standard error, each (epochs, epochs); the same as ``contrast`` of every pair.
        """
        own = np.diag(self.covariance)
        spread = own[:, None] + own[None, :] - self.covariance - self.covariance.T
        errors = np.sqrt(np.maximum(spread * self.variance, 1e-12))
        return self.effects[:, None] - self.effects[None, :], errors


def fit_additive(
    epochs: Sequence[int], prompts: Sequence[str], values: Sequence[float]
) -> Additive:
    """Return the two-way additive fit of ``values`` (one an image) on epoch and prompt.

    Images of one epoch and prompt are averaged first, so that a prompt counts once an epoch
    however many seeds it has. Epochs that share no prompt, directly or through others, can not be
    adjusted: then prompts are left out of the model (``plain``) and count as noise.
    """
    cells: dict[tuple[int, str], list[float]] = {}
    for epoch, prompt, value in zip(epochs, prompts, values, strict=True):
        cells.setdefault((epoch, prompt), []).append(value)
    levels = tuple(sorted(set(epochs)))
    names = sorted(set(prompts))
    response = np.array([float(np.mean(found)) for found in cells.values()])
    design = np.zeros((len(cells), len(levels) + len(names)))
    for place, (epoch, prompt) in enumerate(cells):
        design[place, levels.index(epoch)] = 1.0
        design[place, len(levels) + names.index(prompt)] = 1.0
    count = len(levels)
    # Connected designs lose exactly one rank to "epochs + constant = prompts + constant".
    plain = not cells or np.linalg.matrix_rank(design) < count + len(names) - 1
    if plain:
        design = design[:, :count]
        centred = design
    else:  # effects of prompts sum to zero, so that an epoch's effect is its level
        centred = np.column_stack([design[:, :count], design[:, count:-1] - design[:, -1:]])
    if not cells:
        return Additive((), np.zeros(0), np.zeros((0, 0)), ERROR_FLOOR**2, 0, True)
    inverse = np.asarray(np.linalg.pinv(centred.T @ centred), dtype=np.float64)
    solved = inverse @ centred.T @ response
    residual = response - centred @ solved
    df = len(response) - centred.shape[1]
    variance = max(float(residual @ residual) / df if df > 0 else 0.0, ERROR_FLOOR**2)
    return Additive(levels, solved[:count], inverse[:count, :count], variance, df, plain)
