"""Do people agree with a scorer? From blind choices between two images to two numbers.

Which image of a pair is called first carries no information, so every pair counts in both
orders: (d, y) and (-d, -y) with d the difference in score and y = 1, 0, -1 for the first image
chosen, no difference seen, the second chosen. The numbers are then 0 (tau) and 1/2 (AUC) for a
scorer that people's eyes know nothing of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FEWEST_PAIRS = 20
"""Fewer decided pairs than this give no interval worth the name, and no number: five that agree by
chance (one in 16) would read as certainty.
"""

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far one metric agrees with people.

    ``tau`` is Kendall's tau-b of score differences and choices, in [-1, 1]; ``auc`` the chance
    that the image people chose has the higher score, in [0, 1], pairs without a choice left out;
    both with a 95 % percentile-bootstrap interval over pairs. None with ``reason`` where they can
    not be computed. ``n`` counts the judged pairs that the metric scored on both sides.
    """

    metric: str
    n: int
    tau: float | None = None
    tau_interval: tuple[float, float] | None = None
    auc: float | None = None
    auc_interval: tuple[float, float] | None = None
    reason: str | None = None


def kendall_tau(differences: Sequence[float], choices: Sequence[int]) -> float:
    """Return Kendall's tau-b (Kendall 1945) over both orders of every pair; NaN without spread."""
    import numpy as np
    from scipy.stats import kendalltau

    d, y = np.asarray(differences, float), np.asarray(choices, float)
    return float(kendalltau(np.concatenate([d, -d]), np.concatenate([y, -y])).statistic)


def choice_auc(differences: Sequence[float], choices: Sequence[int]) -> float:
    """Return the area under the ROC curve of the difference for the choice; NaN without choices.

    Over both orders of every decided pair, as Mann and Whitney's U / (n1 n2), ties counted half.
    """
    import numpy as np
    from scipy.stats import mannwhitneyu

    d, y = np.asarray(differences, float), np.asarray(choices)
    toward = d[y != 0] * y[y != 0]
    if not toward.size:
        return float("nan")
    u = mannwhitneyu(toward, -toward, method="asymptotic").statistic
    return float(u) / float(toward.size**2)


def agreement(
    metric: str, differences: Sequence[float], choices: Sequence[int], seed: int = 0
) -> Agreement:
    """Return how far ``metric`` agrees with the choices, with bootstrap intervals (``seed``)."""
    import numpy as np

    n = len(differences)
    decided = sum(choice != 0 for choice in choices)
    if n < FEWEST_PAIRS:
        return Agreement(metric, n, reason=f"too few: {n} pairs judged of {FEWEST_PAIRS} needed")
    d, y = np.asarray(differences, float), np.asarray(choices)
    if not d.any():
        return Agreement(metric, n, reason="the metric gives both images of every pair one score")
    if not y.any():
        return Agreement(metric, n, reason="no pair was decided: no difference was seen")
    if decided < FEWEST_PAIRS:
        few = f"too few: a difference seen in {decided} pairs of {FEWEST_PAIRS} needed"
        return Agreement(metric, n, reason=few)
    picks = np.random.default_rng(seed).integers(0, n, (RESAMPLES, n))
    return Agreement(
        metric,
        n,
        tau=kendall_tau(d.tolist(), y.tolist()),
        tau_interval=_percentiles([_tau(d[pick], y[pick]) for pick in picks]),
        auc=choice_auc(d.tolist(), y.tolist()),
        auc_interval=_percentiles([_auc(d[pick], y[pick]) for pick in picks]),
    )


def agreements(
    judged: Sequence[tuple[Mapping[str, float | None], Mapping[str, float | None], int]],
    metrics: Sequence[str],
) -> list[Agreement]:
    """Return the agreement of every metric; ``judged`` holds (first's scores, second's, choice)."""
    found = []
    for metric in metrics:
        known = [
            (one - two, choice)
            for first, second, choice in judged
            if (one := first.get(metric)) is not None and (two := second.get(metric)) is not None
        ]
        found.append(agreement(metric, [d for d, _ in known], [y for _, y in known]))
    return found


def agreement_table(found: Sequence[Agreement]) -> str:
    """Return the agreements as aligned text for the terminal."""
    lines = [["metric", "pairs", "tau", "95 %", "AUC", "95 %"]]
    for item in found:
        if item.reason is not None:
            lines.append([item.metric, str(item.n), f"not measured: {item.reason}", "", "", ""])
        else:
            lines.append(
                [
                    item.metric,
                    str(item.n),
                    f"{item.tau:+.2f}",
                    _span(item.tau_interval),
                    f"{item.auc:.2f}",
                    _span(item.auc_interval),
                ]
            )
    widths = [
        max(len(line[i]) for line in lines if not line[2].startswith("not")) for i in range(6)
    ]
    widths[0] = max(len(line[0]) for line in lines)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _span(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}"


def _tau(d: npt.NDArray[np.float64], y: npt.NDArray[np.int_]) -> float:
    """Tau-b over both orders, fast for the bootstrap: sums over all pairs of signs."""
    import numpy as np

    both, choice = np.concatenate([d, -d]), np.concatenate([y, -y]).astype(float)
    a = np.sign(both[:, None] - both[None, :])
    b = np.sign(choice[:, None] - choice[None, :])
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale else float("nan")


def _auc(d: npt.NDArray[np.float64], y: npt.NDArray[np.int_]) -> float:
    """AUC over both orders, fast for the bootstrap."""
    import numpy as np

    toward = np.sort(d[y != 0] * y[y != 0])
    if not toward.size:
        return float("nan")
    below = np.searchsorted(-toward[::-1], toward, "left")
    upto = np.searchsorted(-toward[::-1], toward, "right")
    return float((below + upto).sum()) / 2 / toward.size**2


def _percentiles(values: Sequence[float]) -> tuple[float, float]:
    import numpy as np

    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
