"""Found images gated again and again by the gate's own advice, with the code that users run."""

from __future__ import annotations

import numpy as np

from _gate_worlds import GRIDS, law_of, worlds
from loraeval.baselines import Baseline, Profile, freeze
from loraeval.gate import GateOptions, gate_rows
from loraeval.records import ScoreRow

LAWS = ("normal", "left-skewed", "zero-inflated")
FIRST = 12
VISITS = 8


def _rows(scores: np.ndarray, prompts: int, run: str) -> list[ScoreRow]:
    return [
        ScoreRow(
            image=f"{run}/{n}.png",
            run=run,
            checkpoint=None,
            epoch=None,
            prompt_id=f"p{n % prompts}",
            seed=n // prompts,
            scores={"score": float(value)},
            versions={"score": "1"},
        )
        for n, value in enumerate(scores)
    ]


def _follow(golden: Baseline, rows: list[ScoreRow], order: np.ndarray) -> str:
    """Return the first verdict other than undecided when the advice is followed."""
    count = FIRST
    for _ in range(VISITS):
        given = [rows[place] for place in order[:count]]
        (verdict,) = gate_rows(golden, given, GateOptions(allow_partial=True))
        (item,) = verdict.comparisons
        if item.outcome != "inconclusive" or count >= len(rows):
            return item.outcome
        count = min(len(rows), count + (item.more or 20))
    return "inconclusive"


def advice_lines(gates: int, seed: int) -> list[str]:
    """Return table rows: wrong passes and wrong fails when the gate's advice is followed."""
    found = []
    for name in LAWS:
        generator = np.random.default_rng(seed)
        outcomes = []
        for world in worlds(law_of(name), GRIDS["40x4"], gates, 0.0, seed):
            worse = world.worse(1, 0)
            for place in range(len(world.base)):
                margin = {"score": float(world.margin[place, 0])}
                profile = Profile("made", ("score",), margins=margin)
                rows = _rows(world.base[place, :, 0], 40, "golden")
                golden = freeze("golden", rows, profile=profile)
                given = _rows(np.clip(worse[place, :, 0], 0, 1), 40, "candidate")
                outcomes.append(_follow(golden, given, generator.permutation(160)))
        cells = []
        for outcome in ("pass", "fail"):
            rate = outcomes.count(outcome) / len(outcomes)
            error = np.sqrt(rate * (1 - rate) / len(outcomes))
            cells.append(f"{rate:.2%} ± {error:.2%}")
        found.append(f"| {name} | {' | '.join(cells)} | {len(outcomes)} |")
    return found
