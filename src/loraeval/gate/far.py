"""A level far below anything that the baseline's images ever scored: seen from few images.

Bounds that hold at any time need some ten images. Where images score below *every* golden image,
ranks say more: if they were as good, and each image stood for itself, all orders of golden and
candidate images would be equally likely, so at least ``j`` of ``k`` lie below all ``n`` golden ones
with probability ``k (k - 1) … (k - j + 1) / ((n + k) (n + k - 1) … (n + k - j + 1))``. That is the
rate that the sentence states; it is for one look at these images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FAR = 0.5
"""How far below the worst golden image the low ones lie on average, in distances from that one to
the golden mean."""


@dataclass(frozen=True, slots=True)
class FarBelow:
    """``low`` of ``images`` lie below all ``golden`` ones, by chance at a rate of ``chance``."""

    low: int
    images: int
    golden: int
    chance: float

    @property
    def words(self) -> str:
        """How a sentence says it."""
        rate = f"1 in {1 / self.chance:,.0f}"
        return (
            f"{self.low} of {self.images} images score far below all {self.golden} golden ones, a "
            f"chance of {rate} for images as good, each taken for itself"
        )


def rank_chance(low: int, images: int, golden: int) -> float:
    """Return the chance that at least ``low`` of ``images`` lie below all ``golden`` ones.

    >>> round(rank_chance(4, 5, 10), 5)
    0.00366
    """
    return math.prod((images - at) / (golden + images - at) for at in range(low))


def far_below(scores: Sequence[float], golden: Sequence[float]) -> FarBelow | None:
    """Return what ranks say where scores lie far below every golden one, None where they do not."""
    worst = min(golden)
    low = [value for value in scores if value < worst]
    if not low:
        return None
    reach = math.fsum(golden) / len(golden) - worst
    if worst - math.fsum(low) / len(low) < FAR * reach:
        return None
    chance = rank_chance(len(low), len(scores), len(golden))
    return FarBelow(len(low), len(scores), len(golden), chance)
