"""What a scorer is, and what it is given.

A scorer is any object of the shape ``Scorer``; third parties add theirs through the entry-point
group ``loraeval.scorers``. It turns one picture and its context into scores and never into a
default: what it cannot measure it returns as ``Score.unscored`` with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from loraeval.images.picture import Picture
from loraeval.records import Metric, Prompt, Score

if TYPE_CHECKING:
    from loraeval.scorers.encoders import Encoder
    from loraeval.scorers.reference import ReferenceSet


@dataclass(frozen=True, slots=True)
class ScoreContext:
    """What is known about a picture besides its pixels.

    ``lattice`` is the expected pixel grid as (columns, rows), None for styles without one;
    ``size`` the expected (width, height) in pixels; ``reference`` the style's reference images as
    features; ``encoder`` turns pictures and texts into features; ``base`` is the render of the
    same prompt and seed at LoRA scale 0.
    """

    prompt: Prompt
    lattice: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    reference: ReferenceSet | None = None
    encoder: Encoder | None = None
    base: Picture | None = None


def needs_encoder(scorer: object) -> bool:
    """Say whether a scorer declares that it reads the encoder; the default is that it does not."""
    return bool(getattr(scorer, "needs_encoder", False))


@runtime_checkable
class Scorer(Protocol):
    """A scorer: a name, the metrics it makes, and ``score``.

    ``metrics[0].name == name``; further metrics are dotted (``palette.background``). ``score``
    returns exactly one ``Score`` for each metric, in that order; ``Score.details`` of the first
    becomes ``details[name]`` of the row, so it must be JSON-serialisable plain Python. A scorer
    that reads ``ScoreContext.encoder`` says so with an attribute ``needs_encoder = True``: without
    it no encoder is loaded for its sake.
    """

    @property
    def name(self) -> str:
        """Name of the scorer, as on the command line."""

    @property
    def metrics(self) -> Sequence[Metric]:
        """The metrics that ``score`` returns, in order."""

    def score(self, picture: Picture, context: ScoreContext) -> list[Score]:
        """Return one score per metric."""
