"""Style: nearness to the reference, agreement with the prompt, and no copying of the reference.

``style``: mean cosine to the nearest reference images in the encoder's standardised space,
calibrated so that 0 is a picture in no style and 1 the reference against itself
(``loraeval.scorers.reference``). Nearest neighbours, not the centroid: a style has many looks.

``style.leak``: for prompts tagged ``no_trigger``, 1 minus how much more style the picture has than
the base model's of the same prompt and seed: without its trigger a LoRA should change little.

``style.text``: CLIPScore, 2.5 · max(cos(image, prompt), 0), at most 1 (Hessel et al., 2021,
"CLIPScore: A Reference-free Evaluation Metric for Image Captioning").

``style.memorisation``: 1 minus how much of a copy of one reference image the picture is, mirrored,
shifted, cropped or recoloured (``loraeval.scorers.copies``); it needs no encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from loraeval.errors import StaleError
from loraeval.images.picture import Picture
from loraeval.records import Metric, Score
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.copies import thumbnail
from loraeval.scorers.encoders import Encoder, Features
from loraeval.scorers.reference import ReferenceSet

NO_TRIGGER = "no_trigger"
"""Tag of a prompt without the LoRA's trigger, whose picture should stay near the base model's."""

CLIP_SCORE_WEIGHT = 2.5
"""Hessel et al.'s rescaling of the cosine, so that good captions come near 1."""

VERSION = "3"
"""3: the offline encoder does not see what people do not; copies are found by their outlines."""


@dataclass(frozen=True, eq=False)
class FurtherView:
    """One more encoder to see style with: ``style.LABEL``, against a reference of its own."""

    label: str
    encoder: Encoder
    reference: ReferenceSet | None


class StyleScorer:
    """Scores ``style``, ``style.text``, ``style.memorisation`` and ``style.leak``.

    ``style.LABEL`` as well, for each further encoder.

    ``weights_license`` of the metrics is the encoder's, where the scorer was given one.
    """

    name = "style"
    needs_encoder = True

    def __init__(self, encoder: Encoder | None = None, further: Sequence[FurtherView] = ()) -> None:
        weights_license = encoder.license if encoder is not None else None
        self.metrics: Sequence[Metric] = tuple(
            Metric(name, VERSION, unit, weights_license=weights_license)
            for name, unit in (
                ("style", "calibrated cosine"),
                ("style.text", "CLIPScore"),
                ("style.memorisation", "1 minus likeness to a copy"),
                ("style.leak", "1 minus the style that the LoRA added"),
            )
        )
        self.metrics = (
            *self.metrics,
            *(
                Metric(f"style.{view.label}", VERSION, "calibrated cosine", (0.0, 1.0), True,
                    view.encoder.license)
                for view in further
            ),
        )  # fmt: skip
        self._further = tuple(further)
        self._texts: dict[tuple[str, str], Features] = {}

    def score(self, picture: Picture, context: ScoreContext) -> list[Score]:
        """Return one score a metric; raises ``StaleError`` where encoder and reference differ."""
        return [
            self._style(picture, context),
            self._text(picture, context),
            memorisation(picture, context.reference),
            self._leak(picture, context),
            *(self._seen_by(view, picture, context) for view in self._further),
        ]

    def _leak(self, picture: Picture, context: ScoreContext) -> Score:
        name = "style.leak"
        if NO_TRIGGER not in context.prompt.tags:
            return Score.unscored(name, f"the prompt is not tagged {NO_TRIGGER}")
        if context.base is None:
            return Score.unscored(name, "there is no render of the base model (LoRA scale 0)")
        with_lora, without = (self._style(each, context) for each in (picture, context.base))
        if with_lora.value is None or without.value is None:
            return Score.unscored(name, with_lora.reason or without.reason or "no style")
        added = max(0.0, with_lora.value - without.value)
        return Score(name, 1.0 - added, None, {"base": round(without.value, 4)})

    def _seen_by(self, view: FurtherView, picture: Picture, context: ScoreContext) -> Score:
        own = replace(context, encoder=view.encoder, reference=view.reference)
        found = self._style(picture, own)
        return replace(found, metric=f"style.{view.label}")

    def _style(self, picture: Picture, context: ScoreContext) -> Score:
        reason = missing_for_style(picture, context)
        reference = context.reference
        if reason is not None or reference is None:
            return Score.unscored("style", reason or "no reference")
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
            return Score.unscored(
                "style",
                "the encoder does not tell the reference images from pictures in no style",
                **details,
            )
        return Score("style", float(reference.detail.calibrated(similarity)), None, details)

    def _text(self, picture: Picture, context: ScoreContext) -> Score:
        encoder, text = context.encoder, context.prompt.text.strip()
        if encoder is None:
            return Score.unscored("style.text", "no encoder is loaded")
        if not encoder.has_text:
            return Score.unscored("style.text", f"the encoder {encoder.id} reads no text")
        if not text:
            return Score.without_prompt("style.text", "the prompt is empty")
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
        return NO_REFERENCE
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


COPY = "copy"
"""Key of ``Picture.features`` under which how much of a copy the picture is lies: one number."""


def memorisation(picture: Picture, reference: ReferenceSet | None) -> Score:
    """Return ``style.memorisation`` of a picture against the reference images."""
    name = "style.memorisation"
    if reference is None:
        return Score.unscored(name, NO_REFERENCE)
    found = reference.copies.match(thumbnail(picture.rgb))
    picture.features[COPY] = np.array([found.copy], np.float32)
    details = {
        "nearest": reference.names[found.at],
        "outlines": round(found.likeness, 4),
        "colours": round(found.agreement, 4),
    }
    return Score(name, 1.0 - found.copy, None, details)


NO_REFERENCE = "there is no reference set; give one with --reference DIR or in the baseline"
