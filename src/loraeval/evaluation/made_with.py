"""What rendered the images of some rows, and whether a baseline's were rendered by the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from loraeval.records import ScoreRow

KEY = "made_with"
"""Where a baseline's provenance holds it."""


def made_with(rows: Iterable[ScoreRow]) -> str | None:
    """Return versions, device and attention processor of the rows' images as one line, several
    ways of rendering with semicolons between; None where no row tells.
    """
    told = {
        ", ".join(f"{name} {value}" for name, value in sorted(facts.items()))
        for row in rows
        if isinstance(facts := row.details.get("render"), Mapping)
    }
    return "; ".join(sorted(told)) or None


def another_way(rows: Iterable[ScoreRow], provenance: Mapping[str, Any]) -> str | None:
    """Return the line to say where ``rows`` were rendered otherwise than a baseline of
    ``provenance``, None where they were not and where either does not tell.
    """
    ours, theirs = made_with(rows), provenance.get(KEY)
    if ours is None or theirs is None or ours == theirs:
        return None
    return (
        f"rendered with {ours}, the baseline with {theirs}: freeze --repeat measures what it moves"
    )
