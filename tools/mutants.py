"""Change the gate one piece at a time and see whether its tests notice.

    python tools/mutants.py                    # every mutant, the room's tests with -x
    python tools/mutants.py --list             # what would be changed
    python tools/mutants.py --only looks.py --tests tests/gate/test_numbers.py

Every number, comparison, ``+ - * /`` and choice of ``min`` or ``max`` of the files below is
changed by itself in a copy of the source tree; a mutant is killed where a test fails or takes too
long, and survives where all pass. ``EQUIVALENT`` lists changes that cannot be told apart, each with
the reason.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "loraeval"
FILES = (
    "gate/looks.py", "gate/bad.py", "gate/anytime.py", "gate/estimate.py", "gate/spending.py",
    "gate/betting.py", "gate/shares.py", "gate/fixed.py", "gate/sample.py", "gate/copies.py",
    "gate/completeness.py", "gate/plan.py", "gate/by_prompt.py", "gate/keep.py", "gate/compare.py",
    "gate/judge.py", "gate/weaknesses.py", "baselines/margins.py",
)  # fmt: skip
TESTS = ("tests/gate", "tests/baselines")
SECONDS = 600

EQUIVALENT = {
    "gate/estimate.py: 1e-12": "a floor that keeps 0 / 0 from being NaN; any tiny number does",
    "gate/estimate.py: 1e-06": "the same, for a skewness of 0",
    "gate/betting.py: 1e-09": "the same, for a bet's largest stake",
    "gate/bad.py: 1e-12": "a guard against rounding, no part of the rule",
    "gate/anytime.py: 1000000000.0": "where a search for a limit gives up: it is infinite",
    "gate/anytime.py: 60": "steps of a bisection, far more than a float holds",
    "gate/spending.py: 601": "points of a grid of integration; more or fewer change the 4th digit",
}
"""Pieces whose change no test can see, and why that is no fault."""

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
CALLS = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}


@dataclass(frozen=True)
class Mutant:
    """One change: the file, the place of the node in a walk of its tree, and what it does."""

    file: str
    place: int
    line: int
    was: str
    becomes: str

    @property
    def words(self) -> str:
        """How it is told of."""
        return f"{self.file}:{self.line}: {self.was} -> {self.becomes}"


def changed(node: ast.AST) -> tuple[str, str] | None:
    """Change ``node`` in place; return what it was and what it became, None where nothing does."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        was = repr(node.value)
        node.value = node.value * 2 if node.value else 1
        return was, repr(node.value)
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        was = type(node.ops[0]).__name__
        node.ops[0] = COMPARISONS[type(node.ops[0])]()
        return was, type(node.ops[0]).__name__
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        was = type(node.op).__name__
        node.op = ARITHMETIC[type(node.op)]()
        return was, type(node.op).__name__
    if isinstance(node, ast.Call):
        name = node.func
        if isinstance(name, ast.Name) and name.id in CALLS:
            was, name.id = name.id, CALLS[name.id]
            return was, name.id
        if isinstance(name, ast.Attribute) and name.attr in CALLS:
            was, name.attr = name.attr, CALLS[name.attr]
            return was, name.attr
    return None


def mutants(file: str) -> Iterator[Mutant]:
    """Yield every mutant of a file, in order of its tree."""
    text = (SOURCE / file).read_text(encoding="utf-8")
    for place, node in enumerate(ast.walk(ast.parse(text))):
        line = getattr(node, "lineno", 0)
        told = changed(node)
        if told is not None and f"{file}: {told[0]}" not in EQUIVALENT:
            yield Mutant(file, place, line, *told)


def mutated(mutant: Mutant) -> str:
    """Return the source of the mutant's file."""
    tree = ast.parse((SOURCE / mutant.file).read_text(encoding="utf-8"))
    for place, node in enumerate(ast.walk(tree)):
        if place == mutant.place:
            changed(node)
            break
    return ast.unparse(ast.fix_missing_locations(tree))


def survives(mutant: Mutant, copy: Path, tests: tuple[str, ...]) -> bool:
    """Return whether all tests pass with the mutant in the tree at ``copy``."""
    target = copy / "loraeval" / mutant.file
    kept = target.read_text(encoding="utf-8")
    target.write_text(mutated(mutant), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p",
               "no:randomly", "-m", "not nightly", *tests]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, timeout=SECONDS, check=False
        )
        return done.returncode == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        target.write_text(kept, encoding="utf-8")


def main() -> int:
    """Run; exit code 1 where a mutant survives."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", action="append", metavar="FILE", help="files that end so")
    parser.add_argument("--tests", action="append", metavar="PATH", help="instead of the room's")
    parser.add_argument("--sample", type=int, metavar="N", help="N of them, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="name them and stop")
    args = parser.parse_args()
    files = [f for f in FILES if not args.only or any(f.endswith(end) for end in args.only)]
    found = [mutant for file in files for mutant in mutants(file)]
    if args.sample is not None and args.sample < len(found):
        drawn = sorted(random.Random(args.seed).sample(range(len(found)), args.sample))
        found = [found[place] for place in drawn]
    if args.list:
        print("\n".join(mutant.words for mutant in found))
        return 0
    left = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(SOURCE, copy / "loraeval", ignore=shutil.ignore_patterns("__pycache__"))
        for number, mutant in enumerate(found, 1):
            alive = survives(mutant, copy, tuple(args.tests or TESTS))
            left += [mutant] if alive else []
            state = "SURVIVES" if alive else "killed"
            print(f"{number}/{len(found)} {state} {mutant.words}", flush=True)
    print(f"{len(found) - len(left)} of {len(found)} mutants killed, {len(left)} survive")
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
