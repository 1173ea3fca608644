"""May the chosen epoch be kept? Choosing the best of many by the same images flatters it.

Of ten epochs that are all too bad, the luckiest looks best; a gate on that one alone passes it far
too often. So the chosen epoch is gated at ``alpha`` over the number of epochs it was chosen from
(Bonferroni), and its scores are told as fresh images would show them: on each prompt from the
epoch that the other prompts choose (Tibshirani and Tibshirani 2009, "A bias correction for the
minimum error rate in cross-validation", for the bias; leave-one-out for the remedy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from loraeval.baselines import Baseline
from loraeval.baselines.margins import prompt_key
from loraeval.baselines.shares import score_of
from loraeval.gate.options import GateOptions
from loraeval.gate.rows import gate_rows
from loraeval.records import ScoreRow, Verdict


def keep_verdict(
    baseline: Baseline,
    rows: Sequence[ScoreRow],
    epoch: int,
    options: GateOptions | None = None,
) -> Verdict:
    """Return the gate's verdict on ``epoch``, chosen among all the epochs of ``rows``.

    However many epochs are worse by the margin, one of them is kept with probability ``alpha`` at
    most.
    """
    options = options or GateOptions()
    choices = len({row.epoch for row in rows if row.epoch is not None})
    shared = replace(options, alpha=options.alpha / max(1, choices))
    chosen = [row for row in rows if row.epoch == epoch]
    (verdict,) = gate_rows(baseline, chosen, shared)
    note = f"gated at alpha / {choices}, as it was chosen among {choices} epochs"
    return replace(verdict, notes=(*verdict.notes, note)) if choices > 1 else verdict


def fair_score(rows: Sequence[ScoreRow], metric: str) -> float | None:
    """Return what fresh images of the best epoch by ``metric`` would score, without the luck of
    having been chosen.

    Each prompt is left out once; the epoch that is best on the others scores it, and the mean over
    prompts is told. Only prompts that every epoch has count; None where there are fewer than two.
    """
    table: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        value = score_of(row, metric)
        if value is not None and row.epoch is not None:
            table.setdefault(prompt_key(row), {}).setdefault(row.epoch, []).append(value)
    return fair_mean(table)


def fair_mean(table: Mapping[str, Mapping[int, Sequence[float]]]) -> float | None:
    """Return the same from scores by prompt and epoch."""
    epochs = sorted({epoch for found in table.values() for epoch in found})
    whole = [found for found in table.values() if len(found) == len(epochs)]
    if len(whole) < 2:
        return None
    means = np.array([[np.mean(found[epoch]) for epoch in epochs] for found in whole])
    others = (means.sum(axis=0) - means).argmax(axis=1)
    return float(means[np.arange(len(means)), others].mean())
