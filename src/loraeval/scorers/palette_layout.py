"""Where things are in a portrait: the background by its connection to the border, the face's
parts by zones of the frame and by what encloses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from loraeval.images.colour import Lab, ciede2000, middle

Mask = npt.NDArray[np.bool_]

SAME_FIELD = 10.0
"""CIEDE2000 within which cells belong to one field of the background."""

SKIN_LIKE = 10.0
"""CIEDE2000 within which a cell counts as skin once the skin's colour is known."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The parts of one picture's cells that do not depend on a caption, each (rows, columns)."""

    background: Mask
    eyes: Mask
    skin: Mask


def layout_of(lab: Lab) -> Layout:
    """Return the layout of cells in CIELAB, (rows, columns, 3)."""
    background = background_mask(lab)
    skin = skin_cells(lab, background)
    return Layout(background, eye_cells(lab, background, skin), skin)


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of the frame, in shares of width and height, and the cells a thing has there."""

    left: float
    right: float
    top: float
    bottom: float
    cells: int


ZONES = {
    "eyes": Zone(0.20, 0.80, 0.33, 0.62, 2),
    "lips": Zone(0.28, 0.75, 0.55, 0.88, 2),
    "skin": Zone(0.22, 0.78, 0.30, 0.90, 16),
    "hair": Zone(0.05, 0.95, 0.00, 0.85, 8),
}
"""Zones of a bust portrait, wide enough for hats, beards and turned heads; ``cells`` is how many
of 24x24 must have the colour, scaled with the lattice."""


@lru_cache(maxsize=64)
def zone_mask(attribute: str, rows: int, columns: int) -> tuple[Mask, int]:
    """Return the cells (rows, columns) of an attribute's zone and how many must match."""
    zone = ZONES[attribute]
    y = (np.arange(rows)[:, None] + 0.5) / rows
    x = (np.arange(columns)[None, :] + 0.5) / columns
    inside = (x >= zone.left) & (x <= zone.right) & (y >= zone.top) & (y <= zone.bottom)
    inside.setflags(write=False)
    needed = max(1, round(zone.cells * rows * columns / 576))
    return inside, min(needed, max(1, int(inside.sum())))


def background_mask(lab: Lab) -> Mask:
    """Return the cells of the background, (rows, columns), found without knowing its colour.

    Seeds are the top row and the upper three quarters of the sides. Each colour that holds at least
    6 % of them, up to four, and lies at a side, not in the middle of the top row alone, as tall
    hair does, is a field; cells near a field's colour and connected to the border are background.
    """
    rows, columns = lab.shape[:2]
    border = np.zeros((rows, columns), dtype=bool)
    border[0] = True
    border[: max(1, 3 * rows // 4), [0, -1]] = True
    seeds = lab[border]
    aside = np.zeros((rows, columns), dtype=bool)
    aside[:, [0, -1]] = True
    aside[0, : columns // 6] = aside[0, -(columns // 6) :] = True
    at_side = aside[border]
    least = 0.06 * len(seeds)
    near = np.zeros((rows, columns), dtype=bool)
    flat = lab.reshape(-1, 3)
    alike = ciede2000(seeds[:, None], seeds[None]) < SAME_FIELD
    for _ in range(4):
        if len(seeds) < least:
            break
        members = alike[int(alike.sum(axis=1).argmax())]
        if np.count_nonzero(members) < least:
            break
        if np.count_nonzero(at_side & members) >= 2:
            near |= (ciede2000(flat, middle(seeds[members])) < SAME_FIELD).reshape(rows, columns)
        seeds, at_side = seeds[~members], at_side[~members]
        alike = alike[np.ix_(~members, ~members)]
    labels, _ = ndimage.label(near)
    touching = np.unique(labels[border & near])
    mask: Mask = np.isin(labels, touching[touching > 0])
    return mask


MOST_COMPARED = 400
"""Cells that are compared each with each; of more, evenly spread ones stand for all."""


def _thinned(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values[:: len(values) // MOST_COMPARED + 1]


def skin_cells(lab: Lab, background: Mask) -> Mask:
    """Return the cells near the commonest colour of forehead, eyes and cheeks, (rows, columns).

    Cheeks count twice, the height of glasses and what may be a beard less. What goes on above
    the forehead loses votes: hair. None where the middle of the frame is background.
    """
    rows, columns = lab.shape[:2]
    y = (np.arange(rows)[:, None] + 0.5) / rows
    x = (np.arange(columns)[None, :] + 0.5) / columns
    middle = (x > 0.34) & (x < 0.66) & (y > 0.28) & (y < 0.60) & ~background
    if not middle.any():
        return np.zeros((rows, columns), dtype=bool)
    among = lab[middle]
    weight = np.select([y < 0.36, y < 0.50, y < 0.55], [1.0, 0.4, 2.0], 0.6)
    weights = np.broadcast_to(weight, (rows, columns))[middle]
    among, weights = _thinned(among), _thinned(weights)
    votes = (ciede2000(among[:, None], among[None]) < SKIN_LIKE / 2) @ weights
    crown = (y < 0.22) & (x > 0.2) & (x < 0.8) & ~background
    if crown.any():  # hair, and a beard of its colour, goes on where no face is
        others = _thinned(lab[crown])
        above = ciede2000(among[:, None], others[None]) < SKIN_LIKE / 2
        share = above.mean(axis=1) * np.count_nonzero(crown) / max(1, np.count_nonzero(middle))
        votes = votes - 0.5 * share * len(among)
    skin: Mask = ciede2000(lab, among[int(votes.argmax())]) < SKIN_LIKE
    return skin


def eye_cells(lab: Lab, background: Mask, skin: Mask) -> Mask:
    """Return the cells that can be eyes, (rows, columns).

    Cells in the eye zone with skin on both sides in their row, skin included (brown eyes on brown
    skin differ little). All of the zone where the face has no such cells.
    """
    rows, columns = lab.shape[:2]
    zone, _ = zone_mask("eyes", rows, columns)
    if not skin.any():
        return zone
    before = np.maximum.accumulate(skin, axis=1)
    after = np.maximum.accumulate(skin[:, ::-1], axis=1)[:, ::-1]
    enclosed: Mask = zone & before & after & ~background
    return enclosed if np.count_nonzero(enclosed) >= 2 else zone
