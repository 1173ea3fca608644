"""Style: nearness to the reference, agreement with the prompt, and no copying of the reference.

``style``: mean cosine to the nearest reference images in the encoder's standardised space,
calibrated so that 0 is a picture in no style and 1 the reference against itself
(``loraeval.scorers.reference``). Nearest neighbours, not the centroid: a style has many looks.

``style.text``: CLIPScore, 2.5 · max(cos(image, prompt), 0), at most 1 (Hessel et al., 2021,
"CLIPScore: A Reference-free Evaluation Metric for Image Captioning").

``style.memorisation``: the distance to the nearest reference image over the distance that all but
5 % of the reference images keep from each other, at most 1: 0 is a copy, 1 as new as they are
(the nearest-neighbour test for copies: Meehan, Chaudhuri and Dasgupta, 2020, "A Non-Parametric
Test to Detect Data-Copying in Generative Models").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loraeval.errors import StaleError
from loraeval.images.picture import Picture
from loraeval.records import Metric, Score
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.encoders import Encoder, Features
from loraeval.scorers.reference import ReferenceSet, coarse_image

CLIP_SCORE_WEIGHT = 2.5
"""Hessel et al.'s rescaling of the cosine, so that good captions come near 1."""

VERSION = "2"
"""2: the offline encoder no longer sees fine noise."""


class StyleScorer:
    """Scores ``style``, ``style.text`` and ``style.memorisation``.

    ``weights_license`` of the metrics is the encoder's, where the scorer was given one.
    """

    name = "style"

    def __init__(self, encoder: Encoder | None = None) -> None:
        weights_license = encoder.license if encoder is not None else None
        self.metrics: Sequence[Metric] = tuple(
            Metric(name, VERSION, unit, weights_license=weights_license)
            for name, unit in (
                ("style", "calibrated cosine"),
                ("style.text", "CLIPScore"),
                ("style.memorisation", "share of the reference's own distance"),
            )
        )
        self._texts: dict[tuple[str, str], Features] = {}

    def score(self, picture: Picture, context: ScoreContext) -> list[Score]:
        """Return the three scores; raises ``StaleError`` where encoder and reference differ."""
        style, memorisation = self._against_reference(picture, context)
        return [style, self._text(picture, context), memorisation]

    def _against_reference(self, picture: Picture, context: ScoreContext) -> tuple[Score, Score]:
        reason = missing_for_style(picture, context)
        reference = context.reference
        if reason is not None or reference is None:
            reason = reason or "no reference"
            return (
                Score.unscored("style", reason),
                Score.unscored("style.memorisation", reason),
            )
        detail = features_of(picture, context.encoder, reference.encoder)
        cosines = reference.detail.cosines(detail)[0]
        similarity = float(reference.detail.similarity(detail)[0])
        details = {
            "encoder": reference.encoder,
            "similarity": round(similarity, 4),
            "anchors": {key: round(value, 4) for key, value in reference.calibration.items()},
            "nearest": reference.names[int(np.argmax(cosines))],
        }
        if not reference.tells_apart:
            style = Score.unscored(
                "style",
                "the encoder does not tell the reference images from pictures in no style",
                **details,
            )
        else:
            style = Score("style", float(reference.detail.calibrated(similarity)), None, details)
        return style, self._memorisation(picture, context, reference)

    def _memorisation(
        self, picture: Picture, context: ScoreContext, reference: ReferenceSet
    ) -> Score:
        name = "style.memorisation"
        if context.encoder is None and coarse_key(reference.encoder) not in picture.features:
            return Score.unscored(name, "no encoder is loaded")
        value, nearest, distance = novelty(
            reference, coarse_features(picture, context.encoder, reference.encoder)
        )
        if value is None:
            return Score.unscored(name, "the reference images are copies of each other")
        return Score(
            name,
            value,
            None,
            {
                "nearest": nearest,
                "distance": round(distance, 4),
                "near": round(reference.coarse.near, 4),
            },
        )

    def _text(self, picture: Picture, context: ScoreContext) -> Score:
        encoder, text = context.encoder, context.prompt.text.strip()
        if encoder is None:
            return Score.unscored("style.text", "no encoder is loaded")
        if not encoder.has_text:
            return Score.unscored("style.text", f"the encoder {encoder.id} reads no text")
        if not text:
            return Score.unscored("style.text", "the prompt is empty")
        key = (encoder.id, text)
        if key not in self._texts:
            self._texts[key] = encoder.embed_texts([text])
        image = features_of(picture, encoder, encoder.id)
        cosine = float((image @ self._texts[key].T)[0, 0])
        value = min(1.0, CLIP_SCORE_WEIGHT * max(cosine, 0.0))
        return Score("style.text", value, None, {"cosine": round(cosine, 4)})


def missing_for_style(picture: Picture, context: ScoreContext) -> str | None:
    """Return why style cannot be measured, None where it can.

    Raises ``StaleError`` where the encoder at hand is not the reference's.
    """
    if context.reference is None and context.encoder is None:
        return "there is no reference set, and no encoder to see one with (loraeval[clip])"
    if context.reference is None:
        return "there is no reference set; give one with --reference DIR or in the baseline"
    if context.encoder is not None:
        context.reference.check_encoder(context.encoder.id)
    elif context.reference.encoder not in picture.features:
        return "no encoder is loaded"
    return None


def features_of(picture: Picture, encoder: Encoder | None, encoder_id: str) -> Features:
    """Return the picture's features (1, d) by the encoder, embedding it where that was not done.

    Raises ``StaleError`` where they are missing and no encoder is at hand.
    """
    if encoder_id not in picture.features:
        if encoder is None:
            raise StaleError(f"{picture.name} has no features of the encoder {encoder_id}")
        picture.features[encoder_id] = encoder.embed_images([picture.rgb])[0]
    return np.asarray(picture.features[encoder_id], np.float32)[None]


def coarse_key(encoder_id: str) -> str:
    """Return the key of ``Picture.features`` for the coarse view."""
    return f"{encoder_id}/coarse"


def coarse_features(picture: Picture, encoder: Encoder | None, encoder_id: str) -> Features:
    """Return the features (1, d) of the picture's coarse view; see ``features_of``."""
    key = coarse_key(encoder_id)
    if key not in picture.features:
        if encoder is None:
            raise StaleError(f"{picture.name} has no features of the encoder {encoder_id}")
        picture.features[key] = encoder.embed_images([coarse_image(picture.rgb)])[0]
    return np.asarray(picture.features[key], np.float32)[None]


def novelty(reference: ReferenceSet, coarse: Features) -> tuple[float | None, str, float]:
    """Return (score, nearest reference image, its distance) for coarse features (1, d).

    The score is None where the reference images lie on top of each other.
    """
    distances = 1.0 - reference.coarse.cosines(coarse)[0]
    at = int(np.argmin(distances))
    distance = max(0.0, float(distances[at]))
    near = reference.coarse.near
    value = min(1.0, distance / near) if near > 1e-6 else None
    return value, reference.names[at], distance
