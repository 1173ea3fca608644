"""From a caption's plain text to tokens: colours in every notation, nouns, small words, marks."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass

from loraeval.prompts import lexicon
from loraeval.prompts.colour_names import (
    MODIFIERS,
    canonical_colour,
    compound_at,
    split_glued,
)
from loraeval.prompts.markup import NAME
from loraeval.prompts.vocabulary import ATTRIBUTE_OF, BACKGROUND_KINDS, PERSONS, TONES


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a caption and where it stands in the text.

    ``kind`` is one of: ``hex`` (``value`` is ``#rrggbb``), ``unread`` (looks like a colour and is
    none that is understood), ``colour``, ``modifier``, ``noun`` (of a known attribute), ``word``
    (any other: taken for a noun), ``person``, ``tone``, ``owner`` ("haired": ``value`` is the
    attribute or noun), ``adjective``, ``article``, ``preposition``, ``join``, ``choice``,
    ``copula``, ``relative``, ``verb``, ``wearing``, ``stays``, ``negation``, ``but``, ``comma``,
    ``stop``, ``open``, ``close``, ``name``.
    """

    kind: str
    value: str
    start: int
    end: int


_NUMBER = r"\s{0,3}-?\d{1,3}(?:\.\d{1,4})?\s{0,3}%?\s{0,3}"
_PATTERN = re.compile(
    r"(?P<function>\b(?:rgb|hsl|hsv|hsb)a?\b\s{0,3}[:=]?\s{0,3}\(?"
    rf"{_NUMBER}(?:°|deg)?\s{{0,3}}[,\s/]{_NUMBER}[,\s/]{_NUMBER}(?:[,/]{_NUMBER})?\)?)"
    r"|(?P<named>\bhex(?:\s{1,3}code)?\b\s{0,3}[:=]?\s{0,3}\#?(?P<named_code>[0-9a-f]{6}|[0-9a-f]{3})\b)"
    r"|(?P<c>\b0x(?P<c_code>[0-9a-f]{6,8})\b)"
    r"|(?P<bare>\(\s{0,3}[0-9a-f]{6}(?:[\s,/]{1,3}[0-9a-f]{6}){0,8}\s{0,3}\))"
    r"|(?P<hex>\#[0-9a-z]*)"
    r"|(?P<number>\d{1,9}[a-z]{0,40}|\d+)"
    r"|(?P<word>[^\W\d_]+(?:-[^\W\d_]+)*)"
    rf"|(?P<mark>[(){{}}\[\],;:/&+|=.!?\n{NAME}])",
    re.IGNORECASE,
)
_LONGEST_WORD = 40
_LONG_NOUN = 5
_NO_CODES = frozenset(["facade", "decade", "deface", "efface", "accede", "beaded", "bedded"])
_MARKS = {
    "(": "open", "[": "open", "{": "open", ")": "close", "]": "close", "}": "close", ",": "comma",
    ";": "stop", ".": "stop", "!": "stop", "?": "stop", "\n": "stop", ":": "copula", "=": "copula",
    "/": "join", "&": "join", "+": "join", "|": "choice", NAME: "name",
}  # fmt: skip


def normalise_hex(code: str) -> str | None:
    """Return ``code`` (with or without ``#``) as ``#rrggbb`` in lower case, None if it is none.

    Three digits are doubled; an alpha (``#rgba``, ``#rrggbbaa``) is dropped.
    """
    digits = code.removeprefix("#").lower()
    if not digits or digits.strip("0123456789abcdef"):
        return None
    if len(digits) in (3, 4):
        return "#" + "".join(2 * digit for digit in digits[:3])
    return "#" + digits[:6] if len(digits) in (6, 8) else None


def tokenise(text: str) -> list[Token]:
    """Return the tokens of plain ``text`` (``markup.plain``) in order; linear in its length."""
    found: list[Token] = []
    for match in _PATTERN.finditer(text):
        found.extend(_tokens_of(match, text))
    return _with_compounds(found, text)


def _tokens_of(match: re.Match[str], text: str) -> Iterator[Token]:
    start, end = match.span()
    kind = match.lastgroup
    if match.group("function"):
        code = _function_colour(match.group("function").lower())
        yield Token("hex" if code else "unread", code or match.group(), start, end)
    elif match.group("named_code") or match.group("c_code"):
        digits = match.group("named_code") or match.group("c_code")
        code = normalise_hex(digits[-6:] if match.group("c") else digits)
        yield Token("hex" if code else "unread", code or digits, start, end)
    elif match.group("bare"):
        yield from _bare(match, start, end)
    elif kind == "hex":
        code = normalise_hex(match.group())
        glued = start > 0 and text[start - 1].isalnum() and code is None
        if not glued:
            yield Token("hex" if code else "unread", code or match.group(), start, end)
    elif kind == "number":
        word = match.group().lower().lstrip("0123456789")
        if word:
            yield from _words(word, end - len(word), end)
    elif kind == "word":
        yield from _words(match.group(), start, end)
    else:
        mark = match.group()
        if mark == "." and text[start - 1 : start].isdigit() and text[end : end + 1].isdigit():
            return
        yield Token(_MARKS[mark], mark, start, end)


def _bare(match: re.Match[str], start: int, end: int) -> Iterator[Token]:
    """Yield ``(c06148)`` as a parenthesis with codes; a word of six such letters is a word."""
    inside = match.group().strip("( )")
    yield Token("open", "(", start, start + 1)
    at = start + match.group().index(inside)
    for piece in re.finditer(r"[0-9a-f]{6}", inside, re.IGNORECASE):
        word = piece.group().lower()
        span = (at + piece.start(), at + piece.end())
        if word in _NO_CODES:
            yield Token("word", word, *span)
        else:
            yield Token("hex", "#" + word, *span)
    yield Token("close", ")", end - 1, end)


def _function_colour(call: str) -> str | None:
    """Return ``rgb(…)``, ``hsl(…)`` or ``hsv(…)`` as ``#rrggbb``; None for values out of range."""
    numbers = re.findall(r"-?\d+(?:\.\d+)?\s*%?", call)
    if len(numbers) < 3:
        return None
    values = [float(number.rstrip("% ")) for number in numbers[:3]]
    if call.startswith("rgb"):
        rgb = [v * 2.55 if "%" in n else v for v, n in zip(values, numbers, strict=False)]
    else:
        hue, second, third = values[0] % 360 / 360, values[1] / 100, values[2] / 100
        if not (0 <= second <= 1 and 0 <= third <= 1):
            return None
        made = (
            colorsys.hls_to_rgb(hue, third, second)
            if call.startswith("hsl")
            else colorsys.hsv_to_rgb(hue, second, third)
        )
        rgb = [255 * channel for channel in made]
    if not all(-0.5 <= channel <= 255.5 for channel in rgb):
        return None
    return "#" + "".join(f"{round(channel):02x}" for channel in rgb)


def _words(text: str, start: int, end: int) -> Iterator[Token]:
    """Yield the tokens of a word, a hyphenated one ("red-haired") or a glued one ("darkred")."""
    whole = text.lower()
    if "-" in whole and whole not in lexicon.ADJECTIVES:
        if ATTRIBUTE_OF.get(whole.replace("-", "")):
            yield Token("noun", whole.replace("-", ""), start, end)
            return
        at = start
        parts = text.split("-")
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            for token in _words(part, at, at + len(part)):
                # "half-closed", "wide-brimmed": what a hyphen leads on is no noun
                if not last and token.kind in ("word", "noun", "person"):
                    token = Token("adjective", token.value, token.start, token.end)
                yield token
            at += len(part) + 1
        return
    known = _known(whole)
    if known is not None:
        yield Token(known[0], known[1], start, end)
        return
    if 6 <= len(whole) <= _LONGEST_WORD and compound_at([whole], 0) == 0:
        for cut in range(3, len(whole) - 2):  # "darkred", "bluegreen", "collaredshirt"
            first, second = _known(whole[:cut]), _known(whole[cut:])
            if second is None or second[0] not in ("noun", "colour"):
                continue
            if first is not None and first[0] in ("colour", "modifier"):
                yield Token(first[0], first[1], start, start + cut)
                yield Token(second[0], second[1], start + cut, end)
                return
            if second[0] == "noun" and len(second[1]) >= _LONG_NOUN:
                yield Token("adjective", whole[:cut], start, start + cut)
                yield Token("noun", second[1], start + cut, end)
                return
    yield Token(_guess(whole), whole, start, end)


def _known(word: str) -> tuple[str, str] | None:
    for kind, table in _TABLES:
        if word in table:
            return kind, word
    if word in lexicon.PEOPLE_OF:
        return "owner", lexicon.PEOPLE_OF[word]
    colour = canonical_colour(word)
    if colour is not None:
        return "colour", colour
    if split_glued(word):
        return None
    if compound_at([word], 0):
        return "colour", word
    return None


_TABLES: tuple[tuple[str, Container[str]], ...] = (
    ("noun", ATTRIBUTE_OF),
    ("person", PERSONS),
    ("stays", lexicon.STAYS - TONES),
    ("tone", TONES),
    ("modifier", MODIFIERS),
    ("adjective", BACKGROUND_KINDS),
    ("article", lexicon.ARTICLES),
    ("negation", lexicon.NEGATIONS),
    ("but", frozenset(["but"])),
    ("join", lexicon.JOINS),
    ("choice", lexicon.ALTERNATIVES),
    ("copula", lexicon.COPULAS),
    ("relative", lexicon.RELATIVES),
    ("wearing", lexicon.WEARING),
    ("verb", lexicon.VERBS),
    ("preposition", lexicon.PREPOSITIONS),
    ("adjective", lexicon.ADJECTIVES),
)
"""Kind and words, in the order in which a word is looked up."""


def _guess(word: str) -> str:
    """Return adjective for what ends like a participle or an adverb, else word (a noun)."""
    if len(word) > 4 and word.endswith("ing") and word not in lexicon.NOUNS_IN_ING:
        return "adjective"
    if len(word) > 3 and word.endswith("ed") and word not in lexicon.NOUNS_IN_ED:
        return "adjective"
    if len(word) > 3 and word.endswith("ly") and word not in lexicon.NOUNS_IN_LY:
        return "adjective"
    if len(word) > 5 and word.endswith("est") and word not in lexicon.NOUNS_IN_EST:
        return "adjective"
    return "word"


_IN_NAMES = ("colour", "modifier", "word", "adjective")


def _with_compounds(tokens: list[Token], text: str) -> list[Token]:
    """Return ``tokens`` with the words of names such as "burnt sienna" made one colour."""
    values = [
        text[token.start : token.end].lower()
        if token.kind in _IN_NAMES or token.value == "off"
        else ""
        for token in tokens
    ]
    out: list[Token] = []
    at = 0
    while at < len(tokens):
        count = compound_at(values, at) if values[at] else 0
        if count > 1:
            words = "_".join(values[at : at + count])
            out.append(Token("colour", words, tokens[at].start, tokens[at + count - 1].end))
        else:
            out.append(_shaped(tokens, at))
        at += max(1, count)
    return out


def _shaped(tokens: list[Token], at: int) -> Token:
    """Return the token, a noun before "shaped", "style" and the like as an adjective."""
    token = tokens[at]
    following = tokens[at + 1] if at + 1 < len(tokens) else None
    if token.kind != "word" or following is None or following.value not in lexicon.SHAPED:
        return token
    return Token("adjective", token.value, token.start, token.end)
