# ruff: noqa: E501, ISC004 - table rows
"""The table of benchmarks/render.py in benchmarks/README.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- render:begin -->", "<!-- render:end -->"


def write_table(results: dict[str, Any], readme: Path) -> None:
    """Replace the text between the markers of ``render`` in ``readme``, or append it."""
    text = readme.read_text(encoding="utf-8") if readme.is_file() else "# Benchmarks\n"
    block = f"{BEGIN}\n{table(results)}\n{END}"
    if BEGIN in text and END in text:
        head, rest = text.split(BEGIN, 1)
        text = head + block + rest.split(END, 1)[1]
    else:
        text = f"{text.rstrip()}\n\n{block}\n"
    readme.write_text(text, encoding="utf-8")


def table(results: dict[str, Any]) -> str:
    """Return the Markdown of one set of results, an earlier run on another machine below it."""
    lines = ["## Rendering", "", *_one(results)]
    other = results.get("other_run")
    if other:
        lines += ["", f"Another run ({other['what']}):", "", *_one(other)]
    return "\n".join(lines)


def _one(results: dict[str, Any]) -> list[str]:
    machine, steps = results["machine"], results["steps"]
    lines = [
        f"{machine['gpu']}, {machine['gpus']} GPU, {machine['cpus']} CPU cores, torch "
        f"{machine['torch']}, diffusers {machine['diffusers']}, {machine['date']}. Random weights of "
        "full size, float16, 30 steps, guidance 7.5, LoRA of rank 32 with text encoders. The loop's "
        "rate counts its load of pipeline and LoRA for every 40 images; ours counts loading, "
        "compiling, swaps, text, PNG, sync and index.",
        "",
        "| what | images | seconds in all | images/s | times its loop | first batch, s | images/s after |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, step in steps.items():
        if "s_per_epoch_of_40" in step:
            count = sum(len(epoch["image_s"]) for epoch in step["epochs"])
            lines.append(f"| {name} | {count} | | {step['images_per_s']:.2f} | 1 | | |")
        elif "first_batch_s" in step:
            loop = steps.get("loop sdxl" if "sdxl" in name else "loop sd15")
            times = f"{step['images_per_s'] / loop['images_per_s']:.1f}" if loop else ""
            after = step.get("sustained_images_per_s")
            rest = f"{after:.2f}" if after else ""
            lines.append(
                f"| {name} | {step['images']} | {step['total_s']:.0f} | {step['images_per_s']:.2f} | "
                f"{times} | {step['first_batch_s']:.0f} | {rest} |"
            )
    for name, step in steps.items():
        rows = {key: row for key, row in step.items() if isinstance(row, dict) and "batch" in row}
        if rows:
            lines += ["", f"One guided UNet step ({name}), as images/s of 30 such steps alone:", "",
                      "| variant | batch | images/s |", "| --- | --- | --- |"]  # fmt: skip
            lines += [f"| {k} | {r['batch']} | {r['images_per_s']:.2f} |" for k, r in rows.items()]
    return lines


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else here / "results" / "render.json"
    write_table(json.loads(source.read_text(encoding="utf-8")), here / "README.md")
