"""Group-sequential limits: how strong the evidence must be at each look, so that looking often
does not cost more than ``alpha`` in all.

The error is spent over the looks by a spending function (Lan and DeMets 1983, "Discrete
sequential boundaries for clinical trials"); the limits follow from the joint normal law of the
running means by recursive integration (Armitage, McPherson and Rowe 1969). As Jennison and
Turnbull (2000, "Group Sequential Methods with Applications to Clinical Trials", section 11.3)
advise for an unknown variance, each limit is used as a nominal level with the t distribution.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

Spending = Literal["pocock", "power2", "obrien-fleming"]
"""How fast the error is spent: early and evenly, with the square of the images, or late."""

_POINTS = 601
_REACH = 8.0


def spent(fraction: float, alpha: float, spending: Spending) -> float:
    """Return the error spent once ``fraction`` (0 to 1) of the images are seen.

    The three are Lan and DeMets' Pocock type, Kim and DeMets' (1987) power family with exponent
    2, and Lan and DeMets' O'Brien-Fleming type.
    """
    fraction = min(1.0, max(0.0, fraction))
    if fraction == 0.0:
        return 0.0
    if spending == "pocock":
        return float(alpha * np.log1p((np.e - 1) * fraction))
    if spending == "power2":
        return alpha * fraction**2
    return float(2 * (1 - ndtr(ndtri(1 - alpha / 2) / np.sqrt(fraction))))


@lru_cache(maxsize=256)
def nominal_levels(
    looks: tuple[int, ...], largest: int, alpha: float, spending: Spending = "pocock"
) -> tuple[float, ...]:
    """Return the one-sided level to test at on each look, in the order of ``looks``.

    ``looks`` are numbers of images, rising, the last at most ``largest``. Rejecting whenever the
    p-value of a look is below its level rejects a true null with probability at most ``alpha``.
    Raises ``ValueError`` where the looks do not rise.
    """
    if not looks or looks[0] < 1 or list(looks) != sorted(set(looks)) or looks[-1] > largest:
        raise ValueError(f"looks must rise from at least 1 to at most {largest}, got {looks}")
    levels = []
    used = 0.0
    grid = density = None
    previous = 0.0
    for look in looks:
        share = max(spent(look / largest, alpha, spending) - used, 0.0)
        used += share
        information = look / largest
        step = information - previous
        previous = information
        fresh = np.linspace(-_REACH, _REACH, _POINTS) * np.sqrt(information)
        if grid is None or density is None:
            curve = np.exp(-0.5 * (fresh**2) / step) / np.sqrt(2 * np.pi * step)
        else:
            gaps = fresh[:, None] - grid[None, :]
            kernel = np.exp(-0.5 * gaps**2 / step) / np.sqrt(2 * np.pi * step)
            curve = kernel @ density * (grid[1] - grid[0])
        width = fresh[1] - fresh[0]
        tail = np.concatenate([np.cumsum(((curve[1:] + curve[:-1]) / 2 * width)[::-1])[::-1], [0]])
        limit = float(np.interp(share, tail[::-1], fresh[::-1])) if share > 0 else np.inf
        levels.append(float(1 - ndtr(limit / np.sqrt(information))) if share > 0 else 0.0)
        grid = fresh
        density = np.where(fresh < limit, curve, 0.0)
        if np.isfinite(limit):  # the cell that the limit cuts counts in part
            cut = int(np.searchsorted(fresh, limit)) - 1
            if 0 <= cut < len(fresh) - 1:
                density[cut] *= 0.5 + min(1.0, (limit - fresh[cut]) / width)
                density[cut] = min(density[cut], curve[cut] * 1.5)
    return tuple(levels)
