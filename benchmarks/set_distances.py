"""Which kernel ``style.mmd`` should have: sets of renders against the reference, by five widths.

    python benchmarks/set_distances.py FOLDER

On the same standardised features of the offline encoder: the unbiased squared MMD with a Gaussian
kernel of several widths, KID's (unbiased, polynomial of degree 3: Binkowski and others, 2018,
"Demystifying MMD GANs") and CMMD's formula (Gaussian, width 10, biased: Jayasumana and others,
2024). Each is printed over its value for photographs; the last line is Spearman's rank correlation
with KID over the sets. Writes results/set_distances.json and its section of benchmarks/README.md.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import _style_cases as cases
from loraeval.outside.files import write_text_atomically
from loraeval.scorers.encoders import OFFLINE_ENCODER, load_encoder
from loraeval.scorers.reference_view import view_of
from loraeval.scorers.sets import MMD_BANDWIDTH, mmd_squared
from loraeval.scorers.style_bank import bank_images

HERE = Path(__file__).resolve().parent
WIDTHS = (0.5, 0.7, 1.0, 2.0, 4.0)
SETS_FROM = 4


def kid(first: np.ndarray, second: np.ndarray) -> float:
    """KID's estimate on rows of length sqrt(d), as its features have: (x·y / d + 1)³."""

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a.astype(float) @ b.astype(float).T + 1.0) ** 3

    within = [kernel(a, a) for a in (first, second)]
    parts = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in within]
    return float(sum(parts) - 2 * kernel(first, second).mean())


def cmmd(first: np.ndarray, second: np.ndarray, width: float = 10.0) -> float:
    """CMMD's formula: biased, Gaussian of width 10, times 1000."""

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squared = np.clip(2.0 - 2.0 * (a.astype(float) @ b.astype(float).T), 0, None)
        return np.exp(-squared / (2 * width**2))

    parts = kernel(first, first).mean() + kernel(second, second).mean()
    return float(1000 * (parts - 2 * kernel(first, second).mean()))


def measure(folder: Path) -> dict[str, Any]:
    """Return the distances of every set by every measure, over those of photographs."""
    encoder = load_encoder(OFFLINE_ENCODER)
    trained = encoder.embed_images([picture for _, picture in cases.training(folder)])
    bank = encoder.embed_images([picture for _, picture in bank_images()])
    view = view_of(trained, bank)
    groups: dict[str, list[np.ndarray]] = defaultdict(list)
    for run, _, picture in cases.renders(folder):
        groups[run].append(picture)
    sets = {
        run: view.standardise(encoder.embed_images(pictures))
        for run, pictures in sorted(groups.items())
        if len(pictures) >= SETS_FROM
    }
    own, other = view.standardised[::2], view.standardised[1::2]
    nearest = np.argsort(-(other @ other.mean(axis=0)))[:8]
    sets["8 most alike training images"] = other[nearest]
    sets["8 training images"] = other[:: len(other) // 8][:8]
    photographs = view.standardise(encoder.embed_images(cases.photographs()))
    measures = {f"width {w:g}": lambda a, b, w=w: mmd_squared(a, b, w) for w in WIDTHS}
    measures |= {"KID": kid, "CMMD": cmmd}
    far = {name: measure(own, photographs) for name, measure in measures.items()}
    rows = {
        label: {name: measure(own, rendered) / far[name] for name, measure in measures.items()}
        for label, rendered in sets.items()
    }
    rows["photographs"] = dict.fromkeys(measures, 1.0)
    ranks = {
        name: float(spearmanr([r[name] for r in rows.values()], [r["KID"] for r in rows.values()])
            .statistic)
        for name in measures
    }  # fmt: skip
    return {"encoder": encoder.id, "chosen": MMD_BANDWIDTH, "sets": rows, "ranks": ranks}


def table_of(found: dict[str, Any]) -> str:
    """Return the section as Markdown."""
    names = list(found["ranks"])
    lines = [
        "Made by `python benchmarks/set_distances.py FOLDER`: distance from half of the training",
        f"images, over that of photographs; `style.mmd` has width {found['chosen']:g}.",
        "",
        "| set | " + " | ".join(names) + " |",
        "| --- |" + " ---: |" * len(names),
    ]
    for label, row in found["sets"].items():
        lines.append(f"| {label} | " + " | ".join(f"{row[name]:.2f}" for name in names) + " |")
    ranks = " | ".join(f"{found['ranks'][name]:.3f}" for name in names)
    lines.append(f"| *rank correlation with KID* | {ranks} |")
    return "\n".join(lines)


def write_section(readme: Path, text: str) -> None:
    """Put ``text`` between the section's markers, which are added at the end if missing."""
    begin, end = "<!-- set_distances:begin -->", "<!-- set_distances:end -->"
    whole = readme.read_text(encoding="utf-8")
    if begin not in whole:
        whole = f"{whole.rstrip()}\n\n## Distances between sets\n\n{begin}\n{end}\n"
    head, tail = whole.split(begin)[0], whole.split(end)[1]
    write_text_atomically(readme, f"{head}{begin}\n{text}\n{end}{tail}")


def main() -> None:
    """Measure and write."""
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/set_distances.py FOLDER (with training/, renders.jsonl)")
    found = measure(Path(sys.argv[1]))
    text = table_of(found)
    print(text)
    write_text_atomically(
        HERE / "results" / "set_distances.json", json.dumps(found, indent=1) + "\n"
    )
    write_section(HERE / "README.md", text)


if __name__ == "__main__":
    main()
