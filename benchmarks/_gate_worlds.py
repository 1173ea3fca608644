"""Simulated worlds of baseline and candidate scores, drawn from measured per-image scores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loraeval.baselines.margins import SMALLEST, shift_seen_in
from loraeval.baselines.profile import SHARE
from loraeval.baselines.spread import SPREAD_FLOOR
from loraeval.outside.files import write_text_atomically
from loraeval.scores_file import read_scores

HERE = Path(__file__).resolve().parent
PROMPTS, SEEDS = 40, 4
IMAGES = PROMPTS * SEEDS
OTHER_LEVEL = 0.1
"""Share of prompts that suit the candidate as well as some other prompt suits the baseline."""
METRICS = ("palette", "grid", "style", "realism")
CHUNK = 2500
CLUSTERS = np.arange(IMAGES) % PROMPTS
"""The prompt of each image of a simulated grid."""


@dataclass(frozen=True)
class Runs:
    """Where measured scores lie, which epochs of which run are good, and which run collapsed."""

    scores: Path
    good: tuple[str, range]
    collapsed: str
    section: str


WORLDS = {
    "punks": Runs(HERE / "gate_scores.json", ("SD15_PERFECT", range(5, 11)), "SDXL_nova", "gate"),
    "demo": Runs(
        HERE / "gate_scores_demo.json",
        ("demo_perfect", range(6, 11)),
        "demo_photoreal",
        "gate_demo",
    ),
}
"""The seed's renders, and those of the demo model."""


@dataclass(frozen=True)
class Source:
    """Measured scores: prompt levels (p, m), seed effects (k, m), the collapsed run's (c, m)."""

    metrics: tuple[str, ...]
    levels: np.ndarray
    effects: np.ndarray
    collapsed: np.ndarray


def take(path: Path, scores: Path) -> None:
    """Write the numbers that the simulation needs from a scores file: no caption, no image."""
    rows = [
        {
            "run": row.run,
            "epoch": row.epoch,
            "prompt_id": row.prompt_id,
            "scores": {
                m: round(v, 4) for m in (*METRICS, "health") if (v := row.scores.get(m)) is not None
            },
        }
        for row in read_scores(path)
    ]
    lines = ",\n".join(json.dumps(row) for row in rows)
    write_text_atomically(scores, f"[\n{lines}\n]\n")


def load(runs: Runs) -> Source:
    """Read the measured scores; a scorer counts where every image of both runs has it."""
    rows = json.loads(runs.scores.read_text(encoding="utf-8"))
    good = [row for row in rows if row["run"] == runs.good[0] and row["epoch"] in runs.good[1]]
    fallen = [row for row in rows if row["run"] == runs.collapsed]
    metrics = tuple(m for m in METRICS if all(m in row["scores"] for row in good + fallen))
    groups: dict[str, list[list[float]]] = {}
    for row in good:
        groups.setdefault(row["prompt_id"], []).append([row["scores"][m] for m in metrics])
    levels, effects = [], []
    for found in groups.values():
        numbers = np.array(found)
        if len(numbers) > 1:
            levels.append(numbers.mean(axis=0))
            shrunk = np.sqrt(len(numbers) / (len(numbers) - 1))
            effects.append((numbers - levels[-1]) * shrunk)
    collapsed = np.array([[row["scores"][m] for m in metrics] for row in fallen])
    return Source(metrics, np.array(levels), np.concatenate(effects), collapsed)


@dataclass(frozen=True)
class World:
    """Simulated gates: base and candidate scores (s, n, m), prompt means, spreads, margins (s, m).

    The candidate is of identical quality, the rival as good on average though not prompt by prompt;
    ``shifted`` and ``spoilt`` make the rival worse.
    """

    base: np.ndarray
    candidate: np.ndarray
    rival: np.ndarray
    prompt_mean: np.ndarray
    spread: np.ndarray
    margin: np.ndarray

    def shifted(self, margins: float, metric: int, exact: bool = False) -> np.ndarray:
        """Return the rival worse by so many margins on one metric.

        In expectation over prompts and seeds, or with ``exact`` on these very images.
        """
        moved = self.rival.copy()
        loss = margins * self.margin[:, metric]
        if exact:
            gap = (self.rival[..., metric] - self.base[..., metric]).mean(axis=1)
            loss = loss + gap
        moved[..., metric] -= loss[:, None]
        return np.clip(moved, 0, 1)

    def spoilt(self, collapsed: np.ndarray, metric: int, seed: int) -> np.ndarray:
        """Return the rival worse by the margin because some images collapse on one metric."""
        generator = np.random.default_rng(seed)
        fall = self.rival[..., metric].mean() - collapsed[:, metric].mean()
        lost = generator.random(self.base.shape[:2]) < self.margin[:, [metric]] / fall
        drawn = collapsed[generator.integers(len(collapsed), size=lost.shape), metric]
        moved = self.rival.copy()
        moved[..., metric] = np.where(lost, drawn, moved[..., metric])
        return moved


def worlds(source: Source, gates: int, share: float, seed: int) -> Iterator[World]:
    """Yield worlds of at most ``CHUNK`` gates, ``gates`` in all."""
    generator = np.random.default_rng(seed)
    metrics = len(source.metrics)
    done = 0
    while done < gates:
        size = min(CHUNK, gates - done)
        done += size
        level = source.levels[generator.integers(len(source.levels), size=(size, PROMPTS))]
        level = np.tile(level, (1, SEEDS, 1))
        kinds = len(source.effects)
        first = source.effects[generator.integers(kinds, size=(size, IMAGES))]
        second = source.effects[generator.integers(kinds, size=(size, IMAGES))]
        same = generator.random((size, IMAGES, 1)) < share
        other = source.levels[generator.integers(len(source.levels), size=(size, PROMPTS))]
        suits = generator.random((size, PROMPTS, 1)) < OTHER_LEVEL
        drawn = np.where(same, first, second)
        moved = np.where(np.tile(suits, (1, SEEDS, 1)), np.tile(other, (1, SEEDS, 1)), level)
        base = np.clip(level + first, 0, 1)
        candidate = np.clip(level + drawn, 0, 1)
        rival = np.clip(moved + drawn, 0, 1)
        mean = np.tile(base.reshape(size, SEEDS, PROMPTS, metrics).mean(axis=1), (1, SEEDS, 1))
        within = np.sqrt(((base - mean) ** 2).sum(axis=1) / (IMAGES - PROMPTS))
        within = np.maximum(within, SPREAD_FLOOR)
        margin = np.maximum(shift_seen_in(SHARE) * within, SMALLEST)
        yield World(base, candidate, rival, mean, within, margin)
