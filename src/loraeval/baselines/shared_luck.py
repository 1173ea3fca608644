"""r: how much of a seed's effect two checkpoints share, from runs or epochs with common seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from loraeval.baselines.margins import prompt_key
from loraeval.baselines.shares import score_of
from loraeval.records import ScoreRow

FEWEST_PAIRS = 12
"""Pairs of images of one prompt and seed below which nothing is known of r."""


def shared_part(rows: Sequence[ScoreRow], metric: str) -> tuple[float, int] | None:
    """Return (r, pairs): the correlation of what the same seed does to two checkpoints.

    What a seed does is a score less the mean of the checkpoint's images of that prompt; prompts
    with one seed say nothing. None with fewer than ``FEWEST_PAIRS`` pairs, or where seeds move
    nothing.
    """
    groups: dict[tuple[str, int | None, str], dict[int, float]] = {}
    for row in rows:
        value = score_of(row, metric)
        if value is not None and row.seed is not None:
            groups.setdefault((row.run, row.epoch, prompt_key(row)), {})[row.seed] = value
    effects: dict[tuple[str, int], list[float]] = {}
    for (_, _, prompt), found in groups.items():
        mean = math.fsum(found.values()) / len(found)
        if len(found) > 1:
            for seed, value in found.items():
                effects.setdefault((prompt, seed), []).append(value - mean)
    pairs = [
        (one, other)
        for found in effects.values()
        for place, one in enumerate(found)
        for other in found[:place]
    ]
    across = math.fsum(one * other for one, other in pairs)
    alone = math.fsum((one**2 + other**2) / 2 for one, other in pairs)
    if len(pairs) < FEWEST_PAIRS or alone < 1e-12:
        return None
    return across / alone, len(pairs)
