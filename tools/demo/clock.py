"""Training by the clock: how far along a stage is, its learning rate, its log."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import torch


class Stage:
    """One stage of training with a limit in seconds (or in steps, where given).

    ``progress()`` runs from 0 to 1. Every number told to ``log`` goes to ``NAME.jsonl``.
    """

    def __init__(self, name: str, seconds: float, logs: Path, steps: int | None = None) -> None:
        self.name, self.seconds, self.steps = name, seconds, steps
        self.begun, self.step = time.perf_counter(), 0
        logs.mkdir(parents=True, exist_ok=True)
        self.path = logs / f"{name}.jsonl"
        self.path.write_text("")

    def elapsed(self) -> float:
        """Seconds since the stage began."""
        return time.perf_counter() - self.begun

    def progress(self) -> float:
        """Share of the stage that is done."""
        if self.steps is not None:
            return min(1.0, self.step / self.steps)
        return min(1.0, self.elapsed() / self.seconds)

    def rate(self, peak: float, warmup: int = 100) -> float:
        """Learning rate now: a linear rise, then half a cosine to a hundredth."""
        rise = min(1.0, (self.step + 1) / warmup)
        return peak * rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.progress())))

    def log(self, **numbers: float) -> None:
        """Note numbers with step and seconds, in the file and on the screen."""
        row = {"step": self.step, "seconds": round(self.elapsed(), 1)}
        row |= {k: float(f"{float(v):.5g}") for k, v in numbers.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(self.name, row, flush=True)


class Average:
    """An exponential average of the parameters of some modules."""

    def __init__(self, modules: list[torch.nn.Module], keep: float) -> None:
        self.parameters = [p for module in modules for p in module.parameters()]
        self.kept = [p.detach().clone().float() for p in self.parameters]
        self.keep = keep

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take one step of the average; early on it follows closely."""
        keep = min(self.keep, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.kept, self.parameters, 1 - keep)

    @torch.no_grad()
    def write(self) -> None:
        """Put the average into the modules."""
        for parameter, kept in zip(self.parameters, self.kept, strict=True):
            parameter.copy_(kept)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group of an optimizer one learning rate, times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
