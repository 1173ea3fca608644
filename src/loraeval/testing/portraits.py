"""Procedural 24x24 portraits of our own design, with everything about them known.

``scene(seed)`` draws a portrait: its cells, where each attribute lies, which colours it has, and
a hex-coded caption. ``render_pixel_art`` shows it at any size on its lattice; ``render_photo``
(in ``portraits_photo``, also named here) draws the same scene as a smooth, shaded, noisy picture.
numpy only; the same seed gives the same scene on every machine.

>>> from loraeval.testing.portraits import render_pixel_art, scene
>>> portrait = scene(7)
>>> portrait.cells.shape, render_pixel_art(portrait, 512).shape
((24, 24, 3), (512, 512, 3))
>>> portrait.caption.startswith("pixel art, 24x24, portrait of a ")
True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from loraeval.testing.portraits_genes import draw_genes, layers_of
from loraeval.testing.portraits_photo import paint, render_field_picture
from loraeval.testing.portraits_shapes import Genes
from loraeval.testing.portraits_words import (
    BACKGROUNDS,
    CLOTHES_WORDS,
    GRAMMAR,
    HEAD_WORDS,
    STYLE_TAIL,
    SUBJECTS,
    Colour,
    Phrase,
    compose,
    draw_colours,
    metal_of,
    second_tone,
    to_hex,
    toned,
)

SIZE = 24
"""Cells a side."""

CAPTION_TOKENS = 75
"""Tokens that one chunk of a CLIP text encoder holds; demo captions stay within it."""

_CENTRES = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
_GRID_X = np.ascontiguousarray(np.broadcast_to(_CENTRES[None, :], (SIZE, SIZE)))
_GRID_Y = np.ascontiguousarray(np.broadcast_to(_CENTRES[:, None], (SIZE, SIZE)))


@dataclass(frozen=True, eq=False)
class Attribute:
    """One visible part of a portrait.

    ``kind`` is ``background, hair, eyes, lips, skin, clothing, headwear, eyewear`` or
    ``jewellery``; ``attribute`` the caption grammar's name for it; ``words`` how captions call
    it; ``hex`` its main colour ``#rrggbb``; ``hexes`` every colour of its cells, most frequent
    first; ``mask`` its visible cells, bool 24x24.
    """

    kind: str
    attribute: str
    words: str
    hex: str
    hexes: tuple[str, ...]
    mask: NDArray[np.bool_]

    @property
    def positions(self) -> list[tuple[int, int]]:
        """The (row, column) of every visible cell."""
        return [(int(r), int(c)) for r, c in np.argwhere(self.mask)]


@dataclass(frozen=True, eq=False)
class Scene:
    """A portrait with its ground truth.

    ``cells`` is uint8 24x24x3, sRGB; ``caption`` the hex-coded caption (at most 75 tokens of the
    demo tokenizer); ``captioned`` the kinds of attribute that it names; ``background_kind`` one
    of ``solid, split, gradient, checkered``.
    """

    seed: int
    subject: str
    genes: Genes
    colours: Mapping[str, Colour]
    background_kind: str
    cells: NDArray[np.uint8]
    attributes: tuple[Attribute, ...]
    caption: str
    captioned: tuple[str, ...]

    @cached_property
    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Visible cells by kind of attribute, bool 24x24."""
        return {attribute.kind: attribute.mask for attribute in self.attributes}

    @cached_property
    def by_kind(self) -> dict[str, Attribute]:
        """The attributes by kind."""
        return {attribute.kind: attribute for attribute in self.attributes}

    @cached_property
    def palette(self) -> tuple[str, ...]:
        """Every colour of the cells as ``#rrggbb``, most frequent first."""
        return _hexes(self.cells.reshape(-1, 3))

    @cached_property
    def long_caption(self) -> str:
        """The caption with every attribute, a palette list, style words and a tail of codes.

        Longer than one 75-token chunk, as real captions of the field are.
        """
        phrases = [f"{a.words} ({a.hex})" for a in self.attributes if a.kind != "background"]
        main = [a.hex for a in self.attributes]
        listed = list(dict.fromkeys([self.by_kind["background"].hex, *main]))[:5]
        tail = [code for code in self.palette if code not in listed][:8]
        back = self.by_kind["background"]
        return ", ".join(
            [
                *("pixel art", "24x24", f"portrait of a {self.subject}", *phrases),
                *(f"{back.words} ({back.hex})", "palette: " + ", ".join(listed)),
                *(*STYLE_TAIL, *tail),
            ]
        )


def _hexes(pixels: NDArray[np.uint8]) -> tuple[str, ...]:
    wide = pixels.astype(np.int64)
    codes, counts = np.unique(
        wide[:, 0] * 65536 + wide[:, 1] * 256 + wide[:, 2], return_counts=True
    )
    return tuple(f"#{code:06x}" for code in codes[np.argsort(-counts, kind="stable")].tolist())


def _words(genes: Genes, colours: Mapping[str, Colour]) -> dict[str, str]:
    clothing = genes.clothing[0]
    return {
        "background": f"{genes.background[0]} background",
        "hair": HEAD_WORDS[genes.hair[0]] or "hair",
        "eyes": "eyes",
        "lips": "lips",
        "skin": "skin",
        "clothing": CLOTHES_WORDS.get(clothing, clothing),
        "headwear": genes.headwear[0],
        "eyewear": genes.eyewear[0],
        "jewellery": f"{metal_of(colours['jewellery'])} {genes.jewellery[0]}",
    }


_ORDER = (
    *("background", "hair", "skin", "clothing"),
    *("headwear", "eyes", "eyewear", "lips", "jewellery"),
)
_KINDS = (
    *("hair", "eyes", "lips", "skin", "clothing"),
    *("headwear", "eyewear", "jewellery", "background"),
)


def scene(seed: int, *, background: str | None = None) -> Scene:
    """Draw the portrait of ``seed``; ``background`` asks for one kind of backdrop.

    Raises ``ValueError`` for a background that is not one of ``BACKGROUNDS``.
    """
    if background is not None and background not in BACKGROUNDS:
        raise ValueError(f"background is one of {', '.join(BACKGROUNDS)}, not {background!r}")
    rng = np.random.default_rng([seed, 24])
    genes = draw_genes(rng, background)
    colours = draw_colours(rng)
    colours["background2"] = second_tone(colours["background"])
    colours["white"] = (244, 240, 232)
    subject = SUBJECTS[int(rng.integers(len(SUBJECTS)))]
    layers = layers_of(genes, _GRID_X, _GRID_Y)
    top = np.zeros((SIZE, SIZE), np.intp)
    for index, layer in enumerate(layers):
        top[layer.field < 0] = index
    table = np.array([toned(colours[layer.slot], layer.tone) for layer in layers], np.uint8)
    cells = table[top]
    slots = [layer.slot for layer in layers]
    if genes.background[0] == "gradient":
        _gradient_cells(cells, top == 0, colours)
    attributes = tuple(_attributes(genes, colours, top, slots, cells))
    phrases = {
        a.kind: Phrase(a.kind, a.words, None if a.kind == "jewellery" else a.hex)
        for a in attributes
    }
    lead = ("pixel art", "24x24", f"portrait of a {subject}")
    caption, captioned = compose(phrases, lead, _ORDER, CAPTION_TOKENS)
    return Scene(seed, subject, genes, colours, genes.background[0], cells, attributes, caption,
        captioned)  # fmt: skip


def _gradient_cells(
    cells: NDArray[np.uint8], mask: NDArray[np.bool_], colours: Mapping[str, Colour]
) -> None:
    """Let the backdrop run from its colour (upper two thirds) to the second tone in four steps."""
    first, second = (np.array(colours[k], np.float64) for k in ("background", "background2"))
    for row in range(SIZE):
        share = max(0, (row - 13) // 3 + 1) / 4
        cells[row][mask[row]] = np.round(first + (second - first) * share).astype(np.uint8)


def _attributes(
    genes: Genes,
    colours: Mapping[str, Colour],
    top: NDArray[np.intp],
    slots: list[str],
    cells: NDArray[np.uint8],
) -> list[Attribute]:
    """Return the attributes that show at least two cells, in the caption's order."""
    words = _words(genes, colours)
    owner = np.array([slot.removesuffix("2") for slot in slots])[top]
    found = []
    for kind in _KINDS:
        mask = owner == kind
        if mask.sum() >= 2:
            code = to_hex(colours[kind])
            found.append(
                Attribute(kind, GRAMMAR[kind], words[kind], code, _hexes(cells[mask]), mask)
            )
    return found


def render_pixel_art(portrait: Scene, size: int) -> NDArray[np.uint8]:
    """Return the portrait as uint8 ``size`` x ``size`` x 3, cell i spanning
    ceil(i*size/24) to ceil((i+1)*size/24).
    """
    index = np.arange(size) * SIZE // size
    return portrait.cells[index[:, None], index[None, :]]


def render_photo(portrait: Scene, size: int = 96, seed: int = 0) -> NDArray[np.uint8]:
    """Return the portrait as a photograph-like picture, uint8 ``size`` x ``size`` x 3.

    Smooth edges off the lattice, light and shadow, hair strands, cloth grain and sensor noise;
    ``seed`` varies all of these, not the scene.
    """
    rng = np.random.default_rng([portrait.seed, seed, 96])
    return paint(portrait.genes, portrait.colours, layers_of, size, rng)


def render_illustration(portrait: Scene, size: int = 96) -> NDArray[np.uint8]:
    """Return the portrait as a flat, smooth-edged drawing, uint8 ``size`` x ``size`` x 3."""
    return render_field_picture(portrait.genes, portrait.colours, layers_of, size)
