"""Pictures of low, middle and high cases for docs/scorers, with the scores that they get.

Run: ``python -P benchmarks/_scorer_pictures.py``. Writes docs/scorers/pictures/*.png and prints
the table of scores for the page.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from loraeval.images.picture import picture_from_array
from loraeval.prompts.building import caption_of
from loraeval.records import Prompt
from loraeval.scorers.base import ScoreContext, Scorer
from loraeval.scorers.grid import GridScorer
from loraeval.scorers.health import HealthScorer
from loraeval.scorers.palette import PaletteScorer
from loraeval.testing.portraits import render_photo, render_pixel_art, scene
from loraeval.testing.portraits_degrade import add_noise, blur, jpeg

OUT = Path(__file__).resolve().parent.parent / "docs" / "scorers" / "pictures"
PORTRAIT = scene(12, background="solid")
ART = render_pixel_art(PORTRAIT, 512)
CROWNED = scene(347, background="solid")
"""Eight attributes, none hidden."""


def _recoloured() -> np.ndarray:
    out = ART.copy()
    index = np.arange(512) * 24 // 512
    mask = PORTRAIT.masks["background"][index[:, None], index[None, :]]
    out[mask] = 255 - out[mask]
    return out


def _exchanged(*kinds: str) -> np.ndarray:
    """Return the crowned portrait with the colours of some attributes turned to others."""
    out = render_pixel_art(CROWNED, 512)
    index = np.arange(512) * 24 // 512
    for kind in kinds:
        mask = CROWNED.masks[kind][index[:, None], index[None, :]]
        out[mask] = 255 - out[mask][:, [1, 2, 0]]
    return out


def _half_dead() -> np.ndarray:
    out = ART.copy()
    out[350:] = 0
    return out


CASES: dict[str, tuple[Scorer, list[np.ndarray]]] = {
    "palette": (PaletteScorer(), [np.ascontiguousarray(255 - ART), _recoloured(), ART]),
    "palette.attributes": (
        PaletteScorer(),
        [_exchanged("eyes", "hair", "headwear", "background"), _exchanged("eyes"), _exchanged()],
    ),
    "grid": (
        GridScorer(),
        [render_photo(PORTRAIT, 512), jpeg(add_noise(blur(ART, 2), 3), 80), ART],
    ),
    "health": (HealthScorer(), [np.zeros_like(ART), _half_dead(), ART]),
}


def main() -> None:
    """Draw the pictures and print their scores."""
    OUT.mkdir(parents=True, exist_ok=True)
    for name, (scorer, pictures) in CASES.items():
        text = (CROWNED if name == "palette.attributes" else PORTRAIT).long_caption
        context = ScoreContext(Prompt("p", text, caption_of(text)), lattice=(24, 24))
        row = np.full((256, 3 * 256 + 32, 3), 255, np.uint8)
        values = []
        for k, rgb in enumerate(pictures):
            small = Image.fromarray(rgb).resize((256, 256), Image.Resampling.LANCZOS)
            row[:, k * 272 : k * 272 + 256] = np.asarray(small)
            scores = scorer.score(picture_from_array(rgb.copy(), name), context)
            values.append(next(score.value for score in scores if score.metric == name))
        Image.fromarray(row).save(OUT / f"{name}.png", optimize=True)
        print(name, " ".join(f"{value:.2f}" for value in values if value is not None))


if __name__ == "__main__":
    main()
