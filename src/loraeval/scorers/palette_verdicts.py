"""Right, wrong or not seen: a verdict for each attribute that a caption gives a colour.

As GenEval (Ghosh and others 2023) and T2I-CompBench (Huang and others 2023) test the binding of
attributes: a colour has to be where it belongs, and where another one is, the verdict is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loraeval.images.cells import Cells
from loraeval.images.colour import hex_of_rgb, middle
from loraeval.scorers.palette_layout import Layout, Zone
from loraeval.scorers.palette_match import Wanted, named_otherwise
from loraeval.scorers.palette_zones import ZONES, frame, place_of, pupil_cells, zone_name

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

SAME_CODE = 12.0
"""CIEDE2000 within which a cell has the colour of a code: shading and the decoder's drift."""

SAME_WORD = 4.0
"""Distance within which a cell has the colour of a word: a score of a half, 15 % of namers."""

OTHERWISE = 10.0
"""Least distance of a cell that people call by another basic term."""

PART_OF_BACKGROUND = {"solid": 0.3, "unknown": 0.12, "split": 0.12, "checkered": 0.12,
                      "gradient": 0.06, "transparent": 0.4}  # fmt: skip
"""Share of the background's cells that one of its colours must have, by its kind."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one wanted colour; ``right`` None where it could not be judged.

    ``delta_e`` is the distance of ``found`` (``#rrggbb``) to what was wanted; ``where`` says in
    cells where it was looked for; ``leaked`` that the colour found there is another attribute's.
    """

    wanted: Wanted
    found: str | None
    delta_e: float | None
    right: bool | None
    where: str | None
    leaked: bool = False

    def row(self) -> dict[str, Any]:
        """Return the verdict as a row of ``details.palette.attributes``."""
        row: dict[str, Any] = {
            "attribute": self.wanted.attribute,
            "wanted": self.wanted.label,
            "found": self.found,
            "delta_e": self.delta_e,
            "right": self.right,
            "where": self.where,
        }
        if self.wanted.noun and self.wanted.noun != self.wanted.attribute:
            row["noun"] = self.wanted.noun
        if self.right is False:
            row["fault"] = "another colour"
        if self.leaked:
            row["leak"] = True
        return row


def verdicts(
    wanted: tuple[Wanted, ...],
    distances: Floats,
    cells: Cells,
    layout: Layout,
    kind: str,
    zones: dict[str, Zone] | None = None,
) -> list[Verdict]:
    """Return a verdict for each wanted colour.

    ``distances`` (wanted, rows, columns) are the cells' distances to each; ``kind`` is the
    background's. Eyes behind eyewear that the caption names are wrong only where they are seen.
    """
    covered = any(zone_name(one.attribute, one.noun) == "eyewear" for one in wanted)
    together = sum(one.attribute == "background" for one in wanted)
    rows, columns = distances.shape[1:]
    elsewise = named_otherwise(cells.lab.reshape(-1, 3), wanted).reshape(-1, rows, columns)
    distances = np.where(elsewise, np.maximum(distances, np.float32(OTHERWISE)), distances)
    found: list[Verdict] = []
    for index, one in enumerate(wanted):
        zone = zone_name(one.attribute, one.noun)
        place = place_of(zone, cells.lab, layout, zones)
        needed = place.needed
        if zone == "background":
            part = PART_OF_BACKGROUND.get(kind, 0.5)
            part = min(part, 0.15) if together > 1 else part
            needed = max(1, round(part * np.count_nonzero(place.cells)))
        seen = place.cells
        if zone == "eyes":
            seen = _with_pupils(seen, distances[index], one, cells, layout)
        verdict = _judge(one, distances[index], cells, seen, needed, eyes=zone == "eyes")
        hidden = zone != "background" and _hides(one, distances[index], layout)
        if verdict.right is False and hidden:
            verdict = Verdict(one, None, None, None, None)
        if covered and zone == "eyes" and verdict.right is False:
            verdict = Verdict(one, None, None, None, None)
        found.append(verdict)
    return [_with_leak(one, at, wanted, distances, cells) for at, one in enumerate(found)]


def _with_pupils(place: Mask, distance: Floats, one: Wanted, cells: Cells, layout: Layout) -> Mask:
    """Return an eye's cells, its pupils among them where black eyes are asked for."""
    pupils = pupil_cells(cells.lab, layout, frame(ZONES["eyes"], *place.shape))
    same = SAME_CODE if one.hex else SAME_WORD
    black = pupils.any() and float(np.median(distance[pupils])) <= same
    return place | pupils if black else place


def _hides(one: Wanted, distance: Floats, layout: Layout) -> bool:
    """Return whether the background has the wanted colour, so that a thing before it may be
    taken for it: a red cap on red cannot be told from none.
    """
    if one.attribute == "eyes" or not layout.background.any():
        return False
    same = SAME_CODE if one.hex else SAME_WORD
    return float(np.mean(distance[layout.background] <= same)) > 0.2


def _judge(
    one: Wanted, distance: Floats, cells: Cells, place: Mask, needed: int, *, eyes: bool
) -> Verdict:
    if not place.any():
        return Verdict(one, None, None, None, None)
    same = SAME_CODE if one.hex else SAME_WORD
    near = place & (distance <= same)
    count = int(np.count_nonzero(near))
    if eyes:  # the iris may be shaded, but its larger part is what people see
        needed = max(1, round(0.45 * np.count_nonzero(place)))
    right = count >= needed
    shown = near if right else place
    colour = middle(cells.rgb[shown]) if right else _commonest(cells, place)
    delta = float(np.median(distance[shown]))
    return Verdict(one, hex_of_rgb(colour), round(delta, 2), right, _where(shown))


def _commonest(cells: Cells, place: Mask) -> npt.NDArray[np.uint8]:
    """Return the commonest colour of a place: the middle of the most alike cells."""
    lab = cells.lab[place]
    if len(lab) > 200:
        lab = lab[:: len(lab) // 200 + 1]
        rgb = cells.rgb[place][:: np.count_nonzero(place) // 200 + 1]
    else:
        rgb = cells.rgb[place]
    alike = np.linalg.norm(lab[:, None] - lab[None], axis=-1) < 8
    members = alike[int(alike.sum(axis=1).argmax())]
    return np.asarray(middle(rgb[members]))


def _where(mask: Mask) -> str:
    rows, columns = np.nonzero(mask)
    return f"columns {columns.min()}-{columns.max()}, rows {rows.min()}-{rows.max()}"


def _with_leak(
    verdict: Verdict, at: int, wanted: tuple[Wanted, ...], distances: Floats, cells: Cells
) -> Verdict:
    """Mark a wrong verdict whose found colour is what the caption gives to another attribute."""
    if verdict.right is not False or verdict.found is None:
        return verdict
    one = wanted[at]
    code = np.array([int(verdict.found[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.int16)
    off = np.abs(cells.rgb.astype(np.int16) - code).sum(axis=-1)
    row, column = np.unravel_index(int(off.argmin()), off.shape)
    for other, another in enumerate(wanted):
        if (another.attribute, another.noun) == (one.attribute, one.noun):
            continue
        same = SAME_CODE if another.hex else SAME_WORD
        if distances[other, row, column] <= same:
            return Verdict(one, verdict.found, verdict.delta_e, False, verdict.where, leaked=True)
    return verdict


def shares(found: list[Verdict]) -> tuple[float | None, float | None, int]:
    """Return the share right, the share that did not leak, and how many were judged.

    Both shares are of the judged; None where none was, the second also where one colour alone
    cannot leak.
    """
    judged = [one for one in found if one.right is not None]
    if not judged:
        return None, None, 0
    right = sum(bool(one.right) for one in judged) / len(judged)
    kept = 1 - sum(one.leaked for one in judged) / len(judged)
    several = len({(one.wanted.attribute, one.wanted.noun) for one in found}) > 1
    return right, kept if several else None, len(judged)


def share_right(
    rows: Sequence[Mapping[str, Any]], baseline: Sequence[Mapping[str, Any]]
) -> float | None:
    """Return the share of attributes right against a baseline's picture of the same prompt.

    Both are rows of ``details.palette.attributes``. What could be judged on the baseline's picture
    and is not seen here counts as wrong; what neither shows is left out. None where nothing is
    left: the prompt names no colour, or nothing could be judged.
    """

    def key(row: Mapping[str, Any]) -> tuple[object, ...]:
        return row.get("attribute"), row.get("noun"), row.get("wanted")

    judged = {key(row) for row in baseline if isinstance(row.get("right"), bool)}
    counted = [
        row.get("right") is True
        for row in rows
        if isinstance(row.get("right"), bool) or ("right" in row and key(row) in judged)
    ]
    return sum(counted) / len(counted) if counted else None
