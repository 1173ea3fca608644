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
    l1, a1, b1 = first[..., 0], first[..., 1], first[..., 2]
    l2, a2, b2 = second[..., 0], second[..., 1], second[..., 2]
    mean_chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) * np.float32(0.5)
    seventh = mean_chroma**2
    seventh = seventh * seventh * seventh * mean_chroma
    stretch = 1 + np.float32(0.5) * (1 - np.sqrt(seventh / (seventh + np.float32(25.0**7))))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.arctan2(b1, a1), np.arctan2(b2, a2)
    product = c1 * c2
    # 2 sqrt(C1 C2) sin(dh / 2) without a case for hues on both sides of the red axis.
    turn = h2 - h1
    pi = np.float32(np.pi)
    turn = np.where(turn > pi, turn - 2 * pi, np.where(turn < -pi, turn + 2 * pi, turn))
    turn = np.where(product == 0, np.float32(0), turn)
    d_hue = 2 * np.sqrt(product) * np.sin(turn * np.float32(0.5))
    mean_hue = np.where(product == 0, h1 + h2, h1 + turn * np.float32(0.5))
    mean_l, mean_c = (l1 + l2) * np.float32(0.5), (c1 + c2) * np.float32(0.5)
    return _weighted(l2 - l1, c2 - c1, d_hue, mean_l, mean_c, mean_hue)


def _weighted(
    d_l: npt.NDArray[np.float32],
    d_c: npt.NDArray[np.float32],
    d_h: npt.NDArray[np.float32],
    mean_l: npt.NDArray[np.float32],
    mean_c: npt.NDArray[np.float32],
    mean_hue: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Return the difference from its lightness, chroma and hue parts and the means."""
    degree = np.float32(np.pi / 180)
    t = (
        1
        - np.float32(0.17) * np.cos(mean_hue - 30 * degree)
        + np.float32(0.24) * np.cos(2 * mean_hue)
        + np.float32(0.32) * np.cos(3 * mean_hue + 6 * degree)
        - np.float32(0.20) * np.cos(4 * mean_hue - 63 * degree)
    )
    off = (mean_l - 50) ** 2
    s_l = 1 + np.float32(0.015) * off / np.sqrt(20 + off)
    s_c = 1 + np.float32(0.045) * mean_c
    s_h = 1 + np.float32(0.015) * mean_c * t
    blue = np.mod(mean_hue / degree, 360)
    d_theta = 30 * degree * np.exp(-(((blue - 275) / 25) ** 2))
    squared = mean_c * mean_c
    seventh = squared * squared * squared * mean_c
    r_c = 2 * np.sqrt(seventh / (seventh + np.float32(25.0**7)))
    r_t = -np.sin(2 * d_theta) * r_c
    light, chroma, hue = d_l / s_l, d_c / s_c, d_h / s_h
    total = light * light + chroma * chroma + hue * hue + r_t * chroma * hue
    distance: npt.NDArray[np.float32] = np.sqrt(np.maximum(total, 0)).astype(np.float32)
    return distance


def distinct_colours(lab: Lab, within: float = SAME_COLOUR) -> int:
    """Return the number of distinct colours among ``lab`` (n, 3) after perceptual merging.

    Greedy: the colour with most neighbours ``within`` CIEDE2000 takes them all, and so on. So
    noise about one colour counts once, however many values it has.
    """
    left = lab.reshape(-1, 3)
    colours = 0
    while len(left):
        at = int(len(left) // 2)
        centre = left[at]
        near = ciede2000(left, centre) <= within
        centre = np.median(left[near], axis=0).astype(np.float32)
        near |= ciede2000(left, centre) <= within
        left = left[~near]
        colours += 1
    return colours
