"""Parentheses of a caption that hold colours, and the noun that such a colour belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from loraeval.prompts.naming import Colour, Noun, nearer_to
from loraeval.prompts.tokens import Token

_INSIDE = 60
"""Tokens that a parenthesis may hold to count as one behind its noun."""

_NEVER_ADDED = frozenset(["eyes", "background", "hair", "skin", "lips"])
"""Attributes that are no addition to another: "glasses with brown eyes (#…)" are eyes."""

_ALLOWED = frozenset(
    ["colour", "modifier", "hex", "join", "choice", "comma", "tone", "adjective", "copula",
     "unread", "preposition"]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bracket:
    """What a parenthesis holds: its colours, where it ends, whether they are alternatives.

    ``name`` is true where it holds words only, which make a name of what stands before it.
    """

    colours: list[Colour]
    end: int
    choice: bool = False
    name: bool = False


def bracket_at(tokens: list[Token], opening: int) -> Bracket | None:
    """Return the parenthesis that opens at a token; None where it was lost or is a mere emphasis.

    Codes outweigh words beside them: "(dark brown #3b2219)" is the code.
    """
    inside: list[Token] = []
    for token in tokens[opening + 1 : opening + 1 + _INSIDE]:
        if token.kind == "close":
            break
        inside.append(token)
    else:
        return None
    end = opening + 2 + len(inside)
    kinds = {token.kind for token in inside}
    codes = [token for token in inside if token.kind == "hex"]
    if not codes and "colour" not in kinds:
        return Bracket([], end, name=kinds == {"word"})
    if not kinds <= (_ALLOWED | {"word", "article"} if codes else _ALLOWED):
        return None
    if codes:
        colours = [Colour(token.value, (), token.start, token.end) for token in codes]
    else:
        colours = _in_words(inside)
    return Bracket(colours, end, choice="choice" in kinds)


def _in_words(inside: list[Token]) -> list[Colour]:
    """Return the colours of a parenthesis in words: those in a row are one."""
    groups: list[list[Token]] = [[]]
    for token in inside:
        if token.kind in ("colour", "modifier"):
            groups[-1].append(token)
        elif groups[-1] and token.kind != "adjective":
            groups.append([])
    return [Colour.of(group) for group in groups if group]


def noun_of_bracket(nouns: list[Noun], colour: Colour) -> Noun | None:
    """Return the noun of a phrase that a code in a parenthesis colours.

    The last one, unless it is a mere place ("bow in hair (#…)") or an addition ("hoodie with two
    cherries (#…)") of one that has no code yet; an addition whose own colour words are nearer to
    the code takes it ("black hair with a red bow (#cc2020)").
    """
    known = [noun for noun in nouns if noun.kind != "other"] or nouns
    main = [noun for noun in known if not noun.place and not noun.added]
    if not known:
        return None
    last = known[-1]
    if not main or last is main[-1] or (last.kind in _NEVER_ADDED and not last.place):
        return last
    first = main[-1]
    if any(one.hex for one in first.colours):
        return last
    return last if nearer_to(colour, last, first) else first
