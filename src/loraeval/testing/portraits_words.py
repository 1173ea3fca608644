"""Colours and words of a portrait: which colour each part takes and how a caption says it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]
"""sRGB, 0 to 255."""

SKIN = ("f2d3b8", "e8b98f", "d49a6c", "b87848", "8d5a34", "5f3b23", "f6ddcf", "c98e6a", "7ba66f",
    "8fa3c9", "b98fc4", "a9b2ae")  # fmt: skip
HAIR = ("1d1713", "3b2718", "5c3a1e", "8a5a2b", "b9853f", "dcb765", "eee0b4", "a33d1c", "c9c9c6",
    "d8479a", "3f6fd1", "2f9c74", "7d4fc0")  # fmt: skip
EYES = ("2f4f8f", "3c7fc4", "2e8b57", "6b8e23", "7a4a21", "3b2a1c", "8a8f98", "a0522d", "7b3fb5",
    "c03a2b")  # fmt: skip
LIPS = ("b5545a", "d0405f", "8e3b46", "c97a6d", "7a2f3a", "e07a9b", "5a2a3c")
METAL = {"gold": "e0b13c", "silver": "c4ccd4", "copper": "b5673a"}
SUBJECTS = ("neighbour", "traveller", "gardener", "musician", "sailor", "baker")

CLOTHING = ("tee", "shirt", "jacket", "hoodie", "striped", "turtleneck", "scarf", "overalls",
    "vneck", "dress")  # fmt: skip
HAIRSTYLES = ("bald", "buzz", "short", "parted", "bob", "long", "curly", "afro", "mohawk", "bun",
    "pigtails", "ponytail", "spiky")  # fmt: skip
EYEWEAR = ("round glasses", "square glasses", "shades", "visor", "goggles", "monocle", "eyepatch")
JEWELLERY = ("stud", "hoop", "drop earring", "necklace", "chain", "pendant", "choker")
BACKGROUNDS = ("solid", "split", "gradient", "checkered")
STYLE_TAIL = ("crisp pixel edges", "flat color blocks", "old game portrait")

COLOUR_WORDS = {
    "red": "d02525", "orange": "e8842a", "yellow": "ecd93a", "green": "2f9e3a", "teal": "2aa198",
    "blue": "2f5fd0", "purple": "7b3fb5", "pink": "e87aad", "brown": "7a4a21", "black": "151515",
    "white": "f4f4f4", "grey": "858585",
}  # fmt: skip
"""Plain names and the colour each stands for."""

GRAMMAR = {
    "background": "background", "hair": "hair", "eyes": "eyes", "lips": "lips", "skin": "skin",
    "clothing": "clothing", "headwear": "accessory", "eyewear": "accessory",
    "jewellery": "accessory",
}  # fmt: skip
"""Kind of attribute to the caption grammar's name for it."""


def to_rgb(code: str) -> Colour:
    """Return ``#rrggbb`` or ``rrggbb`` as three integers."""
    code = code.lstrip("#")
    return int(code[:2], 16), int(code[2:4], 16), int(code[4:6], 16)


def to_hex(colour: Sequence[int]) -> str:
    """Return three integers in 0..255 as ``#rrggbb``."""
    r, g, b = (int(c) for c in colour)
    return f"#{r:02x}{g:02x}{b:02x}"


def toned(colour: Sequence[float], tone: float) -> Colour:
    """Return ``colour`` darker (tone in [-1, 0]) or lighter (0 to 1), rounded."""
    r, g, b = (
        int(c * (1 + tone) + 0.5) if tone < 0 else int(c + (255 - c) * tone + 0.5) for c in colour
    )
    return r, g, b


def second_tone(colour: Sequence[float]) -> Colour:
    """Return the other tone of a two-toned background: darker where light, lighter where dark."""
    r, g, b = colour
    return toned(colour, -0.22 if 0.299 * r + 0.587 * g + 0.114 * b > 110 else 0.22)


def _near(codes: Sequence[str], u: Sequence[float]) -> Colour:
    base = to_rgb(codes[int(u[0] * len(codes))])
    r, g, b = (min(255, max(0, int(c + (v - 0.5) * 48))) for c, v in zip(base, u[1:], strict=True))
    return r, g, b


def _vivid(u: Sequence[float]) -> Colour:
    r, g, b = (int(v * 256) for v in u[1:])
    return r, g, b


_TOLD_APART = {
    "hair": ("skin",), "background": ("skin", "hair"), "headwear": ("hair", "background"),
    "clothing": ("skin", "background"), "lips": ("skin",),
}  # fmt: skip
"""Parts that lie against each other get colours at least 44 levels apart in one channel."""


def _apart(one: Sequence[int], two: Sequence[int]) -> int:
    return max(abs(a - b) for a, b in zip(one, two, strict=True))


def draw_colours(rng: np.random.Generator) -> dict[str, Colour]:
    """Draw one colour a part: natural or free, with face, hair and backdrop told apart."""
    colours: dict[str, Colour] = {}
    for part, natural, share in (
        ("skin", SKIN, 0.8),
        ("hair", HAIR, 0.6),
        ("background", (), 0.0),
        ("clothing", (), 0.0),
        ("headwear", (), 0.0),
        ("eyewear", ("1b1b20", "3a2a20", "27354d"), 0.4),
        ("eyes", EYES, 0.75),
        ("lips", LIPS, 0.8),
        ("jewellery", tuple(METAL.values()), 1.0),
    ):
        for _ in range(12):
            u = rng.random(5).tolist()
            colour = _near(natural, u[:4]) if u[4] < share else _vivid(u[:4])
            if all(_apart(colour, colours[other]) >= 44 for other in _TOLD_APART.get(part, ())):
                break
        colours[part] = colour
    return colours


@dataclass(frozen=True, slots=True)
class Phrase:
    """One comma-separated tag of a caption: its words and, where it names one, its colour."""

    kind: str
    words: str
    hex: str | None

    def __str__(self) -> str:
        return f"{self.words} ({self.hex})" if self.hex else self.words


HEAD_WORDS = {
    "bald": "", "buzz": "buzz hair", "short": "short hair", "parted": "parted hair",
    "bob": "bob hair", "long": "long hair", "curly": "curly hair", "afro": "afro hair",
    "mohawk": "mohawk hair", "bun": "hair bun", "pigtails": "pigtails hair",
    "ponytail": "ponytail hair", "spiky": "spiky hair",
}  # fmt: skip
CLOTHES_WORDS = {"striped": "striped sweater", "vneck": "vneck shirt"}


def tokens_in(text: str) -> int:
    """Return how many tokens the demo tokenizer makes of ``text``: one a word, one a digit.

    Each hexadecimal digit counts for itself; neighbouring punctuation counts once.
    """
    without = re.sub(r"#[0-9a-f]{6}", "# 0 0 0 0 0 0", text)
    return len(re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", without))


def vocabulary() -> list[str]:
    """Return every word and punctuation group that captions of this package are made of."""
    text = [*SUBJECTS, *CLOTHING, *CLOTHES_WORDS.values(), *HEAD_WORDS.values(), *EYEWEAR]
    text += [*JEWELLERY, *BACKGROUNDS, *STYLE_TAIL, *METAL, *GRAMMAR, *GRAMMAR.values()]
    text += ["pixel art portrait of a the and with photograph photo illustration palette"]
    text += ["beanie cap top hat crown headband brim hat party hat helmet bow bald head"]
    text += ["beard moustache goatee blurry smooth drawing picture old young person"]
    words = sorted({word for phrase in text for word in phrase.split() if len(word) > 1})
    return [*words, "(#", "),", "#"]


def compose(
    phrases: Mapping[str, Phrase], lead: Sequence[str], order: Sequence[str], budget: int
) -> tuple[str, tuple[str, ...]]:
    """Join the phrases that fit into ``budget`` tokens, the most telling first.

    Returns the caption and the kinds of attribute it names. ``order`` ranks kinds by importance
    and by place. Jewellery is named without its colour, as is eyewear whose colour does not fit;
    any other phrase that does not fit is left out.
    """
    text = ", ".join(lead)
    named = []
    for kind in (kind for kind in order if kind in phrases):
        phrase = phrases[kind]
        for said in (str(phrase), phrase.words if kind in ("eyewear", "jewellery") else ""):
            if said and tokens_in(f"{text}, {said}") <= budget:
                text = f"{text}, {said}"
                named.append(kind)
                break
    return text, tuple(named)


def nearest_name(colour: Sequence[int], names: Mapping[str, str]) -> str:
    """Return the name (name to hex code) whose colour is nearest by squared RGB distance."""

    def far(name: str) -> int:
        return sum((a - b) ** 2 for a, b in zip(colour, to_rgb(names[name]), strict=True))

    return min(names, key=far)


def metal_of(colour: Sequence[int]) -> str:
    """Return the metal whose colour is nearest."""
    return nearest_name(colour, METAL)
