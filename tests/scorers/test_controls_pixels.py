"""Four controls through palette, grid and health: pixel art, degraded, photograph, black."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from skimage import data

from loraeval.images.picture import picture_from_array
from loraeval.prompts.building import caption_of
from loraeval.records import Prompt
from loraeval.scorers.base import ScoreContext, Scorer
from loraeval.scorers.grid import GridScorer
from loraeval.scorers.health import HealthScorer
from loraeval.scorers.palette import PaletteScorer
from loraeval.testing.portraits import render_pixel_art, scene
from loraeval.testing.portraits_degrade import add_noise, blur, jpeg

PORTRAIT = scene(12, background="solid")
CONTEXT = ScoreContext(
    prompt=Prompt("p", PORTRAIT.long_caption, caption_of(PORTRAIT.long_caption)), lattice=(24, 24)
)


def _controls() -> dict[str, np.ndarray]:
    art = render_pixel_art(PORTRAIT, 512)
    photo = Image.fromarray(data.astronaut()).resize((512, 512))
    return {
        "art": art,
        "degraded": jpeg(add_noise(blur(art, 1.5), 3), 80),
        "photo": np.array(photo),
        "black": np.zeros_like(art),
    }


def _value(scorer: Scorer, rgb: np.ndarray, metric: str) -> float:
    scores = {s.metric: s for s in scorer.score(picture_from_array(rgb, "x"), CONTEXT)}
    value = scores[metric].value
    assert value is not None
    return value


@pytest.mark.parametrize(
    ("scorer", "metric"),
    [
        (PaletteScorer(), "palette"),
        (PaletteScorer(), "palette.background"),
        (GridScorer(), "grid"),
        (GridScorer(), "grid.size"),
    ],
)
def test_the_order_of_the_controls(scorer: Scorer, metric: str) -> None:
    got = {name: _value(scorer, rgb, metric) for name, rgb in _controls().items()}
    assert got["art"] > 0.9
    # Size stays 24 through wear: within a thousandth.
    assert got["art"] > got["degraded"] - 1e-3
    assert got["degraded"] > got["photo"] >= 0
    if metric != "grid.size":
        assert got["art"] > got["degraded"]
    assert got["degraded"] > got["black"]
    if scorer.name == "grid":
        assert got["photo"] == got["black"] == 0


def test_health_of_the_controls() -> None:
    got = {name: _value(HealthScorer(), rgb, "health") for name, rgb in _controls().items()}
    assert got["black"] == 0
    assert got["art"] == got["degraded"] == got["photo"] == 1


@pytest.mark.parametrize("scorer", [PaletteScorer(), GridScorer(), HealthScorer()])
def test_scorers_keep_the_protocol(scorer: Scorer) -> None:
    assert isinstance(scorer, Scorer)
    assert scorer.metrics[0].name == scorer.name
    for context in (CONTEXT, ScoreContext(prompt=Prompt("q", "a lady", caption_of("a lady")))):
        for rgb in _controls().values():
            scores = scorer.score(picture_from_array(rgb, "x"), context)
            assert [s.metric for s in scores] == [m.name for m in scorer.metrics]
            for score in scores:
                json.dumps(dict(score.details), allow_nan=False)
            again = scorer.score(picture_from_array(rgb.copy(), "x"), context)
            assert [s.value for s in again] == [s.value for s in scores]
