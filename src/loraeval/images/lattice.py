"""The pixel lattice of a picture, estimated from the picture alone, with a null model.

Per axis: edge profile, peaks, candidate periods, evidence for each (``lattice_search``). The two
axes decide together, because cells are nearly always square. Period and phase are then fitted to
the peaks, and what is wrong with the lattice is measured against the fitted comb of lines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from loraeval.images.lattice_search import (
    MIN_LINES,
    SEARCH,
    Evidence,
    Floats,
    Peaks,
    candidate_periods,
    distinct,
    find_peaks,
    judge,
    line_widths,
    trace,
)
from loraeval.images.profiles import Profile, edge_profiles

SQUARE = 8.0
"""Nats in favour of cells with equal sides; sides within ``SQUARE_TOLERANCE`` count as equal."""

SQUARE_TOLERANCE = 0.06

NULL_SHARE = 0.2
"""Evidence, as a share of a perfect lattice's, up to which there is no lattice: the null bench of
benchmarks/README.md says how far pictures without one come."""

SURE_SHARE = 0.6
"""Evidence from which a lattice is certain."""

BEST_SHARE = 0.85
"""Few lines cannot earn ``SURE_SHARE``: this part of all that they can is as certain."""

FEW_LINES = 12.0
"""Effective lines of both axes together under which hard edges are too few to tell a lattice from
edges that happen to lie evenly: a chest, a box. A ball of 16 cells has 19."""

HARD_SHARE = 0.7
"""Share of the edge energy within a pixel of the edges' lines (of two at 1024 pixels) from which
edges are hard: a smooth picture with few maxima is not a sprite with few edges."""

POOLED_NATS = 14.0
"""Least evidence of both axes together that may speak for the weaker one: the price of having
searched (``lattice_search.SEARCH``), earned back a second time on each axis."""

CARRIED = 0.15
"""A lattice whose lines carry less of the edge energy than this is a ripple on something else (a
resampling pattern, a codec's raster); confidence falls to 0 with it."""

NEAR = 0.15
"""An edge nearer to a line than this share of the period belongs to the line."""


@dataclass(frozen=True, slots=True)
class AxisLattice:
    """The lattice along one axis, or none: ``confidence`` is then 0 and ``period`` None.

    ``period`` in pixels, fractional; lines lie at ``phase + k * period`` with ``phase`` in
    [0, period). ``confidence`` in [0, 1] from the evidence per line, 0 at the level of pictures
    without a lattice. ``on_lines`` in [0, 1]: share of all edge energy that lies on the lines,
    beyond what chance would put there; ``even``: the same share for the peaks alone, each line
    about equally important. ``missing`` lines have no edge though lines on both sides have;
    ``extra`` edges lie off the lines (doubled lines, cells of another size); ``drift`` is the
    largest local departure of the lines from the comb, in periods.
    """

    length: int
    period: float | None
    phase: float
    confidence: float
    on_lines: float
    even: float
    missing: int
    extra: int
    drift: float
    span: int = 0

    @property
    def count(self) -> float | None:
        """Cells along the axis, fractional; None without a lattice."""
        return None if self.period is None else self.length / self.period


@dataclass(frozen=True, slots=True)
class Lattice:
    """The lattice of a picture along x and y.

    ``too_few``: all edges are hard, and so few that nothing can be told of a lattice.
    """

    x: AxisLattice
    y: AxisLattice
    too_few: bool = False

    @property
    def found(self) -> bool:
        """Whether both axes have a lattice."""
        return self.x.period is not None and self.y.period is not None

    @property
    def size(self) -> tuple[float, float] | None:
        """Columns and rows, fractional; None without a lattice."""
        if self.x.count is None or self.y.count is None:
            return None
        return self.x.count, self.y.count

    @property
    def confidence(self) -> float:
        """Confidence of the less certain axis."""
        return min(self.x.confidence, self.y.confidence)

    def as_dict(self) -> dict[str, Any]:
        """Return the measurements as plain Python for ``Score.details``."""
        return {"x": _rounded(self.x), "y": _rounded(self.y)}


def _rounded(axis: AxisLattice) -> dict[str, Any]:
    values = ((name, getattr(axis, name)) for name in axis.__slots__)
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in values}


class _Axis(NamedTuple):
    profile: Profile
    peaks: Peaks


def estimate_lattice(rgb: npt.NDArray[np.uint8]) -> Lattice:
    """Estimate the lattice of sRGB pixels, (H, W, 3) uint8; never fails, may find none."""
    profiles = edge_profiles(rgb)
    periods = distinct(np.concatenate([candidate_periods(profile) for profile in profiles]))
    chosen: list[Evidence | None] = [None, None]
    axes = [_Axis(profile, find_peaks(profile)) for profile in profiles]
    most = 0.0
    widths = line_widths(max(rgb.shape[:2]))
    for evidence in zip(*(_evidence(axis, periods, widths) for axis in axes), strict=True):
        pair, nats = _choose(*evidence)
        if nats > most:
            chosen, most = pair, nats
    shares = _shares(*chosen)
    x, y = (_fit(*each) for each in zip(axes, chosen, shares, strict=True))
    return Lattice(x, y, _too_few(axes))


def _too_few(axes: list[_Axis]) -> bool:
    """Return whether all visible edges are hard, at least one is there, and they are few."""
    lines = math.fsum(float(axis.peaks.weight.sum()) for axis in axes)
    return 0 < lines < FEW_LINES and min(map(_hard_share, axes)) >= HARD_SHARE


def _hard_share(axis: _Axis) -> float:
    """Return the share of edge energy within a pixel of a peak, wider in large pictures."""
    profile, total = axis.profile, float(axis.profile.sum())
    if not total:
        return 1.0
    reach = max(1, round(len(profile) / 512))
    at = np.rint(axis.peaks.position).astype(int) - 1
    near = np.zeros(len(profile), bool)
    for step in range(-reach, reach + 1):
        near[np.clip(at + step, 0, len(profile) - 1)] = True
    return float(profile[near].sum()) / total


def _evidence(axis: _Axis, periods: Floats, widths: tuple[float, ...]) -> list[list[Evidence]]:
    fitting = periods[periods <= (len(axis.profile) + 1) / MIN_LINES]
    return judge(axis.peaks, fitting, widths)


def _choose(
    along_x: list[Evidence], along_y: list[Evidence]
) -> tuple[list[Evidence | None], float]:
    """Return the best evidence of each axis, the pair judged together, and its sum in nats."""
    if not along_x or not along_y:
        single = [max(axis, key=lambda e: e.nats, default=None) for axis in (along_x, along_y)]
        return single, math.fsum(e.nats for e in single if e is not None)
    nats_x = np.array([e.nats for e in along_x])
    nats_y = np.array([e.nats for e in along_y])
    ratio = np.array([e.period for e in along_x])[:, None] / [e.period for e in along_y]
    square = np.abs(np.log(ratio)) <= SQUARE_TOLERANCE
    total = nats_x[:, None] + nats_y[None, :] + SQUARE * square
    best = int(np.argmax(total))
    pair: list[Evidence | None] = [along_x[best // len(along_y)], along_y[best % len(along_y)]]
    return pair, float(total.flat[best])


def _shares(x: Evidence | None, y: Evidence | None) -> tuple[float, float]:
    """Return the evidence for each axis as a share of a perfect lattice's.

    A lattice of square cells is one thing seen along two axes. Where both have evidence for the
    same period, the weaker axis is judged by the evidence of both together.
    """
    shares = tuple(0.0 if axis is None else axis.share for axis in (x, y))
    if x is None or y is None or min(x.nats, y.nats, x.full, y.full) <= 0:
        return shares[0], shares[1]
    square = abs(np.log(x.period / y.period)) <= SQUARE_TOLERANCE
    if square and x.nats + y.nats >= POOLED_NATS:
        together = (x.nats + y.nats) / (x.full + y.full)
        return max(shares[0], together), max(shares[1], together)
    return shares[0], shares[1]


def _fit(axis: _Axis, evidence: Evidence | None, share: float) -> AxisLattice:
    """Fit period and phase to the peaks and measure the result.

    A lattice that breaks its step half-way has no straight comb: whether its lines carry the
    edges is then asked of the lines as traced, while ``on_lines`` stays that of the comb.
    """
    length = len(axis.profile) + 1
    sure = SURE_SHARE
    if evidence is not None and evidence.full > SEARCH:
        best = BEST_SHARE * (1 - SEARCH / evidence.full)
        sure = min(SURE_SHARE, max(best, 2 * NULL_SHARE))
    confidence = float(np.clip((share - NULL_SHARE) / (sure - NULL_SHARE), 0, 1))
    if evidence is None or confidence == 0:
        return AxisLattice(length, None, 0.0, 0.0, 0.0, 0.0, 0, 0, 0.0)
    period, phase = fit_comb(axis.peaks, evidence.period)
    period, phase = _without_doubling(axis.peaks, period, phase)
    everywhere = np.arange(1, length, dtype=np.float64)
    carried = on_lines = _excess(everywhere, axis.profile, period, phase)
    if carried < CARRIED:
        between = (axis.peaks.position[1:] + axis.peaks.position[:-1]) / 2
        traced = trace(axis.peaks, evidence)[np.searchsorted(between, everywhere)]
        carried = max(carried, _excess(everywhere, axis.profile, evidence.period, traced))
    confidence *= min(1.0, carried / CARRIED) if carried > CARRIED / 3 else 0.0
    if confidence == 0:
        return AxisLattice(length, None, 0.0, 0.0, 0.0, 0.0, 0, 0, 0.0)
    away = _away(axis.peaks.position, period, phase)
    near = np.abs(away) < NEAR
    weight = axis.peaks.weight
    lines = np.unique(np.round((axis.peaks.position[near] - phase) / period))
    missing = 0 if len(lines) < 2 else int(lines[-1] - lines[0]) + 1 - len(lines)
    strong = weight > 0.25 * np.median(weight)
    return AxisLattice(
        length=length,
        period=period,
        phase=phase % period,
        confidence=confidence,
        on_lines=on_lines,
        even=_excess(axis.peaks.position, weight, period, phase),
        missing=missing,
        extra=int(np.count_nonzero(strong & ~near)),
        drift=_drift(axis.peaks, away, length),
        span=len(lines) + missing,
    )


def fit_comb(peaks: Peaks, period: float) -> tuple[float, float]:
    """Return period and phase in pixels of the comb of lines nearest to the peaks.

    Weighted least squares on the peaks near a line, repeated; a fit that would move the period
    by more than 4 % is not believed.
    """
    fitted, phase = period, _phase(peaks, period)
    before = np.zeros(0)
    for _ in range(3):
        index = np.round((peaks.position - phase) / fitted)
        near = np.abs(peaks.position - phase - index * fitted) < NEAR * fitted
        numbered = np.where(near, index, np.nan)
        if np.array_equal(numbered, before, equal_nan=True) or np.unique(index[near]).size < 3:
            break
        before = numbered
        slope, level = np.polyfit(index[near], peaks.position[near], 1, w=peaks.weight[near])
        if abs(slope / period - 1) > 0.04:
            return period, _phase(peaks, period)
        fitted, phase = float(slope), float(level)
    return fitted, phase


MOST_DOUBLED = 8
"""Lines of the finer lattice a cell that are looked for where each cell's line has a companion."""

BY_CHANCE = 1e-3
"""Chance under which lines that are missing in step are no accident of the drawing."""


def _without_doubling(peaks: Peaks, period: float, phase: float) -> tuple[float, float]:
    """Return the comb of the cells where ``period`` is that of a companion to every cell's line.

    Where each line has a second one at the same distance (a seam, a mosaic's grout, a third of
    each cell in another colour), all edges lie on a finer comb of which some lines, always the
    same ones of each cell, are never there. Art that truly has so fine a lattice misses lines too,
    but not in step: the chance that as many as are missing fall into one class of every ``m``
    lines decides.
    """
    index = np.round((peaks.position - phase) / period).astype(int)
    near = np.abs(peaks.position - phase - index * period) < NEAR * period
    if not near.any():
        return period, phase
    lines = np.unique(index[near])
    span = np.arange(lines[0], lines[-1] + 1)
    there = np.isin(span, lines)
    rate = 1 - there.mean()
    for step in range(3, MOST_DOUBLED + 1):
        classes = [there[span % step == part] for part in range(step)]
        empty = [len(part) for part in classes if not part.any()]
        if len(empty) in (0, step - 1) or min(empty) < 3:
            continue
        if step * MOST_DOUBLED * rate ** max(empty) < BY_CHANCE:
            weight = np.bincount(index[near] % step, peaks.weight[near], minlength=step)
            return period * step, phase + int(np.argmax(weight)) * period
    return period, phase


def _phase(peaks: Peaks, period: float) -> float:
    """Return the circular mean of the peaks modulo ``period``, in pixels."""
    turn = np.exp(2j * np.pi * peaks.position / period) @ peaks.weight
    return float(np.angle(turn) / (2 * np.pi) * period) % period


def _away(position: Floats, period: float, phase: float | Floats) -> Floats:
    """Return the signed distance to the nearest line, in periods, within [-0.5, 0.5]."""
    turns = (position - phase) / period
    away: Floats = turns - np.round(turns)
    return away


def _excess(position: Floats, energy: Floats, period: float, phase: float | Floats) -> float:
    """Return the share of energy on the lines beyond chance, 0 to 1.

    The band about a line is flat to 0.05 periods (at least half a pixel, which whole pixels
    need) and falls to nothing 0.08 periods further out: a decoder's softness is no fault.
    """
    flat, fall = max(0.5, 0.05 * period), max(0.35, 0.08 * period)
    distance = np.abs(_away(position, period, phase)) * period
    band = np.clip(1 - (distance - flat) / fall, 0, 1)
    chance = (2 * flat + fall) / period
    share = float(band @ energy) / max(float(energy.sum()), 1e-9)
    return float(np.clip((share - chance) / (1 - chance), 0, 1))


def _drift(peaks: Peaks, away: Floats, length: int) -> float:
    """Return the largest mean departure, in periods, among four quarters of the axis."""
    worst = 0.0
    for quarter in range(4):
        inside = (peaks.position * 4 // length).astype(int) == quarter
        weight = peaks.weight[inside]
        if np.count_nonzero(inside) < 2:
            continue
        turn = np.exp(2j * np.pi * away[inside]) @ weight
        worst = max(worst, abs(float(np.angle(turn))) / (2 * np.pi))
    return worst
