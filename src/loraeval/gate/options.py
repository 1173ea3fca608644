"""What a user may decide about the gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from loraeval.errors import UsageError


@dataclass(frozen=True, slots=True)
class GateOptions:
    """How sure the gate must be.

    ``alpha`` is the largest accepted chance of a wrong PASS for a checkpoint that is worse by the
    margin, and of a wrong FAIL for one that is not; ``power`` the chance that the advised number
    of further images should decide with. ``margins`` replaces the baseline's margin of a metric.
    ``bad_share`` is the rise of the share of bad images that is not accepted, ``strict`` keeps
    ``alpha`` whatever share of the images collapses to whatever level, and ``allow_partial`` lets
    less than the plan pass. No verdict but a fault comes before ``min_images`` (None: what the
    statistics need); rendering stops at ``max_images`` (None: the baseline's whole grid).
    ``seed`` shuffles the order of rendering. Raises ``UsageError`` for values outside their range.
    """

    alpha: float = 0.05
    power: float = 0.8
    margins: Mapping[str, float] = field(default_factory=dict)
    min_images: int | None = None
    max_images: int | None = None
    seed: int = 0
    bad_share: float = 0.1
    strict: bool = False
    allow_partial: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 0.5:
            raise UsageError(f"alpha must lie above 0 and at most at 0.5, got {self.alpha!r}")
        if not 0.5 <= self.power < 1:
            raise UsageError(f"power must lie from 0.5 to below 1, got {self.power!r}")
        if not 0 < self.bad_share < 1:
            raise UsageError(f"bad-share must lie between 0 and 1, got {self.bad_share!r}")
        for label, number in (("min-images", self.min_images), ("max-images", self.max_images)):
            if number is not None and number < 1:
                raise UsageError(f"{label} must be at least 1, got {number!r}")
        least, most = self.min_images, self.max_images
        if least is not None and most is not None and least > most:
            raise UsageError(f"min-images ({least}) is above max-images ({most})")
        for metric, margin in self.margins.items():
            if not 0 < margin < 1:
                raise UsageError(f"the margin of {metric} must lie in (0, 1), got {margin!r}")
