"""Copies: found mirrored, shifted, cropped and recoloured; what is new stays new."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from loraeval.scorers.copies import (
    SIDE,
    CopyFinder,
    _Maps,
    colour_agreement,
    pack,
    thumbnail,
    unpack,
)
from loraeval.testing.portraits import render_pixel_art, scene
from loraeval.testing.portraits_degrade import add_noise, blur, jpeg

COUNT = 40


@pytest.fixture(scope="module")
def finder() -> CopyFinder:
    return CopyFinder(np.stack([thumbnail(scene(seed).cells) for seed in range(COUNT)]))


def _shown(cells: np.ndarray) -> np.ndarray:
    """Cells at 512 pixels, as a render leaves them."""
    at = np.arange(512) * len(cells) // 512
    large = np.ascontiguousarray(cells[at][:, at])
    return jpeg(add_noise(blur(large, 1.5), 4), 75)


def _shifted(cells: np.ndarray, by: int) -> np.ndarray:
    return np.pad(cells, ((by, 0), (by, 0), (0, 0)), mode="edge")[:24, :24]


def _turned(cells: np.ndarray, by: int) -> np.ndarray:
    hsv = np.array(Image.fromarray(cells).convert("HSV"))
    hsv[..., 0] += np.uint8(by)
    return np.asarray(Image.frombytes("HSV", (24, 24), hsv.tobytes()).convert("RGB"))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c,
        lambda c: c[:, ::-1],
        lambda c: _shifted(c, 1),
        lambda c: _shifted(c, 2),
        lambda c: c[2:22, 2:22],
        lambda c: c[:20, 4:],
        lambda c: _turned(c, 85),
        lambda c: _turned(c, 31),
        lambda c: c[..., [2, 0, 1]],
        lambda c: 255 - c,
        lambda c: _shifted(_turned(c[:, ::-1], 140), 1),
    ],
    ids=[
        "as it is",
        "mirrored",
        "shift 1",
        "shift 2",
        "crop",
        "crop of a corner",
        "hue 120",
        "hue 44",
        "channels",
        "negative",
        "mirrored, shifted, hue",
    ],
)
def test_a_copy_is_found_however_it_is_changed(
    finder: CopyFinder, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    for seed in range(0, COUNT, 8):
        found = finder.match(thumbnail(_shown(change(scene(seed).cells))))
        assert found.at == seed
        assert found.copy > 0.5, (seed, found)


def test_unseen_portraits_stay_new(finder: CopyFinder) -> None:
    new = [finder.match(thumbnail(_shown(scene(seed).cells))).copy for seed in range(1000, 1040)]
    assert np.mean(np.array(new) < 0.2) >= 0.95


def test_another_background_behind_the_same_figure_is_no_copy(finder: CopyFinder) -> None:
    for seed in (0, 8, 16):
        portrait = scene(seed)
        cells = portrait.cells.copy()
        cells[portrait.masks["background"]] = (12, 120, 200)
        found = finder.match(thumbnail(_shown(cells)))
        assert found.copy < 0.2, (seed, found)


def test_correlation_agrees_with_plain_loops() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((2, 24, 24), dtype=np.float32)
    one = rng.random((24, 24), dtype=np.float32)
    laid = _Maps(maps).laid_over(one)[0]
    window, start = 19, 2
    part = one[start : start + window, start : start + window]
    for index, held in enumerate(maps):
        table = [
            np.corrcoef(part.ravel(), held[y : y + window, x : x + window].ravel())[0, 1]
            for y in range(6)
            for x in range(6)
        ]
        assert laid.best[index] == pytest.approx(max(table), abs=1e-4)
        assert laid.places[index] == divmod(int(np.argmax(table)), 6)


def test_agreement_by_hand() -> None:
    one = np.zeros((20, 20, 3), np.uint8)
    one[:, 10:] = (200, 60, 60)
    half = one.copy()
    half[:, :5] = (250, 250, 250)
    assert colour_agreement(one, one) == 1
    assert colour_agreement(one, one[..., [1, 2, 0]]) == 1
    assert 0.6 < colour_agreement(one, half) < 0.9


def test_blank_pictures_are_copies_of_nothing(finder: CopyFinder) -> None:
    blank = np.zeros((64, 64, 3), np.uint8)
    assert finder.match(thumbnail(blank)).copy == 0
    alone = CopyFinder(thumbnail(blank)[None])
    assert alone.match(thumbnail(render_pixel_art(scene(1), 96))).copy == 0
    assert alone.match(thumbnail(blank)).copy == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(8, 90), st.integers(8, 300), st.integers(0, 1000))
def test_a_thumbnail_of_any_shape_comes_back_from_text(height: int, width: int, seed: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    small = thumbnail(rgb)
    assert small.shape == (SIDE, SIDE, 3)
    assert np.array_equal(unpack(pack(small)), small)
