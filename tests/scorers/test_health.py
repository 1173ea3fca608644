"""Health: every fault has a name, and sound pictures have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from loraeval.images.picture import Picture, open_picture, picture_from_array
from loraeval.prompts.building import caption_of
from loraeval.records import Prompt
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.health import HealthScorer
from loraeval.testing.portraits import render_photo, render_pixel_art, scene


def _judge(picture: Picture, size: tuple[int, int] | None = None) -> tuple[float, list[str]]:
    context = ScoreContext(Prompt("p", "", caption_of("")), size=size)
    (score,) = HealthScorer().score(picture, context)
    assert score.value is not None
    return score.value, score.details["faults"]


def test_sound_pictures_have_no_faults() -> None:
    for seed in range(30):
        assert _judge(picture_from_array(render_pixel_art(scene(seed), 512), "x")) == (1.0, [])
    assert _judge(picture_from_array(render_photo(scene(0), 512), "x")) == (1.0, [])
    for name in ("astronaut", "chelsea", "rocket"):
        assert _judge(picture_from_array(getattr(data, name)().copy(), "x")) == (1.0, [])


@pytest.mark.parametrize("level", [1, 40, 130, 255])
def test_flat(level: int) -> None:
    value, faults = _judge(picture_from_array(np.full((64, 64, 3), level, np.uint8), "x"))
    assert value == 0
    assert ("black" in faults) is (level == 1)
    assert "flat" in faults


def test_black_with_a_few_specks_is_still_black() -> None:
    rgb = np.zeros((512, 512, 3), np.uint8)
    rgb[100:104, 100:104] = 255
    value, faults = _judge(picture_from_array(rgb, "x"))
    assert value < 0.1
    assert "black" in faults


def test_a_dead_block() -> None:
    rgb = render_photo(scene(1), 512).copy()
    rgb[200:] = 0
    value, faults = _judge(picture_from_array(rgb, "x"))
    assert faults == ["NaN pattern"]
    assert value < 0.1


def test_wholly_clipped() -> None:
    rgb = np.random.default_rng(0).choice([0, 255], (64, 64, 3)).astype(np.uint8)
    value, faults = _judge(picture_from_array(rgb, "x"))
    assert faults == ["clipped"]
    assert value <= 0.5


def test_wrong_size() -> None:
    picture = picture_from_array(render_pixel_art(scene(1), 240), "x")
    assert _judge(picture, (512, 512)) == (0.5, ["wrong size"])
    assert _judge(picture, (240, 240)) == (1.0, [])


def test_faults_of_the_file(tmp_path: Path) -> None:
    art = Image.fromarray(render_pixel_art(scene(2), 96))
    clear = art.copy()
    clear.putalpha(100)
    clear.save(tmp_path / "alpha.png")
    art.convert("CMYK").save(tmp_path / "cmyk.jpg")
    grey = np.asarray(art.convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(tmp_path / "deep.png")
    opaque = art.convert("RGBA")
    opaque.save(tmp_path / "opaque.png")
    assert _judge(open_picture(tmp_path / "alpha.png"))[1] == ["see-through"]
    assert _judge(open_picture(tmp_path / "cmyk.jpg"))[1] == ["CMYK"]
    assert _judge(open_picture(tmp_path / "deep.png"))[1] == ["16-bit"]
    assert _judge(open_picture(tmp_path / "opaque.png")) == (1.0, [])
