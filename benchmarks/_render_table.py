# ruff: noqa: E501, ISC004 - table rows
"""The tables of benchmarks/render.py in benchmarks/README.md and benchmarks/render.md.

python benchmarks/_render_table.py     write them again from benchmarks/results/render*.json
"""

from __future__ import annotations

import ast
import contextlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- render:begin -->", "<!-- render:end -->"
HERE = Path(__file__).resolve().parent

TAIL = 1500
"""Characters kept of what a step printed that was stopped."""

TARGETS: list[tuple[str, float, str]] = [
    ("SD 1.5, 10 checkpoints × 40 images, compiling not counted, times its loop", 8.0, "apart"),
    ("the same from a warm compile cache, all counted, times its loop", 8.0, "warm"),
    ("the same with a cold compile counted, times its loop", 5.0, "cold"),
    ("the same as loraeval chooses by itself, all counted, times its loop", 5.0, "auto"),
    ("SD 1.5 after the first 40 images, images/s (cold run)", 7.8, "after"),
    ("SDXL at 1024×1024, times its loop", 2.5, "sdxl"),
    ("two GPUs against one, efficiency", 0.9, "gpus"),
]
"""What was to be reached on an H200."""

CODE = {
    "render_sdxl.json": "commit 12e5762",
    "render_gpus.json": "commit 12e5762",
    "render_parts_before.json": "commit 64898c9",
    "render_sd15.json": "commit be4722a",
    "render_sd15_12e5762.json": "commit 12e5762, its other GPU busy with other steps",
    "render_sd15_2c2c5d7.json": "commit 2c2c5d7",
    "render_sd15_again.json": "commit 5ba1960, its other GPU busy with render_parts_sdxl.json",
    "render_parts.json": "commit 5ba1960, its other GPU busy with the float16 numerics",
    "render_parts_sdxl.json": "commit 5ba1960",
    "render_numerics.json": "commit 5ba1960, float16 by exchanging the recipe's dtype",
    "render_parts_blocks.json": "working tree between 0c1f86f and 12e5762; *blocks* compiled each "
    "block by itself and was dropped, *whole* the models without marks",
}
"""What runs were made with whose machine had another commit than the files; others say it
themselves."""


def write_tables(readme: Path, details: Path, files: Iterable[Path]) -> None:
    """Replace the text between the markers of ``render`` in ``readme``, or append it, by the runs
    and what they reached; write ``details``, every variant that was timed.
    """
    runs = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in files}
    for run in runs.values():
        run["steps"] = {name: step | _printed(step) for name, step in run["steps"].items()}
    text = readme.read_text(encoding="utf-8") if readme.is_file() else "# Benchmarks\n"
    block = f"{BEGIN}\n{summary(runs)}\n{END}"
    if BEGIN in text and END in text:
        head, rest = text.split(BEGIN, 1)
        text = head + block + rest.split(END, 1)[1]
    else:
        text = f"{text.rstrip()}\n\n{block}\n"
    readme.write_text(text, encoding="utf-8")
    details.write_text(variants(runs) + "\n", encoding="utf-8")


def summary(runs: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown of what was reached, and of the runs that it was reached in."""
    reached = {name: found for name, run in runs.items() if (found := _reached(run["steps"]))}
    lines = [
        "## Rendering",
        "",
        "`python benchmarks/render.py`. Random weights of full size, float16, 30 steps, guidance 7.5, "
        "LoRA of rank 32 with text encoders. The loop's rate counts its load of pipeline and LoRA for "
        "every 40 images; ours counts hashing the base model, loading, compiling, swaps, text, PNG, "
        "sync and index. *Images/s after* is over all images but the first 40. Steps, decodes and "
        "attention by themselves, and how far images move with how they are computed: render.md.",
        "",
        "| target | at least | " + " | ".join(reached) + " |",
        "| --- | --- |" + " --- |" * len(reached),
    ]
    for what, least, key in TARGETS:
        cells = [_cell(found.get(key), least) for found in reached.values()]
        lines.append(f"| {what} | {least:g} | {' | '.join(cells)} |")
    for name in reached:
        lines += ["", _machine(name, runs[name]["machine"]), "", *_rows(runs[name]["steps"])]
    return "\n".join(lines)


def variants(runs: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown of every variant of every run."""
    lines = [
        "# Rendering, part by part",
        "",
        "Written by `python benchmarks/render.py`. *ms* is one call with the GPU idle before and "
        "after it, *without a pause* one of many that follow each other, with the card's clock and "
        "power meanwhile, *of the host* the time after which one call returned. Images/s are what 30 "
        "such steps, or such decodes, alone would allow.",
    ]
    for name, run in runs.items():
        tables = [line for key, step in run["steps"].items() for line in _variants(key, step)]
        tables += [
            line for step in run["steps"].values() if "numerics" in step for line in _numerics(step)
        ]
        if tables:
            lines += ["", f"## {name}", "", _machine(name, run["machine"]), *tables]
    return "\n".join(lines)


def _cell(value: float | None, least: float) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value >= least else f"**{value:.2f}, missed**"


def steady(step: dict[str, Any]) -> float | None:
    """Return images/s after the first 40 images. ``marks`` has the second of every tenth image."""
    marks = step.get("marks", [])
    return 10 * (len(marks) - 4) / (marks[-1] - marks[3]) if len(marks) > 4 else None


def _reached(steps: dict[str, Any]) -> dict[str, float]:
    """Return the figure of each target that ``steps`` measured. Compiling is what the first batch
    of a cold run takes beyond that of an eager one.
    """

    def rate(name: str) -> float | None:
        return steps.get(name, {}).get("images_per_s")

    def over(one: float | None, other: float | None) -> float | None:
        return one / other if one and other else None

    def apart() -> float | None:
        cold, eager = steps.get("ours sd15 cold", {}), steps.get("ours sd15 auto", {})
        if "total_s" not in cold or eager.get("facts", {}).get("compiled") is not False:
            return None
        compiling = cold["first_batch_s"] - eager["first_batch_s"]
        return float(cold["images"] / (cold["total_s"] - compiling))

    both = over(steady(steps.get("all GPUs", {})), steady(steps.get("one GPU", {})))
    found = {
        "apart": over(apart(), rate("loop sd15")),
        "auto": over(rate("ours sd15 auto"), rate("loop sd15")),
        "warm": over(rate("ours sd15 warm"), rate("loop sd15")),
        "cold": over(rate("ours sd15 cold"), rate("loop sd15")),
        "after": steady(steps.get("ours sd15 cold", {})),
        "sdxl": over(rate("ours sdxl"), rate("loop sdxl")),
        "gpus": both / 2 if both else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _machine(name: str, machine: dict[str, Any]) -> str:
    code = CODE.get(name, f"commit {machine['commit']}")
    card = f"{machine['gpu']}, {machine['gpus']} GPU" if machine["gpu"] else "no GPU"
    return (
        f"results/{name}: {card}, {machine['cpus']} CPU cores, torch {machine['torch']}, "
        f"diffusers {machine['diffusers']}, {machine['date']}; {code}."
    )


def _rows(steps: dict[str, Any]) -> list[str]:
    rows = [row for step, found in steps.items() if (row := _row(step, found, steps))]
    head = ["what", "images", "seconds in all", "images/s", "times its loop",
            "first batch, s", "images/s after"]  # fmt: skip
    return [f"| {' | '.join(head)} |", "| --- " * len(head) + "|", *rows]


def _printed(step: dict[str, Any]) -> dict[str, Any]:
    """Return the variants that a step printed before it was stopped."""
    found = {}
    said = step.get("tail", "")
    for line in said.splitlines()[len(said) >= TAIL :]:  # of a full tail the first line may be cut
        name, brace, rest = line.partition(" {'batch'")
        with contextlib.suppress(SyntaxError, ValueError):
            found |= {name: ast.literal_eval(brace.strip() + rest)} if brace else {}
    return found


def _numerics(step: dict[str, Any]) -> list[str]:
    metrics = list(step["noise"])
    noise = ", ".join(f"{metric} {value:.4f}" for metric, value in step["noise"].items())
    return [
        "",
        f"{step['images']} images of the demo model in {step['dtype']}, against one batch of all; a "
        f"score's noise, its standard deviation from seed to seed of one prompt: {noise}.",
        "",
        *movement_table("computed", metrics, step["numerics"]),
    ]


def movement_table(
    what: str, metrics: Sequence[str], rows: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return the Markdown of ``rows`` by name, each what ``lora_merge.distances`` returned; ``what``
    heads their names.
    """
    head = "".join(f" {metric}, largest (mean) change |" for metric in metrics)
    lines = [f"| {what} | largest difference, levels | mean, levels | values changed |{head}",
             "| --- | ---: | ---: | ---: |" + " ---: |" * len(metrics)]  # fmt: skip
    for name, row in rows.items():
        moved = [f"{row['scores'][m]['max']:.4f} ({row['scores'][m]['mean']:.4f})" for m in metrics]
        lines.append(
            f"| {name} | {row['max_levels']} | {row['mean_levels']:.4f} | "
            f"{row['share_changed']:.2%} | {' | '.join(moved)} |"
        )
    return lines


def _row(name: str, step: dict[str, Any], steps: dict[str, Any]) -> str | None:
    if "s_per_epoch_of_40" in step:
        count = sum(len(epoch["image_s"]) for epoch in step["epochs"])
        return f"| {name} | {count} | | {step['images_per_s']:.2f} | 1 | | |"
    if "first_batch_s" in step:
        loop = steps.get("loop sdxl" if "sdxl" in name else "loop sd15", {}).get("images_per_s")
        times = f"{step['images_per_s'] / loop:.1f}" if loop else ""
        return (
            f"| {name} | {step['images']} | {step['total_s']:.0f} | {step['images_per_s']:.2f} | "
            f"{times} | {step['first_batch_s']:.0f} | {steady(step):.2f} |"
        )
    return f"| {name} | {step['error']} | | | | | |" if "error" in step else None


def _variants(name: str, step: dict[str, Any]) -> list[str]:
    rows = {key: row for key, row in step.items() if isinstance(row, dict) and "batch" in row}
    if not rows:
        return []
    firsts = [
        f"first call of the {part} {step[key]:.1f} s"
        for part, key in (("UNet", "compile_unet_s"), ("VAE", "compile_vae_s"))
        if key in step
    ]
    what = "; ".join([name, *firsts])
    cut = f" ({step['error']})" if "error" in step else ""
    lines = ["", f"**{what}**{cut}", "",
             "| variant | images | ms | ms without a pause | MHz, W | ms of the host | images/s |",
             "| --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for key, row in rows.items():
        times = [row["step_s"], row.get("unbroken_s"), row.get("host_s")]
        cells = [
            f"{1000 * seconds:.{1 + (seconds < 0.01)}f}" if seconds else "" for seconds in times
        ]
        card = f"{row['clock_mhz']:.0f}, {row['power_w']:.0f}" if "power_w" in row else ""
        rate = "" if key.startswith("attention") else f"{row['images_per_s']:.2f}"
        cells = [key, str(row["batch"]), *cells[:2], card, cells[2], rate]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def result_files() -> list[Path]:
    """Return the results that the tables are made of."""
    return sorted((HERE / "results").glob("render*.json"))


if __name__ == "__main__":
    write_tables(HERE / "README.md", HERE / "render.md", result_files())
    sys.exit(0)
