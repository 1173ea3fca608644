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
    art.convert("CMYK").save(tmp_path / "cmyk.jpg")
    grey = np.asarray(art.convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(tmp_path / "deep.png")
    opaque = art.convert("RGBA")
    opaque.save(tmp_path / "opaque.png")
    assert _judge(open_picture(tmp_path / "cmyk.jpg"))[1] == ["CMYK"]
    assert _judge(open_picture(tmp_path / "deep.png"))[1] == ["16-bit"]
    assert _judge(open_picture(tmp_path / "opaque.png")) == (1.0, [])


def _sprite() -> np.ndarray:
    """A ball of 16x16 cells at 128 pixels, RGBA, nothing around it."""
    away = np.hypot(*(np.mgrid[:16, :16] - 7.5))
    cells = np.zeros((16, 16, 4), np.uint8)
    cells[away < 6] = (200, 40, 40, 255)
    cells[away < 3] = (255, 150, 150, 255)
    return cells.repeat(8, axis=0).repeat(8, axis=1)


def test_a_transparent_sprite_is_healthy_and_its_background_is_told(tmp_path: Path) -> None:
    sprite = Image.fromarray(_sprite())
    sprite.save(tmp_path / "rgba.png")
    indexed = sprite.convert("RGB").quantize(8)
    outside = int(np.asarray(indexed)[0, 0])
    indexed.save(tmp_path / "indexed.png", transparency=outside)
    sprite.save(tmp_path / "lossless.webp", lossless=True)
    for name in ("rgba.png", "indexed.png", "lossless.webp"):
        picture = open_picture(tmp_path / name)
        assert _judge(picture, (128, 128)) == (1.0, []), name
        assert picture.facts.transparent_background
        score = HealthScorer().score(picture, ScoreContext(Prompt("p", "", caption_of(""))))[0]
        assert score.details["background"] == "transparent"
        assert (picture.rgb[0, 0] == 255).all()


def test_a_white_sprite_is_not_laid_on_white(tmp_path: Path) -> None:
    sprite = _sprite()
    sprite[..., :3] = 250
    Image.fromarray(sprite).save(tmp_path / "ghost.png")
    assert _judge(open_picture(tmp_path / "ghost.png")) == (1.0, [])
    sprite[..., 3] = 0
    Image.fromarray(sprite).save(tmp_path / "nothing.png")
    assert _judge(open_picture(tmp_path / "nothing.png"))[1] == ["flat"]
