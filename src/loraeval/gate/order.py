"""The order in which a gate's images are made, drawn before any score is seen."""

from __future__ import annotations

import random

from loraeval.baselines import Baseline
from loraeval.errors import BaselineError
from loraeval.gate.options import GateOptions


def rendering_order(baseline: Baseline, options: GateOptions) -> tuple[tuple[str, int], ...]:
    """Return the baseline's (prompt id, seed) pairs in the order to render them.

    Prompts are shuffled once, and each prompt's seeds; then every prompt comes once before any
    comes twice, so that early evidence rests on as many prompts as possible. The order depends on
    ``options.seed`` and the pairs alone, never on a score, which keeps the error rates.
    """
    seeds: dict[str, list[int]] = {}
    for row in baseline.rows:
        if row.seed is None:
            raise BaselineError(
                f"baseline {baseline.name}: {row.image} has no seed, so no image can be rendered "
                "like it; gate images that exist already, or freeze a baseline from rendered ones"
            )
        known = seeds.setdefault(row.prompt_id, [])
        if row.seed not in known:
            known.append(row.seed)
    generator = random.Random(options.seed)
    prompts = sorted(seeds)
    generator.shuffle(prompts)
    for prompt in prompts:
        seeds[prompt].sort()
        generator.shuffle(seeds[prompt])
    rounds = max(map(len, seeds.values()))
    order = [
        (prompt, seeds[prompt][turn])
        for turn in range(rounds)
        for prompt in prompts
        if turn < len(seeds[prompt])
    ]
    return tuple(order[: options.max_images])
