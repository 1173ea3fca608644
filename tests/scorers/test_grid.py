"""Grid: regularity and size are two numbers, and each answers to its own fault."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from loraeval.images.lattice import AxisLattice, Lattice
from loraeval.images.picture import picture_from_array
from loraeval.prompts.building import caption_of
from loraeval.records import Prompt
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.grid import GridScorer, axis_regularity, faults, regularity, size_agreement
from loraeval.testing.portraits import render_pixel_art, scene
from loraeval.testing.portraits_degrade import add_noise, blur, jpeg

CONTEXT = ScoreContext(Prompt("p", "", caption_of("")), lattice=(24, 24))


def _axis(count: float = 24, confidence: float = 1, on: float = 1, even: float = 1) -> AxisLattice:
    return AxisLattice(512, 512 / count, 0.0, confidence, on, even, 0, 0, 0.0)


NONE = AxisLattice(512, None, 0.0, 0.0, 0.0, 0.0, 0, 0, 0.0)


def _scores(rgb: np.ndarray) -> tuple[float, float]:
    grid, size = GridScorer().score(picture_from_array(rgb, "x"), CONTEXT)
    assert grid.value is not None
    assert size.value is not None
    return grid.value, size.value


def test_regularity_by_hand() -> None:
    assert axis_regularity(_axis()) == 1
    assert axis_regularity(_axis(even=0.975)) == 1
    wanted = 0.5 * (0.5 / 0.975) ** 2 * (1 - 0.875**4)
    assert axis_regularity(_axis(confidence=0.5, on=0.125, even=0.5)) == pytest.approx(wanted)
    assert regularity(Lattice(_axis(), _axis(even=0.4875))) == pytest.approx(0.25)
    assert regularity(Lattice(_axis(), NONE)) == 0


def test_size_by_hand() -> None:
    assert size_agreement(Lattice(_axis(), _axis()), (24, 24)) == 1
    off = Lattice(_axis(), _axis(24 * 1.02))
    assert size_agreement(off, (24, 24)) == pytest.approx(np.exp(-0.5))
    assert size_agreement(Lattice(_axis(21.5), _axis(21.5)), (24, 24)) < 1e-5
    assert size_agreement(Lattice(NONE, _axis()), (24, 24)) == 0


def test_faults_are_phrases() -> None:
    assert faults(Lattice(_axis(), _axis()), (24, 24)) == []
    assert faults(Lattice(_axis(), NONE), (24, 24)) == ["no pixel lattice along y"]
    assert "21.5x24.0 cells, not 24x24" in faults(Lattice(_axis(21.5), _axis()), (24, 24))[0]


def test_size_is_unscored_without_an_expected_lattice() -> None:
    context = ScoreContext(CONTEXT.prompt)
    grid, size = GridScorer().score(
        picture_from_array(render_pixel_art(scene(1), 96), "x"), context
    )
    assert grid.value is not None
    assert size.value is None
    assert size.reason


def test_an_even_lattice_of_another_size_fails_on_size_alone() -> None:
    for seed in range(5):
        cells = scene(seed).cells[1:22, 1:22]
        shown = np.asarray(Image.fromarray(cells).resize((512, 512), Image.Resampling.NEAREST))
        grid, size = _scores(shown)
        assert grid > 0.9
        assert size < 0.01


def test_an_uneven_lattice_fails_on_regularity() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        edges = -(-np.arange(25) * 512 // 24)
        edges[1:24] += rng.integers(-7, 8, 23)
        index = np.repeat(np.arange(24), np.diff(np.sort(edges)))
        uneven = np.ascontiguousarray(scene(seed).cells[index[:, None], index[None, :]])
        assert _scores(uneven)[0] < 0.3 < 0.9 < _scores(render_pixel_art(scene(seed), 512))[0]


def test_few_hard_edges_are_unscored_with_the_reason() -> None:
    box = np.full((512, 512, 3), 255, np.uint8)
    box[128:384, 160:352] = (40, 90, 200)
    for score in GridScorer().score(picture_from_array(box, "box"), CONTEXT):
        assert score.value is None
        assert score.reason is not None
        assert "too few edges" in score.reason


@pytest.mark.parametrize("soft", [False, True])
def test_what_nobody_sees_moves_no_grid(soft: bool) -> None:
    moved: dict[str, list[float]] = {}
    for seed in range(8000, 8004):
        art = render_pixel_art(scene(seed), 512)
        art = blur(art, 1.0) if soft else art
        clean = _scores(art)[0]
        for name, change in {
            "noise": add_noise(art, 2, seed),
            "JPEG": jpeg(art, 90),
            "bits": art & 0xFE,
            "shift": ((art[:-1, :-1].astype(int) + art[1:, 1:]) // 2).astype(np.uint8),
            "visible": jpeg(art, 10),
        }.items():
            moved.setdefault(name, []).append(_scores(change)[0] - clean)
    means = {name: float(np.mean(gaps)) for name, gaps in moved.items()}
    assert means.pop("visible") < -0.2
    assert max(map(abs, means.values())) < 0.005, means
