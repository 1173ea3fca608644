"""Gated shares of images: what one image is, yes or no, and not how much.

``style.copies`` is the share of images that are copies of a reference image. Its mean over few
images says little, but the images themselves can be counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from loraeval.records import ScoreRow


@dataclass(frozen=True, slots=True)
class Share:
    """Images with a score of ``metric`` below ``level`` are counted; ``words`` call them that."""

    metric: str
    level: float
    words: str


SHARES = {"style.copies": Share("style.memorisation", 0.5, "copies of a reference image")}
"""Gated names that count images, and what they count."""


def measured_as(metric: str) -> str:
    """Return the metric of the rows behind a gated name: itself, or what a share counts."""
    return SHARES[metric].metric if metric in SHARES else metric


def score_of(row: ScoreRow, metric: str) -> float | None:
    """Return the row's score of a gated name, a share's being 0 where the image counts, else 1."""
    value = row.scores.get(measured_as(metric))
    if metric not in SHARES or value is None:
        return value
    return 0.0 if value < SHARES[metric].level else 1.0
