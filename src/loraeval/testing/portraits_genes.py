"""How a portrait's geometry is drawn at random, and its parts stacked back to front."""

from __future__ import annotations

import numpy as np

from loraeval.testing.portraits_shapes import (
    Canvas,
    Field,
    Genes,
    Layer,
    draw_background,
    draw_beard,
    draw_body,
    draw_face,
)
from loraeval.testing.portraits_wear import (
    HEADWEAR,
    draw_eyewear,
    draw_hair,
    draw_hair_behind,
    draw_jewellery,
)
from loraeval.testing.portraits_words import (
    BACKGROUNDS,
    CLOTHING,
    EYEWEAR,
    HAIRSTYLES,
    JEWELLERY,
)


def draw_genes(rng: np.random.Generator, background: str | None = None) -> Genes:
    """Draw the geometry of a portrait."""
    u = rng.random(40).tolist()

    def pick(i: int, n: int) -> int:
        return int(u[i] * n)

    def styled(i: int, styles: tuple[str, ...], none: float) -> tuple[str, int, int, int]:
        style = "none" if u[i] < none else styles[int((u[i] - none) / (1 - none) * len(styles))]
        return style, pick(i + 1, 3), pick(i + 2, 4), pick(i + 3, 3)

    backdrop = background or (*BACKGROUNDS, "solid", "solid")[pick(27, 6)]
    return Genes(
        face=(pick(0, 3), pick(1, 3), pick(2, 3)),
        mouth=pick(3, 4),
        brow=pick(4, 4),
        hair=styled(5, HAIRSTYLES, 0.0),
        beard=((*("none",) * 4, "moustache", "goatee", "beard")[pick(9, 7)], pick(10, 3)),
        headwear=styled(11, tuple(HEADWEAR), 0.5),
        eyewear=styled(15, EYEWEAR, 0.6),
        jewellery=styled(19, JEWELLERY, 0.6),
        clothing=styled(23, CLOTHING, 0.0),
        background=(backdrop, pick(28, 5), pick(29, 4), 0),
    )  # fmt: skip


def layers_of(genes: Genes, x: Field, y: Field) -> list[Layer]:
    """Return the layers of a portrait, back to front, evaluated at the points (x, y) in cells."""
    canvas = Canvas(x, y)
    draw_background(canvas, genes)
    draw_hair_behind(canvas, genes)
    draw_body(canvas, genes)
    draw_face(canvas, genes)
    draw_beard(canvas, genes)
    if genes.jewellery[0] in ("stud", "hoop", "drop earring"):
        draw_hair(canvas, genes)
        draw_jewellery(canvas, genes)
    else:
        draw_jewellery(canvas, genes)
        draw_hair(canvas, genes)
    if genes.headwear[0] != "none":
        HEADWEAR[genes.headwear[0]](canvas, genes)
    draw_eyewear(canvas, genes)
    return canvas.layers
