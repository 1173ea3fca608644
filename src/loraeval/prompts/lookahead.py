"""Bounded looks ahead over a caption's tokens: what a colour or a noun is followed by."""

from __future__ import annotations

from loraeval.prompts.tokens import Token

LOOK = 14
"""Tokens that a look ahead takes at most."""

COLOURS = ("colour", "modifier", "hex")
NOUNS = ("noun", "word", "person", "tone")
THINGS = frozenset(["light", "sky", "forest", "blood", "jet", "ash", "baby", "ice"])
"""Modifiers that are nouns where a colour stands before them: "red light"."""


def trails(tokens: list[Token], at: int) -> bool:
    """Return whether colours follow their nouns in this phrase: "hair red eyes blue"."""
    last = ""
    for token in tokens[at : at + LOOK]:
        if token.kind in ("comma", "stop", "copula", "verb", "preposition", "open"):
            break
        if token.kind in ("article", "close") and last:
            break
        if token.kind in (*COLOURS, *NOUNS):
            last = "colour" if token.kind in COLOURS else "noun"
    return last == "colour"


def noun_ahead(tokens: list[Token], at: int) -> bool:
    """Return whether the words from ``at`` on lead to a noun: "and bright blue eyes"."""
    for token in tokens[at : at + LOOK]:
        if token.kind in ("noun", "word", "person", "owner"):
            return True
        if token.kind not in (*COLOURS, "adjective", "join", "choice", "tone", "close"):
            return False
    return False


def only_colours(tokens: list[Token], at: int) -> bool:
    """Return whether the phrase at ``at`` names colours and nothing else."""
    seen = False
    for token in tokens[at : at + LOOK]:
        if token.kind == "comma":
            return seen
        if token.kind not in (*COLOURS, "join", "choice", "adjective"):
            return False
        seen = seen or token.kind in ("colour", "hex")
    return seen


def in_hair(tokens: list[Token], at: int) -> bool:
    """Return whether "in her hair", "behind the ear" follows."""
    words = [token.value for token in tokens[at : at + 3]]
    return words[:1] in (["in"], ["on"], ["behind"]) and bool({"hair", "ear"} & set(words))


def runs_on(tokens: list[Token], at: int) -> bool:
    """Return whether a run of nouns goes on with the token: "rim light" does."""
    token = tokens[at]
    if token.kind in NOUNS:
        return True
    following = tokens[at + 1].kind if at + 1 < len(tokens) else ""
    alone = following not in (*COLOURS, *NOUNS, "adjective")
    last = tokens[at - 1]
    return token.value in THINGS and alone and last.value not in ("hair", "eyes", "skin")


def lists_on(tokens: list[Token], at: int) -> bool:
    """Return whether a list of adjectives goes on to a noun: "blue, green, and white shirt".

    The last of the list needs its "and" or "or".
    """
    joined = False
    for token in tokens[at : at + LOOK]:
        if token.kind in ("join", "choice"):
            joined = True
        elif token.kind in ("noun", "word", "person"):
            return joined
        elif token.kind not in (*COLOURS, "comma", "adjective") or (
            joined and token.kind == "comma"
        ):
            return False
    return False


def adjective_ahead(tokens: list[Token], at: int) -> bool:
    """Return whether a colour stands at ``at`` and leads to a noun."""
    return tokens[at : at + 1] != [] and tokens[at].kind in COLOURS and noun_ahead(tokens, at)
