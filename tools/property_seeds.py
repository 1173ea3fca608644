"""Run the property tests under many hypothesis seeds: one that is red in one clone of six shows.

    python tools/property_seeds.py            # seeds 0 to 19
    python tools/property_seeds.py --seeds 5 tests/sources

Every test file that uses hypothesis is run once a seed, without the example database, so that no
seed profits from another; the exit code is 1 where any of them fails.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def property_files(places: list[Path]) -> list[str]:
    """Return the test files below ``places`` that use hypothesis, relative to the root."""
    found = [path for place in places for path in sorted(place.rglob("test_*.py"))]
    return [
        str(path.relative_to(ROOT))
        for path in found
        if re.search(r"^from hypothesis import", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]


def main() -> int:
    """Run every seed, print a line each, and return 1 if one was red."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", nargs="*", type=Path, default=[ROOT / "tests"])
    parser.add_argument("--seeds", type=int, default=20, help="how many, from 0")
    parser.add_argument("-k", default="", help="pytest's selection, e.g. 'any or fuzz'")
    options = parser.parse_args()
    files = property_files([place.resolve() for place in options.places])
    print(f"{len(files)} files use hypothesis")
    red = 0
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as database:
            begun = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-m", "not nightly", "-p",
                 "no:cacheprovider",
                 f"--hypothesis-seed={seed}", "-k", options.k, *files],
                check=False, cwd=ROOT, capture_output=True, text=True,
                env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": database},
            )  # fmt: skip
        last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-200:]
        print(f"seed {seed}: {last} [{time.perf_counter() - begun:.0f} s]", flush=True)
        if done.returncode:
            red += 1
            print("\n".join(line for line in done.stdout.splitlines() if line.startswith("FAILED")))
    print(f"{options.seeds - red} of {options.seeds} seeds green")
    return 1 if red else 0


if __name__ == "__main__":
    sys.exit(main())
