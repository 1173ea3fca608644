"""Draw a low, a middle and a high case of style and of realism, with their scores, for the docs.

    python benchmarks/draw_style_cases.py

Writes docs/scorers/style.png and docs/scorers/realism.png from generated portraits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from _style_cases import noisy, upscaled
from loraeval.images.picture import picture_from_array
from loraeval.records import Caption, Prompt
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.encoders import OFFLINE_ENCODER, load_encoder
from loraeval.scorers.realism import RealismScorer
from loraeval.scorers.reference import ReferenceSet
from loraeval.scorers.style import StyleScorer
from loraeval.testing.portraits import render_illustration, render_photo, scene

OUT = Path(__file__).parent.parent / "docs/scorers"
SIDE, GAP, LINE = 224, 12, 26


def sheet(cases: list[tuple[str, np.ndarray, str]]) -> Image.Image:
    """The pictures side by side, a title and the scores under each."""
    width = GAP + (SIDE + GAP) * len(cases)
    page = Image.new("RGB", (width, SIDE + 2 * GAP + 2 * LINE), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(16)
    for index, (title, picture, scores) in enumerate(cases):
        left = GAP + index * (SIDE + GAP)
        method = Image.Resampling.LANCZOS
        page.paste(Image.fromarray(picture).resize((SIDE, SIDE), method), (left, GAP))
        draw.text((left, SIDE + GAP + 6), title, "black", font)
        draw.text((left, SIDE + GAP + 6 + LINE), scores, "black", font)
    return page


def main() -> None:
    """Score the cases and draw both sheets."""
    encoder = load_encoder(OFFLINE_ENCODER)
    reference = ReferenceSet.from_images(
        [(f"portrait {seed}", scene(seed).cells) for seed in range(60)], encoder
    )
    context = ScoreContext(
        Prompt("p", "", Caption("")), lattice=(24, 24), reference=reference, encoder=encoder
    )
    style, realism = StyleScorer(encoder), RealismScorer(encoder)

    def scored(picture: np.ndarray) -> dict[str, float | None]:
        shown = picture_from_array(picture.copy(), "case")
        found = style.score(shown, context) + realism.score(shown, context)
        return {score.metric: score.value for score in found}

    def case(title: str, picture: np.ndarray, *metrics: str) -> tuple[str, np.ndarray, str]:
        found = scored(picture)
        words = [f"{metric.rpartition('.')[2]} {found[metric]:.2f}" for metric in metrics]
        return title, picture, ", ".join(words)

    new = upscaled(scene(105).cells)
    both = ("style", "style.memorisation")
    sheet(
        [
            case("a photograph", render_photo(scene(105), 512), *both),
            case("pixel art with noise", noisy(new, 3), *both),
            case("a new portrait", new, *both),
            case("a reference image", upscaled(scene(5).cells), *both),
        ]
    ).save(OUT / "style.png", optimize=True)
    sheet(
        [
            case("a photograph", render_photo(scene(105), 512), "realism"),
            case("a flat illustration", render_illustration(scene(105), 512), "realism"),
            case("pixel art", new, "realism"),
        ]
    ).save(OUT / "realism.png", optimize=True)


if __name__ == "__main__":
    main()
