"""Nouns and colours of a caption while it is read: heads of runs, names, likeness to a code."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from loraeval.prompts.colour_names import COLOUR_HEX, SKIN_WORDS, WEAK, compound_hex
from loraeval.prompts.tokens import Token
from loraeval.prompts.vocabulary import (
    AFTER,
    ATTRIBUTE_OF,
    BLONDES,
    NOT_AFTER,
    OWNED_BY,
)

_LIGHTNESS = {
    "hair": frozenset(["dark", "darker", "light", "lighter", "fair", "pale"]),
    "eyes": frozenset(["dark", "darker", "light", "lighter", "pale"]),
    "background": frozenset(["dark", "darker", "light", "lighter", "pale"]),
}
"""Modifiers that say something of an attribute without a colour word: "dark hair"."""

_HAIR_ONLY = frozenset(["straw", "raven", "wheat"])
"""Things whose colour only hair is said to have: "raven hair", not "straw hat"."""

_PALE = frozenset(["pale", "tan"])
"""What a person is by the skin: "a pale woman"."""


@dataclass
class Colour:
    """A colour of a caption: a code, or colour words and modifiers in order."""

    hex: str | None
    words: tuple[str, ...]
    start: int
    end: int
    coloured: tuple[bool, ...] = ()
    denied: bool = False
    choice: int = 0

    @classmethod
    def of(cls, group: list[Token]) -> Colour:
        """Return the colour that tokens of colour words and modifiers name."""
        unique = list(dict.fromkeys((token.value, token.kind == "colour") for token in group))
        return cls(
            None,
            tuple(word for word, _ in unique),
            group[0].start,
            group[-1].end,
            tuple(is_colour for _, is_colour in unique),
        )

    def copy(self) -> Colour:
        """Return the same colour for another noun."""
        return replace(self)

    @property
    def blonde(self) -> bool:
        """Whether the words name hair by themselves."""
        return bool(self.words) and self.words[-1].split("_")[-1] in BLONDES

    def person_noun(self) -> Noun | None:
        """Return what of a person the colour colours: "a blonde woman", "a pale man"."""
        if self.blonde:
            return Noun("hair", "hair", self.start)
        if self.words and set(self.words) <= _PALE:
            return Noun("skin", "skin", self.start)
        return None


@dataclass
class Noun:
    """A noun that may own colours: ``kind`` is its attribute, ``text`` the noun as written."""

    kind: str
    text: str
    start: int
    person: bool = False
    place: bool = False
    added: bool = False
    colours: list[Colour] = field(default_factory=list)


@dataclass
class Reading:
    """What one sentence was read as: assigned colours, and the starts of those left over."""

    colours: list[tuple[Colour, Noun]] = field(default_factory=list)
    loose: list[Colour] = field(default_factory=list)
    denied: list[Colour] = field(default_factory=list)


def head_of(run: list[Token], following: Token | None, before: list[Noun]) -> Noun | None:
    """Return the head of nouns in a row, None where they are but "color", "shade".

    ``following`` is the token behind them, ``before`` the nouns of the phrase so far.
    """
    words = [token for token in run if token.kind != "tone"]
    if not words:
        return None
    last = words[-1]
    text = " ".join(token.value for token in words[-2:] if token.kind != "person") or last.value
    if last.kind == "person" and len(words) > 1 and words[-2].kind == "noun":
        last = words[-2]  # "blue hair girl"
        text = last.value
    elif last.kind == "word" and len(words) > 1 and _is_verb(words[-2], last, following):
        last = words[-2]
        text = last.value
    elif len(words) > 1:
        pair = (words[-2].value, last.value)
        if pair in AFTER:
            return Noun(AFTER[pair], text, last.start)
        if pair in NOT_AFTER:
            return Noun("other", text, last.start)
    if last.kind == "person":
        return Noun("other", last.value, last.start, person=True)
    if last.value == "top" and len(words) == 1 and _is_place(following):
        return Noun("other", "top", last.start)
    kind = ATTRIBUTE_OF.get(last.value, "other")
    if kind == "other" and before:
        kind = next((one.kind for one in before if last.value in OWNED_BY.get(one.kind, ())), kind)
    return Noun(kind, text, last.start)


def _is_verb(noun: Token, word: Token, following: Token | None) -> bool:
    """Return whether a word behind "hair" or "eyes" is a verb: "hair flows over", "eyes glow"."""
    attribute = ATTRIBUTE_OF.get(noun.value)
    if attribute not in ("hair", "eyes", "skin", "background", "lips"):
        return False
    if following is None or following.kind in ("preposition", "comma", "copula"):
        return word.value in _VERBS or (
            word.value.endswith("s")
            and following is not None
            and following.kind == "preposition"
            and following.value not in ("in", "on", "with", "of")
        )
    return word.value in _VERBS


_VERBS = frozenset(
    ["flows", "flow", "falls", "fall", "cascades", "frames", "frame", "glows", "glow", "shines",
     "shine", "sparkle", "gaze", "stare", "sits", "hangs", "blows", "reaches", "matches", "match"]
)  # fmt: skip


def _is_place(following: Token | None) -> bool:
    return following is not None and following.value == "of"


def name_of(colour: Colour, noun: Noun, *, adjacent: bool) -> str | None:
    """Return the name of a colour at a noun, for ``colour_words.region``; None if it names none.

    Words that are things as well ("wine", "chocolate") colour nouns of a known attribute only.
    """
    if colour.hex:
        return None
    words = [word.replace("_", " ") for word in colour.words]
    if noun.kind == "skin" and all(word in SKIN_WORDS for word in words):
        return f"{' '.join(words)} skin"
    if any(colour.coloured):
        if noun.kind != "hair" and set(words) <= _HAIR_ONLY:
            return None
        weak = all(word in WEAK for word, is_one in _pairs(colour) if is_one)
        if weak and noun.kind == "other":
            return None
        return "red hair" if noun.kind == "hair" and words == ["red"] else " ".join(words)
    if adjacent and all(word in _LIGHTNESS.get(noun.kind, ()) for word in words):
        return " ".join(words)
    return None


def shared_colours(first: Noun, second: Noun) -> list[Colour] | None:
    """Return the colours that two nouns joined by "and" share: "brown hair and eyes".

    Empty where the first has none yet ("her hair and eyes are …"); None where they share nothing:
    "black hair and glasses" says nothing of the glasses.
    """
    if {first.kind, second.kind} not in ({"hair", "eyes"}, {"hair"}):
        return None
    if any(colour.hex for colour in first.colours):
        return None
    return [colour.copy() for colour in first.colours]


def _pairs(colour: Colour) -> list[tuple[str, bool]]:
    return list(zip(colour.words, colour.coloured, strict=True))


def nearer_to(code: Colour, addition: Noun, main: Noun) -> bool:
    """Return whether a code is that of an addition by the colour words at both nouns."""
    near, far = _distance(code, addition), _distance(code, main)
    if near is None:
        return far is not None and far > 60
    return near < 70 if far is None else near < 0.7 * far


def _distance(code: Colour, noun: Noun) -> float | None:
    """Return the least CIELAB distance of a code to the typical colours of a noun's words."""
    words = [word for one in noun.colours for word, is_one in _pairs(one) if is_one]
    codes = [COLOUR_HEX.get(word) or compound_hex(word.replace("_", " ")) for word in words]
    lab = _lab(code.hex or "#000000")
    found = [
        sum((a - b) ** 2 for a, b in zip(lab, _lab(c), strict=True)) ** 0.5 for c in codes if c
    ]
    return min(found, default=None)


def _lab(code: str) -> tuple[float, float, float]:
    """Return CIELAB (D65) of ``#rrggbb``, in plain Python: the grammar needs no numpy."""
    linear = []
    for at in (1, 3, 5):
        value = int(code[at : at + 2], 16) / 255
        linear.append(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
    r, g, b = linear
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)
