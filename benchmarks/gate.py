"""How often the gate errs and how many images it takes, simulated.

    python benchmarks/gate.py                      # all worlds, 10,000 gates a line
    python benchmarks/gate.py --gates 2000 --worlds punks,demo
    python benchmarks/gate.py --take scores.jsonl  # first renew benchmarks/gate_scores.json

A world's baseline scores its prompt's level plus what the seed does; levels and effects are drawn
from measured scores (punks, demo; all scorers of an image together) or from a law of another
shape. A candidate of identical quality draws its seeds' luck anew with probability 1 - r and
shares the baseline's with probability r. Another run as good takes some prompts as if they were
others. The gate is the code that users run (``loraeval.gate.looks.decide``); the worse candidates
are worse by exactly the margin over seeds, for these prompts.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.special import stdtrit

from _gate_found import advice_lines
from _gate_worlds import (
    GRIDS,
    HERE,
    MADE,
    MEASURED,
    Array,
    Grid,
    World,
    bad_images,
    bad_prompts,
    law_of,
    take,
    worlds,
)
from loraeval.gate.bad import bad_limits
from loraeval.gate.estimate import hall_limit
from loraeval.gate.looks import Plan, decide, estimate_at
from loraeval.gate.plan import FIRST_LOOK
from loraeval.outside.files import write_text_atomically

ALPHA = 0.05
TOLERANCE = 0.1
STRICT = Grid(40, 16)


@dataclass
class Tally:
    """Counts over simulated gates; ``promised`` says of how many a promise about bad images was
    made.
    """

    gates: int = 0
    passed: int = 0
    failed: int = 0
    promised: int = 0
    images: list[Array] = field(default_factory=list)

    def add(
        self, passed: Array, failed: Array, images: Array, promised: Array | None = None
    ) -> None:
        """Count a chunk."""
        self.gates += len(images)
        self.passed += int(passed.sum())
        self.failed += int(failed.sum())
        self.promised += len(images) if promised is None else int(promised.sum())
        self.images.append(images)

    @property
    def rate(self) -> float:
        """Share of gates that passed."""
        return self.passed / max(1, self.gates)

    @property
    def error(self) -> float:
        """Standard error of ``rate``."""
        return float(np.sqrt(self.rate * (1 - self.rate) / max(1, self.gates)))

    def cells(self) -> str:
        """Return pass with its standard error, fail, and images, as cells of a table."""
        counts = np.concatenate(self.images)
        return (
            f"{self.rate:.2%} ± {self.error:.2%} | {self.failed / self.gates:.2%} | "
            f"{counts.mean():.0f} ({np.median(counts):.0f}) | {self.gates}"
        )


def gate(
    world: World, scores: Array, columns: tuple[int, ...], tally: Tally, *, strict: bool = False
) -> None:
    """Run the sequential gate on the metrics ``columns``: all must hold at the same look."""
    grid, count = world.grid, len(scores)
    plan = Plan(
        FIRST_LOOK, grid.images, ALPHA, ALPHA / len(columns), tolerance=TOLERANCE,
        prompts=grid.prompts, strict=strict,
    )  # fmt: skip
    looks = np.array(plan.looks)
    holds = np.ones((count, len(looks)), dtype=bool)
    settled = holds.copy()
    failed = np.full(count, np.iinfo(np.int64).max)
    for j in columns:
        made = decide(world.pairs(scores, j), world.margin[:, j], plan, world.bad[:, j])
        holds &= made.holds
        settled &= made.holds | (made.stuck[:, None] <= looks)
        failed = np.minimum(failed, made.failed)
    first = np.where(settled.any(axis=1), settled.argmax(axis=1), len(looks) - 1)
    stop = looks[first]
    lost = failed <= stop
    won = holds[np.arange(count), first] & ~lost
    promised = np.isfinite(world.bad[:, list(columns)]).all(axis=1)
    tally.add(won, lost, np.minimum(stop, failed), promised)


def equal_fixed(world: World, columns: tuple[int, ...], wanted: float) -> int | None:
    """Return the smallest fixed number of images whose one test passes identical candidates as
    often as ``wanted``.
    """
    grid = world.grid
    for count in range(32, grid.images + 1, 8):
        won = np.ones(len(world.base), dtype=bool)
        (limit,) = bad_limits((count,), TOLERANCE, ALPHA)
        for j in columns:
            pairs = world.pairs(world.candidate, j)
            found = estimate_at(pairs.first(count), grid.prompts)
            df = found.df - 1
            error = np.sqrt(found.variance * (df + 1) / df)
            reach = hall_limit(float(stdtrit(df, 1 - ALPHA)), found.skewness)
            won &= found.mean - reach * error > -world.margin[:, j]
            won &= (world.candidate[:, :count, j] < world.bad[:, [j]]).sum(axis=1) <= limit
        if won.mean() >= wanted:
            return count
    return None


Lines = dict[str, Tally]


def cell(name: str, grid: Grid, gates: int, share: float, seed: int) -> Lines:
    """Return the lines of one world, grid and r."""
    law = law_of(name)
    every = tuple(range(len(law.metrics)))
    lines: Lines = {}

    def line(title: str) -> Tally:
        return lines.setdefault(title, Tally())

    generator = np.random.default_rng(seed + 1)
    for world in worlds(law, grid, gates, share, seed):
        size = len(world.base)
        gate(world, world.candidate, every, line("identical"))
        gate(world, world.rival, every, line("another run, as good"))
        fallen = law.collapsed(generator, size, grid.images)
        gate(world, fallen, every, line("collapse"))
        more = np.full(size, TOLERANCE)
        spoils: dict[str, Callable[..., Array]] = {"images": bad_images, "prompts": bad_prompts}
        for j, metric in enumerate(law.metrics):
            gate(world, world.worse(1, j), (j,), line(f"mean worse by the margin: {metric}"))
            moved = world.worse(1, j, rival=True)
            gate(world, moved, (j,), line(f"mean worse by the margin, another run: {metric}"))
            for what, lost in spoils.items():
                spoilt = world.spoilt(lost(generator, grid, size, more), 0.0, j)
                gate(world, spoilt, (j,), line(f"10 points more bad {what}: {metric}"))
        if len(every) > 1:
            gate(world, world.worse(1, 0), every, line("mean worse by the margin: all together"))
    return lines


def strict_cell(name: str, gates: int, seed: int) -> Lines:
    """Return the lines of ``--strict``: some images or prompts fall to a share of their score."""
    law, lines = law_of(name), {}
    generator = np.random.default_rng(seed + 1)
    for world in worlds(law, STRICT, gates, 0.5, seed):
        size = len(world.base)
        for title, strict in (("strict", True), ("usual", False)):
            tally = lines.setdefault(f"{title}: identical", Tally())
            gate(world, world.candidate, (0,), tally, strict=strict)
            for level in (0.0, 0.5, 0.8):
                mean = world.candidate[..., 0].mean(axis=1)
                share = np.minimum(1, world.margin[:, 0] / (mean * (1 - level)))
                for what, lost in (("images", bad_images), ("prompts", bad_prompts)):
                    spoilt = world.spoilt(lost(generator, STRICT, size, share), level, 0)
                    line = f"{title}: mean worse by the margin, some {what} fall to {level:g}"
                    gate(world, spoilt, (0,), lines.setdefault(line, Tally()), strict=strict)
    return lines


def several_runs(name: str, gates: int, seed: int) -> Lines:
    """Return what another run as good gets from a baseline of one run and of three."""
    law, lines = law_of(name), {}
    every = tuple(range(len(law.metrics)))
    for runs in (1, 3):
        for share in (0.0, 0.5):
            for world in worlds(law, GRIDS["40x4"], gates, share, seed, runs):
                title = f"{runs} run{'s' * (runs > 1)}, r = {share:g}: another run, as good"
                gate(world, world.rival, every, lines.setdefault(title, Tally()))
                title = f"{runs} run{'s' * (runs > 1)}, r = {share:g}: that, worse by the margin"
                gate(world, world.worse(1, 0, True), (0,), lines.setdefault(title, Tally()))
    return lines


HEAD = (
    "| candidate | pass ± standard error | fail | images, mean (median) | gates |\n"
    "| --- | --- | --- | --- | --- |"
)


def rows_of(lines: Lines, where: str = "") -> list[str]:
    """Return table rows."""
    return [f"| {where}{title} | {tally.cells()} |" for title, tally in lines.items()]


def main() -> None:
    """Simulate, and write the tables into benchmarks/README.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--take", type=Path, metavar="SCORES", help="renew the measured scores")
    parser.add_argument("--gates", type=int, default=10_000, help="simulated gates a line")
    parser.add_argument("--seed", type=int, default=None, help="drawn where not given")
    parser.add_argument("--worlds", default=",".join([*MEASURED, *MADE]))
    parser.add_argument("--grids", default=",".join(GRIDS))
    parser.add_argument("--found", type=int, default=300, help="gates a line on found images")
    args = parser.parse_args()
    if args.take:
        take(args.take, MEASURED["punks"].scores)
    seed = args.seed if args.seed is not None else int.from_bytes(os.urandom(3))
    began = time.process_time()
    text: list[str] = []
    wrong: list[tuple[str, Tally]] = []
    savings: list[str] = []
    names = args.worlds.split(",")
    for name in names:
        text += [f"\n**{name}**\n", HEAD]
        for title in args.grids.split(","):
            for share in (0.0, 0.5):
                lines = cell(name, GRIDS[title], args.gates, share, seed)
                where = f"{title}, r = {share:g}: "
                text += rows_of(lines, where)
                wrong += [(f"{name}, {where}{k}", t) for k, t in lines.items() if _is_wrong(k, t)]
                if name in MEASURED and title == "40x4":
                    savings.append(_saving(name, share, lines["identical"], seed))
    text += ["\n**a baseline of several runs**\n", HEAD]
    for name in MEASURED:
        if name in names:
            text += rows_of(several_runs(name, args.gates, seed), f"{name}, ")
    text += ["\n**`--strict`, 40 prompts with 16 seeds, r = 0.5**\n", HEAD]
    for name in ("normal", "left-skewed", "bimodal"):
        if name in names:
            text += rows_of(strict_cell(name, max(100, args.gates // 4), seed), f"{name}, ")
    text += ["\n**found images: 12, then what the sentence advises, up to eight times**\n"]
    text += [
        "| scores | passes at the margin | fails at the margin | gates |\n| --- | --- | --- | --- |"
    ]
    text += advice_lines(args.found, seed)
    rates = np.array([t.rate for _, t in wrong])
    worst = max(wrong, key=lambda item: item[1].rate)
    summary = (
        f"`python benchmarks/gate.py --gates {args.gates} --found {args.found} --seed {seed}`: "
        f"{time.process_time() - began:.0f} CPU seconds. Wrong passes over {len(wrong)} cells "
        f"(mean worse by the margin, or 10 points more bad images where a promise is made): mean "
        f"{rates.mean():.2%}, largest {worst[1].rate:.2%} ± {worst[1].error:.2%} ({worst[0]}). "
        + " ".join(savings)
        + " Scorers alone, the worst case for a wrong pass, unless *identical*, *another run* or "
        "*all together*. Where golden images score 0 themselves no promise about bad images is "
        "made: those cells are printed and not counted.\n"
    )
    into_readme("gate", "The gate's error rates and costs", summary + "\n".join(text))
    print(summary)


def _is_wrong(title: str, tally: Tally) -> bool:
    if title.startswith("mean worse"):
        return True
    return title.startswith("10 points") and tally.promised > 0.99 * tally.gates


def _saving(name: str, share: float, sequential: Tally, seed: int) -> str:
    law = law_of(name)
    (world,) = worlds(law, GRIDS["40x4"], 400, share, seed)
    count = equal_fixed(world, tuple(range(len(law.metrics))), sequential.rate)
    mean = np.concatenate(sequential.images).mean()
    told = f"{count} images" if count else "more than 160 images"
    return (
        f"{name}, r = {share:g}: an identical candidate takes {mean:.0f} images on average, one "
        f"test of a fixed number that passes as often {told}."
    )


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
