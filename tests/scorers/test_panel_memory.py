"""Memory that runs out costs one row, not the run."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from PIL import Image

from loraeval.images.picture import picture_from_array
from loraeval.prompts.building import caption_of
from loraeval.records import Metric, Prompt, Render, Score
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.health import HealthScorer
from loraeval.scorers.palette import PaletteScorer
from loraeval.scorers.panel import Panel


class Hungry:
    """A scorer that runs out of memory on wide pictures."""

    name = "hungry"
    metrics = (Metric("hungry", "1"), Metric("hungry.more", "1"))

    def score(self, picture, context):
        if picture.width > 32:
            raise MemoryError
        return [Score("hungry", 1.0), Score("hungry.more", 1.0)]


class Short:
    """An encoder that has no memory left for a batch."""

    id = "short@0"
    license = None
    has_text = False

    def embed_images(self, images):
        raise MemoryError

    def embed_texts(self, texts):
        raise AssertionError


def test_memory_that_runs_out_costs_one_row(tmp_path: Path) -> None:
    renders = []
    for width in (24, 48, 32):
        path = tmp_path / f"{width}.png"
        noise = np.random.default_rng(width).integers(0, 256, (24, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        renders.append(Render(path, path.name, "run", Prompt("p", "", caption_of(""))))
    rows = list(Panel((Hungry(), HealthScorer()), encoder=Short()).score(renders))
    assert [row.scores["hungry"] for row in rows] == [1.0, None, 1.0]
    assert [row.scores["health"] for row in rows] == [1.0, 1.0, 1.0]
    reason = rows[1].details["hungry"]["reason"]
    assert reason == "not enough memory is free to measure a picture of 48x24 pixels"


def test_a_caption_of_very_fine_cells_costs_no_gigabytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    text = "pixel art, 256x256, red hair (#cc2020), blue eyes (#2040cc), palette: #cc2020, #20a040"
    context = ScoreContext(Prompt("p", text, caption_of(text)), lattice=(256, 256))
    start = time.process_time()
    scores = PaletteScorer().score(picture_from_array(noise, "noise"), context)
    assert time.process_time() - start < 5
    assert scores[0].value is not None
    assert scores[0].details["cells"] == "64x64"
