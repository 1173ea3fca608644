"""What makes a baseline easier to pass than its own images say; seen from its rows."""

from __future__ import annotations

from collections.abc import Mapping

from loraeval.baselines.freeze import FEWEST
from loraeval.baselines.margins import derive_margin
from loraeval.baselines.profile import GATED, PIXEL_GATED
from loraeval.baselines.record import Baseline
from loraeval.baselines.shares import SHARES, score_of


def softened(baseline: Baseline, margins: Mapping[str, float] | None = None) -> tuple[str, ...]:
    """Return one phrase for all that was set by hand: margins, the gated list, the name.

    ``margins`` are those that a user gave for this one gate. A margin counts as set by hand where
    it differs from the one derived from the baseline's rows now, whatever its words say.
    """
    notes = []
    for metric in baseline.profile.gated:
        if metric == "health" or metric in SHARES:
            continue
        derived = derived_margin(baseline, metric)
        value = (margins or {}).get(metric, baseline.margins[metric])
        if abs(value - derived) > 1e-4 + 1e-3 * derived:
            notes.append(f"margin of {metric} set by hand {value:g}, derived {derived:g}")
    usual = GATED if baseline.profile.lattice is None else PIXEL_GATED
    absent = [
        metric
        for metric in usual
        if metric not in baseline.profile.gated
        and sum(score_of(row, metric) is not None for row in baseline.rows) >= FEWEST
    ]
    if absent:
        notes.append(f"not gated although measured: {', '.join(absent)}")
    if baseline.folder is not None and baseline.folder.resolve().name != baseline.name:
        notes.append(f"calls itself {baseline.name}, its folder {baseline.folder.resolve().name}")
    return tuple(notes)


def derived_margin(baseline: Baseline, metric: str) -> float:
    """Return the margin that the baseline's rows give, with its recorded drift between machines."""
    drift = baseline.repeat_noise.get(metric, 0.0)
    return derive_margin(baseline.rows, metric, baseline.profile.share, drift).value
