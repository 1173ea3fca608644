"""What a scorer's details look like on a picture: colour swatches and the found lattice.

Details come out of a scores file, which a stranger may have written: only what has the right
shape is used, a colour only as ``#rrggbb``, a number only where it is finite.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_HEX = re.compile(r"#[0-9a-f]{6}\Z")


@dataclass(frozen=True, slots=True)
class Swatch:
    """A colour that the caption names: ``wanted`` as it stands there, and the nearest ``found``.

    ``colour`` is ``wanted`` as ``#rrggbb``, None for a colour word; ``found`` is None where the
    picture has nothing to compare with; ``delta_e`` is their CIEDE2000 distance (0 inside of a
    colour word's region); ``missing`` says that the picture shows another colour there. ``right``
    is the scorer's verdict, None where the attribute was not seen or was not judged; ``where``
    the cells that it looked at.
    """

    attribute: str
    wanted: str
    colour: str | None
    found: str | None
    delta_e: float | None
    missing: bool
    right: bool | None = None
    where: str | None = None

    @property
    def verdict(self) -> str:
        """The verdict in words: right, wrong, not seen; there or missing where none was given."""
        if self.right is not None:
            return "right" if self.right else "wrong"
        return "not seen" if self.found is None else "missing" if self.missing else "there"


@dataclass(frozen=True, slots=True)
class LatticeOverlay:
    """The lattice found in an image: period and phase along x and y, in pixels."""

    period: tuple[float, float]
    phase: tuple[float, float]


MISSING_DELTA_E = 10.0
"""A colour farther off than this reads as another one, also where the scorer names no fault."""


def swatches(details: Mapping[str, Any]) -> list[Swatch]:
    """Return the colours of ``ScoreRow.details["palette"]``, the missing ones first."""
    palette = details.get("palette")
    entries = palette.get("attributes") if isinstance(palette, Mapping) else None
    found = []
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("wanted"), str):
            continue
        delta_e = _number(entry.get("delta_e"))
        right, where = entry.get("right"), entry.get("where")
        judged = isinstance(right, bool)
        far = delta_e is None or delta_e > MISSING_DELTA_E
        unseen = "right" in entry and right is None
        noun = entry.get("noun")
        kind = str(entry.get("attribute") or "colour")
        found.append(
            Swatch(
                attribute=(f"{noun}" if isinstance(noun, str) and noun else kind)[:60],
                wanted=entry["wanted"][:60],
                colour=_hex(entry["wanted"]),
                found=_hex(entry.get("found")),
                delta_e=delta_e,
                missing=not right if judged else not unseen and ("fault" in entry or far),
                right=right if judged else None,
                where=where[:80] if isinstance(where, str) else None,
            )
        )
    return sorted(found, key=lambda swatch: (not swatch.missing, -(swatch.delta_e or 0.0)))


def lattice_overlay(details: Mapping[str, Any]) -> LatticeOverlay | None:
    """Return the lattice of ``ScoreRow.details["grid"]``, None where none was found."""
    grid = details.get("grid")
    if not isinstance(grid, Mapping):
        return None
    period, phase = _pair(grid.get("period")), _pair(grid.get("phase"))
    if period is None or min(period) < 2:
        return None
    return LatticeOverlay(period, phase or (0.0, 0.0))


def facts(details: Mapping[str, Any], scorer: str) -> dict[str, str]:
    """Return the plain values and lists of text among a scorer's details as text, without the
    reason.
    """
    found = details.get(scorer)
    if not isinstance(found, Mapping):
        return {}
    plain: dict[str, str] = {}
    for key, value in found.items():
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            value = "; ".join(value)
        if key == "reason" or not isinstance(value, (str, int, float, bool)):
            continue
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        plain[str(key)[:60]] = text[:300]
    return plain


def reason(details: Mapping[str, Any], metric: str) -> str | None:
    """Return why ``metric`` has no number, None where its scorer does not say."""
    found = details.get(metric.split(".")[0])
    if not isinstance(found, Mapping):
        return None
    others = found.get("unscored")
    said = others.get(metric) if isinstance(others, Mapping) else None
    said = said or found.get("reason")
    return said[:300] if isinstance(said, str) else None


def _hex(value: object) -> str | None:
    text = value.lower() if isinstance(value, str) else ""
    return text if _HEX.match(text) else None


def _number(value: object) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def _pair(value: object) -> tuple[float, float] | None:
    single = _number(value)
    if single is not None:
        return single, single
    if isinstance(value, (list, tuple)) and len(value) == 2:
        first, second = _number(value[0]), _number(value[1])
        if first is not None and second is not None:
            return first, second
    return None
