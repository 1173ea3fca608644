"""How often the gate errs and how many images it takes, simulated from real per-image scores.

    python benchmarks/gate.py                    # 10,000 simulated gates a line, under 6 minutes
    python benchmarks/gate.py --take scores.jsonl  # first renew benchmarks/gate_scores.json
    python benchmarks/gate.py --world demo       # the same from the demo model's renders

A simulated world has 40 prompts with 4 seeds each. A baseline image scores its prompt's level plus
what its seed does to it; levels and seed effects are drawn from the measured scores of a good
run's later epochs (``WORLDS``), all scorers of an image together. A candidate of identical quality
draws its seed effects anew with probability 1 - r and shares the baseline's with probability r
(the same initial noise: r is the correlation). Another run as good takes some prompts as if they
were others: the same on average, not prompt by prompt; the worse ones are made from it. Scores
are clipped to [0, 1] before they are made worse.
The gate is the code that users run (``loraeval.gate.looks.decide``).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.special import stdtrit

from _gate_worlds import (
    CLUSTERS,
    HERE,
    IMAGES,
    PROMPTS,
    SEEDS,
    WORLDS,
    Source,
    World,
    load,
    take,
    worlds,
)
from loraeval import __version__
from loraeval.baselines.profile import SHARE
from loraeval.gate.betting import log_capital_not_worse
from loraeval.gate.estimate import cluster_mean, paired_residuals
from loraeval.gate.looks import NEVER, Plan, decide
from loraeval.gate.sequential import FIRST_LOOK
from loraeval.outside.files import write_text_atomically

ALPHA = 0.05


@dataclass
class Tally:
    """Counts over simulated gates."""

    gates: int = 0
    passed: int = 0
    failed: int = 0
    images: list[np.ndarray] | None = None

    def add(self, passed: np.ndarray, failed: np.ndarray, images: np.ndarray) -> None:
        """Count a chunk."""
        self.gates += len(images)
        self.passed += int(passed.sum())
        self.failed += int(failed.sum())
        self.images = [*(self.images or []), images]

    def figures(self) -> dict[str, float]:
        """Return rates and image counts."""
        counts = np.concatenate(self.images or [np.zeros(1)])
        return {
            "gates": self.gates,
            "pass": self.passed / self.gates,
            "fail": self.failed / self.gates,
            "inconclusive": 1 - (self.passed + self.failed) / self.gates,
            "mean_images": float(counts.mean()),
            "median_images": float(np.median(counts)),
        }


def gate(
    world: World, scores: np.ndarray, columns: tuple[int, ...], tally: Tally, **plan: object
) -> None:
    """Run the sequential gate on the metrics ``columns``."""
    settings = {"first": FIRST_LOOK, "largest": IMAGES, "alpha": ALPHA}
    chosen = Plan(alpha_fail=ALPHA / scores.shape[-1], **{**settings, **plan})  # type: ignore[arg-type]
    stops, passes, fails = [], [], []
    for j in columns:
        made = decide(
            scores[..., j],
            world.base[..., j],
            world.prompt_mean[..., j],
            CLUSTERS,
            world.spread[:, j],
            world.base[..., j].mean(axis=1),
            world.margin[:, j],
            chosen,
        )
        stops.append(np.minimum(made.passed, made.stuck))
        passes.append(made.passed)
        fails.append(made.failed)
    settled, failed = np.max(stops, axis=0), np.min(fails, axis=0)
    images = np.minimum(np.minimum(settled, failed), IMAGES)
    lost = failed <= images
    won = (np.max(passes, axis=0) <= images) & ~lost
    tally.add(won, lost, images)


def bet_only(world: World, scores: np.ndarray, columns: tuple[int, ...], tally: Tally) -> None:
    """Pass and fail by betting alone: no distribution assumed at all."""
    plan = Plan(FIRST_LOOK, IMAGES, ALPHA, ALPHA / scores.shape[-1], bet_share=1.0)
    passes, fails = [], []
    for j in columns:
        level = world.base[..., j].mean(axis=1)
        expected = level[:, None]
        held = np.clip(scores[..., j], 0, 1)
        capital = log_capital_not_worse(expected, held, world.margin[:, j][:, None])
        won = capital >= np.log(1 / ALPHA)
        passes.append(np.where(won.any(axis=1), won.argmax(axis=1) + 1, NEVER))
        made = decide(
            held, world.base[..., j], world.prompt_mean[..., j], CLUSTERS, world.spread[:, j],
            level, world.margin[:, j], plan,
        )  # fmt: skip
        fails.append(made.failed)
    passed, failed = np.max(passes, axis=0), np.min(fails, axis=0)
    images = np.minimum(np.minimum(passed, failed), IMAGES)
    tally.add((passed <= images) & (passed < failed), failed <= images, images)


def fixed(world: World, scores: np.ndarray, columns: tuple[int, ...], tally: Tally) -> None:
    """All images, one look."""
    won = np.ones(len(scores), dtype=bool)
    lost = np.zeros(len(scores), dtype=bool)
    for j in columns:
        residuals = paired_residuals(
            scores[..., j], world.base[..., j], world.prompt_mean[..., j], world.spread[:, j]
        )
        found = cluster_mean(residuals, CLUSTERS)
        error = np.sqrt(found.variance)
        low = found.mean - stdtrit(PROMPTS - 2, 1 - ALPHA) * error
        high = found.mean + stdtrit(PROMPTS - 2, 1 - ALPHA / scores.shape[-1]) * error
        won &= low > -world.margin[:, j]
        lost |= high < -world.margin[:, j]
    tally.add(won & ~lost, lost, np.full(len(scores), IMAGES))


def three(world: World, scores: np.ndarray, columns: tuple[int, ...], tally: Tally) -> None:
    """The mean of three images of one prompt against the baseline's mean less the margin."""
    own = scores[:, [0, PROMPTS, 2 * PROMPTS]].mean(axis=1)
    limit = world.prompt_mean[:, 0] - world.margin
    lost = (own < limit)[:, columns].any(axis=1)
    tally.add(~lost, lost, np.full(len(scores), 3))


def simulate(source: Source, gates: int, share: float, seed: int) -> dict[str, dict[str, float]]:
    """Return the figures of every line of the table for one correlation ``share``."""
    tallies: dict[str, Tally] = {}

    def tally(name: str) -> Tally:
        return tallies.setdefault(name, Tally())

    every = tuple(range(len(source.metrics)))
    generator = np.random.default_rng(seed + 1)
    for number, world in enumerate(worlds(source, gates, share, seed)):
        gate(world, world.candidate, every, tally("identical"))
        gate(world, world.rival, every, tally("another run, as good"))
        fixed(world, world.candidate, every, tally("identical, fixed n"))
        three(world, world.candidate, every, tally("identical, mean of 3"))
        for j, metric in enumerate(source.metrics):
            worse = world.shifted(1.0, j)
            gate(world, worse, (j,), tally(f"at the margin on {metric}, alone"))
            spoilt = world.spoilt(source.collapsed, j, seed + number)
            gate(world, spoilt, (j,), tally(f"at the margin on {metric}, some images collapse"))
        worse = world.shifted(1.0, 0)
        gate(world, worse, every, tally("at the margin"))
        three(world, worse, every, tally("at the margin, mean of 3"))
        gate(world, world.shifted(1.0, 0, exact=True), (0,), tally("at the margin, these images"))
        worse = world.shifted(2.0, 0)
        gate(world, worse, every, tally("twice the margin"))
        three(world, worse, every, tally("twice the margin, mean of 3"))
        size = (len(world.base), IMAGES)
        fallen = source.collapsed[generator.integers(len(source.collapsed), size=size)]
        gate(world, fallen, every, tally("collapse"))
        if number == 0:  # the alternatives, on one chunk: they were weighed, not chosen
            bet_only(world, world.candidate, every, tally("identical, bets alone"))
            for spending in ("power2", "obrien-fleming"):
                made = tally(f"identical, {spending}")
                gate(world, world.candidate, every, made, spending=spending)
            gate(world, fallen, every, tally("collapse, t alone"), bet_share=0.0)
    return {name: found.figures() for name, found in tallies.items()}


def mixture(figures: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return mean images over 60 % good, 30 % clearly bad, 10 % borderline checkpoints."""
    parts = {"identical": 0.6, "collapse": 0.3, "at the margin": 0.1}
    mean = sum(share * figures[name]["mean_images"] for name, share in parts.items())
    return {"mean_images": mean, "times_fewer": IMAGES / mean}


def table(result: dict[str, object], shares: tuple[float, ...]) -> str:
    """Return the Markdown table."""
    figures: dict[str, dict[str, dict[str, float]]] = result["figures"]  # type: ignore[assignment]
    columns = "pass | fail | undecided | images, mean (median)"
    head = " | ".join(f"r = {share:g}: {columns}" for share in shares)
    lines = [f"| candidate | {head} |", "| --- |" + " --- | --- | --- | --- |" * len(shares)]
    for name in figures[f"{shares[0]:g}"]:
        cells = []
        for share in shares:
            found = figures[f"{share:g}"][name]
            cells.append(
                f"{found['pass']:.2%} | {found['fail']:.2%} | {found['inconclusive']:.2%} | "
                f"{found['mean_images']:.0f} ({found['median_images']:.0f})"
            )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    mixes: dict[str, dict[str, float]] = result["mixture"]  # type: ignore[assignment]
    told = ", ".join(
        f"{mixes[f'{share:g}']['mean_images']:.0f} images a gate at r = {share:g}, "
        f"{mixes[f'{share:g}']['times_fewer']:.1f} times fewer than {IMAGES}"
        for share in shares
    )
    lines += ["", f"60 % identical, 30 % collapsed, 10 % at the margin: {told}."]
    return "\n".join(lines)


def main() -> None:
    """Simulate, write the figures and the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--take", type=Path, metavar="SCORES", help="renew the measured scores")
    parser.add_argument("--gates", type=int, default=10_000, help="simulated gates a line")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--world", choices=sorted(WORLDS), default="punks")
    args = parser.parse_args()
    runs = WORLDS[args.world]
    if args.take:
        take(args.take, runs.scores)
    source = load(runs)
    began = time.perf_counter()
    shares = (0.0, 0.5)
    figures = {f"{s:g}": simulate(source, args.gates, s, args.seed) for s in shares}
    result: dict[str, object] = {
        "figures": figures,
        "mixture": {share: mixture(found) for share, found in figures.items()},
        "gates": args.gates,
        "seed": args.seed,
        "scorers": list(source.metrics),
        "measured_images": len(source.effects),
        "grid": {"prompts": PROMPTS, "seeds": SEEDS},
        "alpha": ALPHA,
        "margin_share": SHARE,
        "seconds": round(time.perf_counter() - began, 1),
        "machine": {"processor": platform.processor() or platform.machine(), "threads": 1},
        "versions": {"loraeval": __version__, "numpy": np.__version__},
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
    }
    out = HERE / "results" / f"{runs.section}.json"
    write_text_atomically(out, json.dumps(result, indent=1) + "\n")
    text = (
        f"`python benchmarks/gate.py --world {args.world}`: {args.gates} simulated gates a line "
        "on one core in "
        f"{result['seconds']:.0f} s, from {len(source.effects)} measured images of "
        f"{runs.good[0]} (collapse: {runs.collapsed}) scored by "
        f"{', '.join(source.metrics)}. r is how much of the seed's effect candidate and baseline "
        "share. A line that names a method is that method instead of the gate. *Alone* gates that "
        "one scorer only, the worst case for a wrong pass. *These images* is worse by exactly the "
        "margin on the grid itself, not on average over seeds.\n\n"
    )
    text += table(result, shares)
    title = "The gate's error rates and costs"
    into_readme(runs.section, title + (", demo model" if args.world == "demo" else ""), text)
    print(text)


def into_readme(name: str, title: str, text: str) -> None:
    """Put ``text`` between the markers ``name`` of benchmarks/README.md, added where absent."""
    path = HERE / "README.md"
    page = path.read_text(encoding="utf-8") if path.is_file() else "# Benchmarks\n"
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if begin not in page:
        page += f"\n## {title}\n\n{begin}\n{end}\n"
    before, rest = page.split(begin, 1)
    write_text_atomically(path, f"{before}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")


if __name__ == "__main__":
    main()
