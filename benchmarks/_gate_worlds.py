"""Simulated worlds of baseline and candidate scores: measured ones and laws of many shapes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from loraeval.baselines.margins import SMALLEST, shift_seen_in
from loraeval.baselines.profile import SHARE
from loraeval.baselines.spread import SPREAD_FLOOR
from loraeval.gate.bad import bad_level
from loraeval.gate.looks import Pairs
from loraeval.outside.files import write_text_atomically
from loraeval.scores_file import read_scores

HERE = Path(__file__).resolve().parent
OTHER_LEVEL = 0.1
"""Share of prompts that suit another run as well as some other prompt suits the baseline."""
METRICS = ("palette", "grid", "style", "realism")
CHUNK = 1000

Array = np.ndarray


@dataclass(frozen=True)
class Grid:
    """Prompts and seeds of a plan; images come prompt by prompt, one seed after the other."""

    prompts: int = 40
    seeds: int = 4

    @property
    def images(self) -> int:
        """Number of images."""
        return self.prompts * self.seeds

    @property
    def clusters(self) -> Array:
        """The prompt of each image."""
        return np.arange(self.images) % self.prompts


GRIDS = {"40x4": Grid(40, 4), "12x8": Grid(12, 8)}


@dataclass(frozen=True)
class Law:
    """How scores are drawn: levels of prompts (s, p, m) and scores of images (s, n, m).

    ``image`` takes levels (s, n, m) and draws (s, n, 2) of [0, 1), of which the first is the seed's
    luck; the second tells rare faults from the rest.
    """

    metrics: tuple[str, ...]
    level: Callable[[np.random.Generator, int, int], Array]
    image: Callable[[Array, Array], Array]
    collapsed: Callable[[np.random.Generator, int, int], Array]


def normal_of(luck: Array) -> Array:
    """Return standard normal numbers from uniform ones."""
    from scipy.special import ndtri

    return np.asarray(ndtri(np.clip(luck, 1e-12, 1 - 1e-12)))


def _levels(middle: float, spread: float) -> Callable[[np.random.Generator, int, int], Array]:
    def draw(generator: np.random.Generator, gates: int, prompts: int) -> Array:
        return np.asarray(middle + spread * generator.standard_normal((gates, prompts, 1)))

    return draw


def _nothing(generator: np.random.Generator, gates: int, images: int) -> Array:
    return np.asarray(0.05 * generator.random((gates, images, 1)))


def _made(
    middle: float, between: float, image: Callable[[Array, Array], Array], name: str = "score"
) -> Law:
    def clipped(level: Array, draws: Array) -> Array:
        return np.clip(image(level, draws), 0, 1)

    return Law((name,), _levels(middle, between), clipped, _nothing)


def _bimodal(level: Array, draws: Array) -> Array:
    low = draws[..., 1:] < 0.25
    return level - np.where(low, 0.3, 0.0) + 0.04 * normal_of(draws[..., :1])


def _ceiling(level: Array, draws: Array) -> Array:
    from scipy.special import betaincinv

    mean = np.clip(level, 0.8, 0.99)
    return np.asarray(betaincinv(20 * mean, 20 * (1 - mean), draws[..., :1]))


def _zero_inflated(level: Array, draws: Array) -> Array:
    return np.where(draws[..., 1:] < 0.03, 0.0, level + 0.06 * normal_of(draws[..., :1]))


MADE = {
    "normal": _made(0.6, 0.06, lambda level, d: level + 0.05 * normal_of(d[..., :1])),
    "ceiling": _made(0.95, 0.015, _ceiling),
    "bimodal": _made(0.85, 0.04, _bimodal),
    "left-skewed": _made(
        0.85, 0.04, lambda level, d: level - 0.04 * (np.exp(0.9 * normal_of(d[..., :1])) - 1.5)
    ),
    "tied": _made(
        0.7, 0.05, lambda level, d: np.round((level + 0.07 * normal_of(d[..., :1])) * 20) / 20
    ),
    "zero-inflated": _made(0.75, 0.05, _zero_inflated),
}
"""Laws of many shapes, one scorer each."""


@dataclass(frozen=True)
class Runs:
    """Where measured scores lie, which epochs of which run are good, and which run collapsed."""

    scores: Path
    good: tuple[str, range]
    collapsed: str


MEASURED = {
    "punks": Runs(HERE / "gate_scores.json", ("SD15_PERFECT", range(5, 11)), "SDXL_nova"),
    "demo": Runs(HERE / "gate_scores_demo.json", ("demo_perfect", range(6, 11)), "demo_photoreal"),
}
"""The seed's renders, and those of the demo model."""


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


@dataclass(frozen=True)
class Source:
    """Measured scores: prompt levels (p, m), seed effects (k, m), the collapsed run's (c, m)."""

    metrics: tuple[str, ...]
    levels: Array
    effects: Array
    collapsed: Array


def load(runs: Runs) -> Source:
    """Read the measured scores; a scorer counts where every image of both runs has it."""
    rows = json.loads(runs.scores.read_text(encoding="utf-8"))
    good = [row for row in rows if row["run"] == runs.good[0] and row["epoch"] in runs.good[1]]
    fallen = [row for row in rows if row["run"] == runs.collapsed]
    metrics = tuple(m for m in METRICS if all(m in row["scores"] for row in good + fallen))
    groups: dict[str, list[list[float]]] = {}
    for row in good:
        groups.setdefault(row["prompt_id"], []).append([row["scores"][m] for m in metrics])
    levels, found = [], []
    for members in groups.values():
        numbers = np.array(members)
        if len(numbers) > 1:
            levels.append(numbers.mean(axis=0))
            found.append((numbers - levels[-1]) * np.sqrt(len(numbers) / (len(numbers) - 1)))
    low = np.array([[row["scores"][m] for m in metrics] for row in fallen])
    return Source(metrics, np.array(levels), np.concatenate(found), low)


def measured(runs: Runs) -> Law:
    """Return the law of measured scores: a seed's effects on all scorers are drawn together, and
    the levels of a prompt likewise.
    """
    source = load(runs)
    metrics, middle, effects, low = (
        source.metrics, source.levels, source.effects, source.collapsed,
    )  # fmt: skip

    def level(generator: np.random.Generator, gates: int, prompts: int) -> Array:
        return middle[generator.integers(len(middle), size=(gates, prompts))]

    def image(levels: Array, draws: Array) -> Array:
        moved = effects[(draws[..., 0] * len(effects)).astype(int)]
        return np.clip(levels + moved, 0, 1)

    def collapsed(generator: np.random.Generator, gates: int, images: int) -> Array:
        return low[generator.integers(len(low), size=(gates, images))]

    return Law(metrics, level, image, collapsed)


def law_of(name: str) -> Law:
    """Return the law of a world by its name."""
    return MADE[name] if name in MADE else measured(MEASURED[name])


@dataclass(frozen=True)
class World:
    """Simulated gates: baseline (s, n, m), of one run or several, and candidates' scores.

    ``candidate`` is of identical quality; ``rival`` another run as good on average though not
    prompt by prompt, ``interaction`` (s, m) being how much better than the baseline its prompts
    really are, on average over seeds. ``spread``, ``margin``, ``golden``, ``bad`` are (s, m).
    """

    grid: Grid
    base: Array
    candidate: Array
    rival: Array
    interaction: Array
    prompt_mean: Array
    spread: Array
    margin: Array
    golden: Array
    bad: Array
    golden_images: int

    def pairs(self, scores: Array, j: int) -> Pairs:
        """Return what the gate sees of metric ``j``."""
        return Pairs(
            scores[..., j],
            self.base[..., j],
            self.prompt_mean[..., j],
            self.grid.clusters,
            self.spread[:, j],
            self.golden[:, j],
            self.golden_images,
        )

    def worse(self, margins: float, j: int, rival: bool = False) -> Array:
        """Return a candidate whose mean is lower by so many margins on metric ``j``.

        That is exact over seeds, for these prompts: what cannot fall below 0 is made up for by the
        other images, and another run is first brought to the baseline's level.
        """
        moved = (self.rival if rival else self.candidate).copy()
        loss = margins * self.margin[:, j] + (self.interaction[:, j] if rival else 0)
        share = (moved[..., j] > 1.5 * loss[:, None]).mean(axis=1)
        moved[..., j] -= np.where(moved[..., j] > 1.5 * loss[:, None], (loss / share)[:, None], 0)
        return np.minimum(moved, 1.0)

    def spoilt(self, lost: Array, level: float, j: int) -> Array:
        """Return the candidate with the images ``lost`` (s, n) at ``level`` times their score."""
        moved = self.candidate.copy()
        moved[..., j] = np.where(lost, level * moved[..., j], moved[..., j])
        return moved


def bad_images(generator: np.random.Generator, grid: Grid, gates: int, share: Array) -> Array:
    """Return which images (s, n) collapse: each with its gate's ``share`` (s,)."""
    return np.asarray(generator.random((gates, grid.images)) < share[:, None])


def bad_prompts(generator: np.random.Generator, grid: Grid, gates: int, share: Array) -> Array:
    """Return all images of the smallest number of prompts that is at least ``share`` (s,)."""
    dead = np.ceil(np.round(share * grid.prompts, 9))
    rank = generator.random((gates, grid.prompts)).argsort(axis=1).argsort(axis=1)
    return np.tile(rank < dead[:, None], (1, grid.seeds))


def worlds(
    law: Law, grid: Grid, gates: int, share: float, seed: int, runs: int = 1
) -> Iterator[World]:
    """Yield worlds of at most ``CHUNK`` gates, ``gates`` in all, from a baseline of ``runs``.

    ``share`` is r: a candidate's image draws the baseline's luck with that chance, else its own.
    """
    generator = np.random.default_rng(seed)
    metrics = len(law.metrics)
    done = 0
    while done < gates:
        size = min(CHUNK, gates - done)
        done += size
        level = law.level(generator, size, grid.prompts)
        luck = generator.random((size, grid.images, 2))

        def drawn(
            like: Array = luck, size: int = size, generator: np.random.Generator = generator
        ) -> Array:
            same = generator.random((size, grid.images, 1)) < share
            return np.where(same, like, generator.random(like.shape))

        def as_good(
            level: Array = level, size: int = size, generator: np.random.Generator = generator
        ) -> Array:
            suits = generator.random((size, grid.prompts, 1)) < OTHER_LEVEL
            return np.where(suits, law.level(generator, size, grid.prompts), level)

        def tiled(levels: Array) -> Array:
            return np.tile(levels, (1, grid.seeds, 1))

        levels = [level] if runs == 1 else [as_good() for _ in range(runs)]
        made = [law.image(tiled(levels[0]), luck)]
        made += [law.image(tiled(other), drawn()) for other in levels[1:]]
        base = np.mean(made, axis=0)
        moved = as_good()
        fresh = drawn()
        candidate = law.image(tiled(level), fresh)
        rival = law.image(tiled(moved), fresh)
        interaction = _expected(law, moved, generator) - np.mean(
            [_expected(law, one, generator) for one in levels], axis=0
        )
        by_prompt = [m.reshape(size, grid.seeds, grid.prompts, metrics) for m in made]
        means = [found.mean(axis=1) for found in by_prompt]
        squares = sum(
            ((found - mean[:, None]) ** 2).sum(axis=(1, 2))
            for found, mean in zip(by_prompt, means, strict=True)
        )
        within = np.sqrt(squares / (runs * (grid.images - grid.prompts)))
        within = np.maximum(within, SPREAD_FLOOR)
        margin = np.maximum(shift_seen_in(SHARE) * within, SMALLEST)
        every = np.concatenate(made, axis=1)
        bad = np.array([[_bad(every[s, :, j]) for j in range(metrics)] for s in range(size)])
        yield World(
            grid,
            base,
            candidate,
            rival,
            interaction.mean(axis=1),
            tiled(np.mean(means, axis=0)),
            within,
            margin,
            base.mean(axis=1),
            bad,
            runs * grid.images,
        )


def _expected(law: Law, level: Array, generator: np.random.Generator) -> Array:
    draws = 60
    total = np.zeros_like(level)
    luck = (np.arange(draws) + 0.5) / draws
    second = generator.permutation(luck)
    for first, other in zip(luck, second, strict=True):
        total += law.image(level, np.broadcast_to([first, other], (*level.shape[:2], 2)))
    return total / draws


def _bad(golden: Array) -> float:
    level = bad_level(golden.tolist()).level
    return np.nan if level is None else level


def several(world: World, count: int) -> World:
    """Return the first ``count`` gates."""
    parts = {
        name: getattr(world, name)[:count]
        for name in (
            "base", "candidate", "rival", "interaction", "prompt_mean", "spread", "margin",
            "golden", "bad",
        )
    }  # fmt: skip
    return replace(world, **parts)
