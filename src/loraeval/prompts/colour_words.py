"""What a colour word may mean: how far a colour is from it, in CIELAB.

The eleven basic colour terms (Berlin and Kay) follow naming data: the score of a colour is the
share of people who call it so (``colour_naming``, fitted to the XKCD colour survey), full from
``FULL`` on; modifiers move it by where the word's namings lie in lightness and chroma. Every other
word has a box round its typical colour (``colour_names.COLOUR_HEX``) in LCh(ab) (D65): lightness 0
to 100, chroma, hue in degrees, where a box of low chroma has any hue; human skin has its own boxes
by lightness. The rules and a chart are in ``docs/prompts.md``.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from loraeval.prompts.colour_names import (
    COLOUR_HEX,
    MODIFIERS,
    canonical_colour,
    compound_at,
    compound_hex,
)
from loraeval.prompts.colour_naming import spread_of
from loraeval.prompts.colour_regions import Box, ColourRegion, Named

LONGEST_NAME = 200
"""Characters; a longer name has no region."""


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
"""Rough boxes of the eleven basic terms: where blends and modified further words start from."""

_ALSO: dict[tuple[str, str], str] = {
    ("dark", "red"): "maroon", ("deep", "red"): "maroon", ("blood", "red"): "maroon",
    ("light", "purple"): "lavender", ("pale", "purple"): "lavender", ("pastel", "purple"):
    "lavender", ("dark", "purple"): "violet", ("deep", "purple"): "violet", ("light", "brown"):
    "tan", ("pale", "brown"): "tan", ("hot", "pink"): "magenta", ("bright", "pink"): "magenta",
    ("deep", "pink"): "magenta", ("light", "orange"): "salmon", ("pale", "orange"): "salmon",
    ("light", "red"): "salmon", ("bright", "green"): "lime", ("neon", "green"): "lime",
    ("light", "green"): "lime", ("pale", "green"): "lime", ("dark", "yellow"): "olive",
    ("dark", "green"): "olive", ("light", "blue"): "turquoise",
    ("light", "yellow"): "tan", ("pale", "yellow"): "tan",
}  # fmt: skip
"""Further names that people give to what a modifier makes of a basic colour."""

_BETWEEN: dict[frozenset[str], tuple[str, ...]] = {
    frozenset(["blue", "green"]): ("teal", "turquoise"),
    frozenset(["blue", "purple"]): ("violet", "lavender"),
    frozenset(["pink", "purple"]): ("magenta", "lavender"),
    frozenset(["red", "purple"]): ("magenta", "maroon"),
    frozenset(["red", "pink"]): ("magenta", "salmon"),
    frozenset(["red", "brown"]): ("maroon",),
    frozenset(["yellow", "green"]): ("lime", "olive"),
    frozenset(["orange", "pink"]): ("salmon",),
    frozenset(["yellow", "brown"]): ("olive", "tan"),
    frozenset(["brown", "green"]): ("olive",),
}
"""Names of what lies between two basic colours."""

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
        reds = (_box("red"), _box("ginger"), _box("auburn"))
        return ColourRegion(name, COLOUR_HEX["ginger"], reds)
    boxes, named = _parts(words)
    if not boxes and not named:
        return None
    return ColourRegion(name, _typical(words, boxes, named), boxes, named)


def lab_of(code: str) -> tuple[float, float, float]:
    """Return CIELAB (D65) of ``#rrggbb``."""
    from skimage.color import rgb2lab

    rgb = [int(code[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    light, a, b = (float(value) for value in rgb2lab(np.array([[rgb]]))[0, 0])
    return light, a, b


def _parts(words: list[str]) -> tuple[tuple[Box, ...], tuple[Named, ...]]:
    """Return what a blend allows: each colour word with the modifiers before it, and between."""
    boxes: list[Box] = []
    named: list[Named] = []
    colours: list[str] = []
    pending: list[str] = []
    at = 0
    while at < len(words):
        count = compound_at(words, at)
        colour = canonical_colour(words[at])
        if count and not (colour and count == 1):
            code = compound_hex(" ".join(words[at : at + count])) or COLOUR_HEX["grey"]
            boxes.append(_modified(_round(lab_of(code)), pending, neutral=False))
            at, pending = at + count, []
            continue
        if colour in _BASIC:
            named.append(_moved(colour, tuple(pending)))
        elif colour is not None:
            boxes.append(_modified(_box(colour), pending, neutral=colour == "silver"))
        if colour is not None:
            colours.append(colour)
            pending = []
        elif words[at] in MODIFIERS:
            pending.append(words[at])
        at += 1
    if not boxes and not named:
        lights = [_LIGHTNESS_ONLY[word] for word in pending if word in _LIGHTNESS_ONLY]
        return tuple(Box(light, (0, 150)) for light in dict.fromkeys(lights)), ()
    for first, second in pairwise(colours):
        if first in _BASIC and second in _BASIC:
            mixed = _BETWEEN.get(frozenset([first, second]), ())
            named.append(Named((first, second, *mixed)))
        else:
            bridge = _between(_box(first), _box(second))
            boxes += [bridge] if bridge is not None else []
    return tuple(dict.fromkeys(boxes)), tuple(dict.fromkeys(named))


def _moved(colour: str, modifiers: tuple[str, ...]) -> Named:
    """Return a basic term's namings as modifiers move them, by their spread in the survey."""
    light, light_sd, chroma, chroma_sd = spread_of(colour)
    lightness: tuple[float, float] | None = None
    strength: tuple[float, float] | None = None
    also = tuple(_ALSO[word, colour] for word in modifiers if (word, colour) in _ALSO)
    if colour in ("black", "white", "grey"):
        light_sd = max(light_sd, 8.0)
    for word in modifiers:
        if word in _UP:
            lightness = (light - 0.6 * light_sd, light + 0.3 * light_sd)
        elif word in _DOWN:
            lightness = (light + 0.6 * light_sd, light - 0.3 * light_sd)
        elif word in _STRONG and colour not in ("black", "white", "grey"):
            strength = (chroma - 1.3 * chroma_sd, chroma - 0.4 * chroma_sd)
        elif word in _WEAK:
            strength = (chroma + 1.0 * chroma_sd, chroma + 0.2 * chroma_sd)
    if colour == "black":
        lightness = None if lightness and lightness[0] > lightness[1] else lightness
    return Named((colour, *also), lightness, strength)


_UP = frozenset(["light", "lighter", "pale", "pastel", "fair", "baby", "icy", "sky", "soft"])
_DOWN = frozenset(
    ["dark", "darker", "jet", "deep", "deeper", "royal", "rich", "forest", "blood", "burnt"]
)
_STRONG = frozenset(["bright", "brighter", "vivid", "hot", "neon", "electric"])
_WEAK = frozenset(["ashy", "ash", "dull", "dusty", "muted", "faded"])


@lru_cache(maxsize=256)
def _box(colour: str) -> Box:
    """Return the box of an unmodified colour word: a basic term's, else one round its centre."""
    if colour in _BASIC:
        return _BASIC[colour]
    return _round(lab_of(COLOUR_HEX[colour]))


def _round(lab: tuple[float, float, float]) -> Box:
    """Return the box round a typical colour."""
    light, a, b = lab
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
        boxes, named = _parts(words)
        return ColourRegion(name, _typical(words, boxes, named), boxes, named)
    spans = spans or [(10, 97)]
    skin = tuple(Box(span, _skin_chroma(span), 57, 27) for span in dict.fromkeys(spans))
    middle = sum(skin[0].lightness) / 2
    return ColourRegion(name, _hex((middle, 14.0, 21.0)), skin)


def _skin_chroma(span: tuple[float, float]) -> tuple[float, float]:
    """Very light and very dark skin may be nearly neutral; the middle is not."""
    return (4.0, 52.0) if span[1] > 90 or span[0] < 25 else (8.0, 56.0)


def _typical(words: list[str], boxes: tuple[Box, ...], named: tuple[Named, ...]) -> str:
    """Return the typical colour of the first word, moved into what its modifiers allow."""
    if named:
        found = named[0]
        start = lab_of(COLOUR_HEX[found.groups[0]])
        if found.lightness is None and found.chroma is None:
            return COLOUR_HEX[found.groups[0]]
        return _best(found, start)
    box = boxes[0]
    colour = next((one for word in words if (one := canonical_colour(word))), None)
    code = COLOUR_HEX[colour] if colour else compound_hex(" ".join(words))
    start = lab_of(code) if code else (sum(box.lightness) / 2, 0.0, 0.0)
    if set(words) & _LIGHTNESS_ONLY.keys():
        chroma, hue = min(sum(box.chroma) / 2, 45.0), math.radians(box.hue)
        if box.spread < 180:  # the middle of the box, where screens can show it
            start = (sum(box.lightness) / 2, chroma * math.cos(hue), chroma * math.sin(hue))
        else:
            start = (sum(box.lightness) / 2, 0.0, 0.0)
    light, a, b = (float(value) for value in box.nearest(np.array([start]))[0])
    return _hex((light, a, b))


def _best(named: Named, start: tuple[float, float, float]) -> str:
    """Return the colour of full score that is nearest to a typical one, on a coarse raster."""
    axis = np.append(np.arange(0, 255, 17), 255) / 255
    from skimage.color import rgb2lab

    rgb = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = np.asarray(rgb2lab(rgb[None])[0], dtype=np.float64)
    score = named.score(lab)
    far = np.linalg.norm(lab - np.asarray(start), axis=1)
    best = int(np.lexsort((far, -np.round(score, 2)))[0])
    return "#" + "".join(f"{round(255 * float(value)):02x}" for value in rgb[best])


def _hex(lab: tuple[float, float, float]) -> str:
    from skimage.color import lab2rgb

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # out of gamut is clipped
        rgb = lab2rgb(np.array([[lab]]))[0, 0]
    return "#" + "".join(f"{round(255 * float(value)):02x}" for value in np.clip(rgb, 0, 1))
