"""Realism: pixel art over photographs at any size, drift from the base, zero-shot, real runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from skimage import data

from loraeval.images.picture import open_picture, picture_from_array
from loraeval.records import Caption, Prompt
from loraeval.scorers.base import ScoreContext, Scorer
from loraeval.scorers.realism import (
    OPPOSITE,
    TEMPLATES,
    WANTED,
    RealismScorer,
    realism_model,
    side_of,
    zero_shot,
)
from loraeval.scorers.realism_statistics import RealismStatistics, at_cell_scale, realism_statistics
from loraeval.testing.portraits import render_illustration, render_photo, render_pixel_art, scene

PHOTOS = ("chelsea", "rocket", "retina", "coins", "grass", "clock")
"""Photographs that the fit has not seen; the clock is smeared along one axis by its motion."""

LATTICE = (24, 24)


def realism(rgb: np.ndarray, lattice=LATTICE) -> float:
    picture = picture_from_array(rgb, "p")
    return scored(picture, lattice=lattice)["realism"].value


def scored(picture, **context) -> dict:
    scorer = context.pop("scorer", None) or RealismScorer()
    context = ScoreContext(Prompt("p", "a cat", Caption("a cat")), **context)
    return {score.metric: score for score in scorer.score(picture, context)}


def photo(name: str, size: int | None = None) -> np.ndarray:
    picture = getattr(data, name)()
    picture = np.stack([picture] * 3, -1) if picture.ndim == 2 else picture[..., :3]
    if size is None:
        return picture.copy()
    side = min(picture.shape[:2])
    part = Image.fromarray(np.ascontiguousarray(picture[:side, :side]))
    return np.asarray(part.resize((size, size), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("size", [96, 240, 512, 1024])
def test_pixel_art_stands_above_photographs_at_every_size(size):
    art = [realism(render_pixel_art(scene(seed), size)) for seed in range(900, 906)]
    drawn = [realism(render_photo(scene(seed), min(size, 256))) for seed in range(900, 906)]
    photos = [realism(photo(name, size)) for name in PHOTOS]
    assert min(art) > 0.75
    assert max(photos) < 0.5
    assert max(drawn) < 0.5


def test_illustrations_lie_between():
    scenes = [scene(seed) for seed in range(900, 907)]
    art = np.mean([realism(render_pixel_art(each, 256)) for each in scenes])
    drawn = np.mean([realism(render_illustration(each, 256)) for each in scenes])
    photos = np.mean([realism(render_photo(each, 256)) for each in scenes])
    assert art - 0.2 > drawn > photos + 0.05


def test_cells_far_finer_than_expected_count_as_detail():
    picture = Image.fromarray(photo("chelsea", 512)).resize((128, 128), Image.Resampling.BOX)
    fine = np.asarray(
        picture.quantize(24).convert("RGB").resize((1024, 1024), Image.Resampling.NEAREST)
    )
    assert realism(fine) < 0.6
    assert realism(fine, (128, 128)) > realism(fine) + 0.1
    wide = np.concatenate([scene(seed).cells for seed in range(920, 924)], axis=1)
    sheet = np.concatenate([wide, wide[:, ::-1]] * 2)
    index = np.arange(960) * 96 // 960
    assert realism(sheet[index[:, None], index[None, :]], (96, 96)) > 0.75


@pytest.mark.parametrize(
    ("defect", "strengths"),
    [
        ("blend", (0.25, 0.5, 0.75, 1.0)),
        ("noise", (4, 16, 64)),
    ],
)
def test_it_falls_as_the_photograph_comes_through(defect, strengths):
    def spoilt(rgb, strength):
        if defect == "blend":
            mixed = (1 - strength) * rgb + strength * photo("chelsea", 512)
        else:
            mixed = rgb + np.random.default_rng(0).normal(0, strength, rgb.shape)
        return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)

    pictures = [render_pixel_art(scene(seed), 512) for seed in range(900, 905)]
    means = [
        np.mean([realism(spoilt(picture, strength)) for picture in pictures])
        for strength in (0, *strengths)
    ]
    assert means == sorted(means, reverse=True)
    assert means[0] - means[-1] > 0.3


def test_a_sprite_of_one_pixel_a_cell_scores_as_its_render():
    for seed in range(930, 934):
        portrait = scene(seed)
        large = realism(render_pixel_art(portrait, 512))
        assert abs(realism(portrait.cells) - large) < 0.05


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_a_picture_of_one_colour_is_not_judged(shade):
    picture = picture_from_array(np.full((64, 64, 3), shade, np.uint8), "black")
    found = scored(picture, lattice=LATTICE, base=picture)
    assert found["realism"].value is None
    assert "nothing to judge" in found["realism"].reason
    assert found["realism.drift"].value is None


def test_statistics_of_a_board_by_hand():
    """A board of 24×24 black and white cells: every edge hard, upright or level, half each."""
    rows, columns = np.indices((24, 24))
    board = np.where(((rows + columns) % 2)[..., None], 255, 0).astype(np.uint8).repeat(3, axis=2)
    found = realism_statistics(board, 24)
    # Of each cell 12 pixels lie at upright, 12 at level edges, 4 at corners, where both gradients
    # are equal and the energy is double: 24 / (24 + 4·2²).
    assert found.alignment == pytest.approx(0.6, abs=0.02)
    assert found.plainness == 1.0
    assert found.sharpness == pytest.approx(1.0, abs=0.5)
    # Two of 8 pixels a cell lie at each edge, along both axes: 1 - (6/8)² of all have a gradient,
    # (8-4)²/8² are further than the 5×5 patch from any edge.
    assert found.flatness == pytest.approx(0.25, abs=0.02)
    stripes = np.where((columns % 2)[..., None], 255, 0).astype(np.uint8).repeat(3, axis=2)
    assert realism_statistics(stripes, 24).alignment == 0.0


@pytest.mark.parametrize("shape", [(24, 24), (96, 96), (512, 300), (300, 1024), (8, 40)])
def test_the_working_size_is_8_pixels_a_cell(shape):
    picture = np.zeros((*shape, 3), np.uint8)
    found = at_cell_scale(picture, 24)
    assert min(found.shape[:2]) == 192
    assert found.shape[0] / found.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.03)


def test_the_model_never_counts_a_statistic_against_its_sense():
    model = realism_model()
    assert set(model.terms) == set(RealismStatistics.__dataclass_fields__)
    assert all(weight >= 0 and scale > 0 for _, scale, weight in model.terms.values())
    assert sum(weight > 0.1 for _, _, weight in model.terms.values()) >= 3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(8, 80), st.integers(8, 80), st.integers(1, 30))
def test_any_picture_gets_a_number_or_a_reason(seed, height, width, cells):
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if seed % 3 == 0:
        picture[:] = picture[:1, :1]
    for score in scored(picture_from_array(picture, "any"), lattice=(cells, cells)).values():
        assert (score.value is None) != (score.reason is None)
        json.dumps(dict(score.details), allow_nan=False)


def test_drift_is_half_the_change_about_a_half():
    art = picture_from_array(render_pixel_art(scene(3), 512), "art")
    real = picture_from_array(photo("rocket", 512), "photo")
    high, low = realism(art.rgb), realism(real.rgb)
    assert scored(art, lattice=LATTICE, base=real)["realism.drift"].value == pytest.approx(
        0.5 + (high - low) / 2
    )
    assert scored(real, lattice=LATTICE, base=art)["realism.drift"].value == pytest.approx(
        0.5 + (low - high) / 2
    )
    assert scored(art, lattice=LATTICE, base=art)["realism.drift"].value == 0.5
    assert "LoRA scale 0" in scored(art)["realism.drift"].reason


class Words:
    """An encoder of two directions: pixel words and the rest; pictures by their realism."""

    id = "words@0"
    license = "MIT"
    has_text = True

    def __init__(self):
        self.texts = 0

    def embed_texts(self, texts):
        self.texts += len(texts)
        wanted = [any(word in text for word in WANTED) for text in texts]
        return np.array([[1, 0] if each else [0, 1] for each in wanted], np.float32)

    def embed_images(self, images):
        value = [
            0.5 + 0.01 * (len(np.unique(image.reshape(-1, 3), axis=0)) < 99) for image in images
        ]
        rows = np.array([[each, 1 - each] for each in value], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_zero_shot_by_hand():
    wanted, opposite = np.eye(3, dtype=np.float32)[:1], np.eye(3, dtype=np.float32)[1:]
    image = np.array([0.6, 0.59, 0.0], np.float32)
    value, nearest = zero_shot(image, wanted, opposite)
    assert value == pytest.approx(1 / (1 + np.exp(-1.0)), abs=1e-4)
    assert nearest == 0
    assert zero_shot(image[[1, 0, 2]], wanted, opposite) == (pytest.approx(1 - value), 1)


def test_clip_uses_every_template_once():
    encoder = Words()
    scorer = RealismScorer(encoder)
    assert isinstance(scorer, Scorer)
    art = picture_from_array(render_pixel_art(scene(3), 96), "art")
    real = picture_from_array(photo("rocket", 96), "photo")
    high = scored(art, scorer=scorer, encoder=encoder)["realism.clip"]
    low = scored(real, scorer=scorer, encoder=encoder)["realism.clip"]
    assert high.value > low.value
    assert high.details["nearest"] in WANTED
    assert encoder.texts == len(TEMPLATES) * (len(WANTED) + len(OPPOSITE))
    assert scorer.metrics[1].weights_license == "MIT"
    assert scorer.metrics[0].weights_license is None
    assert np.allclose(np.linalg.norm(side_of(encoder, WANTED), axis=1), 1)
    encoder.has_text = False
    assert "reads no text" in scored(art, scorer=scorer, encoder=encoder)["realism.clip"].reason
    assert scored(art)["realism.clip"].reason == "no encoder is loaded"


def test_real_renders_stand_above_every_photograph(punks):
    found: dict[str, list[float]] = {}
    for line in (punks / "renders.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        score = scored(open_picture(punks / row["image"]), lattice=LATTICE)["realism"]
        found.setdefault(row["run"], []).append(score.value)
    for path in sorted((punks / "training").glob("*.png"))[::5]:
        score = scored(open_picture(path), lattice=LATTICE)["realism"]
        found.setdefault("training", []).append(score.value)
    photos = [realism(photo(name, size)) for name in PHOTOS for size in (None, 512)]
    art = [value for run in found if run.startswith(("SD15", "train")) for value in found[run]]
    assert min(art) > max(photos)
    assert min(art) > found["SDXL_PERFECT"][0] > np.median(photos)
    assert np.mean(found["SDXL_civitai_V1"]) > np.mean(found["SD15_PERFECT"]) - 0.02
    assert found["broken_black"] == [None, None]


def test_the_four_controls_come_out_in_order():
    """True pixel art, the same degraded, a photograph, an all-black picture."""
    clean = render_pixel_art(scene(42), 512)
    blurred = Image.fromarray(clean).filter(ImageFilter.GaussianBlur(4))
    noise = np.random.default_rng(0).normal(0, 10, clean.shape)
    degraded = np.clip(np.rint(np.asarray(blurred) + noise), 0, 255).astype(np.uint8)
    assert realism(clean) > realism(degraded) + 0.1 > realism(photo("chelsea")) + 0.1
    assert realism(np.zeros_like(clean)) is None
