# ruff: noqa: E501, ISC004 - table rows
"""The tables of benchmarks/render.py in benchmarks/README.md.

python benchmarks/_render_table.py     write them again from benchmarks/results/render*.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- render:begin -->", "<!-- render:end -->"
HERE = Path(__file__).resolve().parent

TARGETS: list[tuple[str, float, str]] = [
    ("SD 1.5, 10 checkpoints × 40 images, compiling not counted, times its loop", 8.0, "apart"),
    ("the same from a warm compile cache, all counted, times its loop", 8.0, "warm"),
    ("the same with a cold compile counted, times its loop", 5.0, "cold"),
    ("the same as loraeval chooses by itself, all counted, times its loop", 5.0, "auto"),
    ("SD 1.5 after the first batch, images/s (warm run)", 7.8, "after"),
    ("SDXL at 1024×1024, times its loop", 2.5, "sdxl"),
    ("two GPUs against one, efficiency", 0.9, "gpus"),
]
"""What was to be reached on an H200."""

EARLIER = {
    "render.json": "commit e807f02",
    "render_two_gpus.json": "code between the commits e807f02 and f4c8144 that compiled in a "
    "thread beside eager rendering; it was dropped and never committed",
}
"""What earlier results were measured on; newer ones say it themselves."""


def write_table(readme: Path, files: Iterable[Path]) -> None:
    """Replace the text between the markers of ``render`` in ``readme``, or append it."""
    runs = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in files}
    text = readme.read_text(encoding="utf-8") if readme.is_file() else "# Benchmarks\n"
    block = f"{BEGIN}\n{tables(runs)}\n{END}"
    if BEGIN in text and END in text:
        head, rest = text.split(BEGIN, 1)
        text = head + block + rest.split(END, 1)[1]
    else:
        text = f"{text.rstrip()}\n\n{block}\n"
    readme.write_text(text, encoding="utf-8")


def tables(runs: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown of every run, by the name of its file: what it printed, then what that
    is against the targets.
    """
    lines = [
        "## Rendering",
        "",
        "`python benchmarks/render.py`. Random weights of full size, float16, 30 steps, guidance 7.5, "
        "LoRA of rank 32 with text encoders. The loop's rate counts its load of pipeline and LoRA for "
        "every 40 images; ours counts loading, compiling, swaps, text, PNG, sync and index.",
    ]
    for name, results in runs.items():
        lines += ["", *_one(name, results)]
    reached = {}
    for results in runs.values():
        reached = {**reached, **_reached(results["steps"])}
    lines += ["", "| target | at least | measured | reached |", "| --- | --- | --- | --- |"]
    for what, least, key in TARGETS:
        value = reached.get(key)
        if value is None:
            lines.append(f"| {what} | {least:g} | not measured | |")
        else:
            lines.append(
                f"| {what} | {least:g} | {value:.1f} | {'yes' if value >= least else '**no**'} |"
            )
    return "\n".join(lines)


def _reached(steps: dict[str, Any]) -> dict[str, float]:
    """Return the figure of each target that ``steps`` measured. Compiling is what the first batch
    of a cold run takes beyond that of an eager one.
    """

    def rate(name: str, figure: str = "images_per_s") -> float | None:
        return steps.get(name, {}).get(figure)

    def over(one: float | None, other: float | None) -> float | None:
        return one / other if one and other else None

    def apart() -> float | None:
        cold, eager = steps.get("ours sd15 cold", {}), steps.get("ours sd15 auto", {})
        if "total_s" not in cold or eager.get("facts", {}).get("compiled") is not False:
            return None
        compiling = cold["first_batch_s"] - eager["first_batch_s"]
        return float(cold["images"] / (cold["total_s"] - compiling))

    both = over(
        rate("all GPUs", "sustained_images_per_s"), rate("one GPU", "sustained_images_per_s")
    )
    found = {
        "apart": over(apart(), rate("loop sd15")),
        "auto": over(rate("ours sd15 auto"), rate("loop sd15")),
        "warm": over(rate("ours sd15 warm"), rate("loop sd15")),
        "cold": over(rate("ours sd15 cold"), rate("loop sd15")),
        "after": rate("ours sd15 warm", "sustained_images_per_s"),
        "sdxl": over(rate("ours sdxl"), rate("loop sdxl")),
        "gpus": both / 2 if both else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _one(name: str, results: dict[str, Any]) -> list[str]:
    machine = results.get("machine") or results["machines"]["one"]
    steps = results["steps"]
    code = EARLIER.get(name) if "commit" not in machine else f"commit {machine['commit']}"
    lines = [
        f"results/{name}: {machine['gpu']}, {machine['gpus']} GPU, {machine['cpus']} CPU cores, torch "
        f"{machine['torch']}, diffusers {machine['diffusers']}, {machine['date']}; {code}.",
        "",
        "| what | images | seconds in all | images/s | times its loop | first batch, s | images/s after | that, times its loop |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for step_name, step in steps.items():
        if "s_per_epoch_of_40" in step:
            count = sum(len(epoch["image_s"]) for epoch in step["epochs"])
            lines.append(f"| {step_name} | {count} | | {step['images_per_s']:.2f} | 1 | | | |")
        elif "first_batch_s" in step:
            loop = steps.get("loop sdxl" if "sdxl" in step_name else "loop sd15", {}).get(
                "images_per_s"
            )
            after = step.get("sustained_images_per_s")
            times, later = [
                f"{value / loop:.1f}" if loop and value else ""
                for value in (step["images_per_s"], after)
            ]
            rest = f"{after:.2f}" if after else ""
            lines.append(
                f"| {step_name} | {step['images']} | {step['total_s']:.0f} | {step['images_per_s']:.2f} | "
                f"{times} | {step['first_batch_s']:.0f} | {rest} | {later} |"
            )
        elif "error" in step:
            lines.append(f"| {step_name} | {step['error']} | | | | | | |")
    for step_name, step in steps.items():
        rows = {key: row for key, row in step.items() if isinstance(row, dict) and "batch" in row}
        if rows:
            lines += ["", f"One guided UNet step ({step_name}), as images/s of 30 such steps alone:", "",
                      "| variant | batch | images/s |", "| --- | --- | --- |"]  # fmt: skip
            lines += [f"| {k} | {r['batch']} | {r['images_per_s']:.2f} |" for k, r in rows.items()]
    return lines


def result_files() -> list[Path]:
    """Return the results that the tables are made of."""
    return sorted((HERE / "results").glob("render*.json"))


if __name__ == "__main__":
    write_table(HERE / "README.md", result_files())
    sys.exit(0)
