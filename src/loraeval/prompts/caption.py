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

from loraeval.prompts.phrases import Mention, Phrase
from loraeval.records import Caption, NamedColour

_HEX = re.compile(r"#([0-9A-Za-z]*)")
_PALETTE = re.compile(r"(?:colou?r\s{1,9})?palette\s{0,9}[:=\-]?\s*", re.IGNORECASE)
_BREAK = re.compile(r"[(,;\r\n]")
_BRACKET_REACH = 400
"""A parenthesis that closes later than this many characters on counts as lost."""
_SHORTEST_WORD = 3
"""Letters of the shortest colour word; what is shorter names none."""
_PHRASE_KEPT = 300
"""Characters of a phrase that are kept with a colour; a longer one ends in an ellipsis."""


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
    kind: str | None = None
    in_palette = False
    for phrase in _phrases(text):
        opening = _PALETTE.match(phrase) if "#" in phrase else None
        codes = _bare_codes(phrase[opening.end() :] if opening else phrase)
        if codes is not None:
            in_palette = in_palette or opening is not None
            good = [code for code in codes if code is not None]
            (palette if in_palette else tail).extend(good)
            if len(good) < len(codes):
                unassigned.append(_kept(phrase))
            continue
        in_palette = False
        if len(phrase) < _SHORTEST_WORD:
            continue
        words = Phrase(phrase)
        kind = kind or words.background_kind()
        found, leftover = _colours_of(words, _kept(phrase))
        colours.extend(found)
        if leftover:
            unassigned.append(_kept(phrase))
    return Caption(
        text=text,
        colours=tuple(colours),
        palette=tuple(dict.fromkeys(palette)),
        tail=tuple(dict.fromkeys(tail)),
        background_kind=kind or "unknown",
        unassigned=tuple(unassigned),
    )


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


def _kept(phrase: str) -> str:
    return phrase if len(phrase) <= _PHRASE_KEPT else phrase[: _PHRASE_KEPT - 1] + "…"


def _phrases(text: str) -> Iterator[str]:
    """Split at commas, semicolons and line breaks outside parentheses; skip what is empty.

    A parenthesis counts only where it closes before the next one opens, so that a lost one does
    not swallow the rest.
    """
    start = 0
    closes_at = -1
    for match in _BREAK.finditer(text):
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


def _closing(text: str, opening: int) -> int:
    """Return where the parenthesis at ``opening`` closes, or -1 if it was lost."""
    close = text.find(")", opening, opening + _BRACKET_REACH)
    if close < 0:
        return -1
    inside = text[opening + 1 : close]
    if "(" in inside or "palette" in inside.lower():
        return -1
    return close


def _bare_codes(phrase: str) -> list[str | None] | None:
    """Return the codes of a phrase that holds hex codes and nothing else; None for others."""
    if "#" not in phrase or re.search(r"\w", _HEX.sub("", phrase)):
        return None
    return [normalise_hex(code) for code in _HEX.findall(phrase)]


def _colours_of(phrase: Phrase, text: str) -> tuple[list[NamedColour], bool]:
    """Return the colours of one phrase in order, and whether something coloured was left over."""
    mentions: list[Mention] = []
    leftover = False
    for position, word in enumerate(phrase.words):
        if word.kind == "hex":
            code = normalise_hex(word.value)
            leftover = leftover or code is None
            if code is not None:
                mentions.append(Mention(position, phrase.head(position), code, None))
    by_code = {mention.noun for mention in mentions}
    for mention in phrase.named():
        if mention.noun is None and not phrase.worn:
            leftover = leftover or not mentions
        elif mention.noun not in by_code:
            mentions.append(mention)
    mentions.sort(key=lambda mention: mention.position)
    colours = [
        NamedColour(phrase.attribute(mention.noun), mention.hex, mention.name, text)
        for mention in mentions
    ]
    return list(dict.fromkeys(colours)), leftover
