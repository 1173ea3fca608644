"""A run of portraits that this project draws itself: images, rows, a baseline, verdicts."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loraeval.gate.epochs import metric_intervals
from loraeval.records import Checkpoint, Comparison, ScoreRow, Verdict
from loraeval.report.data import BaselineView, RunReport
from loraeval.testing.portraits import render_pixel_art, scene

METRICS = ("palette", "grid", "style", "realism", "health")
CHROMIUM = Path("/usr/bin/chromium")


@dataclass(frozen=True)
class Choice:
    """A selection as the gate would make it."""

    epoch: int | None
    tied: tuple[int, ...]
    reason: str


def draw(folder: Path, name: str, seed: int, size: int, noise: float, rng) -> None:
    """Write a portrait with sensor-like noise, so that files compress as renders do."""
    clean = render_pixel_art(scene(seed), size).astype(np.float64)
    dirty = np.clip(clean + rng.normal(0, noise, clean.shape), 0, 255).astype(np.uint8)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(dirty).save(path, compress_level=1)


def details_of(seed: int, size: int, shift: int) -> dict[str, object]:
    """Palette and grid details with the keys that the scorers write."""
    entries = []
    for part in scene(seed).attributes[:5]:
        red, green, blue = (int(part.hex[i : i + 2], 16) for i in (1, 3, 5))
        found = f"#{max(0, red - shift):02x}{green:02x}{min(255, blue + shift):02x}"
        entries.append(
            {
                "attribute": part.attribute,
                "wanted": part.hex,
                "found": found,
                "delta_e": shift / 4,
                "bound": 1.0,
            }
        )
    return {
        "palette": {"attributes": entries, "coverage": 0.9, "cells": "24x24"},
        "grid": {
            "found": "24.0x24.0",
            "expected": "24x24",
            "confidence": 0.98,
            "faults": ["uneven along x: 3 edges off the lines"] if shift > 30 else [],
            "period": [size / 24, size / 24],
            "phase": [0.0, 0.0],
        },
    }


def make_run(
    folder: Path, *, epochs: int = 4, prompts: int = 5, size: int = 96, noise: float = 6.0
) -> RunReport:
    """Return a run whose images lie in ``folder``; epoch quality rises, then falls."""
    chance, rng = random.Random(7), np.random.default_rng(7)
    best = max(1, epochs - 1)
    rows, base = [], []
    for prompt in range(prompts):
        name = f"base/{prompt:02d}.png"
        draw(folder / "baseline", name, prompt, size, noise / 2, rng)
        base.append(row(name, "GOLD", 7, prompt, chance, 0.84, details_of(prompt, size, 4)))
        for epoch in range(1, epochs + 1):
            name = f"epoch{epoch:02d}/{prompt:02d}.png"
            off = abs(epoch - best)
            draw(folder / "renders", name, prompt, size, noise * (1 + 0.3 * off), rng)
            level = 0.84 - 0.05 * off
            rows.append(
                row(name, "STUDY", epoch, prompt, chance, level, details_of(prompt, size, 14 * off))
            )
    levels = metric_intervals(base)
    means = {metric: mean for metric, (mean, _, _) in levels.items()}
    bands = {metric: (low, high) for metric, (_, low, high) in levels.items()}
    return RunReport(
        title="STUDY against GOLD",
        rows=tuple(rows),
        verdicts=tuple(
            verdict(
                Checkpoint("STUDY", epoch, file=f"STUDY-{epoch:06d}.safetensors"),
                abs(epoch - best),
            )
            for epoch in range(1, epochs + 1)
        ),
        baseline=BaselineView("GOLD", tuple(base), means, bands, folder / "baseline"),
        selection=Choice(best, (), f"Epoch {best} has the highest scores of the series."),
        images=folder / "renders",
        prompts={f"portrait_{i:02d}": scene(i).caption for i in range(prompts)},
        recipe={"base model": "stable-diffusion-v1-5", "steps": 30, "size": f"{size}x{size}"},
        versions={"loraeval": "0.1.0", "palette": "1", "grid": "1"},
        hashes={"prompt set": "0123456789abcdef"},
        provenance={"made by": "tests/report/conftest.py"},
    )


def row(image, run, epoch, prompt, chance, level, details) -> ScoreRow:
    scores = {
        metric: 1.0 if metric == "health" else min(1.0, max(0.0, chance.gauss(level, 0.06)))
        for metric in METRICS
    }
    if prompt == 3:
        scores["palette"] = None
        details = {**details, "palette": {"reason": "the caption names no colour"}}
    file, prompt_id = f"{run}-{epoch:06d}.safetensors", f"portrait_{prompt:02d}"
    return ScoreRow(image, run, file, epoch, prompt_id, 42, scores, details)


def verdict(checkpoint: Checkpoint, off: int) -> Verdict:
    outcomes = ["pass", "inconclusive", "fail", "fail"]
    outcome = outcomes[min(off, 3)]
    comparisons = tuple(
        Comparison(
            metric=metric,
            outcome="pass" if metric == "health" else outcome,
            reason=f"{metric} is {0.05 * off:.2f} below the baseline, {0.04:.2f} is accepted",
            margin=0.04,
            n=40,
            pairing="prompt+seed",
            estimate=-0.05 * off + 0.01,
            low=-0.05 * off - 0.02,
            high=-0.05 * off + 0.04,
            baseline_mean=0.84,
            candidate_mean=0.85 - 0.05 * off,
        )
        for metric in METRICS
    )
    said = {"pass": "passes", "inconclusive": "is undecided", "fail": "fails"}[outcome]
    reason = f"{checkpoint.label} {said} against GOLD."
    return Verdict(checkpoint, "GOLD", outcome, comparisons, reason)


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> RunReport:
    """Four epochs of five prompts."""
    return make_run(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def make_study() -> Callable[..., RunReport]:
    """``make_run``, for tests that want another size."""
    return make_run
