"""A caption's reading as plain values: a line of ``loraeval caption --json``."""

from __future__ import annotations

from typing import Any

from loraeval.records import Caption, NamedColour


def caption_json(caption: Caption) -> dict[str, Any]:
    """Return how a caption was read.

    ``attributes`` holds a row for each colour: ``attribute``, ``noun`` ("" where there is none),
    ``hex`` and ``name`` (one of them null), and ``choice``, a number that rows share of which the
    caption asks for one. ``palette`` holds the listed codes, those of a bare tail at the end.
    """
    return {
        "text": caption.text,
        "attributes": [_row(colour) for colour in caption.colours],
        "palette": list(dict.fromkeys([*caption.palette, *caption.tail])),
        "background": caption.background_kind,
        "unassigned": list(caption.unassigned),
    }


def spoken_name(colour: NamedColour) -> str | None:
    """Return a colour's words without the noun that ``colour_words`` needs: "dark skin" -> dark."""
    if colour.name is None:
        return None
    bare = colour.name.removesuffix(f" {colour.attribute}")
    return bare if colour.attribute in ("skin", "hair") else colour.name


def _row(colour: NamedColour) -> dict[str, Any]:
    row: dict[str, Any] = {
        "attribute": colour.attribute,
        "noun": colour.noun,
        "hex": colour.hex,
        "name": spoken_name(colour),
    }
    if colour.choice:
        row["choice"] = colour.choice
    return row
