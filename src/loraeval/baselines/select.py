"""``--select 'run=SD15_PERFECT,epoch=7-9'``: which rows of a scores file are meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from loraeval.errors import UsageError
from loraeval.records import ScoreRow

_EXAMPLE = "expected e.g. 'run=SD15_PERFECT,epoch=7-9'"
_FIELDS = ("run", "checkpoint", "prompt_id", "epoch", "step", "seed")
_NUMBERS = ("epoch", "step", "seed")


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that a row must all meet. ``names`` maps a text field to the accepted values,
    ``ranges`` a number field to the accepted (first, last) ranges, both ends included.
    """

    text: str
    names: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ranges: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = ()

    def matches(self, row: ScoreRow) -> bool:
        """Return whether ``row`` is meant."""
        for field, values in self.names:
            if getattr(row, field) not in values:
                return False
        for field, spans in self.ranges:
            number = getattr(row, field)
            if number is None or not any(first <= number <= last for first, last in spans):
                return False
        return True


def parse_selection(text: str) -> Selection:
    """Parse ``field=value`` pairs joined by commas.

    ``run``, ``checkpoint`` and ``prompt_id`` take a name; ``epoch``, ``step`` and ``seed`` a number
    or a range ``7-9``; several values are joined by ``|``. Raises ``UsageError`` for anything else.
    """
    names: dict[str, tuple[str, ...]] = {}
    ranges: dict[str, tuple[tuple[int, int], ...]] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        field, equals, values = (piece.strip() for piece in part.partition("="))
        if not equals or not values:
            raise UsageError(f"--select: {part!r} is not field=value; {_EXAMPLE}")
        if field not in _FIELDS:
            raise UsageError(f"--select: unknown field {field!r}; known are {', '.join(_FIELDS)}")
        if field in names or field in ranges:
            raise UsageError(f"--select: {field} is given twice; join values with |")
        options = tuple(option.strip() for option in values.split("|"))
        if field in _NUMBERS:
            ranges[field] = tuple(_span(option, field) for option in options)
        else:
            names[field] = options
    if not names and not ranges:
        raise UsageError(f"--select: nothing selected; {_EXAMPLE}")
    return Selection(text, tuple(names.items()), tuple(ranges.items()))


def select_rows(rows: Iterable[ScoreRow], selection: Selection | None) -> list[ScoreRow]:
    """Return the rows that ``selection`` means, all of them without one, in their order."""
    return [row for row in rows if selection is None or selection.matches(row)]


def _span(text: str, field: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,20})(?:-([0-9]{1,20}))?", text)
    if found is None:
        raise UsageError(f"--select: {field}={text!r} is not a number or a range like 7-9")
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise UsageError(f"--select: {field}={text!r} runs backwards")
    return first, last
