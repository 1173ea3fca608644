"""Does the picture show what the prompt says, and does the LoRA still follow what it never saw?

``prompt``: CLIPScore, 2.5 · max(cos(image, prompt), 0), at most 1 (Hessel et al., 2021).

``prompt.follow``: for prompts tagged ``canary``, which ask for something that the training images
lack: the cosine of picture and prompt over that of the base model's picture of the same prompt and
seed, at most 1. A LoRA that is trained too long draws its training images whatever is asked; this
falls then. The last epoch at which it stands is the last that still follows.
"""

from __future__ import annotations

from collections.abc import Sequence

from loraeval.images.picture import Picture
from loraeval.records import Metric, Score
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.encoders import Encoder, Features
from loraeval.scorers.style import CLIP_SCORE_WEIGHT, features_of

CANARY = "canary"
"""Tag of a prompt that asks for something the training images lack."""

LEAST = 0.05
"""Cosine of the base model's picture with the prompt under which it shows nothing of it itself."""


class PromptScorer:
    """Scores ``prompt`` and ``prompt.follow``; needs an encoder that reads text."""

    name = "prompt"
    needs_encoder = True

    def __init__(self, encoder: Encoder | None = None) -> None:
        weights_license = encoder.license if encoder is not None else None
        self.metrics: Sequence[Metric] = (
            Metric("prompt", "1", "CLIPScore", weights_license=weights_license),
            Metric(
                "prompt.follow", "1", "share of the base model's", weights_license=weights_license
            ),
        )
        self._texts: dict[tuple[str, str], Features] = {}

    def score(self, picture: Picture, context: ScoreContext) -> list[Score]:
        """Return both scores; unscored where there is no text, no encoder for it or no base."""
        reason = _missing(context)
        if reason is not None:
            wants = not context.prompt.text.strip()
            return [Score(m.name, None, reason, wants_prompt=wants) for m in self.metrics]
        cosine = self._cosine(picture, context)
        agreement = min(1.0, CLIP_SCORE_WEIGHT * max(cosine, 0.0))
        own = Score("prompt", agreement, None, {"cosine": round(cosine, 4)})
        return [own, self._follow(cosine, context)]

    def _follow(self, cosine: float, context: ScoreContext) -> Score:
        name = "prompt.follow"
        if CANARY not in context.prompt.tags:
            return Score.unscored(name, f"the prompt is not tagged {CANARY}")
        if context.base is None:
            return Score.unscored(name, "there is no render of the base model (LoRA scale 0)")
        base = self._cosine(context.base, context)
        if base < LEAST:
            return Score.unscored(name, "the base model does not draw this itself")
        value = min(1.0, max(0.0, cosine / base))
        return Score(name, value, None, {"base": round(base, 4)})

    def _cosine(self, picture: Picture, context: ScoreContext) -> float:
        encoder, text = context.encoder, context.prompt.text.strip()
        if encoder is None:
            raise ValueError("no encoder")
        key = (encoder.id, text)
        if key not in self._texts:
            self._texts[key] = encoder.embed_texts([text])
        return float((features_of(picture, encoder, encoder.id) @ self._texts[key].T)[0, 0])


def _missing(context: ScoreContext) -> str | None:
    if context.encoder is None:
        return "no encoder is loaded"
    if not context.encoder.has_text:
        return f"the encoder {context.encoder.id} reads no text"
    if not context.prompt.text.strip():
        return "the prompt is empty"
    return None
