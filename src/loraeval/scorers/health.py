"""Health: images that are broken whatever their style; every fault is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from loraeval.images.picture import Picture
from loraeval.records import Metric, Score
from loraeval.scorers.base import ScoreContext

BLACK_LEVEL = 8
"""A pixel with no channel above this is black."""

CLIPPED_SHARE = 0.5
"""Share of channel values at 0 or 255 from which a picture counts as wholly clipped. Flat black
outlines and pure hex colours clip too, so the fall begins late: at ``CLIPPED_FROM``."""

CLIPPED_FROM = 0.95


class Fault(NamedTuple):
    """One fault: its name, the score that it alone would leave, and what was seen."""

    name: str
    score: float
    seen: str


def _ramp(value: float, bad: float, good: float) -> float:
    """Return 0 at ``bad``, 1 at ``good``, linear between."""
    return float(np.clip((value - bad) / (good - bad), 0.0, 1.0))


def pixel_faults(rgb: npt.NDArray[np.uint8]) -> list[Fault]:
    """Return the faults that the pixels show; (H, W, 3) uint8.

    Black: 98 to 100 % of the pixels are black. Flat: fewer than 0.5 to 2 % of the pixels differ
    from the commonest colour by more than 3 % of the range. NaN pattern: a block of rows or
    columns at an edge, a quarter of the image or more, exactly black while the rest is not, as a
    VAE leaves where its values turned NaN in half precision. Clipped: 95 to 100 % of the values
    are 0 or 255.
    """
    step = max(1, min(rgb.shape[:2]) // 64)
    small = rgb[step // 2 :: step, step // 2 :: step]
    faults = []
    black = float(np.mean(small.max(axis=2) <= BLACK_LEVEL))
    if black > 0.98:
        faults.append(Fault("black", _ramp(black, 1.0, 0.98), f"{black:.1%} of the pixels black"))
    varied = _varied_share(small)
    if varied < 0.02:
        faults.append(
            Fault("flat", _ramp(varied, 0.005, 0.02), f"{1 - varied:.1%} of the pixels one colour")
        )
    if not faults:
        faults += _dead_block(rgb)
        clipped = float(np.mean((small == 0) | (small == 255)))
        if clipped > CLIPPED_FROM:
            score = 0.5 * _ramp(clipped, 1.0, CLIPPED_FROM) + 0.5
            faults.append(Fault("clipped", score, f"{clipped:.1%} of the values at 0 or 255"))
    return faults


def _varied_share(small: npt.NDArray[np.uint8]) -> float:
    """Return the share of pixels farther than 8 levels from the median colour and the mode."""
    flat = small.reshape(-1, 3)
    coarse = (flat >> 4).astype(np.int32) @ np.array([256, 16, 1], dtype=np.int32)
    mode = int(np.bincount(coarse, minlength=4096).argmax())
    centre = np.median(flat[coarse == mode], axis=0)
    away = np.abs(flat.astype(np.int16) - centre.astype(np.int16)).max(axis=1)
    return float(np.mean(away > 8))


def _dead_block(rgb: npt.NDArray[np.uint8]) -> list[Fault]:
    """Return the fault of a border block of exact zeros beside a live picture, if any."""
    if rgb[0].any() and rgb[-1].any() and rgb[:, 0].any() and rgb[:, -1].any():
        return []
    rows = np.asarray(~rgb.any(axis=(1, 2)))
    columns = np.asarray(~rgb.any(axis=(0, 2)))
    worst = max(_border_run(rows) / len(rows), _border_run(columns) / len(columns))
    if worst < 0.25:
        return []
    return [Fault("NaN pattern", 1 - min(1.0, 2 * worst), f"a dead block over {worst:.0%}")]


def _border_run(dead: npt.NDArray[np.bool_]) -> int:
    """Return the longest run of True at either end."""
    if dead.all():
        return len(dead)
    return max(int(np.argmin(dead)), int(np.argmin(dead[::-1])))


def file_faults(picture: Picture, size: tuple[int, int] | None) -> list[Fault]:
    """Return the faults of the file: wrong size, CMYK, 16 bits; see-through parts are none."""
    facts, faults = picture.facts, []
    if size is not None and (picture.width, picture.height) != size:
        seen = f"{picture.width}x{picture.height} pixels instead of {size[0]}x{size[1]}"
        faults.append(Fault("wrong size", 0.5, seen))
    if facts.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        faults.append(Fault(facts.mode, 0.8, "not an RGB image; converted"))
    if facts.bits > 8:
        faults.append(Fault(f"{facts.bits}-bit", 0.9, f"{facts.bits} bits a channel; rounded to 8"))
    if facts.profile == "unreadable":
        faults.append(Fault("colour profile", 0.9, "the embedded profile cannot be read"))
    return faults


class HealthScorer:
    """Scores whether an image is whole: 1 is healthy, 0 cannot be used.

    The score is the product of what each fault leaves. A file that cannot be read at all never
    becomes a ``Picture``; the panel scores it 0 with the defect that reading named.
    """

    name = "health"
    metrics: Sequence[Metric] = (Metric("health", "2"),)

    def score(self, picture: Picture, context: ScoreContext) -> list[Score]:
        """Return the health of the picture; never unscored."""
        found = pixel_faults(picture.rgb) + file_faults(picture, context.size)
        value = float(np.prod([fault.score for fault in found])) if found else 1.0
        details: dict[str, Any] = {
            "faults": [fault.name for fault in found],
            "seen": {fault.name: fault.seen for fault in found},
            "background": "transparent" if picture.facts.transparent_background else "opaque",
            "file": picture.facts.as_dict(),
        }
        return [Score("health", value, details=details)]
