"""What a colour word may still mean: a tolerance region in CIELAB, and the distance to it.

A region is a union of boxes in LCh(ab) (D65): lightness 0 to 100, chroma, hue in degrees, where a
box of low chroma has any hue. How they were made: the eleven basic colour terms (Berlin and Kay)
have boxes drawn by this project round the clusters that the CSS Color 4 names and the XKCD colour
survey (2010, public domain) give the term; every other word has a box round its typical colour
(``colour_names.COLOUR_HEX``); modifiers cut or move a box by a fixed rule; human skin has its own
boxes by lightness. The rules and a chart of the regions are in ``docs/prompts.md``.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from loraeval.prompts.colour_names import COLOUR_HEX, MODIFIERS, canonical_colour

Array = npt.NDArray[np.float64]

LONGEST_NAME = 200
"""Characters; a longer name has no region."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box in LCh: lightness and chroma from low to high, hue within ``spread`` of ``hue``.

    ``spread`` 180 is any hue.
    """

    lightness: tuple[float, float]
    chroma: tuple[float, float]
    hue: float = 0.0
    spread: float = 180.0

    def nearest(self, lab: Array) -> Array:
        """Return for each row (L, a, b) of ``lab``, shape (n, 3), the box's nearest colour."""
        light = np.clip(lab[:, 0], *self.lightness)
        chroma = np.clip(np.hypot(lab[:, 1], lab[:, 2]), *self.chroma)
        angle = np.degrees(np.arctan2(lab[:, 2], lab[:, 1]))
        off = (angle - self.hue + 180.0) % 360.0 - 180.0
        hue = np.radians(self.hue + np.clip(off, -self.spread, self.spread))
        return np.stack([light, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)


@dataclass(frozen=True, slots=True)
class ColourRegion:
    """The colours that a name allows; ``centre`` is a typical one, ``#rrggbb``."""

    name: str
    centre: str
    boxes: tuple[Box, ...]

    def distance(self, lab: npt.ArrayLike) -> Array:
        """Return how far colours are from the region: 0 inside, else CIEDE2000 to its edge.

        ``lab`` has shape (..., 3), CIELAB D65; the result drops the last axis. The nearest point
        is taken by clamping L, C and h one by one, so that the value is an upper bound of the
        true distance, exact inside.
        """
        from skimage.color import deltaE_ciede2000

        points = np.asarray(lab, dtype=np.float64)
        flat = points.reshape(-1, 3)
        best = np.full(len(flat), np.inf)
        for box in self.boxes:
            near = box.nearest(flat)
            delta = np.asarray(deltaE_ciede2000(flat, near), dtype=np.float64)  # type: ignore[no-untyped-call]
            inside = np.max(np.abs(flat - near), axis=1, initial=0.0) < 1e-6
            best = np.minimum(best, np.where(inside, 0.0, delta))
        return best.reshape(points.shape[:-1])

    def contains(self, lab: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return which of the colours, shape (..., 3), lie inside the region."""
        return np.asarray(self.distance(lab) == 0.0)


_BASIC: dict[str, Box] = {
    "black": Box((0, 22), (0, 14)),
    "white": Box((87, 100), (0, 11)),
    "grey": Box((20, 88), (0, 12)),
    "red": Box((22, 64), (38, 130), 30, 22),
    "orange": Box((48, 84), (38, 120), 62, 19),
    "yellow": Box((68, 100), (30, 120), 97, 19),
    "brown": Box((10, 58), (8, 62), 58, 32),
    "green": Box((16, 96), (12, 130), 145, 42),
    "blue": Box((8, 90), (10, 135), 264, 52),
    "purple": Box((10, 82), (14, 125), 326, 20),
    "pink": Box((50, 96), (9, 100), 2, 42),
}
"""The eleven basic terms."""

_SKIN_LIGHTNESS: dict[str, tuple[float, float]] = {
    "light": (64, 96),
    "lighter": (64, 96),
    "pale": (70, 97),
    "fair": (66, 96),
    "white": (66, 97),
    "porcelain": (74, 97),
    "peach": (64, 90),
    "beige": (62, 90),
    "medium": (46, 78),
    "tan": (44, 76),
    "olive": (42, 78),
    "honey": (44, 74),
    "gold": (46, 78),
    "caramel": (36, 68),
    "bronze": (36, 66),
    "brown": (22, 62),
    "coffee": (20, 56),
    "chocolate": (12, 48),
    "dark": (10, 52),
    "darker": (10, 50),
    "deep": (10, 48),
    "black": (6, 50),
    "ebony": (6, 42),
}
"""Lightness of human skin by word; words that are not here (warm, cool, rich) do not move it."""

_LIGHTNESS_ONLY: dict[str, tuple[float, float]] = {
    "dark": (0, 40),
    "darker": (0, 40),
    "deep": (0, 45),
    "light": (62, 100),
    "lighter": (62, 100),
    "pale": (68, 100),
    "fair": (62, 100),
    "medium": (32, 72),
}
"""A modifier that stands alone ("dark hair") is a lightness of any hue."""


def region(name: str) -> ColourRegion | None:
    """Return the tolerance region of a colour's name, None where the name holds no colour.

    ``name`` is what ``parse_caption`` gives: modifiers and colour words ("light blue", "dark
    brown"), several colour words for a blend ("blue green": either, or between), a skin tone
    ("medium skin"), "red hair", a lone lightness ("dark").
    """
    return _region(name) if len(name) <= LONGEST_NAME else None


@lru_cache(maxsize=4096)
def _region(name: str) -> ColourRegion | None:
    words = name.lower().replace("-", " ").split()
    if words and words[-1] == "skin":
        return _skin(name, words[:-1])
    if words == ["red", "hair"]:
        return ColourRegion(
            name, COLOUR_HEX["ginger"], (_box("red"), _box("ginger"), _box("auburn"))
        )
    boxes = _boxes(words)
    if not boxes:
        return None
    return ColourRegion(name, _typical(words, boxes[0]), boxes)


def lab_of(code: str) -> tuple[float, float, float]:
    """Return CIELAB (D65) of ``#rrggbb``."""
    from skimage.color import rgb2lab

    rgb = [int(code[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    light, a, b = (float(value) for value in rgb2lab(np.array([[rgb]]))[0, 0])
    return light, a, b


def _boxes(words: list[str]) -> tuple[Box, ...]:
    """Return the boxes of a blend: each colour word's with the modifiers before it, and between."""
    boxes: list[Box] = []
    pending: list[str] = []
    for word in words:
        colour = canonical_colour(word)
        if colour is not None:
            boxes.append(_modified(_box(colour), pending, neutral=colour in ("grey", "silver")))
            pending = []
        elif word in MODIFIERS:
            pending.append(word)
    if not boxes:
        lights = [_LIGHTNESS_ONLY[word] for word in pending if word in _LIGHTNESS_ONLY]
        return tuple(Box(light, (0, 150)) for light in dict.fromkeys(lights))
    bridges = [_between(a, b) for a, b in pairwise(boxes)]
    return tuple(dict.fromkeys([*boxes, *(bridge for bridge in bridges if bridge is not None)]))


@lru_cache(maxsize=256)
def _box(colour: str) -> Box:
    """Return the box of an unmodified colour word: a basic term's, else one round its centre."""
    if colour in _BASIC:
        return _BASIC[colour]
    light, a, b = lab_of(COLOUR_HEX[colour])
    chroma = math.hypot(a, b)
    span = (max(0.0, light - 18), min(100.0, light + 18))
    if chroma < 12:
        return Box(span, (0, chroma + 8))
    hue = math.degrees(math.atan2(b, a))
    return Box(span, (0.4 * chroma, 1.5 * chroma), hue, 18)


def _modified(box: Box, modifiers: list[str], *, neutral: bool) -> Box:
    low, high = box.lightness
    weak, strong = box.chroma
    span = high - low
    for word in modifiers:
        if word in ("light", "lighter", "pale", "pastel", "fair", "baby", "icy", "sky", "soft"):
            low, high = low + 0.4 * span, min(98.0, high + 0.45 * span)
            weak *= 0.4
        elif word in ("dark", "darker", "jet"):
            low, high = max(0.0, low - 0.4 * span), low + 0.55 * span
            weak *= 0.5
        elif word in ("deep", "deeper", "royal", "rich", "forest", "blood"):
            low, high = max(0.0, low - 0.2 * span), low + 0.7 * span
        elif word == "medium":
            low, high = low + 0.12 * span, high - 0.12 * span
        elif word in ("bright", "brighter", "vivid", "hot", "neon"):
            low = low if neutral else low + 0.2 * span
            weak = weak if neutral else max(weak, 0.3 * strong)
        elif word in ("ashy", "ash", "dull", "dusty", "muted"):
            weak, strong = 0.3 * weak, 0.65 * strong
    return replace(box, lightness=(low, max(low, high)), chroma=(weak, strong))


def _between(first: Box, second: Box) -> Box | None:
    """Return the box of hues between two boxes, None where they are neutral or far apart."""
    if first.spread >= 180 or second.spread >= 180:
        return None
    gap = (second.hue - first.hue + 180.0) % 360.0 - 180.0
    if abs(gap) > 125:
        return None
    return Box(
        (
            min(first.lightness[0], second.lightness[0]),
            max(first.lightness[1], second.lightness[1]),
        ),
        (min(first.chroma[0], second.chroma[0]), max(first.chroma[1], second.chroma[1])),
        first.hue + gap / 2,
        abs(gap) / 2,
    )


def _skin(name: str, words: list[str]) -> ColourRegion | None:
    """Return a skin tone: hue and chroma of human skin, lightness by the words."""
    known = [canonical_colour(word) or word for word in words]
    spans = [_SKIN_LIGHTNESS[word] for word in known if word in _SKIN_LIGHTNESS]
    others = [word for word in known if word in COLOUR_HEX and word not in _SKIN_LIGHTNESS]
    if others:  # green skin is green
        boxes = _boxes(words)
        return ColourRegion(name, _typical(words, boxes[0]), boxes)
    spans = spans or [(10, 97)]
    skin = tuple(Box(span, _skin_chroma(span), 57, 27) for span in dict.fromkeys(spans))
    middle = sum(skin[0].lightness) / 2
    return ColourRegion(name, _hex((middle, 14.0, 21.0)), skin)


def _skin_chroma(span: tuple[float, float]) -> tuple[float, float]:
    """Very light and very dark skin may be nearly neutral; the middle is not."""
    return (4.0, 52.0) if span[1] > 90 or span[0] < 25 else (8.0, 56.0)


def _typical(words: list[str], box: Box) -> str:
    """Return the typical colour of the first word, moved into its box."""
    colour = next((found for word in words if (found := canonical_colour(word))), None)
    start = lab_of(COLOUR_HEX[colour]) if colour else (sum(box.lightness) / 2, 0.0, 0.0)
    if set(words) & _LIGHTNESS_ONLY.keys():
        chroma, hue = min(sum(box.chroma) / 2, 45.0), math.radians(box.hue)
        if box.spread < 180:  # the middle of the box, where screens can show it
            start = (sum(box.lightness) / 2, chroma * math.cos(hue), chroma * math.sin(hue))
        else:
            start = (sum(box.lightness) / 2, 0.0, 0.0)
    light, a, b = (float(value) for value in box.nearest(np.array([start]))[0])
    return _hex((light, a, b))


def _hex(lab: tuple[float, float, float]) -> str:
    from skimage.color import lab2rgb

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # out of gamut is clipped
        rgb = lab2rgb(np.array([[lab]]))[0, 0]
    return "#" + "".join(f"{round(255 * float(value)):02x}" for value in np.clip(rgb, 0, 1))
