# ruff: noqa: E402 - imports must not start in this folder
"""Rendering held against software that no one here wrote: largest differences on the CPU.

Run: ``python benchmarks/parity.py [--sd-scripts FOLDER]``. LyCORIS, PEFT, diffusers and open_clip
are taken where they are installed, sd-scripts from a checkout of its repository; what is missing is
skipped with a line. Base models are tiny with random weights, and the demo's. Writes
benchmarks/parity.md.
"""

from __future__ import annotations

import sys

sys.path[0] = str(__file__).rpartition("benchmarks")[0] or "."

import argparse
import logging
import platform
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from benchmarks._parity_cases import CASES, Row
from benchmarks._parity_others import SdScripts

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "benchmarks" / "parity.md"
HEAD = """# Rendering against other software

Written by `python benchmarks/parity.py --sd-scripts FOLDER`: float32 on the CPU, {versions}.
Random weights of the models' shapes made small, and the demo's base model. Each row is the largest
absolute difference over its cases beside the largest value of the other side's output; for images
it is in levels of 255.

| what | against | cases | largest difference | of | relative |
| --- | --- | --- | --- | --- | --- |
"""


def main() -> None:
    """Run every case whose other side is there, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sd-scripts", type=Path, help="a checkout of sd-scripts")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    scripts = SdScripts(options.sd_scripts) if options.sd_scripts else None
    names = ["diffusers", "transformers", "peft", "lycoris_lora", "open_clip_torch", "torch"]
    have = [f"{name} {version(name)}" for name in names if find_spec(_module(name))]
    if scripts is not None:
        have.insert(0, f"sd-scripts {scripts.commit}")
    head = HEAD.format(versions=f"{', '.join(have)}, {platform.machine()}")
    rows: list[str] = []
    for row in _rows(scripts):
        rows.append(row)
        # Row by row: an image case takes minutes on a small machine.
        PAGE.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


def _module(package: str) -> str:
    return {"lycoris_lora": "lycoris", "open_clip_torch": "open_clip"}.get(package, package)


def _rows(scripts: SdScripts | None) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        for what, against, case in CASES:
            missing = (
                scripts is None if against == "sd-scripts" else not find_spec(_module(against))
            )
            if missing:
                yield f"| {what} | {against} | skipped: not installed or not named | | | |"
                continue
            yield _line(what, against, case, scripts, Path(folder))


def _line(
    what: str, against: str, case: Callable[[Any, Path], Row], scripts: Any, folder: Path
) -> str:
    found = case(scripts, folder)
    share = found.worst / found.size if found.size else 0.0
    print(f"{what}: {found.worst:.2g} of {found.size:.3g}", file=sys.stderr)
    return (
        f"| {what} | {against} | {found.cases} | {found.worst:.2g} | {found.size:.3g} "
        f"| {share:.1g} |"
    )


if __name__ == "__main__":
    main()
