"""What a person does not see moves no score; what anybody sees moves one.

    python benchmarks/visibility.py FOLDER          # the table: changes by metrics
    python benchmarks/visibility.py FOLDER --units  # the units, once, before a scorer is changed

The unit of a metric is max(0.02, 0.507 times its standard deviation within a prompt): the margin
that a gate would derive at the least. It is taken once from the scorers' versions of that day on
the real set (``_visibility_cases.REAL_RUNS`` of FOLDER: 61 renders of 12 prompts, the epochs
counted as repetitions) and stands in results/visibility_units.json; later versions are held
against it. A metric that the file does not know has the least unit.

The table shows, for the real set, its golden part and 64 portraits of our own, how many units the
mean of each metric moves, and how far 95 % of the single images move. Without FOLDER the real sets
are left out. Writes results/visibility.json and the section of benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from _visibility_cases import CHANGES, Shown, own_set, real_set
from loraeval.baselines.margins import SMALLEST, shift_seen_in
from loraeval.baselines.profile import SHARE
from loraeval.baselines.spread import spread_of
from loraeval.images.picture import picture_from_array
from loraeval.images.reading import read_image
from loraeval.outside.files import write_text_atomically
from loraeval.scorers.base import ScoreContext, Scorer
from loraeval.scorers.encoders import OFFLINE_ENCODER, Encoder, load_encoder
from loraeval.scorers.reference import ReferenceSet
from loraeval.scorers.registry import SCORERS, load_scorers
from loraeval.testing.portraits import scene

HERE = Path(__file__).resolve().parent
UNITS = HERE / "results" / "visibility_units.json"
LATTICE = (24, 24)
MEAN_LIMIT, IMAGE_LIMIT, SEEN = 0.25, 1.0, 1.0
"""Units: most that a mean may move, most that 95 % of the images may, least that is a change."""


class Bench:
    """The scorers with one reference, and what they make of pictures."""

    def __init__(self, encoder: Encoder, reference: ReferenceSet) -> None:
        self.encoder, self.reference = encoder, reference
        self.scorers: Sequence[Scorer] = load_scorers(list(SCORERS), encoder)
        self.versions = {m.name: m.version for s in self.scorers for m in s.metrics}

    def scores(self, shown: Shown, rgb: np.ndarray) -> dict[str, float]:
        """Return every measured metric of ``rgb`` under the prompt of ``shown``."""
        picture = picture_from_array(np.ascontiguousarray(rgb), shown.name)
        context = ScoreContext(
            prompt=shown.prompt,
            lattice=LATTICE,
            size=(rgb.shape[1], rgb.shape[0]),
            reference=self.reference,
            encoder=self.encoder,
        )
        found = [score for scorer in self.scorers for score in scorer.score(picture, context)]
        return {score.metric: score.value for score in found if score.value is not None}


def bench_of_folder(folder: Path) -> Bench:
    """Return a bench whose reference is FOLDER's training images."""
    encoder = load_encoder(OFFLINE_ENCODER)
    paths = sorted((folder / "training").glob("*.png"))
    images = ((path.stem, read_image(path)[0]) for path in paths)
    return Bench(encoder, ReferenceSet.from_images(images, encoder, total=150, lattice=LATTICE))


def bench_of_portraits(count: int = 150) -> Bench:
    """Return a bench whose reference is portraits of our own that are in no set."""
    encoder = load_encoder(OFFLINE_ENCODER)
    images = ((f"p{seed}", scene(seed).cells) for seed in range(count))
    return Bench(encoder, ReferenceSet.from_images(images, encoder, total=count, lattice=LATTICE))


def measure_units(folder: Path) -> dict[str, Any]:
    """Return the unit of every metric that the real set has a number for."""
    bench, values = bench_of_folder(folder), {}
    pictures = real_set(folder)
    for shown in pictures:
        for metric, value in bench.scores(shown, shown.rgb).items():
            values.setdefault(metric, {}).setdefault(shown.prompt.id, []).append(value)
    units = {}
    for metric, by_prompt in values.items():
        within = spread_of(by_prompt).within
        units[metric] = {
            "version": bench.versions[metric],
            "within_sd": round(within, 5),
            "unit": round(max(SMALLEST, shift_seen_in(SHARE) * within), 5),
        }
    return {
        "made_by": "python benchmarks/visibility.py FOLDER --units",
        "set": "SD15_PERFECT epochs 1 to 10 and SD15_runpod_v1, epochs as repetitions of a prompt",
        "images": len(pictures),
        "prompts": len({shown.prompt.id for shown in pictures}),
        "encoder": bench.encoder.id,
        "units": units,
    }


def unit_of(metric: str) -> float:
    """Return the frozen unit of ``metric``, the least one where the file does not know it."""
    held = json.loads(UNITS.read_text(encoding="utf-8"))["units"].get(metric)
    return SMALLEST if held is None else float(held["unit"])


Row = dict[str, float]


def changed(bench: Bench, pictures: Sequence[Shown]) -> dict[str, list[Row]]:
    """Return the scores of every picture, as it is (key "") and under each change."""
    found = {"": [bench.scores(shown, shown.rgb) for shown in pictures]}
    for change in CHANGES:
        found[change.name] = [
            bench.scores(shown, change.apply(shown.rgb, k)) for k, shown in enumerate(pictures)
        ]
    return found


def summary(rows: dict[str, list[Row]], metrics: Sequence[str]) -> dict[str, Any]:
    """Return clean means, and by change and metric how far mean and single images move, in units.

    ``lost`` counts images that are no longer scored.
    """
    before = rows[""]
    clean = {m: [row[m] for row in before if m in row] for m in metrics}
    table: dict[str, dict[str, Row]] = {}
    for change in CHANGES:
        table[change.name] = {}
        for metric in metrics:
            pairs = [
                (b[metric], a.get(metric))
                for b, a in zip(before, rows[change.name], strict=True)
                if metric in b
            ]
            gaps = np.array([(a - b) / unit_of(metric) for b, a in pairs if a is not None])
            if len(gaps):
                table[change.name][metric] = {
                    "lost": len(pairs) - len(gaps),
                    "mean": round(float(gaps.mean()), 4),
                    "p95": round(float(np.quantile(np.abs(gaps), 0.95)), 4),
                }
    means = {m: round(float(np.mean(values)), 4) for m, values in clean.items() if values}
    return {"n": len(before), "clean": means, "moves": table}


def table_of(found: dict[str, Any]) -> str:
    """Return the section as Markdown."""
    lines = [
        f"Made by `python benchmarks/visibility.py FOLDER`; {found['machine']}, {found['date']}.",
        "Each cell: by how many units the mean moves / the 95 % point of single images. Units:",
        ", ".join(f"{m} {unit_of(m):.3g}" for m in found["metrics"]) + ".",
        f"Invisible changes may move a mean by {MEAN_LIMIT} and 95 % of images by {IMAGE_LIMIT:g};",
        f"visible ones must move at least one mean by {SEEN:g}.",
    ]
    for name, table in found["sets"].items():
        metrics = [m for m in found["metrics"] if any(m in row for row in table["moves"].values())]
        lines += [
            "",
            f"| {name}, {table['n']} images | " + " | ".join(metrics) + " | holds |",
            "| --- |" + " ---: |" * len(metrics) + " --- |",
        ]
        for change in CHANGES:
            row = table["moves"][change.name]
            cells = [f"{row[m]['mean']:+.2f} / {row[m]['p95']:.2f}" if m in row else ""
                for m in metrics]  # fmt: skip
            lines.append(f"| {change.name} | " + " | ".join(cells) + f" | {verdict(change, row)} |")
    return "\n".join(lines)


def verdict(change: Any, row: dict[str, dict[str, float]]) -> str:
    """Say whether a change keeps to its limits; name the metrics that do not."""
    if change.visible:
        return "yes" if any(abs(cell["mean"]) >= SEEN for cell in row.values()) else "**no**"
    wrong = [
        metric
        for metric, cell in row.items()
        if abs(cell["mean"]) > MEAN_LIMIT or cell["p95"] > IMAGE_LIMIT or cell["lost"]
    ]
    return "**" + ", ".join(wrong) + "**" if wrong else "yes"


def measure(folder: Path | None, metrics: Sequence[str]) -> dict[str, Any]:
    """Return every figure of the table."""
    sets: dict[str, Any] = {}
    if folder is not None:
        pictures = real_set(folder)
        rows = changed(bench_of_folder(folder), pictures)
        golden = {
            name: [row for row, shown in zip(of, pictures, strict=True) if shown.golden]
            for name, of in rows.items()
        }
        sets["real renders"] = summary(rows, metrics)
        sets["golden renders"] = summary(golden, metrics)
    bench = bench_of_portraits()
    sets["portraits of our own"] = summary(changed(bench, own_set()), metrics)
    return {
        "sets": sets,
        "metrics": list(metrics),
        "versions": {m: bench.versions[m] for m in metrics},
        "encoder": bench.encoder.id,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
    }


def write_section(readme: Path, text: str) -> None:
    """Put ``text`` between the section's markers, which are added at the end if missing."""
    begin, end = "<!-- visibility:begin -->", "<!-- visibility:end -->"
    whole = readme.read_text(encoding="utf-8")
    if begin not in whole:
        whole = f"{whole.rstrip()}\n\n## Only what a person sees moves a score\n\n{begin}\n{end}\n"
    head, tail = whole.split(begin)[0], whole.split(end)[1]
    write_text_atomically(readme, f"{head}{begin}\n{text}\n{end}{tail}")


SHOWN = (
    *("palette", "palette.attributes", "palette.leak", "palette.background", "palette.binding"),
    *("palette.colours", "grid", "grid.size", "style", "style.memorisation", "realism", "health"),
)
"""Metrics of the table: all that a profile gates, and what stands beside them."""


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--units", action="store_true", help="freeze the units; once")
    arguments = parser.parse_args()
    folder = arguments.folder
    if arguments.units:
        if folder is None or UNITS.exists():
            sys.exit(f"expected FOLDER and no {UNITS.name} yet: units are fixed once")
        write_text_atomically(UNITS, json.dumps(measure_units(folder), indent=1) + "\n")
        print(UNITS.read_text(encoding="utf-8"))
        return
    bench = load_scorers(list(SCORERS))
    known = {m.name for scorer in bench for m in scorer.metrics}
    found = measure(folder, [metric for metric in SHOWN if metric in known])
    text = table_of(found)
    print(text)
    write_text_atomically(
        HERE / "results" / "visibility.json", json.dumps(found, indent=1, allow_nan=False) + "\n"
    )
    write_section(HERE / "README.md", text)


if __name__ == "__main__":
    main()
