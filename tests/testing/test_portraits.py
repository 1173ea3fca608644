"""The portraits' ground truth holds, so that other tests may lean on it."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loraeval.testing import portraits_degrade as degrade
from loraeval.testing.portraits import (
    CAPTION_TOKENS,
    render_illustration,
    render_photo,
    render_pixel_art,
    scene,
)
from loraeval.testing.portraits_words import BACKGROUNDS, to_rgb, tokens_in, toned

SCENES = [scene(seed) for seed in range(300)]


def test_the_same_seed_is_the_same_scene_and_another_is_not():
    one, two = scene(5), scene(5)
    assert one.caption == two.caption
    assert np.array_equal(one.cells, two.cells)
    assert np.array_equal(render_photo(one, 96, 3), render_photo(two, 96, 3))
    assert not np.array_equal(render_photo(one, 96, 3), render_photo(one, 96, 4))
    assert len({s.cells.tobytes() for s in SCENES}) == len(SCENES)


@pytest.mark.parametrize("size", [24, 96, 100, 512])
def test_cell_edges_stand_at_the_ceiling_of_i_times_size_over_24(size):
    portrait = scene(11)
    picture = render_pixel_art(portrait, size)
    edges = [-(-i * size // 24) for i in range(25)]
    for row in range(24):
        for col in range(24):
            block = picture[edges[row] : edges[row + 1], edges[col] : edges[col + 1]]
            assert (block == portrait.cells[row, col]).all()


def test_masks_tile_the_picture_but_for_the_whites_of_the_eyes():
    for portrait in SCENES:
        total = np.sum([a.mask for a in portrait.attributes], axis=0)
        assert total.max() == 1
        bare = portrait.cells[total == 0]
        assert len(bare) < 40, portrait.seed


def test_every_attribute_shows_the_colours_it_claims():
    for portrait in SCENES:
        for attribute in portrait.attributes:
            seen = {tuple(c) for c in portrait.cells[attribute.mask].tolist()}
            assert seen == {to_rgb(code) for code in attribute.hexes}
            assert len(attribute.positions) == attribute.mask.sum()


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_the_background_named_is_the_background_seen(kind):
    for seed in range(40):
        portrait = scene(seed, background=kind)
        back = portrait.by_kind["background"]
        assert portrait.background_kind == kind
        assert f"{kind} background ({back.hex})" in portrait.caption
        assert back.hex in back.hexes
        assert (len(back.hexes) == 1) == (kind == "solid")


def test_captions_name_the_colours_that_are_there_and_fit_one_chunk():
    for portrait in SCENES:
        assert tokens_in(portrait.caption) <= CAPTION_TOKENS
        codes = re.findall(r"#[0-9a-f]{6}", portrait.caption)
        assert len(codes) >= 4
        assert {portrait.by_kind[k].hex for k in portrait.captioned} >= set(codes)
        for kind in ("background", "skin", "hair", "clothing"):
            assert kind not in portrait.by_kind or portrait.by_kind[kind].hex in codes


def test_the_long_caption_lists_a_palette_and_a_tail():
    portrait = SCENES[0]
    text = portrait.long_caption
    assert text.index("palette: ") > text.index("background")
    assert all(a.hex in text for a in portrait.attributes)
    assert tokens_in(text) > CAPTION_TOKENS
    assert set(re.findall(r"#[0-9a-f]{6}", text)) <= set(portrait.palette) | {
        a.hex for a in portrait.attributes
    }


def test_each_attribute_varies_in_dozens_of_ways():
    masks: dict[str, set[bytes]] = {}
    for seed in range(1500):
        for attribute in scene(seed).attributes:
            masks.setdefault(attribute.kind, set()).add(attribute.mask.tobytes())
    counts = {kind: len(found) for kind, found in masks.items()}
    assert min(counts[k] for k in ("hair", "headwear", "eyewear", "jewellery", "clothing")) >= 36
    genes = [scene(seed).genes for seed in range(1500)]
    for part, least in (("face", 24), ("hair", 100), ("headwear", 80), ("eyewear", 60),
        ("jewellery", 60), ("clothing", 100), ("background", 24)):  # fmt: skip
        assert len({getattr(g, part) for g in genes}) >= least, part


def test_the_photograph_shows_the_same_scene_smoothly():
    off = []
    for portrait in SCENES[:40]:
        photo = render_photo(portrait, 96)
        assert photo.shape == (96, 96, 3)
        assert photo.dtype == np.uint8
        corner = photo[:12, :12].reshape(-1, 3)
        if portrait.background_kind == "solid":
            off.append(
                np.abs(np.median(corner, 0) - to_rgb(portrait.by_kind["background"].hex)).max()
            )
        assert len(np.unique(photo.reshape(-1, 3), axis=0)) > 3000
    assert np.median(off) < 8


def test_the_illustration_is_flat_and_off_the_lattice():
    portrait = scene(3, background="solid")
    drawn = render_illustration(portrait)
    back = to_rgb(portrait.by_kind["background"].hex)
    assert (drawn[0, 0] == back).all()
    assert not np.array_equal(drawn, render_pixel_art(portrait, 96))


@given(st.integers(0, 2**31), st.sampled_from([24, 48, 97, 192]))
@settings(max_examples=25, deadline=None)
def test_any_seed_draws_at_any_size(seed, size):
    portrait = scene(seed)
    assert render_pixel_art(portrait, size).shape == (size, size, 3)
    assert render_photo(portrait, size, 1).shape == (size, size, 3)


def test_tones_by_hand():
    assert toned((100, 200, 0), -0.5) == (50, 100, 0)
    assert toned((100, 200, 0), 0.5) == (178, 228, 128)
    assert toned((1, 2, 3), 0) == (1, 2, 3)


def test_a_wrong_background_is_refused():
    with pytest.raises(ValueError, match="solid, split, gradient, checkered"):
        scene(0, background="striped")


class TestDegrade:
    picture = render_pixel_art(scene(2), 96)

    def spoiled(self, other):
        return np.abs(other.astype(int) - self.picture.astype(int)).mean()

    @pytest.mark.parametrize(
        ("spoil", "steps"),
        [
            (degrade.blur, (0.5, 1, 2, 4)),
            (degrade.add_noise, (2, 8, 32)),
            (degrade.jpeg, (90, 50, 10)),
            (degrade.shift_colours, (2, 8, 32)),
            (degrade.resample, (64, 32, 12)),
        ],
    )
    def test_more_of_it_spoils_more(self, spoil, steps):
        amounts = [self.spoiled(spoil(self.picture, step)) for step in steps]
        assert amounts == sorted(amounts)
        assert 0 < amounts[0] < amounts[-1]

    def test_nothing_of_it_spoils_nothing(self):
        for same in (
            degrade.blur(self.picture, 0),
            degrade.add_noise(self.picture, 0),
            degrade.shift_colours(self.picture, 0),
            degrade.blend(self.picture, 255 - self.picture, 0),
        ):
            assert np.array_equal(same, self.picture)

    def test_stray_cells_hit_the_share_asked_for(self):
        cells = scene(2).cells
        changed = (degrade.stray_cells(cells, 0.25, 1) != cells).any(-1)
        assert changed.sum() == pytest.approx(0.25 * 576, abs=2)

    def test_a_moved_lattice_has_the_period_asked_for(self):
        cells = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        moved = degrade.move_lattice(cells, 512, 24.0)
        edges = np.flatnonzero((moved[:, 1:] != moved[:, :-1]).any((0, 2)))
        assert set(np.diff(edges)) == {24}
