"""Photorealism drift: 1 is pixel art, 0 a photograph.

``realism``: statistics that need no trained network (``loraeval.scorers.realism_statistics``),
joined by a logistic model whose weights ``benchmarks/realism_fit.py`` fits on generated pictures.

``realism.clip``: zero-shot by an encoder that reads text. Each template is filled with words for
pixel art and for its opposites; a picture's cosines to the averaged texts, times CLIP's learned
temperature of 100, go through a softmax (Radford et al., 2021, "Learning Transferable Visual
Models From Natural Language Supervision", section 3.1.4).

``realism.drift``: how far the LoRA moved the picture from the base model's of the same prompt and
seed: ½ + ½ (realism - realism of the base). 1 is from photograph to pixel art, ½ no change, less
a LoRA that makes pictures more photographic than its base.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from loraeval.images.picture import Picture
from loraeval.records import Metric, Score
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.encoders import Encoder, Features
from loraeval.scorers.realism_statistics import (
    DEFAULT_CELLS,
    RealismStatistics,
    realism_statistics,
)
from loraeval.scorers.style import features_of

VERSION = "2"
"""2: only what is seen counts, and a response that is flat among good pixel art."""

GOOD = 0.68
"""Probability from which a picture is pixel art to everybody; the score is 1 there. Real renders
that people call good lie above it whatever noise, codec or shift nobody sees is added."""

TEMPLATES = (
    "{}",
    "a picture that is {}",
    "an image in the style of {}",
    "{}, portrait",
    "this is {}",
)
"""Frames for each side's words; their unit vectors are averaged, as Radford et al. do."""

WANTED = ("pixel art", "8-bit retro game art", "a sprite of large square pixels")
OPPOSITE = (
    "a photograph",
    "a photorealistic picture",
    "a 3-D render",
    "a smooth digital painting",
)

TEMPERATURE = 100.0
"""CLIP's learned logit scale, at its cap."""


@dataclass(frozen=True, slots=True)
class RealismModel:
    """A logistic model: name of a statistic to (mean, scale, weight ≥ 0), and the intercept."""

    terms: Mapping[str, tuple[float, float, float]]
    intercept: float

    def value(self, statistics: RealismStatistics) -> float:
        """Return the probability of pixel art over ``GOOD``, at most 1, in (0, 1]."""
        found = statistics.as_dict()
        logit = self.intercept + math.fsum(
            weight * (found[name] - mean) / scale
            for name, (mean, scale, weight) in self.terms.items()
        )
        return min(1.0, 1.0 / (1.0 + math.exp(-logit)) / GOOD)


@lru_cache(maxsize=1)
def realism_model() -> RealismModel:
    """Return the model that ``benchmarks/realism_fit.py`` wrote into the package."""
    held = json.loads(files("loraeval.scorers").joinpath("realism.json").read_text("utf-8"))
    terms = {
        name: (term["mean"], term["scale"], term["weight"])
        for name, term in held["statistics"].items()
    }
    return RealismModel(terms, held["intercept"])


class RealismScorer:
    """Scores ``realism``, ``realism.clip`` and ``realism.drift``."""

    name = "realism"
    needs_encoder = True

    def __init__(self, encoder: Encoder | None = None) -> None:
        weights_license = encoder.license if encoder is not None else None
        self.metrics: Sequence[Metric] = (
            Metric("realism", VERSION, "probability over that of good pixel art"),
            Metric("realism.clip", VERSION, "probability", weights_license=weights_license),
            Metric("realism.drift", VERSION, "half of the change, plus a half"),
        )
        self._sides: dict[str, tuple[Features, Features]] = {}

    def score(self, picture: Picture, context: ScoreContext) -> list[Score]:
        """Return the three scores."""
        cells = min(context.lattice) if context.lattice is not None else DEFAULT_CELLS
        statistics = realism_statistics(picture.rgb, cells)
        if statistics is None:
            own = Score.unscored(
                "realism", "the picture is of one colour: there is nothing to judge"
            )
        else:
            found = {name: round(value, 3) for name, value in statistics.as_dict().items()}
            details = {"cells": cells, "statistics": found}
            own = Score("realism", realism_model().value(statistics), None, details)
        return [own, self._zero_shot(picture, context.encoder), drift(own, context.base, cells)]

    def _zero_shot(self, picture: Picture, encoder: Encoder | None) -> Score:
        name = "realism.clip"
        if encoder is None:
            return Score.unscored(name, "no encoder is loaded")
        if not encoder.has_text:
            return Score.unscored(name, f"the encoder {encoder.id} reads no text")
        if encoder.id not in self._sides:
            self._sides[encoder.id] = (side_of(encoder, WANTED), side_of(encoder, OPPOSITE))
        wanted, opposite = self._sides[encoder.id]
        image = features_of(picture, encoder, encoder.id)[0]
        value, nearest = zero_shot(image, wanted, opposite)
        return Score(name, value, None, {"nearest": [*WANTED, *OPPOSITE][nearest]})


def drift(own: Score, base: Picture | None, cells: int) -> Score:
    """Return ``realism.drift`` of a picture that scored ``own`` against its base render."""
    name = "realism.drift"
    if base is None:
        return Score.unscored(name, "there is no render of the base model (LoRA scale 0)")
    if own.value is None:
        return Score.unscored(name, own.reason or "realism was not measured")
    statistics = realism_statistics(base.rgb, cells)
    if statistics is None:
        return Score.unscored(name, "the base model's render is of one colour")
    of_base = realism_model().value(statistics)
    return Score(name, 0.5 + 0.5 * (own.value - of_base), None, {"base": round(of_base, 4)})


def side_of(encoder: Encoder, words: Sequence[str]) -> Features:
    """Return one unit vector a word, the mean over the templates: (words, d)."""
    rows = []
    for word in words:
        texts = encoder.embed_texts([template.format(word) for template in TEMPLATES])
        mean = texts.mean(axis=0)
        rows.append(mean / max(float(np.linalg.norm(mean)), 1e-12))
    return np.asarray(rows, dtype=np.float32)


def zero_shot(
    image: np.ndarray[tuple[int, ...], np.dtype[np.float32]], wanted: Features, opposite: Features
) -> tuple[float, int]:
    """Return (probability of the wanted side, index of the nearest text, wanted ones first).

    Each side takes part with its best text: more words on one side must not make it likelier.
    """
    cosines = np.concatenate([wanted @ image, opposite @ image]).astype(float)
    gap = TEMPERATURE * float(cosines[: len(wanted)].max() - cosines[len(wanted) :].max())
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, gap)))), int(np.argmax(cosines))
