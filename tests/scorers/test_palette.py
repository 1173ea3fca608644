"""Palette: hand-made cells, planted colour faults, captions of every kind."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loraeval.images.cells import Cells
from loraeval.images.colour import lab_of_rgb
from loraeval.images.picture import picture_from_array
from loraeval.prompts.building import caption_of
from loraeval.prompts.colour_words import region
from loraeval.records import Caption, NamedColour, Prompt
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.palette import (
    PaletteParts,
    PaletteScorer,
    colour_count_agreement,
    palette_parts,
)
from loraeval.scorers.palette_layout import background_mask, layout_of
from loraeval.scorers.palette_match import Wanted, grade, wanted_distances
from loraeval.testing.portraits import render_pixel_art, scene


def _cells(rgb: np.ndarray) -> Cells:
    return Cells(rgb.astype(np.uint8))


def _asks(*colours: tuple[str, str], palette: tuple[str, ...] = ()) -> Caption:
    return Caption("", tuple(NamedColour(a, h, None, h) for a, h in colours), palette)


def _of(portrait, text: str) -> dict[str, float | None]:
    context = ScoreContext(Prompt("p", text, caption_of(text)), lattice=(24, 24))
    picture = picture_from_array(render_pixel_art(portrait, 192), "p")
    return {s.metric: s.value for s in PaletteScorer((20, 30)).score(picture, context)}


def test_two_colours_by_hand() -> None:
    rgb = np.zeros((4, 4, 3))
    rgb[:2] = (255, 0, 0)
    caption = _asks(("other", "#ff0000"), palette=("#0000ff",))
    parts = palette_parts(_cells(rgb), caption)
    assert parts is not None
    blue, red, black = (
        lab_of_rgb(np.array(c, np.uint8)) for c in ((0, 0, 255), (255, 0, 0), (0, 0, 0))
    )
    from skimage.color import deltaE_ciede2000

    nearest = min(deltaE_ciede2000(blue, red), deltaE_ciede2000(blue, black))
    dark = min(deltaE_ciede2000(black, red), deltaE_ciede2000(black, blue))
    assert parts.coverage == pytest.approx((1 + 1 / (1 + (nearest / 4) ** 2)) / 2, rel=1e-3)
    assert parts.explained == pytest.approx((1 + 1 / (1 + (dark / 4) ** 2)) / 2, rel=1e-3)
    assert parts.overall == pytest.approx(math.sqrt(parts.coverage * parts.explained), rel=1e-6)
    assert parts.background is None
    assert parts.attributes[0]["found"] == "#ff0000"


def test_no_colour_named_is_unscored_with_a_reason() -> None:
    context = ScoreContext(Prompt("p", "a portrait", caption_of("a portrait")), lattice=(24, 24))
    scores = PaletteScorer().score(
        picture_from_array(np.zeros((48, 48, 3), np.uint8), "x"), context
    )
    assert all(score.value is None and score.reason for score in scores)


def test_precision_only_where_a_palette_is_listed() -> None:
    portrait = scene(3)
    assert _of(portrait, portrait.long_caption)["palette.precision"] == pytest.approx(1, abs=0.15)
    assert _of(portrait, portrait.caption)["palette.precision"] is None


def test_a_full_palette_by_hand() -> None:
    """Three named colours, two listed more: coverage of seven terms to 2/3, explained to 1/3."""
    rows = [{}] * 5
    parts = PaletteParts(0.8, 0.6, 0.5, 0.9, True, rows)
    assert parts.overall == pytest.approx(((5 * 0.8 + 0.5 + 0.9) / 7) ** (2 / 3) * 0.6 ** (1 / 3))
    plain = PaletteParts(0.8, 0.6, None, None, True, rows)
    assert plain.overall == pytest.approx(0.8 ** (2 / 3) * 0.6 ** (1 / 3))


@pytest.mark.parametrize("attribute", ["background", "eyes", "hair"])
def test_a_swapped_attribute_lowers_a_full_palette_step_by_step(attribute: str) -> None:
    """Half-way to its opposite a colour may pass another listed one: that is worth 0.002."""
    values = []
    for seed in range(300, 324):
        portrait = scene(seed, background="solid")
        if attribute not in portrait.masks:
            continue
        caption = caption_of(portrait.long_caption)
        assert caption.palette
        mask = portrait.masks[attribute]
        other = 255 - portrait.cells[mask][:, [1, 2, 0]].astype(float)
        values.append([])
        for share in (0, 0.1, 0.2, 0.4, 0.7, 1):
            cells = portrait.cells.astype(float)
            cells[mask] = cells[mask] * (1 - share) + other * share
            values[-1].append(palette_parts(_cells(np.round(cells)), caption).overall)
    means = np.mean(values, axis=0)
    assert np.all(np.diff(means) < (0.002 if attribute == "hair" else 0))
    assert np.diff(means)[:3].max() < 0
    assert means[0] - means[-1] > (0.015 if attribute == "eyes" else 0.08)


def test_a_true_caption_beats_the_others() -> None:
    portraits = [scene(seed) for seed in range(40, 60)]
    cells = [_cells(portrait.cells) for portrait in portraits]
    captions = [caption_of(portrait.caption) for portrait in portraits]
    table = np.array([[palette_parts(c, k).overall for k in captions] for c in cells])
    assert np.array_equal(table.argmax(axis=0), np.arange(20))


def test_brown_eyes_that_came_out_blue() -> None:
    rights, wrongs = [], []
    for seed in range(60, 90):
        portrait = scene(seed, background="solid")
        if "eyes" not in portrait.masks or "eyewear" in portrait.masks:
            continue
        cells = portrait.cells.copy()
        brown, blue = cells.copy(), cells.copy()
        brown[portrait.masks["eyes"]] = (96, 52, 24)
        blue[portrait.masks["eyes"]] = (40, 90, 220)
        caption = _asks(("eyes", "#603418"))
        right, wrong = palette_parts(_cells(brown), caption), palette_parts(_cells(blue), caption)
        assert right is not None
        assert wrong is not None
        rights.append(right.binding)
        wrongs.append(wrong.binding)
    assert len(rights) >= 8
    assert np.mean(np.array(rights) > 0.99) > 0.8
    assert np.mean(np.array(rights) - np.array(wrongs) > 0.4) > 0.6


def test_a_wrong_background_is_named() -> None:
    portrait = scene(5, background="solid")
    cells = portrait.cells.copy()
    cells[portrait.masks["background"]] = (20, 200, 40)
    parts = palette_parts(_cells(cells), _asks(("background", "#2040e0")))
    assert parts is not None
    assert parts.background < 0.1
    row = parts.attributes[0]
    assert (row["attribute"], row["wanted"], row["found"]) == ("background", "#2040e0", "#14c828")
    assert row["delta_e"] > 20
    assert row["fault"] == "another colour"


@pytest.mark.parametrize("kind", ["solid", "split", "gradient", "checkered"])
def test_the_background_is_found_without_its_colour(kind: str) -> None:
    agreement = []
    for seed in range(20):
        portrait = scene(seed, background=kind)
        found = background_mask(lab_of_rgb(portrait.cells))
        true = portrait.masks["background"]
        agreement.append((found & true).sum() / (found | true).sum())
    assert np.median(agreement) > 0.8


def test_layout_of_hold_the_eyes() -> None:
    hits = []
    for seed in range(40):
        portrait = scene(seed, background="solid")
        if "eyes" in portrait.masks and "eyewear" not in portrait.masks:
            lab = lab_of_rgb(portrait.cells)
            hits.append((layout_of(lab).eyes & portrait.masks["eyes"]).any())
    assert np.mean(hits) > 0.85


@pytest.mark.parametrize("name", ["blue", "dark brown", "light skin", "grey", "blue green"])
def test_word_distances_are_the_regions_own(name: str) -> None:
    lab = lab_of_rgb(np.random.default_rng(0).integers(0, 256, (400, 3), dtype=np.uint8))
    ours = wanted_distances(lab, (Wanted("hair", None, name),))[0]
    allowed = region(name)
    assert allowed is not None
    assert np.abs(ours - allowed.distance(lab)).max() < 2e-3


def test_words_score_like_codes() -> None:
    rgb = np.full((24, 24, 3), (30, 60, 220))
    for text, good in (("blue solid background", True), ("red solid background", False)):
        parts = palette_parts(_cells(rgb), caption_of(text))
        assert parts is not None
        assert (parts.background > 0.95) is good
        assert (parts.background < 0.1) is not good


def test_palette_falls_as_colours_move_away() -> None:
    portrait = scene(8)
    caption = caption_of(portrait.long_caption)
    values = []
    for shift in (0, 6, 12, 24, 48, 90):
        moved = portrait.cells.astype(int) + np.where(portrait.cells > 127, -shift, shift) * [
            1,
            0,
            -1,
        ]
        values.append(palette_parts(_cells(np.clip(moved, 0, 255)), caption).overall)
    assert all(b < a for a, b in pairwise(values))


def test_colour_count_by_hand() -> None:
    reference = list(range(10, 31))
    assert colour_count_agreement(20, reference) == 1
    assert colour_count_agreement(58, reference) == pytest.approx(0.5)
    assert colour_count_agreement(5, reference) == pytest.approx(5 / 11)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30), st.text(max_size=60))
def test_every_part_stays_in_bounds(seed: int, rows: int, columns: int, text: str) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3))
    caption = caption_of(f"blue eyes, hair (#aabbcc), green background, {text}")
    parts = palette_parts(_cells(rgb), replace(caption, palette=("#102030",)))
    assert parts is not None
    for value in (parts.overall, parts.coverage, parts.explained, parts.background, parts.binding):
        assert value is None or 0 <= value <= 1


def test_grades_at_the_documented_distances() -> None:
    assert float(grade(0.0)) == 1
    assert float(grade(4.0)) == pytest.approx(0.5)
    assert float(grade(20.0)) < 0.05
