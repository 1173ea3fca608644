"""How much scores move when only the seed changes: the yardstick of every margin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SPREAD_FLOOR = 0.01
"""No spread is believed to be smaller than one point of a hundred: scores at the ceiling do not
vary at all, and a verdict must not rest on that."""

FEW = 4
"""Degrees of freedom below which the spread within prompts is not told from the spread overall."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviations in the metric's own unit: ``within`` one prompt from seed to seed,
    ``between`` prompts; ``df`` degrees of freedom behind ``within``; ``images`` and ``prompts``
    counted; ``mean`` of all images.
    """

    within: float
    between: float
    df: int
    images: int
    prompts: int
    mean: float


def spread_of(values: Mapping[str, Sequence[float]]) -> Spread:
    """Return the spread of ``values`` (prompt id to the scores of its images).

    One-way random effects by the method of moments (Searle, Casella and McCulloch 1992, chapter
    3). With fewer than ``FEW`` degrees of freedom within prompts, the spread over all images
    stands in for it, which is never smaller in expectation. Raises ``ValueError`` for fewer than
    two images.
    """
    groups = [list(scores) for scores in values.values() if scores]
    everything = [score for scores in groups for score in scores]
    count = len(everything)
    if count < 2:
        raise ValueError(f"a spread needs at least 2 images, got {count}")
    overall = math.fsum(everything) / count
    means = [math.fsum(scores) / len(scores) for scores in groups]
    df = count - len(groups)
    if df < FEW or len(groups) < 2:
        total = math.fsum((score - overall) ** 2 for score in everything) / (count - 1)
        within = max(math.sqrt(total), SPREAD_FLOOR)
        return Spread(within, 0.0, count - 1, count, len(groups), overall)
    squares = math.fsum(
        (score - mean) ** 2 for scores, mean in zip(groups, means, strict=True) for score in scores
    )
    within = max(math.sqrt(squares / df), SPREAD_FLOOR)
    middle = math.fsum(means) / len(means)
    of_means = math.fsum((mean - middle) ** 2 for mean in means) / (len(means) - 1)
    noise = within**2 * math.fsum(1 / len(scores) for scores in groups) / len(groups)
    return Spread(within, math.sqrt(max(0.0, of_means - noise)), df, count, len(groups), overall)
