"""Copies of a reference image: found where mirrored, shifted, cropped or recoloured.

Every picture becomes a thumbnail of 48×48 pixels (its middle square). Where colours change in it,
whatever they are, makes a map of outlines. The middle of a render's map, at three sizes and
mirrored, is laid over each reference image's map at every place; the normalised cross-correlation
says how alike the outlines are (Lewis, 1995, "Fast Normalized Cross-Correlation"), first at half
the size for all reference images, then at full size for the nearest. Two portraits by one hand may
share an outline, so colours are compared as well, where the outlines lie best: the share of pixels
that one change of hue, chroma and lightness for the whole picture explains. A copy has both.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft

from loraeval.images.colour import Lab, lab_of_rgb
from loraeval.images.picture import bounded

SIDE = 48
"""Pixels a side of a thumbnail: two a cell of 24×24 art."""

WINDOW = 0.8
"""Part of a render's side that is laid over a reference image: what is left if it was shifted."""

SCALES = (1.0, 11 / 12, 5 / 6)
"""Sizes that a render is tried at: a crop shows its part enlarged."""

SOFT = 12.0
"""Gradient, in CIELAB units over two pixels, that counts half as much as the hardest edge."""

SAME = 8.0
"""Distance in CIELAB up to which two pixels agree after the change of colour."""

NEAREST = 6
"""Reference images that are looked at in full size."""

LIKE = (0.87, 0.925)
"""Correlation of the outlines: none of a copy, and all of one. Measured by benchmarks/copies.py."""

AGREE = (0.75, 0.95)
"""Share of the pixels that agree: none of a copy, and all of one."""

Map = npt.NDArray[np.float32]
Rgb = npt.NDArray[np.uint8]


class Match(NamedTuple):
    """The reference image that a picture is most a copy of.

    ``likeness`` is the correlation of the outlines in [-1, 1], ``agreement`` the share of pixels
    whose colours one change explains, ``copy`` in [0, 1] how much of a copy that makes.
    """

    at: int
    likeness: float
    agreement: float
    copy: float


def thumbnail(rgb: Rgb) -> Rgb:
    """Return the middle square of a picture, uint8 (SIDE, SIDE, 3), averaged."""
    rgb = bounded(rgb)
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = rgb[top : top + side, left : left + side]
    if side < 4 * SIDE:
        factor = -(-4 * SIDE // side)
        square = square.repeat(factor, axis=0).repeat(factor, axis=1)
    picture = Image.fromarray(np.ascontiguousarray(square))
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))


def pack(small: Rgb) -> str:
    """Return a thumbnail as text."""
    return base64.b64encode(zlib.compress(small.tobytes(), 9)).decode("ascii")


def unpack(text: str) -> Rgb:
    """Return the thumbnail that ``pack`` wrote; ``ValueError`` for anything else."""
    size = SIDE * SIDE * 3
    try:
        decoder = zlib.decompressobj()
        held = decoder.decompress(base64.b64decode(text, validate=True), size + 1)
    except zlib.error as error:
        raise ValueError("a thumbnail that does not unpack") from error
    if len(held) != size:
        raise ValueError("a thumbnail of another size")
    return np.frombuffer(held, np.uint8).reshape(SIDE, SIDE, 3)


def outlines(lab: Lab) -> Map:
    """Return where colours change in (h, w, 3): the gradient g as g / (g + SOFT), in [0, 1)."""
    wide = np.pad(lab, ((1, 1), (1, 1), (0, 0)), mode="edge")
    along_x = wide[1:-1, 2:] - wide[1:-1, :-2]
    along_y = wide[2:, 1:-1] - wide[:-2, 1:-1]
    energy = np.einsum("ijk,ijk->ij", along_x, along_x) + np.einsum("ijk,ijk->ij", along_y, along_y)
    gradient = np.sqrt(energy)
    result: Map = (gradient / (gradient + SOFT)).astype(np.float32)
    return result


@dataclass(frozen=True, eq=False)
class CopyFinder:
    """The reference images as thumbnails, uint8 (n, SIDE, SIDE, 3), ready to be matched."""

    thumbnails: Rgb

    @cached_property
    def _labs(self) -> Lab:
        return lab_of_rgb(self.thumbnails)

    @cached_property
    def _full(self) -> _Maps:
        return _Maps(np.stack([outlines(lab) for lab in self._labs]))

    @cached_property
    def _half(self) -> _Maps:
        return _Maps(_halved(self._full.maps))

    def match(self, small: Rgb, leave_out: int | None = None) -> Match:
        """Return what a thumbnail is most a copy of; ``leave_out`` is not looked at."""
        lab = lab_of_rgb(small)
        full = outlines(lab)
        rough = np.max([found.best for found in self._half.laid_over(_halved(full[None])[0])], 0)
        if leave_out is not None:
            rough[leave_out] = -2
        order = np.argsort(-rough, kind="stable")[:NEAREST]
        candidates = order[order != leave_out] if leave_out is not None else order
        best = Match(int(candidates[0]), float(rough[candidates[0]]), 0.0, 0.0)
        for found in self._full.laid_over(full, candidates):
            for at, likeness, place in zip(candidates, found.best, found.places, strict=True):
                alike = _ramp(float(likeness), LIKE)
                if alike == 0 and (best.copy > 0 or likeness <= best.likeness):
                    continue
                one = found.window(small)
                other = self.thumbnails[at][place[0] :, place[1] :][: len(one), : len(one)]
                agreement = colour_agreement(one, other)
                copy = alike * _ramp(agreement, AGREE)
                if (copy, likeness) > (best.copy, best.likeness):
                    best = Match(int(at), float(likeness), agreement, copy)
        return best


def _halved(maps: Map) -> Map:
    count, side = maps.shape[:2]
    result: Map = maps.reshape(count, side // 2, 2, side // 2, 2).mean(axis=(2, 4))
    return result


def _ramp(value: float, ends: tuple[float, float]) -> float:
    return min(1.0, max(0.0, (value - ends[0]) / (ends[1] - ends[0])))


class _Laid(NamedTuple):
    """One way of laying a picture over the reference images: correlation and place, by image."""

    best: npt.NDArray[np.float32]
    places: list[tuple[int, int]]
    size: int
    mirrored: bool

    def window(self, small: Rgb) -> Rgb:
        """Return the same window of the picture itself."""
        window = round(WINDOW * self.size)
        if self.size != len(small):
            picture = Image.fromarray(small)
            small = np.asarray(picture.resize((self.size,) * 2, Image.Resampling.BILINEAR))
        start = (self.size - window) // 2
        part = small[start : start + window, start : start + window]
        return part[:, ::-1] if self.mirrored else part


def _resized(plane: Map, size: int) -> Map:
    if len(plane) == size:
        return plane
    return np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR))


class _Maps:
    """Outline maps (n, side, side) with what matching needs of each."""

    def __init__(self, maps: Map) -> None:
        self.maps = maps
        self.side = maps.shape[1]
        self.spectra = fft.rfft2(maps, axes=(1, 2))
        sums = np.zeros((2, len(maps), self.side + 1, self.side + 1))
        wide = maps.astype(np.float64)
        sums[0, :, 1:, 1:] = wide.cumsum(1).cumsum(2)
        sums[1, :, 1:, 1:] = (wide**2).cumsum(1).cumsum(2)
        self.norms = {size: self._norms(sums, round(WINDOW * size)) for size in self.sizes}

    @property
    def sizes(self) -> Sequence[int]:
        """Sizes in pixels that a picture is tried at."""
        return [round(scale * self.side) for scale in SCALES]

    @staticmethod
    def _norms(sums: npt.NDArray[np.float64], window: int) -> Map:
        """Return the root of the sum of squares about the mean of each window, floored."""
        boxes = (
            sums[:, :, window:, window:]
            - sums[:, :, :-window, window:]
            - sums[:, :, window:, :-window]
            + sums[:, :, :-window, :-window]
        )
        spread = boxes[1] - boxes[0] ** 2 / window**2
        norms: Map = np.sqrt(np.maximum(spread, 1e-3 * window**2)).astype(np.float32)
        return norms

    def laid_over(self, one: Map, only: npt.NDArray[np.intp] | None = None) -> list[_Laid]:
        """Return the best place of ``one`` over each map (of ``only``), each way it is tried."""
        spectra = self.spectra if only is None else self.spectra[only]
        found = []
        for size in self.sizes:
            window = round(WINDOW * size)
            start = (size - window) // 2
            part = _resized(one, size)[start : start + window, start : start + window]
            places = self.side - window + 1
            norms = self.norms[size] if only is None else self.norms[size][only]
            for mirrored in (False, True):
                template = np.zeros((self.side, self.side), np.float32)
                centred = (part[:, ::-1] if mirrored else part) - part.mean()
                length = float(np.linalg.norm(centred))
                if length < 1e-3 * window:  # a picture without an outline is no copy of anything
                    continue
                template[:window, :window] = centred / length
                product = spectra * np.conj(fft.rfft2(template))
                laid = fft.irfft2(product, s=template.shape, axes=(1, 2))[:, :places, :places]
                ratio = (laid / norms).reshape(len(norms), -1)
                at = ratio.argmax(axis=1)
                best = ratio[np.arange(len(at)), at].astype(np.float32)
                where = [(int(k) // places, int(k) % places) for k in at]
                found.append(_Laid(best, where, size, mirrored))
        return found or [_Laid(np.zeros(len(spectra), np.float32), [(0, 0)] * len(spectra),
            self.side, mirrored=False)]  # fmt: skip


def colour_agreement(one: Rgb, other: Rgb) -> float:
    """Return the share of pixels that agree once one change of all colours is undone.

    Both uint8 (h, w, 3). Only pixels away from edges count, where there are enough. The changes
    tried: none, the hue turned in steps of 10 degrees, the channels exchanged, the negative; each
    followed by the change of lightness, chroma and hue that fits best (``_recoloured``).
    """
    first, second = lab_of_rgb(one), lab_of_rgb(other)
    plain = (outlines(first) < PLAIN) & (outlines(second) < PLAIN)
    if plain.mean() < ENOUGH:
        plain = np.ones(plain.shape, bool)
    aim = second[plain]
    colours = one[plain]
    tried = [first[plain], *(lab_of_rgb(c) for c in _other_colours(colours))]
    shares = [float(_agreeing(changed, aim).mean()) for changed in tried]
    best = max(shares)
    for at in np.argsort(shares)[::-1][:3]:
        inside = _agreeing(tried[at], aim)
        for mask in (inside, np.ones(len(aim), bool)):
            if mask.sum() >= 16:
                fitted = _recoloured(tried[at], tried[at][mask], aim[mask])
                best = max(best, float(_agreeing(fitted, aim).mean()))
    return best


PLAIN = 0.4
"""Outline value under which a pixel lies away from edges."""

ENOUGH = 0.1
"""Share of such pixels that is enough to judge by."""

_ORDERS = ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


def _other_colours(rgb: Rgb) -> list[Rgb]:
    """Return the colours (n, 3) with the hue turned, the channels exchanged, and the negative."""
    hsv = np.asarray(Image.fromarray(rgb[None]).convert("HSV"))[0]
    turned = []
    for step in range(1, 36):
        moved = hsv.copy()
        moved[:, 0] = (hsv[:, 0].astype(int) + round(step * 256 / 36)) % 256
        back = Image.frombytes("HSV", (len(moved), 1), moved.tobytes()).convert("RGB")
        turned.append(np.asarray(back)[0])
    return [*turned, *(rgb[:, order] for order in _ORDERS), (255 - rgb).astype(np.uint8)]


def _agreeing(one: Lab, other: Lab) -> npt.NDArray[np.bool_]:
    away = one - other
    near: npt.NDArray[np.bool_] = np.einsum("ij,ij->i", away, away) <= SAME**2
    return near


def _recoloured(whole: Lab, one: Lab, other: Lab) -> Lab:
    """Return ``whole`` with the change of colour that takes ``one`` nearest to ``other``."""
    light, wanted = one[:, 0].astype(float), other[:, 0].astype(float)
    centred = light - light.mean()
    slope = float(centred @ (wanted - wanted.mean())) / max(float(centred @ centred), 1e-6)
    z, w = one[:, 1] + 1j * one[:, 2], other[:, 1] + 1j * other[:, 2]
    turn = complex(np.vdot(z, w)) / max(float(np.vdot(z, z).real), 1e-6)
    moved = (whole[:, 1] + 1j * whole[:, 2]) * turn
    changed = np.stack(
        [slope * (whole[:, 0] - light.mean()) + wanted.mean(), moved.real, moved.imag], axis=1
    )
    return changed.astype(np.float32)
