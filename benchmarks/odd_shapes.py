"""No accepted picture, however odd its shape, costs a scorer more than a bound.

    python benchmarks/odd_shapes.py [--quick]

Each shape is read and scored by one scorer in a process of its own: CPU seconds and peak memory
above those of a 512-pixel picture, reading included. Captions name lattices from 4x4 to 256x256.
Writes results/odd_shapes.json and its line in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from loraeval.outside.files import write_text_atomically

HERE = Path(__file__).resolve().parent
SHAPES = ((512, 512), (8, 16384), (16384, 8), (64, 16384), (16384, 1024), (4096, 4096), (8, 8))
"""(width, height); the first is the ordinary one."""

LATTICES = ((24, 24), (4, 4), (256, 256))
SCORERS = ("palette", "grid", "style", "realism", "health")
SECONDS, MEGABYTES = 5.0, 500.0
REPEATED = 2
"""Times that a picture is scored; the cheapest counts, since the first pays for imports."""


def one(path: Path, name: str, lattice: tuple[int, int]) -> None:
    """Score one file in this process and print CPU seconds and peak memory in MB."""
    from loraeval.images.picture import open_picture
    from loraeval.prompts.building import caption_of
    from loraeval.records import Prompt
    from loraeval.scorers.base import ScoreContext
    from loraeval.scorers.encoders import OFFLINE_ENCODER, load_encoder
    from loraeval.scorers.reference import ReferenceSet
    from loraeval.scorers.registry import load_scorers

    given: dict[str, Any] = {}
    if name == "style":
        rng = np.random.default_rng(0)
        encoder = load_encoder(OFFLINE_ENCODER)
        images = [(str(k), rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)) for k in range(6)]
        given = {"encoder": encoder, "reference": ReferenceSet.from_images(images, encoder)}
    text = (
        f"pixel art, {lattice[0]}x{lattice[1]}, red hair (#cc2020), blue eyes (#2040cc), "
        "palette: #cc2020, #2040cc, #20a040, #f0d0b0"
    )
    context = ScoreContext(Prompt("p", text, caption_of(text)), lattice=lattice, **given)
    scorer = load_scorers([name], given.get("encoder"))[0]
    best = float("inf")
    for _ in range(REPEATED):
        start = time.process_time()
        picture = open_picture(path, "odd")
        try:
            scorer.score(picture, context)
        except Exception as error:  # noqa: BLE001  an error is a finding, not an end
            print(json.dumps({"error": f"{type(error).__name__}: {error}"[:200]}))
            return
        best = min(best, time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": round(best, 3), "megabytes": round(peak, 1)}))


def picture_of(shape: tuple[int, int], kind: str) -> np.ndarray:
    """Return pixels of (width, height): noise in cells, or noise in every pixel."""
    width, height = shape
    rng = np.random.default_rng([width, height])
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    cells = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return cells[np.arange(height) * 24 // height][:, np.arange(width) * 24 // width]


def measure(quick: bool) -> dict[str, Any]:
    """Return the figures of every scorer, shape, kind and lattice."""
    found: dict[str, Any] = {}
    shapes = SHAPES[:4] if quick else SHAPES
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("cells", "noise"):
            for shape in shapes:
                path = Path(folder) / f"{kind}_{shape[0]}x{shape[1]}.png"
                Image.fromarray(np.ascontiguousarray(picture_of(shape, kind))).save(
                    path, compress_level=1
                )
                for name in SCORERS:
                    for lattice in LATTICES[:1] if name in ("style", "health") else LATTICES:
                        key = f"{name} {shape[0]}x{shape[1]} {kind} {lattice[0]}x{lattice[1]}"
                        found[key] = in_a_process(path, name, lattice)
                        print(key, found[key], flush=True)
    return found


def in_a_process(path: Path, name: str, lattice: tuple[int, int]) -> dict[str, Any]:
    """Run ``one`` by itself."""
    words = [sys.executable, __file__, "--one", str(path), name, *map(str, lattice)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if lines else {"error": done.stderr[-300:]}


def worst(found: dict[str, Any]) -> dict[str, Any]:
    """Return by scorer the most CPU seconds and the most memory above the ordinary picture's."""
    table = {}
    for name in SCORERS:
        rows = {key: row for key, row in found.items() if key.startswith(f"{name} ")}
        errors = [key for key, row in rows.items() if "error" in row]
        base = min(r["megabytes"] for k, r in rows.items() if " 512x512 " in k and "error" not in r)
        fine = {key: row for key, row in rows.items() if "error" not in row}
        slow = max(fine, key=lambda key: fine[key]["seconds"])
        large = max(fine, key=lambda key: fine[key]["megabytes"])
        table[name] = {
            "seconds": fine[slow]["seconds"],
            "slowest": slow,
            "megabytes_above": round(fine[large]["megabytes"] - base, 1),
            "largest": large,
            "errors": errors,
        }
    return table


def main() -> None:
    """Measure and write."""
    if sys.argv[1:2] == ["--one"]:
        path, name, columns, rows = sys.argv[2:6]
        one(Path(path), name, (int(columns), int(rows)))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer shapes; writes nothing")
    quick = parser.parse_args().quick
    table = worst(measure(quick))
    print(json.dumps(table, indent=1))
    if quick:
        return
    write_text_atomically(HERE / "results" / "odd_shapes.json", json.dumps(table, indent=1) + "\n")
    lines = [
        "| scorer | most CPU seconds (bound 5) | most MB above a 512-pixel picture (bound 500) |",
        "| --- | --- | --- |",
    ]
    for name, row in table.items():
        lines.append(f"| {name} | {row['seconds']:.2f} ({row['slowest'].split(' ', 1)[1]}) | "
            f"{row['megabytes_above']:.0f} ({row['largest'].split(' ', 1)[1]}) |")  # fmt: skip
    text = "Made by `python benchmarks/odd_shapes.py`; reading counted.\n\n" + "\n".join(lines)
    write_section(HERE / "README.md", text)


def write_section(readme: Path, text: str) -> None:
    """Put ``text`` between the section's markers, which are added at the end if missing."""
    begin, end = "<!-- odd_shapes:begin -->", "<!-- odd_shapes:end -->"
    whole = readme.read_text(encoding="utf-8")
    if begin not in whole:
        whole = f"{whole.rstrip()}\n\n## Odd shapes\n\n{begin}\n{end}\n"
    head, tail = whole.split(begin)[0], whole.split(end)[1]
    write_text_atomically(readme, f"{head}{begin}\n{text}\n{end}{tail}")


if __name__ == "__main__":
    main()
