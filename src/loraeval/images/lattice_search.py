"""Which period explains the edges along one axis: candidates, and the evidence for each.

Edges of pixel art lie on equally spaced lines. A period is judged by the mean log-likelihood
ratio of the edge energy under "lines every T pixels, and some edges anywhere" against the null
"edges anywhere". Because a finer lattice spreads its probability over more lines, a true lattice
beats its own multiples: the 8-pixel raster that a VAE decoder leaves in every render can not pass
for the cells, whose edges use a third of its lines.

Real renders may break step: a lattice that loses or gains a part of a cell and goes on. So the
evidence lets the phase jump, at a price (Viterbi over phases along the peaks of the profile).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from loraeval.images.profiles import Profile, above_floor, without_raster

Floats = npt.NDArray[np.floating[Any]]

MIN_PERIOD = 3.0
"""Shortest period in pixels; two pixels a cell can not be told from texture."""

MIN_LINES = 6
"""Fewest cells along an axis that are called a lattice."""

STRAY = 0.3
"""Share of edge energy that a lattice may leave anywhere (stray pixels, soft shading)."""

PHASES = 40
"""Phase steps a period."""

JUMP = 1.8
"""Price, in nats, of a broken step; with 40 phases and a width of a few, about one break in
ten lines is expected of a bad lattice."""

DRIFT = 0.7
"""Price of a phase that moves by one step of 1/40 period from one line to the next."""

SEARCH = 7.0
"""Price, in nats, of having searched: the logarithm of some 50 distinguishable periods times some
20 distinguishable phases."""

VAE_BLOCK = 8.0
"""Pixels a latent pixel: every Stable Diffusion decoder leaves a raster of this period."""

VAE_PRICE = 6.0
"""Price, in nats, of explaining edges by that raster: it is there whatever the cells are. Real
cells of 8 pixels, with 50 lines and a gain of 1 each, pay it easily."""

POWER = 0.85
"""Exponent from edge energy to weight: below 1, so that one outline does not drown the rest."""

KEEP = 0.04
"""Peaks with less than this share of the strongest peak's energy are a codec's raster or noise."""

HARD = 0.4
"""Standard deviation in pixels of a hard edge about its line."""

_MAX_PEAKS = 72
_CANDIDATES = 7


class Evidence(NamedTuple):
    """One period with the evidence for it.

    ``nats`` is the log-likelihood ratio against "edges anywhere", less the prices of search,
    drift and jumps, with each effective line counted once; ``full`` what a perfect lattice with
    as many lines would give; ``width`` the standard deviation of edges in pixels it holds for.
    """

    period: float
    nats: float
    full: float
    width: float

    @property
    def share(self) -> float:
        """``nats`` as a share of ``full``, at most 1; 0 where lines are wider than their gaps."""
        return self.nats / self.full if self.full > 0 else 0.0


class Peaks(NamedTuple):
    """Maxima of a profile: position in pixels, weight; weights sum to the effective number."""

    position: Floats
    weight: Floats


def find_peaks(profile: Profile) -> Peaks:
    """Return the peaks of an edge profile, each with the energy of its surroundings.

    Weights are energies to the power ``POWER``, scaled to sum to ``(sum w)^2 / sum w^2``.
    """
    q = above_floor(without_raster(profile))
    if len(q) < 3 or not q.any():
        return Peaks(np.zeros(0), np.zeros(0))
    padded = np.concatenate([[0.0], q, [0.0]])
    left, right = padded[:-2], padded[2:]
    at = np.flatnonzero((q > left) & (q >= right))
    energy = left[at] + q[at] + right[at]
    keep = energy > KEEP * energy.max()
    at, energy = at[keep], energy[keep]
    if len(at) > _MAX_PEAKS:
        strongest = np.sort(np.argpartition(energy, -_MAX_PEAKS)[-_MAX_PEAKS:])
        at, energy = at[strongest], energy[strongest]
    position = at + 1 + (right[at] - left[at]) / energy
    weight = energy**POWER
    weight *= weight.sum() / (weight**2).sum()
    return Peaks(position, weight)


def candidate_periods(profile: Profile) -> Floats:
    """Return periods worth testing: peaks of the spectrum and of the autocorrelation."""
    q = above_floor(profile)
    length = len(q) + 1
    size = 8 << math.ceil(math.log2(length))
    power = np.abs(np.fft.rfft(q, size)) ** 2
    counts = np.arange(len(power)) * (length / size)
    inside = (counts >= MIN_LINES) & (counts <= length / MIN_PERIOD)
    top = _local_maxima(power, inside)
    spectral = size / top[:_CANDIDATES]
    lags = np.fft.irfft(power, size)[: length // MIN_LINES + 2]
    inside = np.arange(len(lags)) >= MIN_PERIOD
    temporal = _local_maxima(lags, inside)[:4]
    found = np.concatenate([spectral, temporal])
    fitting: Floats = found[(found >= MIN_PERIOD) & (found <= length / MIN_LINES)]
    return fitting


def distinct(periods: Floats) -> Floats:
    """Return ``periods`` without those within 1 % of an earlier one."""
    near = np.abs(np.log(periods[:, None] / periods[None, :])) < 0.01
    kept: Floats = periods[~np.any(np.tril(near, -1), axis=1)]
    return kept


def _local_maxima(values: Floats, inside: npt.NDArray[np.bool_]) -> Floats:
    """Return the interpolated indices of the local maxima, highest first."""
    here, left, right = values[1:-1], values[:-2], values[2:]
    at = np.flatnonzero(inside[1:-1] & (here >= left) & (here > right))
    at = at[np.argsort(-here[at])]
    bend = left[at] - 2 * here[at] + right[at]
    shift = np.where(bend != 0, 0.5 * (left[at] - right[at]) / np.where(bend == 0, 1, bend), 0)
    refined: Floats = at + 1 + np.clip(shift, -0.5, 0.5)
    return refined


def line_widths(length: int) -> tuple[float, float]:
    """Return the standard deviations, in pixels, that edges about their line are tried with.

    One for hard edges, one for the softness of a decoder, blur or a few JPEG steps, which grows
    with the size of the image. All periods are compared at the same width.
    """
    return HARD, HARD + length / 850


def log_gain(distance: Floats | float, period: Floats | float, width: float) -> Floats:
    """Return the log-likelihood ratio of an edge ``distance`` pixels from the nearest line."""
    square = distance * distance * (-0.5 / width**2)
    height = period * ((1 - STRAY) / (width * math.sqrt(2 * math.pi)))
    gain: Floats = np.log(np.exp(square) * height + STRAY)
    return gain


def judge(peaks: Peaks, periods: Floats, widths: tuple[float, ...]) -> list[list[Evidence]]:
    """Return for each width the evidence for each period, phases free to drift and to jump.

    ``widths`` are standard deviations of edges about their lines in pixels.
    """
    lines = float(peaks.weight.sum())
    if not len(peaks.position) or not len(periods):
        return [[] for _ in widths]
    gains = [_emission(peaks, periods, width) for width in widths]
    ends = _best_ways(np.concatenate(gains, axis=1), np.tile(_haste(peaks, periods), len(widths)))
    raster = np.abs(periods / VAE_BLOCK - 1) < 0.01
    found = []
    for width, best in zip(widths, ends.reshape(len(widths), -1), strict=True):
        totals = best - SEARCH - VAE_PRICE * raster
        ideal = log_gain(0.0, periods, width)
        found.append(
            [
                Evidence(float(period), float(total), float(lines * top), width)
                for period, total, top in zip(periods, totals, ideal, strict=True)
            ]
        )
    return found


def _best_ways(emission: Floats, haste: Floats) -> Floats:
    """Return the gain of the best way through the phases (Viterbi), one a column of periods.

    ``emission`` is (peaks, periods, PHASES), ``haste`` (peaks - 1, periods), as the functions of
    these names give them; the columns do not see each other.
    """
    ring = np.empty((emission.shape[1], PHASES + 2), dtype=np.float32)
    best = emission[0]
    for scores, hurry in zip(emission[1:], haste[:, :, None], strict=True):
        ring[:, 1:-1], ring[:, 0], ring[:, -1] = best, best[:, -1], best[:, 0]
        moved = np.maximum(ring[:, :-2], ring[:, 2:])
        moved -= DRIFT * hurry
        np.maximum(moved, best, out=moved)
        np.maximum(moved, best.max(axis=1, keepdims=True) - JUMP * hurry, out=moved)
        best = moved
        best += scores
    return np.asarray(best.max(axis=1))


def _emission(peaks: Peaks, periods: Floats, width: float) -> Floats:
    """Return the gain of each peak at each period and phase, (peaks, periods, PHASES) float32."""
    phases = ((np.arange(PHASES) + 0.5) / PHASES).astype(np.float32)
    turns = peaks.position[:, None] / periods[None, :]
    turns = (turns - np.floor(turns)).astype(np.float32)
    away = turns[:, :, None] - phases[None, None, :]
    away -= np.rint(away)
    scale = periods.astype(np.float32)[None, :, None]
    away *= scale
    if width <= HARD:
        # A hard edge lies on a whole pixel beside its line, and in wide cells a phase step is
        # wider than a hard line: an edge between two steps is on it.
        slack = np.float32(0.08) + np.maximum(0, scale / (2 * PHASES) - np.float32(0.25))
        if slack.any():
            away = np.maximum(np.abs(away) - slack, 0)
    gain: Floats = log_gain(away, scale, width)
    gain *= peaks.weight.astype(np.float32)[:, None, None]
    return gain


def _haste(peaks: Peaks, periods: Floats) -> Floats:
    """Return how many times the price of a changed phase counts, (peaks - 1, periods).

    Between two peaks of one cell a phase has no time to change: the price is for a period.
    """
    haste = np.maximum(1.0, periods[None, :] / np.diff(peaks.position)[:, None])
    return haste.astype(np.float32)


def trace(peaks: Peaks, evidence: Evidence) -> Floats:
    """Return the phase of the lattice at each peak, in pixels: the way that ``judge`` paid for."""
    period = np.array([evidence.period])
    emission = _emission(peaks, period, evidence.width)[:, 0]
    steps = np.abs(np.arange(PHASES)[:, None] - np.arange(PHASES))
    steps = np.minimum(steps, PHASES - steps)
    price = np.select([steps == 0, steps == 1], [0.0, DRIFT], JUMP)
    best, came = emission[0], []
    for scores, haste in zip(emission[1:], _haste(peaks, period)[:, 0], strict=True):
        reached = best[:, None] - price * haste
        came.append(reached.argmax(axis=0))
        best = reached.max(axis=0) + scores
    way = [int(best.argmax())]
    for origin in reversed(came):
        way.append(int(origin[way[-1]]))
    traced: Floats = (np.array(way[::-1]) + 0.5) / PHASES * evidence.period
    return traced
