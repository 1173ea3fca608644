"""Agreement with the prompt, and canaries: what the training images lack is still drawn."""

from __future__ import annotations

import numpy as np
import pytest

from loraeval.errors import UsageError
from loraeval.images.picture import picture_from_array
from loraeval.prompts.sets import read_prompts
from loraeval.records import Caption, Prompt
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.meanings import MEANINGS, meaning_of
from loraeval.scorers.prompt import PromptScorer
from loraeval.scorers.registry import SCORERS, load_scorers
from loraeval.scorers.sets import SET_METRICS


class Shade:
    """A picture is its mean colour; a text is the colour that it names."""

    id = "shade@0"
    license = "MIT"
    has_text = True

    def embed_images(self, images):
        rows = np.array([image.reshape(-1, 3).mean(axis=0) + 1 for image in images], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def embed_texts(self, texts):
        if not self.has_text:
            raise UsageError("no text")
        named = {"red": (1, 0, 0), "blue": (0, 0, 1)}
        return np.array([named[text] for text in texts], np.float32)


def _picture(colour):
    return picture_from_array(np.full((16, 16, 3), colour, np.uint8), "x")


def _scores(picture, text="red", tags=("canary",), base=None, encoder=None):
    prompt = Prompt("p", text, Caption(text), tags=tags)
    context = ScoreContext(prompt, encoder=encoder or Shade(), base=base)
    return {score.metric: score for score in PromptScorer().score(picture, context)}


def test_agreement_and_following_by_hand():
    red, grey = _picture((254, -1 % 256 * 0, 0)), _picture((99, 99, 99))
    found = _scores(grey, base=red)
    assert found["prompt"].value == pytest.approx(1.0)  # 2.5 / sqrt(3), at most 1
    cosine = 255 / np.sqrt(255**2 + 1 + 1)
    assert found["prompt.follow"].value == pytest.approx(1 / np.sqrt(3) / cosine, abs=1e-4)
    assert _scores(red, base=grey)["prompt.follow"].value == 1


def test_what_cannot_be_asked_is_unscored_with_its_reason():
    red = _picture((255, 0, 0))
    follow = "prompt.follow"
    assert _scores(red, base=red, tags=())[follow].reason == "the prompt is not tagged canary"
    assert "no render of the base model" in _scores(red)[follow].reason
    assert "does not draw this itself" in _scores(red, text="blue", base=red)[follow].reason
    blind = Shade()
    blind.has_text = False
    assert _scores(red, encoder=blind)["prompt"].reason == "the encoder shade@0 reads no text"
    assert _scores(red, text=" ")["prompt"].reason == "the prompt is empty"


def test_the_shipped_set_has_both_kinds():
    tags = [prompt.tags for prompt in read_prompts("leaks").prompts]
    assert sum("no_trigger" in each for each in tags) >= 10
    assert sum("canary" in each for each in tags) >= 10


def test_every_metric_has_a_meaning():
    metrics = [m.name for scorer in load_scorers(list(SCORERS)) for m in scorer.metrics]
    metrics += [metric.name for metric in SET_METRICS]
    assert [metric for metric in metrics if metric not in MEANINGS] == []
    assert "further encoder dinov2" in meaning_of("style.dinov2")
