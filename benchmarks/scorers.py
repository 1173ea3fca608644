"""Response bench of the scorers: discrimination, dose-response, repeatability, speed.

Run: ``python benchmarks/scorers.py [FOLDER] [--quick]``. FOLDER is the folder of real training
pairs and renders; without it only generated cases are measured and the table says so. Writes
benchmarks/results/scorers.json and the section of benchmarks/README.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# benchmarks/inspect.py is called like a module of the standard library: look there last.
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != HERE]
import argparse  # noqa: E402
import datetime as dt  # noqa: E402
import inspect  # noqa: E402, F401 - the standard library's, before ours can be found
import json  # noqa: E402
import platform  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import PIL  # noqa: E402
import scipy  # noqa: E402

sys.path.append(str(HERE))
from _scorer_cases import (  # noqa: E402
    generated_recovery,
    nulls,
    real,
    repeatability,
    speed,
)
from _scorer_defects import portraits, responses  # noqa: E402
from _scorer_table import write_section  # noqa: E402
from loraeval.scorers.base import Scorer  # noqa: E402
from loraeval.scorers.grid import GridScorer  # noqa: E402
from loraeval.scorers.health import HealthScorer  # noqa: E402
from loraeval.scorers.palette import PaletteScorer  # noqa: E402
from loraeval.scores_file import write_text_atomically  # noqa: E402

SCORERS: tuple[Scorer, ...] = (PaletteScorer(), GridScorer(), HealthScorer())
"""The scorers on the bench; add a line to see how another one answers the planted defects."""


def measure(folder: Path | None, quick: bool) -> dict[str, Any]:
    """Return every figure of the bench."""
    count = 6 if quick else 12
    found: dict[str, Any] = {
        "real": real(folder, SCORERS) if folder is not None else None,
        "recovery": generated_recovery(10 if quick else 40),
        "nulls": nulls(10 if quick else 40),
        "responses": responses(SCORERS, portraits(count, first=5000)),
        "repeatability": repeatability(SCORERS),
        "speed": speed(SCORERS),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, one thread",
        "versions": {
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "Pillow": PIL.__version__,
        },
    }
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--quick", action="store_true", help="fewer cases; writes nothing")
    arguments = parser.parse_args()
    folder = arguments.folder
    if folder is not None and not (folder / "renders.jsonl").is_file():
        parser.error(f"{folder} holds no renders.jsonl")
    if folder is None:
        print("no FOLDER given: the real cases are skipped")
    found = measure(folder, arguments.quick)
    if arguments.quick:
        print(json.dumps(found, indent=1))
        return
    write_text_atomically(HERE / "results" / "scorers.json", json.dumps(found, indent=1) + "\n")
    print(write_section(HERE / "README.md", found))


if __name__ == "__main__":
    main()
