"""How many people call a colour by a word: a model of colour naming fitted to survey counts.

The XKCD colour survey (Munroe 2010; results in the public domain) asked for the names of random
screen colours; Heer and Stone (Color Naming Models for Color Selection, Image Editing and Palette
Design, CHI 2012) counted them in bins of CIELAB. ``tools/fit_colour_naming.py`` fits shares to
those counts by multinomial logistic regression on the cubic polynomial of (L, a, b), and writes
``colour_naming.json``. Groups are the eleven basic terms of Berlin and Kay and further words.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

GROUPS = (
    "black", "white", "grey", "red", "green", "blue", "yellow", "orange", "brown", "pink", "purple",
    "teal", "turquoise", "lavender", "violet", "magenta", "maroon", "tan", "olive", "salmon",
    "lime", "other",
)  # fmt: skip
"""The basic terms, then further words with those that mean nearly the same, then the rest."""

BASIC = GROUPS[:11]
"""The eleven basic terms."""


def features(lab: Array) -> Array:
    """Return the cubic polynomial of colours (n, 3) in CIELAB: (n, 20)."""
    light, a, b = (lab[:, 0] - 50) / 50, lab[:, 1] / 50, lab[:, 2] / 50
    one = np.ones_like(light)
    square = [light * light, a * a, b * b, light * a, light * b, a * b]
    cube = [first * second for first in square[:3] for second in (light, a, b)]
    cube.append(square[3] * b)
    return np.stack([one, light, a, b, *square, *cube], axis=1)


@cache
def _model() -> dict[str, Any]:
    text = (files("loraeval.prompts") / "colour_naming.json").read_text(encoding="utf-8")
    found = json.loads(text)
    found["coefficients"] = np.asarray(found["coefficients"], dtype=np.float64)
    return dict(found)


def shares(lab: Array) -> Array:
    """Return the share of namers of each group for colours (n, 3) in CIELAB: (n, groups)."""
    z = features(np.asarray(lab, dtype=np.float64)) @ _model()["coefficients"]
    z -= z.max(axis=1, keepdims=True)
    p = np.exp(z, out=z)
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def spread_of(group: str) -> tuple[float, float, float, float]:
    """Return mean and standard deviation of lightness and of chroma of a group's namings."""
    light, light_sd, chroma, chroma_sd = _model()["statistics"][group]
    return light, light_sd, chroma, chroma_sd
