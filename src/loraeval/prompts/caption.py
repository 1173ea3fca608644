"""The caption grammar: a prompt taken to the colours that it asks for.

The field writes captions such as ``pixel art, 24x24, portrait of …, hair (#c06148), brown eyes,
solid background (#1e1e1e), palette: #c06148, #1e1e1e, sharp pixel edges, #440a08``: phrases
between commas, a hex code behind what it colours, a ``palette:`` list, a bare tail. People and
scripts leave them with lost parentheses, 3-digit codes, doubles and typos, so that the grammar
takes any text, in time linear in its length, and keeps what it could not assign.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from loraeval.prompts.colour_names import MODIFIERS, SKIN_WORDS, canonical_colour
from loraeval.prompts.vocabulary import ARTICLES, ATTRIBUTE_OF, BACKGROUND_KINDS, SUBORDINATE
from loraeval.records import Caption, NamedColour

_HEX = re.compile(r"#([0-9A-Za-z]*)")
_TOKEN = re.compile(r"#[0-9A-Za-z]*|[A-Za-z]+|[(),;:/&+]|[0-9]+")
_PALETTE = re.compile(r"\s*(?:colou?r\s+)?palette\s*[:=\-]?\s*", re.IGNORECASE)
_LONGEST_WORD = 40
_LONG_NOUN = 5


@dataclass(frozen=True, slots=True)
class _Word:
    """One token of a phrase: ``kind`` is hex, colour, modifier, noun, word or mark."""

    kind: str
    value: str
    inside: bool
    """Within parentheses."""


@dataclass(frozen=True, slots=True)
class _Find:
    """A colour in a phrase: token position, position of its noun (None: none), hex or name."""

    position: int
    noun: int | None
    hex: str | None
    name: str | None


def parse_caption(text: str) -> Caption:
    """Return the colours that ``text`` names: per attribute, palette list, tail, leftovers.

    Never raises on a ``str``. A hex code belongs to the last noun before it that is not a mere
    addition ("hoodie with a chain (#…)" colours the hoodie); colour words belong to the noun that
    follows them, else to the one before. Colour words at a noun that has a hex code are not kept
    besides it: the code is the more exact statement. Text without any colour gives an empty
    ``Caption``.
    """
    colours: list[NamedColour] = []
    palette: list[str] = []
    tail: list[str] = []
    unassigned: list[str] = []
    kind = "unknown"
    in_palette = False
    for phrase in _phrases(text):
        opening = _PALETTE.match(phrase)
        body = phrase[opening.end() :] if opening and "#" in phrase else phrase
        bare = _bare_codes(body)
        if bare is not None:
            in_palette = in_palette or body is not phrase
            good = [code for code in bare if code is not None]
            (palette if in_palette else tail).extend(good)
            if len(good) < len(bare):
                unassigned.append(phrase)
            continue
        in_palette = False
        words = tuple(_words(phrase))
        kind = _background_kind(words) if kind == "unknown" else kind
        found, leftover = _colours_of(words, phrase)
        colours.extend(found)
        if leftover:
            unassigned.append(phrase)
    return Caption(
        text=text,
        colours=tuple(colours),
        palette=tuple(dict.fromkeys(palette)),
        tail=tuple(dict.fromkeys(tail)),
        background_kind=kind,
        unassigned=tuple(unassigned),
    )


def normalise_hex(code: str) -> str | None:
    """Return ``code`` (with or without ``#``) as ``#rrggbb`` in lower case, None if it is none.

    Three digits are doubled; a fourth or an eighth-digit alpha (``#rgba``, ``#rrggbbaa``) is
    dropped.
    """
    digits = code.removeprefix("#").lower()
    if not digits or digits.strip("0123456789abcdef"):
        return None
    if len(digits) in (3, 4):
        return "#" + "".join(2 * digit for digit in digits[:3])
    return "#" + digits[:6] if len(digits) in (6, 8) else None


def _phrases(text: str) -> Iterator[str]:
    """Split at commas, semicolons and line breaks outside parentheses; skip what is empty.

    A parenthesis counts only where it closes before the next one opens, so that a lost one does
    not swallow the rest.
    """
    start = 0
    closes_at = -1
    for match in re.finditer(r"[(,;\r\n]", text):
        position = match.start()
        if position < closes_at:
            continue
        if match.group() == "(":
            closes_at = _closing(text, position)
            continue
        piece = text[start:position].strip()
        start = position + 1
        if piece:
            yield piece
    if piece := text[start:].strip():
        yield piece


def _closing(text: str, opening: int, reach: int = 400) -> int:
    """Return where the parenthesis at ``opening`` closes, or -1 if it was lost."""
    inside = text[opening + 1 : opening + 1 + reach]
    close = inside.find(")")
    if close < 0:
        return -1
    inside = inside[:close]
    return -1 if "(" in inside or "palette" in inside.lower() else opening + 1 + close


def _bare_codes(phrase: str) -> list[str | None] | None:
    """Return the codes of a phrase that holds hex codes and nothing else; None for others."""
    if "#" not in phrase or re.search(r"\w", _HEX.sub("", phrase)):
        return None
    return [normalise_hex(code) for code in _HEX.findall(phrase)]


def _words(phrase: str) -> Iterator[_Word]:
    inside = False
    for token in _TOKEN.findall(phrase):
        if token in ("(", ")"):
            inside = token == "("
            yield _Word("mark", token, inside)
        elif token.startswith("#"):
            yield _Word("hex", token, inside)
        else:
            for kind, value in _classify(token.lower()):
                yield _Word(kind, value, inside)


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


def _background_kind(words: tuple[_Word, ...]) -> str:
    if not any(w.kind == "noun" and ATTRIBUTE_OF[w.value] == "background" for w in words):
        return "unknown"
    kinds = [BACKGROUND_KINDS[word.value] for word in words if word.value in BACKGROUND_KINDS]
    return kinds[-1] if kinds else "unknown"


def _colours_of(words: tuple[_Word, ...], phrase: str) -> tuple[list[NamedColour], bool]:
    """Return the colours of one phrase in order, and whether something coloured was left over."""
    nouns = _nouns(words)
    finds: list[_Find] = []
    leftover = False
    for position, word in enumerate(words):
        if word.kind == "hex":
            code = normalise_hex(word.value)
            leftover = leftover or code is None
            if code is not None:
                finds.append(_Find(position, _head(words, nouns, position), code, None))
    taken = {find.noun for find in finds}
    for find in _named(words, nouns):
        if find.noun is None and not _worn(words):
            leftover = leftover or not finds
        elif find.noun not in taken:
            finds.append(find)
    finds.sort(key=lambda find: find.position)
    colours = [
        NamedColour(_attribute(words, find.noun), find.hex, find.name, phrase)
        for find in dict.fromkeys(finds)
    ]
    return list(dict.fromkeys(colours)), leftover


def _attribute(words: tuple[_Word, ...], noun: int | None) -> str:
    if noun is not None:
        return ATTRIBUTE_OF[words[noun].value]
    return "clothing" if _worn(words) else "other"


def _worn(words: tuple[_Word, ...]) -> bool:
    return any(word.value in ("wearing", "wears", "dressed") for word in words)


def _nouns(words: tuple[_Word, ...]) -> list[int]:
    """Return the positions of nouns, without "top" where it is a place ("longer on top")."""
    return [
        position
        for position, word in enumerate(words)
        if word.kind == "noun"
        and not (
            word.value == "top"
            and (position == 0 or words[position - 1].value in ARTICLES | SUBORDINATE | {"at"})
        )
    ]


def _head(words: tuple[_Word, ...], nouns: list[int], position: int) -> int | None:
    """Return the noun that a hex code at ``position`` colours: the last one that is no addition.

    Eyes and background are never additions: "glasses with brown eyes (#…)" colours the eyes.
    """
    before = [noun for noun in nouns if noun < position and not words[noun].inside]
    if not before:
        return next((noun for noun in nouns if noun > position), None)
    last = before[-1]
    if ATTRIBUTE_OF[words[last].value] in ("eyes", "background") and not _is_place(words, last):
        return last
    cut = next((i for i, word in enumerate(words) if word.value in ("with", "by")), len(words))
    main = [noun for noun in before if noun < cut and not _is_place(words, noun)]
    return main[-1] if main else last


def _is_place(words: tuple[_Word, ...], noun: int) -> bool:
    """Return whether the noun stands right behind a preposition: "bow in hair", "in a bun"."""
    previous = noun - 1
    while previous >= 0 and words[previous].value in ARTICLES:
        previous -= 1
    return previous >= 0 and words[previous].value in SUBORDINATE


def _named(words: tuple[_Word, ...], nouns: list[int]) -> Iterator[_Find]:
    """Yield the colours that the phrase gives in words only."""
    served: set[int] = set()
    following = _following(words, nouns)
    position = 0
    while position < len(words):
        if words[position].kind not in ("colour", "modifier"):
            position += 1
            continue
        end = position
        while end < len(words) and words[end].kind in ("colour", "modifier"):
            end += 1
        group = [word.value for word in words[position:end]]
        coloured = any(word.kind == "colour" for word in words[position:end])
        noun, inside = following[end - 1], words[position].inside
        if noun is not None and words[noun].inside != inside:
            noun = None
        if noun is None:
            noun = next((n for n in reversed(nouns) if n < position), None)
            if noun in served and inside:
                position = end
                continue
        name = _name(words, group, noun, adjacent=noun == end, coloured=coloured)
        if name is not None:
            yield _Find(position, noun, None, name)
            if noun is not None:
                served.add(noun)
        position = end


def _following(words: tuple[_Word, ...], nouns: list[int]) -> list[int | None]:
    """Return for each position the first noun behind it, in one pass from the right."""
    result: list[int | None] = [None] * len(words)
    nearest: int | None = None
    positions = set(nouns)
    for position in range(len(words) - 1, -1, -1):
        result[position] = nearest
        if position in positions:
            nearest = position
    return result


def _name(
    words: tuple[_Word, ...], group: list[str], noun: int | None, *, adjacent: bool, coloured: bool
) -> str | None:
    """Return the colour's name for ``colour_words.region``, None where the words name none."""
    attribute = None if noun is None else ATTRIBUTE_OF[words[noun].value]
    if attribute == "skin" and all(word in SKIN_WORDS for word in group):
        return f"{' '.join(group)} skin"
    if coloured:
        return "red hair" if attribute == "hair" and group == ["red"] else " ".join(group)
    if adjacent and attribute in ("hair", "eyes", "background"):
        return " ".join(group)  # "dark hair": a lightness, no hue
    return None
