"""Response bench of the scorers: discrimination, dose-response, repeatability, speed.

Run: ``python benchmarks/scorers.py [FOLDER] [--quick]``. FOLDER is the folder of real training
pairs and renders; without it only generated cases are measured and the table says so. Writes
benchmarks/results/scorers.json and the section of benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import scipy

from _scorer_cases import (
    generated_recovery,
    nulls,
    real,
    repeatability,
    speed,
)
from _scorer_defects import portraits, responses
from _scorer_table import write_section
from loraeval.outside.files import write_text_atomically
from loraeval.scorers.base import Scorer
from loraeval.scorers.encoders import OFFLINE_ENCODER, load_encoder
from loraeval.scorers.grid import GridScorer
from loraeval.scorers.health import HealthScorer
from loraeval.scorers.palette import PaletteScorer
from loraeval.scorers.realism import RealismScorer
from loraeval.scorers.reference import ReferenceSet
from loraeval.scorers.style import StyleScorer
from loraeval.testing.portraits import scene

HERE = Path(__file__).resolve().parent

SCORERS: tuple[Scorer, ...] = (PaletteScorer(), GridScorer(), HealthScorer())
"""The scorers on the bench; add a line to see how another one answers the planted defects."""

FEATURES: tuple[Scorer, ...] = (StyleScorer(), RealismScorer())
"""Slower scorers, on a third of the cases; their real cases are in benchmarks/style.py."""


def style_of_portraits(count: int) -> dict[str, Any]:
    """Return what a context holds besides the prompt: encoder, and a reference of portraits."""
    encoder = load_encoder(OFFLINE_ENCODER)
    images = ((f"p{seed}", scene(seed).cells) for seed in range(count))
    reference = ReferenceSet.from_images(images, encoder, total=count, lattice=(24, 24))
    return {"encoder": encoder, "reference": reference}


def _both(
    many: Mapping[str, Mapping[str, Any]], few: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    return {defect: {**many[defect], **few[defect]} for defect in many}


def measure(folder: Path | None, quick: bool) -> dict[str, Any]:
    """Return every figure of the bench."""
    count = 6 if quick else 12
    given = style_of_portraits(20 if quick else 60)
    planted = portraits(count, first=5000)
    found: dict[str, Any] = {
        "real": real(folder, SCORERS) if folder is not None else None,
        "recovery": generated_recovery(10 if quick else 40),
        "nulls": nulls(10 if quick else 40),
        "responses": _both(
            responses(SCORERS, planted, given), responses(FEATURES, planted[: count // 3], given)
        ),
        "repeatability": repeatability((*SCORERS, *FEATURES), given),
        "encoder": given["encoder"].id,
        "speed": speed(SCORERS, given),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, one thread",
        "versions": {
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "Pillow": PIL.__version__,
        },
    }
    slow = speed(FEATURES, given, repeats=1, count=8)
    found["speed"] |= {scorer.name: slow[scorer.name] for scorer in FEATURES}
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
