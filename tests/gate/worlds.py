"""Made-up rows for the gate's tests: a grid of prompts and seeds with known quality."""

from __future__ import annotations

import random
from collections.abc import Mapping

from loraeval.baselines import Baseline, Profile, freeze
from loraeval.records import ScoreRow

GATED = ("grid", "style", "health")


def row(
    prompt: str = "p0",
    seed: int | None = 1,
    *,
    scores: Mapping[str, float | None] | None = None,
    run: str = "golden",
    epoch: int | None = 7,
    **other: object,
) -> ScoreRow:
    """One row with versions, encoder and digests as the scorers write them."""
    given = dict(scores or {"grid": 0.8, "style": 0.7, "health": 1.0})
    facts: dict[str, object] = {
        "image": f"{run}/{epoch}/{prompt}-{seed}.png",
        "run": run,
        "checkpoint": None,
        "epoch": epoch,
        "prompt_id": prompt,
        "seed": seed,
        "scores": given,
        "versions": dict.fromkeys(given, "1"),
        "encoder": "tiny@00",
        "prompt_digest": f"digest-{prompt}",
        "recipe": "recipe-a",
    }
    return ScoreRow(**{**facts, **other})  # type: ignore[arg-type]


def grid(
    *, prompts: int = 40, seeds: int = 4, draw: int = 0, worse: float = 0.0, **other: object
) -> list[ScoreRow]:
    """A grid of rows: levels by prompt, noise by seed, ``worse`` taken off ``grid``."""
    levels = random.Random(1)
    noise = random.Random(draw)
    rows = []
    for number in range(prompts):
        base = levels.uniform(-0.05, 0.05)
        for seed in range(seeds):
            scores = {
                "grid": min(1.0, max(0.0, 0.8 + base + noise.gauss(0, 0.05) - worse)),
                "style": min(1.0, max(0.0, 0.7 + base + noise.gauss(0, 0.06))),
                "health": 1.0,
            }
            rows.append(row(f"p{number}", seed, scores=scores, **other))
    return rows


def golden(**other: object) -> Baseline:
    """A baseline of 40 prompts with 4 seeds."""
    return freeze("golden", grid(draw=2, **other), profile=Profile("test", GATED))
