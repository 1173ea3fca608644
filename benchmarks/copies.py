"""Copies that are found, and unseen portraits that stay new.

    python benchmarks/copies.py [FOLDER]

Half of 150 pictures are the reference; copies of them are changed and worn as a render is (blur,
noise, JPEG); the other half is unseen. Portraits of our own, and FOLDER's training images where it
is given. Writes results/copies.json and its section of benchmarks/README.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from _style_cases import as_rendered, training
from loraeval.outside.files import write_text_atomically
from loraeval.scorers.copies import CopyFinder, thumbnail
from loraeval.scorers.sets import COPY_LEVEL
from loraeval.testing.portraits import scene

HERE = Path(__file__).resolve().parent
Rgb = np.ndarray


def shifted(cells: Rgb, by: int) -> Rgb:
    """Move right and down by whole cells; the border is drawn on."""
    return np.pad(cells, ((by, 0), (by, 0), (0, 0)), mode="edge")[: len(cells), : len(cells)]


def turned(cells: Rgb, degrees: float) -> Rgb:
    """Turn every hue."""
    hsv = np.array(Image.fromarray(cells).convert("HSV"))
    hsv[..., 0] = (hsv[..., 0].astype(int) + round(degrees * 256 / 360)) % 256
    size = cells.shape[1::-1]
    return np.asarray(Image.frombytes("HSV", size, hsv.tobytes()).convert("RGB"))


CHANGES: dict[str, Callable[[Rgb], Rgb]] = {
    "as it is": lambda c: c,
    "mirrored": lambda c: np.ascontiguousarray(c[:, ::-1]),
    "shifted by 1 cell": lambda c: shifted(c, 1),
    "shifted by 2 cells": lambda c: shifted(c, 2),
    "cropped to 20x20": lambda c: np.ascontiguousarray(c[2:22, 2:22]),
    "cropped to a corner, 20x20": lambda c: np.ascontiguousarray(c[:20, 4:]),
    "hue turned by 44 degrees": lambda c: turned(c, 44),
    "hue turned by 120 degrees": lambda c: turned(c, 120),
    "channels exchanged": lambda c: np.ascontiguousarray(c[..., [2, 0, 1]]),
    "negative": lambda c: 255 - c,
    "mirrored, shifted, hue turned": lambda c: shifted(
        turned(np.ascontiguousarray(c[:, ::-1]), 200), 1
    ),
}


def measure(pictures: list[Rgb]) -> dict[str, Any]:
    """Return the share of copies found by kind, and the share of unseen pictures above 0.8."""
    own, others = pictures[::2], pictures[1::2]
    finder = CopyFinder(np.stack([thumbnail(picture) for picture in own]))

    def copies(shown: list[Rgb]) -> np.ndarray:
        return np.array([finder.match(thumbnail(as_rendered(one))).copy for one in shown])

    found = {
        name: float((copies([change(picture) for picture in own[:40]]) > COPY_LEVEL).mean())
        for name, change in CHANGES.items()
    }
    new = copies(others)
    return {
        "reference": len(own),
        "found": found,
        "unseen": len(others),
        "unseen above 0.8": float((new < 0.2).mean()),
        "unseen taken for copies": int((new > COPY_LEVEL).sum()),
    }


def table_of(sets: dict[str, Any]) -> str:
    """Return the section as Markdown."""
    lines = [
        "Made by `python benchmarks/copies.py FOLDER`: share of 40 copies that are found,",
        "`style.memorisation` under 0.5, each worn by blur, noise and JPEG.",
        "",
        "| copies | " + " | ".join(sets) + " |",
        "| --- |" + " ---: |" * len(sets),
    ]
    for name in CHANGES:
        cells = " | ".join(f"{one['found'][name]:.3f}" for one in sets.values())
        lines.append(f"| {name} | {cells} |")
    for name in ("unseen above 0.8", "unseen taken for copies"):
        cells = " | ".join(f"{s[name]:.3g} of {s['unseen']}" if "taken" in name else
            f"{s[name]:.3f}" for s in sets.values())  # fmt: skip
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def write_section(readme: Path, text: str) -> None:
    """Put ``text`` between the section's markers, which are added at the end if missing."""
    begin, end = "<!-- copies:begin -->", "<!-- copies:end -->"
    whole = readme.read_text(encoding="utf-8")
    if begin not in whole:
        whole = f"{whole.rstrip()}\n\n## Copies of reference images\n\n{begin}\n{end}\n"
    head, tail = whole.split(begin)[0], whole.split(end)[1]
    write_text_atomically(readme, f"{head}{begin}\n{text}\n{end}{tail}")


def main() -> None:
    """Measure and write."""
    sets = {"portraits of our own": measure([scene(seed).cells for seed in range(150)])}
    if len(sys.argv) > 1:
        sets["real training images"] = measure([p for _, p in training(Path(sys.argv[1]))])
    text = table_of(sets)
    print(text)
    write_text_atomically(HERE / "results" / "copies.json", json.dumps(sets, indent=1) + "\n")
    write_section(HERE / "README.md", text)


if __name__ == "__main__":
    main()
