"""Was the whole plan shown? A checkpoint whose worst images were left out must not pass.

Where the baseline has seeds, a PASS needs all of its images or those that the gate's own order
begins with: which ones come first was drawn without looking at a score. Where it has none, it needs
an image of every prompt, of the baseline or of a set that the user declares.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loraeval.baselines import Baseline
from loraeval.gate.options import GateOptions
from loraeval.gate.order import rendering_order
from loraeval.records import ScoreRow


def missing_images(
    baseline: Baseline,
    rows: Sequence[ScoreRow],
    options: GateOptions,
    declared: Iterable[str] | None = None,
) -> tuple[str, ...]:
    """Return what of the plan is missing among ``rows``, in words, empty where nothing is.

    ``declared`` are the ids of the prompts that were meant to be shown, instead of the baseline's.
    """
    if declared is not None:
        return _prompts(declared, rows)
    if any(row.seed is None for row in baseline.rows):
        return _prompts(dict.fromkeys(row.prompt_id for row in baseline.rows), rows)
    order = rendering_order(baseline, options)
    shown = {(row.prompt_id, row.seed) for row in rows}
    known = [pair for pair in order if pair in shown]
    if not known:
        return tuple(f"prompt {prompt} with seed {seed}" for prompt, seed in order)
    # A prefix of the order, or what lacks to the end of what was shown of it.
    last = max(order.index(pair) for pair in known)
    return tuple(
        f"prompt {prompt} with seed {seed}"
        for prompt, seed in order[: last + 1]
        if (prompt, seed) not in shown
    )


def follows_order(baseline: Baseline, rows: Sequence[ScoreRow], options: GateOptions) -> bool:
    """Return whether ``rows``, in whatever order, are exactly what the gate's order begins with."""
    if any(row.seed is None for row in (*baseline.rows, *rows)):
        return False
    if baseline.recipe_digest is None or any(row.recipe is None for row in rows):
        return False
    pairs = [(row.prompt_id, row.seed) for row in rows]
    order = rendering_order(baseline, options)
    return len(set(pairs)) == len(pairs) and set(pairs) == set(order[: len(pairs)])


def _prompts(wanted: Iterable[str], rows: Sequence[ScoreRow]) -> tuple[str, ...]:
    shown = {row.prompt_id for row in rows}
    return tuple(f"prompt {prompt}" for prompt in wanted if prompt not in shown)
