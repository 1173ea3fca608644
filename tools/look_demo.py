"""Draw the demo world's checkpoints and write what they look like, in a sheet and in numbers.

``python tools/look_demo.py`` draws twelve of the demo's prompts with the base and nine LoRA files
on this machine's CPU and writes ``demo/sheet.png``, ``demo/look.json`` and the table in
``docs/demo.md``. ``--table`` only writes the table again from ``demo/look.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

FILES = ("demo_perfect-000001", "demo_perfect-000003", "demo_perfect-000005",
    "demo_perfect-000010", "demo_overfit-000010", "demo_photoreal-000010",
    "demo_wrong_colors-000010")  # fmt: skip
MARKS = ("<!-- look:begin -->", "<!-- look:end -->")


def look() -> None:
    """Draw, measure and write sheet and numbers."""
    import torch

    from demo.look import draw, measure, sheet
    from loraeval.testing.portraits_files import demo_scenes

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    every = [portrait for _, portrait in demo_scenes()]
    portraits = [*every[:6], *every[24:26], *every[27:29], *every[30:32]]
    rows, pictures = {}, []
    for name in ("base", *FILES):
        lora = None if name == "base" else ROOT / "demo/checkpoints" / f"{name}.safetensors"
        begun = time.perf_counter()
        made = draw(ROOT / "demo/base", lora, portraits, "cpu")
        seconds = (time.perf_counter() - begun) / len(portraits)
        rows[name] = measure(made, portraits) | {"seconds_per_image": round(seconds, 2)}
        pictures.append(made)
        print(name, rows[name], flush=True)
    sheet(pictures, portraits, ROOT / "demo/sheet.png")
    threads = torch.get_num_threads()
    about = {"threads": threads, "torch": torch.__version__, "machine": platform.machine()}
    text = json.dumps({"about": about, "images": len(portraits), "rows": rows}, indent=1)
    (ROOT / "demo/look.json").write_text(text + "\n")


def table() -> None:
    """Put the numbers of ``demo/look.json`` into ``docs/demo.md``."""
    seen = json.loads((ROOT / "demo/look.json").read_text())
    heads = list(next(iter(seen["rows"].values())))
    lines = ["| file | " + " | ".join(h.replace("_", " ") for h in heads) + " |"]
    lines.append("| --- |" + " ---: |" * len(heads))
    for name, row in seen["rows"].items():
        lines.append(f"| {name} | " + " | ".join(str(row[h]) for h in heads) + " |")
    page = ROOT / "docs/demo.md"
    text = page.read_text()
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    page.write_text(before + "\n".join((MARKS[0], *lines, MARKS[1])) + after)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="only rewrite the table")
    if not parser.parse_args().table:
        look()
    table()
