"""Texts to rows of tokens: as training makes them, and as web UIs do.

Training (sd-scripts): the text is taken by ftfy first, as the tokenizer that it pins does, then cut
into chunks of 75 tokens; brackets and ``BREAK`` are words. UIs (A1111): ``(x)`` weighs 1.1 times,
``[x]`` the 1.1th part, ``(x:1.3)`` 1.3 times, a backslash makes a bracket a letter, ``BREAK`` ends
a chunk, and a chunk that is full ends at its last comma where that is less than 20 tokens back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

CHUNK = 75
"""Tokens of a prompt in one pass of a text encoder; BOS and EOS make it 77."""

COMMA_BACK = 20
STEP = 1.1
_BREAK = None
_PIECE = re.compile(
    r"\\(?P<letter>[\\()\[\]])|:\s*(?P<weight>[+-]?[.\d]+)\s*\)|(?P<mark>[()\[\]])|"
    r"\b(?P<end>BREAK)\b|(?P<text>\\|:|.[^\\()\[\]:]*?(?=\bBREAK\b|[\\()\[\]:]|$))",
    re.DOTALL,
)


@dataclass(slots=True)
class Row:
    """One chunk: at most 75 token ids, and the weight of each."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)


def mend(text: str) -> str:
    """Return ``text`` as the tokenizer of the trainer takes it: curly quotes straight, entities,
    ligatures and full width letters plain, broken encodings mended.

    >>> mend("a girl’s &amp; boy’s ﬁsh")
    "a girl's & boy's fish"
    """
    import ftfy

    return ftfy.fix_text(text)


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """Return the ids of ``text`` without BOS, EOS and padding, however many there are."""
    return list(
        tokenizer(mend(text), add_special_tokens=False, truncation=False, verbose=False)[
            "input_ids"
        ]
    )


def weighted(text: str) -> list[tuple[str | None, float]]:
    """Return the pieces of a UI's prompt with their weights; None stands for ``BREAK``.

    >>> weighted("a (red:1.5) ((cat)) BREAK x")
    [('a ', 1.0), ('red', 1.5), (' ', 1.0), ('cat', 1.2100000000000002), (' ', 1.0), (None, 1.0), \
(' x', 1.0)]
    """
    pieces: list[tuple[str | None, float]] = []
    round_: list[int] = []
    square: list[int] = []

    def times(start: int, factor: float) -> None:
        pieces[start:] = [(piece, weight * factor) for piece, weight in pieces[start:]]

    for hit in _PIECE.finditer(text):
        mark = hit["mark"]
        if hit["end"]:
            pieces.append((_BREAK, 1.0))
        elif mark in ("(", "["):
            (round_ if mark == "(" else square).append(len(pieces))
        elif hit["weight"] and round_ and _number(hit["weight"]) is not None:
            times(round_.pop(), _number(hit["weight"]) or 0.0)
        elif mark == ")" and round_:
            times(round_.pop(), STEP)
        elif mark == "]" and square:
            times(square.pop(), 1 / STEP)
        else:
            pieces.append((hit["letter"] or hit[0], 1.0))
    for start in round_:
        times(start, STEP)
    for start in square:
        times(start, 1 / STEP)
    return _joined(pieces)


def asks_ui(text: str) -> bool:
    """Return whether ``text`` is written for a UI: with a weight in brackets, or with ``BREAK``.

    >>> asks_ui("a (red:1.2) hat"), asks_ui("a (red) hat, ratio 3:4")
    (True, False)
    """
    return re.search(r"\([^()]*:\s*[+-]?[.\d]+\s*\)|\bBREAK\b", text) is not None


def rows_of(tokenizer: Any, text: str, layout: str) -> list[Row]:
    """Return the chunks of ``text``, at least one, by ``layout`` ``training`` or ``ui``."""
    if layout == "training":
        ids = token_ids(tokenizer, text)
        cut = [ids[start : start + CHUNK] for start in range(0, max(1, len(ids)), CHUNK)]
        return [Row(part, [1.0] * len(part)) for part in cut]
    comma = token_ids(tokenizer, ",")[-1]
    rows, row, last = [], Row(), -1
    for piece, weight in weighted(text):
        if piece is None:
            rows.append(row)
            row, last = Row(), -1
            continue
        for token in token_ids(tokenizer, piece):
            if token == comma:
                last = len(row.ids)
            elif len(row.ids) == CHUNK and last >= 0 and CHUNK - last <= COMMA_BACK:
                kept = last + 1
                rows.append(Row(row.ids[:kept], row.weights[:kept]))
                row, last = Row(row.ids[kept:], row.weights[kept:]), -1
            if len(row.ids) == CHUNK:
                rows.append(row)
                row, last = Row(), -1
            row.ids.append(token)
            row.weights.append(weight)
    return [*rows, row] if row.ids or not rows else rows


def chunks_needed(
    tokenizers: Sequence[Any], texts: Sequence[str], limit: int, layout: str = "training"
) -> int:
    """Return how many 75-token chunks the longest of ``texts`` takes, at least 1, at most
    ``limit``; what lies beyond is cut off.
    """
    rows = [len(rows_of(tokenizer, text, layout)) for tokenizer in tokenizers for text in texts]
    return min(limit, max(rows))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _joined(pieces: list[tuple[str | None, float]]) -> list[tuple[str | None, float]]:
    joined: list[tuple[str | None, float]] = []
    for piece, weight in pieces:
        if joined and piece is not None and joined[-1][0] is not None and joined[-1][1] == weight:
            joined[-1] = (joined[-1][0] + piece, weight)
        else:
            joined.append((piece, weight))
    return joined or [("", 1.0)]
