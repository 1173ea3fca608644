"""CIELAB and CIEDE2000 against the published pairs and against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from loraeval.images.colour import (
    SAME_COLOUR,
    SURELY_OTHER,
    SURELY_SAME,
    ciede2000,
    distinct_colours,
    hex_of_rgb,
    lab_of_rgb,
    middle,
    rgb_of_hex,
)

SHARMA = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
    ((50, 2.8361, -74.0200), (50, 0, -82.7485), 3.4412),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, -0.001, 2.49), (50, 0.0009, -2.49), 4.8045),
    ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (61, -5, 29), 22.8977),
    ((50, 2.5, 0), (56, -27, -3), 31.9030),
    ((50, 2.5, 0), (58, 24, 15), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]
"""Pairs of the test data published with the formula (Sharma, Wu, Dalal 2005)."""


@pytest.mark.parametrize(("one", "two", "wanted"), SHARMA)
def test_the_published_pairs(one: tuple, two: tuple, wanted: float) -> None:
    first, second = np.array(one, np.float32), np.array(two, np.float32)
    assert float(ciede2000(first, second)) == pytest.approx(wanted, abs=1e-3)
    assert float(ciede2000(second, first)) == pytest.approx(wanted, abs=1e-3)


def test_against_scikit_image_on_random_colours() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, 256, (2, 20_000, 3), dtype=np.uint8)
    ours = ciede2000(lab_of_rgb(one), lab_of_rgb(two))
    theirs = deltaE_ciede2000(rgb2lab(one), rgb2lab(two))
    assert np.abs(ours - theirs).max() < 1e-3
    assert np.abs(lab_of_rgb(one) - rgb2lab(one)).max() < 1e-3


def test_nearly_equal_colours_against_scikit_image() -> None:
    rng = np.random.default_rng(1)
    one = rng.integers(3, 250, (20_000, 3)).astype(np.uint8)
    two = (one + rng.integers(-3, 4, one.shape)).astype(np.uint8)
    lab = rgb2lab(one), rgb2lab(two)
    ours = ciede2000(*(half.astype(np.float32) for half in lab))
    assert np.abs(ours - deltaE_ciede2000(*lab)).max() < 1e-3


def test_hex_both_ways() -> None:
    assert hex_of_rgb(rgb_of_hex(("#0a80ff",))[0]) == "#0a80ff"
    with pytest.raises(ValueError, match="#rrggbb"):
        rgb_of_hex(("#fff0",))


def test_noise_about_four_colours_counts_as_four() -> None:
    rng = np.random.default_rng(2)
    four = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200], [240, 240, 240]])
    noisy = four[rng.integers(0, 4, 576)] + rng.integers(-3, 4, (576, 3))
    assert len(np.unique(noisy, axis=0)) > 300
    assert distinct_colours(lab_of_rgb(noisy.astype(np.uint8))) == 4


def _counted_without_bounds(lab: np.ndarray) -> int:
    left, colours = lab.reshape(-1, 3), 0
    while len(left):
        near = ciede2000(left, left[len(left) // 2]) <= SAME_COLOUR
        centre = np.median(left[near], axis=0).astype(np.float32)
        left = left[~(near | (ciede2000(left, centre) <= SAME_COLOUR))]
        colours += 1
    return colours


def test_bounds_change_no_count() -> None:
    rng = np.random.default_rng(4)
    for spread in (0, 2, 8, 30):
        for _ in range(40):
            few = rng.integers(0, 256, (int(rng.integers(1, 25)), 3))
            rgb = few[rng.integers(0, len(few), 400)] + rng.normal(0, spread, (400, 3))
            lab = lab_of_rgb(np.clip(rgb, 0, 255).astype(np.uint8))
            assert distinct_colours(lab) == _counted_without_bounds(lab)


def test_bounds_hold_for_every_pair() -> None:
    rng = np.random.default_rng(6)
    one = rng.integers(0, 256, (400_000, 3))
    near = np.clip(one + rng.integers(-30, 31, one.shape), 0, 255)
    first, second = (lab_of_rgb(half.astype(np.uint8)) for half in (one, near))
    distance = ciede2000(first, second)
    away = first - second
    surely_same = (away**2).sum(axis=1) < SURELY_SAME**2
    assert surely_same.sum() > 1000
    assert distance[surely_same].max() < SAME_COLOUR
    assert distance[np.abs(away[:, 0]) > SURELY_OTHER].min() > SAME_COLOUR


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9])
def test_middle_is_the_median(count: int) -> None:
    rng = np.random.default_rng(count)
    whole = rng.integers(0, 256, (count, 3), dtype=np.uint8)
    assert np.array_equal(middle(whole), np.median(whole, axis=0))
    broken = rng.normal(size=(count, 3)).astype(np.float32)
    assert np.array_equal(middle(broken), np.median(broken, axis=0))
