"""Steps of a run and the learning rate at the end of each epoch, from its parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loraeval.checkpoints.parameters import Parameters
from loraeval.checkpoints.values import number


@dataclass(frozen=True, slots=True)
class Steps:
    """``per_epoch`` and ``total`` optimizer steps, ``samples`` images seen (repeats count), and
    ``how`` they were found.
    """

    per_epoch: int
    total: int
    samples: int
    how: str


def steps_of(run: Parameters, repeats: int | None = None) -> Steps | None:
    """Return the steps of a run, None where images, repeats, batch or epochs are not known.

    batches = ceil(images * repeats / batch); steps = ceil(batches / accumulation) * epochs.
    ``repeats`` stands in where the run does not tell its own.
    """
    batch, accumulate = number(run["train_batch_size"]), number(run["gradient_accumulation_steps"])
    epochs, batches = number(run["max_train_epochs"]), number(run["batches_per_epoch"])
    images, times = number(run["images"]), number(run["repeats"]) or repeats
    if not (isinstance(batch, int) and batch > 0 and isinstance(epochs, int) and epochs > 0):
        return None
    how = "recorded batches an epoch"
    if not isinstance(batches, int):
        if not (isinstance(images, int) and isinstance(times, int)):
            return None
        batches = math.ceil(images * times / batch)
        how = f"ceil({images} images x {times} repeats / batch {batch})"
    steps = math.ceil(batches / (accumulate if isinstance(accumulate, int) and accumulate else 1))
    seen = images * times if isinstance(images, int) and isinstance(times, int) else batches * batch
    return Steps(steps, steps * epochs, seen * epochs, how)


def learning_rate_factor(
    scheduler: str, progress: float, *, cycles: float = 1, warmup: float = 0.0
) -> float | None:
    """Return the factor on the learning rate at ``progress`` (0 to 1) of the run.

    ``warmup`` is the share of the run spent rising linearly from 0. The formulas are those of
    transformers' schedules, which sd-scripts uses. None for schedules that need more than this.

    >>> [round(learning_rate_factor("cosine_with_restarts", e / 10, cycles=3), 2) for e in (3, 4)]
    [0.02, 0.9]
    """
    if warmup and progress < warmup and scheduler != "constant":
        return progress / warmup
    rest = (progress - warmup) / (1 - warmup) if warmup < 1 else 1.0
    if scheduler in ("constant", "constant_with_warmup"):
        return 1.0
    if scheduler == "linear":
        return max(0.0, 1 - rest)
    if scheduler == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(1.0, rest)))
    if scheduler == "cosine_with_restarts":
        if rest >= 1:
            return 0.0
        return 0.5 * (1 + math.cos(math.pi * ((cycles * rest) % 1)))
    return None


def epoch_factors(run: Parameters) -> list[float] | None:
    """Return the learning-rate factor at the end of each epoch, None where it can not be told."""
    epochs, scheduler = number(run["max_train_epochs"]), run["lr_scheduler"]
    cycles = number(run["lr_scheduler_num_cycles"])
    if not isinstance(epochs, int) or not 0 < epochs <= 1000 or not isinstance(scheduler, str):
        return None
    if (scheduler == "cosine_with_restarts" and cycles is None) or run["lr_scheduler_type"]:
        return None
    steps, warmup = steps_of(run), number(run["lr_warmup_steps"]) or 0
    if warmup >= 1:
        if steps is None:
            return None
        warmup = warmup / steps.total
    factors = [
        learning_rate_factor(scheduler, epoch / epochs, cycles=cycles or 1, warmup=warmup)
        for epoch in range(1, epochs + 1)
    ]
    return [f for f in factors if f is not None] if None not in factors else None
