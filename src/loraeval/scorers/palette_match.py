"""How near cells are to a wanted colour, as a distance and as a grade."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from loraeval.images.colour import (
    HALF_DISTANCE,
    Lab,
    ciede2000,
    lab_of_rgb,
    rgb_of_hex,
)
from loraeval.prompts.colour_naming import BASIC, GROUPS, shares
from loraeval.prompts.colour_words import region
from loraeval.records import Caption, NamedColour

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A colour that a caption asks of one attribute: a code, or a word with a region."""

    attribute: str
    hex: str | None
    name: str | None
    noun: str = ""
    others: tuple[Wanted, ...] = ()
    """Alternatives: any of them is as good."""

    @property
    def label(self) -> str:
        """The code, or the word as written; alternatives with "or" between."""
        return " or ".join([self.hex or self.name or "", *(one.label for one in self.others)])


def grade(distance: npt.NDArray[np.floating] | float) -> Floats:
    """Return how far a colour still counts as the wanted one: ``1 / (1 + (distance / 4)^2)``.

    CIEDE2000 4 is worth a half; the just noticeable 2.3 is worth 0.75 and a clearly different
    colour, 20, is worth 0.04. The curve has no steps, so that small losses show and large ones
    add little.

    >>> [round(float(v), 2) for v in grade(np.array([0.0, 2.3, 4.0, 20.0]))]
    [1.0, 0.75, 0.5, 0.04]
    """
    ratio = np.asarray(distance, np.float32) / np.float32(HALF_DISTANCE)
    graded = 1 / (1 + ratio * ratio)
    return np.asarray(graded, dtype=np.float32)


def wanted_colours(caption: Caption) -> tuple[Wanted, ...]:
    """Return the caption's colours by attribute, without repeats, in order.

    A colour word without a tolerance region cannot be measured and is left out.
    """
    seen: dict[tuple[str, str | None, str | None], Wanted] = {}
    choices: dict[tuple[int, str], tuple[str, str | None, str | None]] = {}
    for colour in caption.colours:
        if colour.hex is None and not _has_region(colour):
            continue
        one = Wanted(colour.attribute, colour.hex, None if colour.hex else colour.name, colour.noun)
        key = (one.attribute if one.attribute != "other" else one.noun, one.hex, one.name)
        group = (colour.choice, colour.attribute)
        if colour.choice and group in choices:
            first = choices[group]
            seen[first] = replace(seen[first], others=(*seen[first].others, one))
            continue
        seen.setdefault(key, one)
        if colour.choice:
            choices[group] = key
    return tuple(seen.values())


def _has_region(colour: NamedColour) -> bool:
    return colour.name is not None and region(colour.name) is not None


@lru_cache(maxsize=4096)
def lab_of_hex(codes: tuple[str, ...]) -> Lab:
    """Return CIELAB of ``#rrggbb`` codes, (N, 3)."""
    return lab_of_rgb(rgb_of_hex(codes))


def code_distances(lab: Lab, codes: tuple[str, ...]) -> Floats:
    """Return CIEDE2000 from each colour of ``lab`` (n, 3) to each code, (codes, n)."""
    return ciede2000(lab_of_hex(codes)[:, None, :], lab[None, :, :])


def wanted_distances(lab: Lab, wanted: tuple[Wanted, ...]) -> Floats:
    """Return the distance from each colour of ``lab`` (n, 3) to each wanted colour, (wanted, n).

    CIEDE2000 to a code; to the tolerance region of a word, 0 inside it.
    """
    out = np.empty((len(wanted), len(lab)), dtype=np.float32)
    coded = [index for index, one in enumerate(wanted) if one.hex is not None]
    if coded:
        out[coded] = code_distances(lab, tuple(str(wanted[index].hex) for index in coded))
    for index, one in enumerate(wanted):
        if one.hex is None and one.name is not None:
            out[index] = _word_distance(lab, one.name)
    for index, one in enumerate(wanted):
        if one.others:
            out[index] = np.minimum(out[index], wanted_distances(lab, one.others).min(axis=0))
    return out


def _word_distance(lab: Lab, name: str) -> Floats:
    """Return the distance to the word's region, in float32.

    The same definition as ``ColourRegion.distance``, at the speed that scoring needs.
    """
    allowed = region(name)
    if allowed is None:
        return np.full(len(lab), np.inf, dtype=np.float32)
    best = np.full(len(lab), np.inf, dtype=np.float32)
    exact = lab.astype(np.float64)
    for named in allowed.named:
        best = np.minimum(best, named.distance(exact).astype(np.float32))
    for box in allowed.boxes:
        near = box.nearest(exact)
        outside = np.flatnonzero(np.abs(exact - near).max(axis=1) >= 1e-6)
        distance = np.zeros(len(lab), dtype=np.float32)
        distance[outside] = ciede2000(lab[outside], near[outside].astype(np.float32))
        best = np.minimum(best, distance)
    return best


def named_otherwise(lab: Lab, wanted: tuple[Wanted, ...]) -> npt.NDArray[np.bool_]:
    """Return which colours of ``lab`` (n, 3) people call by another basic term, (wanted, n).

    Where a quarter more use one basic term that the word does not say than use the word's own:
    near white is no grey, though some call it light grey. Codes have no names: never.
    """
    out = np.zeros((len(wanted), len(lab)), dtype=bool)
    if not any(one.name for one in wanted):
        return out
    share = shares(lab.astype(np.float64))
    for index, one in enumerate(wanted):
        allowed = [region(word) for word in _names(one)]
        parts = [part for found in allowed if found for part in found.named]
        groups = {group for part in parts for group in part.groups}
        if not groups or any(found is None or found.boxes for found in allowed):
            continue
        own = share[:, [GROUPS.index(group) for group in groups]].sum(axis=1)
        rest = [at for at, group in enumerate(BASIC) if group not in groups]
        out[index] = share[:, rest].max(axis=1) > 1.25 * own
    return out


def _names(one: Wanted) -> list[str]:
    return [alike.name or "" for alike in (one, *one.others)]
