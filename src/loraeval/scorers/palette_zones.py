"""Where in a portrait an attribute is looked for, and what of it is seen there.

Zones are parts of the frame in shares of width and height, for a bust portrait; a profile may give
others. Within its zone an attribute is narrowed by what the picture shows: the background by its
connection to the border, skin by the commonest colour of the face's middle, irises by the pupil or
the white beside them, hair and clothes by being neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loraeval.images.colour import Lab, ciede2000, middle
from loraeval.scorers.palette_layout import MOST_COMPARED, Layout, Zone

Mask = npt.NDArray[np.bool_]

ZONES: dict[str, Zone] = {
    "eyes": Zone(0.20, 0.80, 0.33, 0.62, 2),
    "lips": Zone(0.30, 0.68, 0.56, 0.76, 2),
    "skin": Zone(0.33, 0.67, 0.38, 0.78, 16),
    "hair": Zone(0.00, 1.00, 0.00, 0.80, 4),
    "beard": Zone(0.25, 0.75, 0.52, 0.92, 4),
    "clothing": Zone(0.00, 1.00, 0.76, 1.00, 4),
    "headwear": Zone(0.05, 0.95, 0.00, 0.37, 4),
    "eyewear": Zone(0.15, 0.85, 0.33, 0.62, 4),
    "earrings": Zone(0.00, 1.00, 0.40, 0.80, 1),
    "neckwear": Zone(0.15, 0.85, 0.66, 1.00, 2),
    "anywhere": Zone(0.00, 1.00, 0.00, 1.00, 2),
}
"""Zones and how many cells of 24x24 a thing has there at least."""

_NOUNS = {
    "headwear": "hat hats cap caps beanie crown headband bandana bandanna helmet tiara veil bow "
    "bows ribbon ribbons headscarf turban beret fedora hood headdress wreath horns halo hairband "
    "hairclip hairclips hairpin hairpins hairbow circlet diadem headpiece hijab bonnet sombrero "
    "headset headgear headwear cowl fez trilby snapback ushanka headphones earmuffs barrette "
    "feather scrunchie flower tie band clip ornament",
    "eyewear": "glasses sunglasses shades goggles monocle spectacles eyeglasses lens lenses frames "
    "rim rims eyepatch visor eyewear",
    "earrings": "earring earrings stud studs hoop hoops earbuds earphones",
    "neckwear": "necklace necklaces pendant chain choker scarf scarves locket medallion medal "
    "lanyard amulet pearls beads muffler",
}
_ZONE_OF = {noun: zone for zone, nouns in _NOUNS.items() for noun in nouns.split()}
_BEARDS = frozenset(
    ["beard", "beards", "stubble", "mustache", "moustache", "goatee", "sideburns", "whiskers"]
)


def zone_name(attribute: str, noun: str) -> str:
    """Return the zone of an attribute's noun: "accessory" and "silver crown" give headwear."""
    words = noun.split()
    if attribute == "accessory":
        return next((_ZONE_OF[word] for word in reversed(words) if word in _ZONE_OF), "anywhere")
    if attribute == "hair" and words and words[-1] in _BEARDS:
        return "beard"
    if attribute == "clothing" and words and words[-1] in ("sleeves", "sleeve"):
        return "clothing"
    return attribute if attribute in ZONES or attribute == "background" else "anywhere"


@dataclass(frozen=True, slots=True)
class Place:
    """The cells (rows, columns) that can be an attribute, and how many must have its colour."""

    cells: Mask
    needed: int


def frame(zone: Zone, rows: int, columns: int) -> Mask:
    """Return the cells (rows, columns) of a zone."""
    y = (np.arange(rows)[:, None] + 0.5) / rows
    x = (np.arange(columns)[None, :] + 0.5) / columns
    inside: Mask = (x >= zone.left) & (x <= zone.right) & (y >= zone.top) & (y <= zone.bottom)
    return inside


def place_of(zone: str, lab: Lab, layout: Layout, zones: dict[str, Zone] | None = None) -> Place:
    """Return where an attribute is looked for; no cells where the picture does not show it."""
    rows, columns = lab.shape[:2]
    table = ZONES | (zones or {})
    if zone == "background":
        return Place(layout.background, 1)
    inside = frame(table[zone], rows, columns)
    scale = rows * columns / 576
    needed = max(1, round(table[zone].cells * scale))
    front = ~layout.background
    if zone == "anywhere":
        return Place(inside, needed)
    if zone == "eyes":
        return Place(iris_cells(lab, layout, inside), 1)
    if zone == "skin":
        cells = inside & front
        return Place(cells, max(needed, round(0.3 * np.count_nonzero(cells))))
    cells = inside & front & ~layout.skin
    if zone == "hair":
        face = Zone(0.3, 0.7, 0.36, 1.0, 0)
        cells &= ~frame(face, rows, columns)
        return Place(cells, max(needed, round(0.06 * np.count_nonzero(cells))))
    if zone == "clothing":
        return Place(cells, max(needed, round(0.22 * np.count_nonzero(cells))))
    if zone == "headwear":
        return Place(cells, max(needed, round(0.09 * np.count_nonzero(cells))))
    if zone == "lips":
        lips = _lip_cells(lab, cells)  # a mouth of the skin's colour is seen as skin
        return Place(lips if lips.any() or not layout.skin.any() else inside & front, needed)
    if zone == "earrings":
        cells = inside & front & ~frame(Zone(0.36, 0.64, 0.0, 1.0, 0), rows, columns)
    return Place(cells, needed)


def _lip_cells(lab: Lab, cells: Mask) -> Mask:
    """Return cells without a beard's: those near what most of the zone is, if it is most of it."""
    if np.count_nonzero(cells) < 12:
        return cells
    among = lab[cells]
    some = among[:: len(among) // MOST_COMPARED + 1]
    votes = (np.linalg.norm(some[:, None] - some[None], axis=-1) < 14).sum(axis=1)
    members = np.linalg.norm(among - some[int(votes.argmax())], axis=-1) < 14
    if members.sum() < 0.45 * len(among) or members.sum() < 12:
        return cells
    out = cells.copy()
    out[cells] = ~members
    return out if out.any() else cells


_BLACK = 7.0
"""CIELAB lightness below which a cell is a pupil or an outline."""


def iris_cells(lab: Lab, layout: Layout, zone: Mask) -> Mask:
    """Return the cells of irises within a zone, (rows, columns).

    Beside a pupil (or above it) or beside the white of an eye, within the face's width, no skin:
    first what clearly differs from skin, else what differs at all. Where pupils have nothing
    but skin round them the eyes are black: the pupils.
    """
    found = _iris(lab, layout, zone & _face_columns(layout.skin))
    if not found.any():  # hair may reach to the eyes
        face = _face_columns(layout.skin)
        found = _iris(lab, layout, zone & (face | _shifted(face, 0, 1) | _shifted(face, 0, -1)))
    return found


def _iris(lab: Lab, layout: Layout, zone: Mask) -> Mask:
    inside = zone & ~layout.background
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    pupil = inside & (lab[..., 0] < _BLACK) & (chroma < 6)
    white = inside & (lab[..., 0] > 84) & (chroma < 14) & ~layout.skin
    seen = pupil | white
    beside = _shifted(seen, 0, 1) | _shifted(seen, 0, -1)
    for skin in (layout.skin, _skin_itself(lab, layout.skin, inside)):
        free = inside & ~pupil & ~white & ~skin
        first = free & (beside | _shifted(pupil, -1, 0))
        iris: Mask = first | (free & _shifted(first & beside, -1, 0) & ~_shifted(white, -1, 0))
        if iris.any():
            return iris
    return pupil


def pupil_cells(lab: Lab, layout: Layout, zone: Mask) -> Mask:
    """Return the black cells of a zone within the face's width, (rows, columns)."""
    dark: Mask = zone & _face_columns(layout.skin) & ~layout.background
    return dark & (lab[..., 0] < _BLACK) & (np.hypot(lab[..., 1], lab[..., 2]) < 6)


_ITSELF = 4.0
"""CIEDE2000 within which a cell is skin itself, no iris near its colour."""


def _skin_itself(lab: Lab, skin: Mask, inside: Mask) -> Mask:
    if not skin.any():
        return skin
    out = np.zeros_like(skin)
    out[inside] = ciede2000(lab[inside], middle(lab[skin])) < _ITSELF
    return out


def _face_columns(skin: Mask) -> Mask:
    """Return the columns of the frame's middle that the face spans, (1, columns)."""
    rows, columns = skin.shape
    band = skin[round(0.34 * rows) : max(1, round(0.75 * rows))]
    found = np.flatnonzero(band.sum(axis=0) >= 2)
    found = found[(found >= 0.18 * columns) & (found < 0.82 * columns)]
    mask = np.zeros((1, columns), dtype=bool)
    if len(found):
        mask[0, found.min() : found.max() + 1] = True
    return mask


def _shifted(mask: Mask, down: int, right: int) -> Mask:
    """Return ``mask`` moved by one cell, what leaves the frame lost."""
    rows, columns = mask.shape
    out = np.zeros_like(mask)
    source = mask[max(0, -down) : rows - max(0, down), max(0, -right) : columns - max(0, right)]
    out[max(0, down) : rows + min(0, down), max(0, right) : columns + min(0, right)] = source
    return out
