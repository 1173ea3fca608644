"""One phrase of a caption, taken to words, and the grammar of who colours what in it.

Everything is one pass or a bisection, so that the time is linear in the phrase's length.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from loraeval.prompts.colour_names import MODIFIERS, SKIN_WORDS, canonical_colour
from loraeval.prompts.vocabulary import (
    ARTICLES,
    ATTRIBUTE_OF,
    BACKGROUND_KINDS,
    SUBORDINATE,
)

_TOKEN_PATTERN = re.compile(r"#[0-9A-Za-z]*|[A-Za-z]+|[(),;:/&+]|[0-9]+")
_LONGEST_WORD = 40
_LONG_NOUN = 5


@dataclass(frozen=True, slots=True)
class Word:
    """One token of a phrase: ``kind`` is hex, colour, modifier, noun, word or mark."""

    kind: str
    value: str
    inside: bool
    """Within parentheses."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A colour in a phrase: its place, the place of its noun (None: none), hex code or name."""

    position: int
    noun: int | None
    hex: str | None
    name: str | None


class Phrase:
    """The words of one phrase with its nouns found."""

    def __init__(self, text: str) -> None:
        self.words = tuple(_words(text))
        self.nouns = [at for at in range(len(self.words)) if self._is_noun(at)]
        places = _places(self.words)
        additions = next(
            (at for at, word in enumerate(self.words) if word.value in ("with", "by")),
            len(self.words),
        )
        self._outer = [at for at in self.nouns if not self.words[at].inside]
        self._outright = [at for at in self.nouns if at not in places]
        self._main = [at for at in self._outer if at < additions and at not in places]
        self._places = places
        self._following = self._nouns_behind()
        self.worn = any(word.value in ("wearing", "wears", "dressed") for word in self.words)

    def attribute(self, noun: int | None) -> str:
        """Return the attribute of the noun at that place; without one, clothing if worn."""
        if noun is not None:
            return ATTRIBUTE_OF[self.words[noun].value]
        return "clothing" if self.worn else "other"

    def background_kind(self) -> str | None:
        """Return solid, split, gradient or checkered where the phrase says so of a background."""
        if not any(ATTRIBUTE_OF[self.words[at].value] == "background" for at in self.nouns):
            return None
        kinds = [BACKGROUND_KINDS[w.value] for w in self.words if w.value in BACKGROUND_KINDS]
        return kinds[-1] if kinds else None

    def head(self, position: int) -> int | None:
        """Return the noun that a hex code at ``position`` colours: the last that is no addition.

        Eyes and background are never additions: "glasses with brown eyes (#…)" colours the eyes.
        """
        last = _last_before(self._outer, position)
        if last is None:
            return self._following[position]
        if self.attribute(last) in ("eyes", "background") and last not in self._places:
            return last
        main = _last_before(self._main, position)
        return last if main is None else main

    def named(self) -> Iterator[Mention]:
        """Yield the colours that the phrase gives in words: with the noun behind, else before."""
        served: set[int] = set()
        position = 0
        while position < len(self.words):
            end = position
            while end < len(self.words) and self.words[end].kind in ("colour", "modifier"):
                end += 1
            if end == position:
                position += 1
                continue
            noun, again = self._noun_of(position, end, served)
            name = None if again or self._denied(position) else self._name(position, end, noun)
            if name is not None:
                yield Mention(position, noun, None, name)
                if noun is not None:
                    served.add(noun)
            position = end

    def _noun_of(self, start: int, end: int, served: set[int]) -> tuple[int | None, bool]:
        """Return the noun of a group of colour words, and whether it only repeats in brackets."""
        inside = self.words[start].inside
        noun = self._following[end - 1]
        if noun is not None and self.words[noun].inside == inside:
            return noun, False
        noun = _last_before(self._outright, start)
        noun = _last_before(self.nouns, start) if noun is None else noun
        return noun, inside and noun in served

    def _denied(self, start: int) -> bool:
        return start > 0 and self.words[start - 1].value in ("no", "without", "not")

    def _name(self, start: int, end: int, noun: int | None) -> str | None:
        """Return a name for ``colour_words.region``; None where the words name no colour."""
        group = list(dict.fromkeys(word.value for word in self.words[start:end]))
        attribute = None if noun is None else self.attribute(noun)
        if attribute == "skin" and all(word in SKIN_WORDS for word in group):
            return f"{' '.join(group)} skin"
        if any(word.kind == "colour" for word in self.words[start:end]):
            return "red hair" if attribute == "hair" and group == ["red"] else " ".join(group)
        if noun == end and attribute in ("hair", "eyes", "background"):
            return " ".join(group)  # "dark hair": a lightness, no hue
        return None

    def _is_noun(self, at: int) -> bool:
        """Return whether a noun stands there; "top" is none where it is a place ("on top")."""
        word = self.words[at]
        if word.kind != "noun" or word.value != "top":
            return word.kind == "noun"
        return at > 0 and self.words[at - 1].value not in ARTICLES | SUBORDINATE | {"at"}

    def _nouns_behind(self) -> list[int | None]:
        result: list[int | None] = [None] * len(self.words)
        nearest: int | None = None
        known = set(self.nouns)
        for position in range(len(self.words) - 1, -1, -1):
            result[position] = nearest
            nearest = position if position in known else nearest
        return result


def _last_before(positions: list[int], limit: int) -> int | None:
    index = bisect_left(positions, limit)
    return positions[index - 1] if index else None


def _places(words: tuple[Word, ...]) -> set[int]:
    """Return where a word stands right behind a preposition: "bow in hair", "in a bun"."""
    places: set[int] = set()
    behind = False
    for position, word in enumerate(words):
        if behind and word.value not in ARTICLES:
            places.add(position)
        behind = word.value in SUBORDINATE or (behind and word.value in ARTICLES)
    return places


def _words(phrase: str) -> Iterator[Word]:
    inside = False
    for piece in _TOKEN_PATTERN.findall(phrase):
        if piece in ("(", ")"):
            inside = "(" in piece
            yield Word("mark", piece, inside)
        elif piece.startswith("#"):
            yield Word("hex", piece, inside)
        else:
            for kind, value in _classify(piece.lower()):
                yield Word(kind, value, inside)


def _classify(word: str) -> list[tuple[str, str]]:
    known = _known(word)
    if known is not None:
        return [known]
    if 6 <= len(word) <= _LONGEST_WORD:  # "darkred", "bluegreen", "collaredshirt"
        for cut in range(3, len(word) - 2):
            first, second = _known(word[:cut]), _known(word[cut:])
            if first is not None and second is not None:
                return [first, second]
            if second is not None and second[0] == "noun" and len(second[1]) >= _LONG_NOUN:
                return [("word", word[:cut]), second]  # "lowcutshirt"
    return [("word", word)]


def _known(word: str) -> tuple[str, str] | None:
    if word in ATTRIBUTE_OF:
        return "noun", word
    if word in MODIFIERS:
        return "modifier", word
    colour = canonical_colour(word)
    return None if colour is None else ("colour", colour)
