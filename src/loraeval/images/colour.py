"""Colour: sRGB to CIELAB (D65) and the CIEDE2000 difference, in float32 and in bulk.

Palette scoring compares 576 cells with some 20 colours for every image, which the float64
reference in scikit-image does at a few images a second; these do it at hundreds. Tests hold them
against scikit-image and against the published test pairs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Lab = npt.NDArray[np.float32]
"""CIELAB under D65, 2 degree observer; last axis L* (0 to 100), a*, b*."""

Floats = npt.NDArray[np.float32]

JUST_NOTICEABLE = 2.3
"""Distance at which half of observers see a difference at all: 2.3 in CIELAB after Mahy, Van
Eycken and Oosterlinck, "Evaluation of uniform color spaces developed after the adoption of
CIELAB and CIELUV", Color Research and Application 19 (1994); CIEDE2000 is of the same scale for
small differences."""

CLEARLY_ANOTHER = 20.0
"""Distance from which a colour is reported as another one: this project's choice, some nine
times the just noticeable; it decides a word in the details and no score."""

HALF_DISTANCE = 4.0
"""Distance at which a colour is worth half a match: twice the just noticeable, rounded."""

SAME_COLOUR = 5.0
"""Distance within which cells are merged when distinct colours are counted."""

_XYZ = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
"""Linear light to XYZ for the primaries of ITU-R BT.709 and D65, as scikit-image has them."""

_WHITE = np.array([0.95047, 1.0, 1.08883])
_MATRIX = (_XYZ / _WHITE[:, None]).T.astype(np.float32)

_STEPS = np.arange(256) / 255.0
_LINEAR = np.where(_STEPS <= 0.04045, _STEPS / 12.92, ((_STEPS + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)
"""Linear light of each 8-bit sRGB value."""


def lab_of_rgb(rgb: npt.NDArray[np.uint8]) -> Lab:
    """Return CIELAB of 8-bit sRGB, shape (..., 3)."""
    ratios = _LINEAR[rgb] @ _MATRIX
    cubic = np.cbrt(ratios)
    f = np.where(ratios > 0.008856, cubic, 7.787 * ratios + np.float32(16 / 116))
    lab = np.empty_like(f)
    lab[..., 0] = 116 * f[..., 1] - 16
    lab[..., 1] = 500 * (f[..., 0] - f[..., 1])
    lab[..., 2] = 200 * (f[..., 1] - f[..., 2])
    return lab  # type: ignore[no-any-return]


def rgb_of_hex(hexes: list[str] | tuple[str, ...]) -> npt.NDArray[np.uint8]:
    """Return the sRGB bytes of ``#rrggbb`` codes, shape (N, 3).

    Raises ``ValueError`` for anything that is not six hex digits after a ``#``.
    """
    rows = [bytes.fromhex(code.removeprefix("#")) for code in hexes]
    if any(len(row) != 3 for row in rows):
        raise ValueError(f"expected colours as #rrggbb, found {', '.join(hexes)}")
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 3)


def hex_of_rgb(rgb: npt.NDArray[np.generic]) -> str:
    """Return one colour of shape (3,) as ``#rrggbb``."""
    red, green, blue = (round(float(value)) for value in rgb)
    return f"#{red:02x}{green:02x}{blue:02x}"


def ciede2000(first: Lab, second: Lab) -> npt.NDArray[np.float32]:
    """Return the CIEDE2000 difference of two CIELAB arrays that broadcast together.

    Source: Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula: implementation notes,
    supplementary test data, and mathematical observations", Color Research and Application 30
    (2005). Parametric weights are 1.
    """
    if first.ndim == second.ndim == 1:
        return ciede2000(first[None], second[None])[0]  # type: ignore[no-any-return]
    l1, a1, b1 = first[..., 0], first[..., 1], first[..., 2]
    l2, a2, b2 = second[..., 0], second[..., 1], second[..., 2]
    stretch = _saturation((np.hypot(a1, b1) + np.hypot(a2, b2)) * _HALF)
    np.subtract(1, stretch, out=stretch)
    stretch *= _HALF
    stretch += 1
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.arctan2(b1, a1, out=a1), np.arctan2(b2, a2, out=a2)
    d_hue = c1 * c2
    grey = d_hue == 0
    # 2 sqrt(C1 C2) sin(dh / 2) without a case for hues on both sides of the red axis.
    turn = h2 - h1
    turn -= (2 * _PI) * (turn > _PI)
    turn += (2 * _PI) * (turn < -_PI)
    turn *= _HALF
    mean_hue = h1 + turn
    if grey.any():
        turn[grey] = 0
        mean_hue = np.where(grey, h1 + h2, mean_hue)
    np.sqrt(d_hue, out=d_hue)
    d_hue *= 2
    d_hue *= np.sin(turn, out=turn)
    return _weighted(l2 - l1, c2 - c1, d_hue, (l1 + l2) * _HALF, (c1 + c2) * _HALF, mean_hue)


_HALF = np.float32(0.5)
_PI = np.float32(np.pi)
_DEGREE = np.float32(np.pi / 180)
_FAR = np.float32(25.0**7)


def _saturation(chroma: Floats) -> Floats:
    """Return ``sqrt(C^7 / (C^7 + 25^7))``."""
    squared = chroma * chroma
    seventh = squared * squared
    seventh *= squared
    seventh *= chroma
    seventh /= seventh + _FAR
    return np.asarray(np.sqrt(seventh, out=seventh))


def _weighted(
    d_l: Floats, d_c: Floats, d_h: Floats, mean_l: Floats, mean_c: Floats, mean_hue: Floats
) -> Floats:
    """Return the difference from its lightness, chroma and hue parts and the means.

    The arguments are used up: working in place keeps a call inside the processor's cache.
    """
    t = _hue_weight(mean_hue)
    t *= np.float32(0.015) * mean_c
    t += 1
    d_h /= t
    mean_l -= 50
    mean_l *= mean_l
    light = np.float32(0.015) * mean_l
    mean_l += 20
    light /= np.sqrt(mean_l, out=mean_l)
    light += 1
    d_l /= light
    rotation = _rotation(mean_hue, mean_c)
    mean_c *= np.float32(0.045)
    mean_c += 1
    d_c /= mean_c
    total = d_l * d_l
    total += d_c * d_c
    total += d_h * d_h
    rotation *= d_c
    rotation *= d_h
    total -= rotation
    np.maximum(total, 0, out=total)
    return np.asarray(np.sqrt(total, out=total))


_TURNS = np.arange(1, 5, dtype=np.float32)
_SHIFTS = np.array([-30, 0, 6, -63], np.float32) * _DEGREE
_SIZES = np.array([-0.17, 0.24, 0.32, -0.20], np.float32)


def _hue_weight(hue: Floats) -> Floats:
    """Return T of the formula: 1 and four cosines of the hue, in radians."""
    column = (-1,) + (1,) * hue.ndim
    terms = _TURNS.reshape(column) * hue
    terms += _SHIFTS.reshape(column)
    np.cos(terms, out=terms)
    terms *= _SIZES.reshape(column)
    return np.asarray(np.add.reduce(terms, axis=0, initial=1))


def _rotation(hue: Floats, chroma: Floats) -> Floats:
    """Return what blues need between chroma and hue, ``-R_T``; uses ``hue`` (radians) up."""
    hue /= _DEGREE
    np.add(hue, 360, out=hue, where=hue < 0)
    hue -= 275
    hue /= 25
    hue *= hue
    np.exp(np.negative(hue, out=hue), out=hue)
    hue *= 30 * _DEGREE
    hue *= 2
    np.sin(hue, out=hue)
    hue *= 2 * _saturation(chroma)
    return hue


SURELY_SAME = 2.4
SURELY_OTHER = 9.0
"""Distances in CIELAB, and in L* alone, that settle whether CIEDE2000 is within ``SAME_COLOUR``
without computing it. The weights S are at least 1, a* grows at most by half and the rotation
adds at most 0.87 of chroma and hue together: CIEDE2000 is below 2.06 times the distance in CIELAB.
S_L is below 1.75 and the rotation never outweighs chroma and hue: CIEDE2000 is above the
difference in L* over 1.75."""


def _within_same(colours: Lab, centre: Lab) -> npt.NDArray[np.bool_]:
    """Return ``ciede2000(colours, centre) <= SAME_COLOUR``, computed where it is in doubt."""
    away = colours - centre
    lightness = np.abs(away[:, 0])
    away *= away
    near: npt.NDArray[np.bool_] = away.sum(axis=1) < SURELY_SAME**2
    doubt = np.flatnonzero((lightness <= SURELY_OTHER) & ~near)
    if len(doubt):
        near[doubt] = ciede2000(colours[doubt], centre) <= SAME_COLOUR
    return near


def distinct_colours(lab: Lab) -> int:
    """Return the number of distinct colours among ``lab`` (n, 3) after perceptual merging.

    Greedy: a colour takes all that lie within ``SAME_COLOUR``, of it or of the median of those,
    and so on with what is left. So noise about one colour counts once, however many values it has.
    """
    left = lab.reshape(-1, 3)
    colours = 0
    while len(left):
        near = _within_same(left, left[len(left) // 2])
        centre, left = middle(left[near]), left[~near]
        left = left[~_within_same(left, centre)]
        colours += 1
    return colours


def middle(colours: npt.NDArray[np.uint8] | Floats) -> Floats:
    """Return the median of each column of ``colours`` (n, 3), n at least 1, as ``np.median``."""
    ordered = np.sort(colours, axis=0)
    last = len(ordered) - 1
    both = ordered[last // 2].astype(np.float32) + ordered[(last + 1) // 2]
    return np.asarray(both / 2)
