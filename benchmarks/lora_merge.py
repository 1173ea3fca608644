# ruff: noqa: E402 - imports must not start in this folder
"""How far images move because LoRAs are merged into the weights, and by float16's rounding of them.

Run: ``python benchmarks/lora_merge.py``. The demo base with the last epoch of demo_perfect, on the
CPU: all sums in float32 and from the same noise, so that only the weights differ. The exact formula
is diffusers' own adapter layers beside the weights. Writes benchmarks/results/lora_merge.json and
the table in benchmarks/README.md.
"""

from __future__ import annotations

import sys

# The checkout, not this folder, is where imports start: a benchmark may be called as a module of
# the standard library is.
sys.path[0] = str(__file__).rpartition("benchmarks")[0] or "."

import datetime as dt
import json
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks._render_table import movement_table

from loraeval.baselines.files import read_baseline
from loraeval.evaluation.panels import PanelChoice, build_panel
from loraeval.prompts.sets import read_prompts
from loraeval.records import Prompt, Recipe, Render
from loraeval.render.plan import CheckpointRef, make_job
from loraeval.render.recipe import read_recipe, resolve_recipe
from loraeval.render.sd import Engine
from loraeval.render.store_file import encode_png

ROOT = Path(__file__).resolve().parent.parent
LORA = ROOT / "demo" / "checkpoints" / "demo_perfect-000010.safetensors"
IMAGES, SEED = 12, 42
EXACT = "adapters beside the weights, float32"
VARIANTS = {
    EXACT: ("beside", False),
    "merged, float32": ("merged", False),
    "merged, weights rounded to float16": ("merged", True),
    "adapters beside weights rounded to float16": ("beside", True),
}
SCORERS = ("palette", "grid", "style", "realism", "health")


def draw(recipe: Recipe, prompts: Sequence[Prompt], how: str, rounded: bool) -> np.ndarray:
    """Return the images, uint8 [n, H, W, 3], with the LoRA ``merged`` or ``beside`` the weights;
    the weights as they then stand rounded to float16 where ``rounded``.
    """
    engine = Engine(recipe, "cpu")
    ref = CheckpointRef(LORA, "lora", "demo_perfect", 10, LORA.name)
    if how == "merged":
        engine.use(LORA, ref.sha256, 1.0)
    if rounded:
        with torch.no_grad():
            for part in (engine.pipe.unet, engine.pipe.text_encoder):
                for weight in part.parameters():
                    weight.copy_(weight.half())
    if how == "beside":
        engine.pipe.load_lora_weights(LORA)
    if how != "merged":
        engine.use = lambda *_: None  # type: ignore[method-assign]
    jobs = [make_job(recipe, ref, prompt, SEED) for prompt in prompts]
    done = []
    for pending in engine.run(jobs):
        pending.wait()
        done.append(pending.pixels.numpy())
    return np.concatenate(done)


def scores_of(images: np.ndarray, prompts: Sequence[Prompt], folder: Path) -> np.ndarray:
    """Return what the panel measured, [n, metrics]; NaN is unscored."""
    folder.mkdir()
    renders = []
    for number, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
        path = folder / f"{number}.png"
        path.write_bytes(encode_png(image, "{}"))
        renders.append(Render(image=path, name=path.name, run="r", prompt=prompt, seed=SEED))
    baseline = read_baseline(ROOT / "baselines" / "demo_perfect")  # its encoder and reference
    rows = list(build_panel(PanelChoice(scorers=SCORERS), baseline, quiet=True).score(renders))
    return np.array(
        [[np.nan if row.scores[m] is None else row.scores[m] for m in SCORERS] for row in rows],
        dtype=float,
    )


def measure() -> dict[str, Any]:
    """Draw and score every variant; return its distances from the exact one."""
    torch.set_num_threads(1)
    recipe = read_recipe("demo", base_model=str(ROOT / "demo" / "base"))
    recipe = resolve_recipe(recipe, device="cpu", offline=True)
    prompts = read_prompts(str(ROOT / "prompts" / "demo.toml")).prompts[:IMAGES]
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, (how, rounded)) in enumerate(VARIANTS.items()):
            images = draw(recipe, prompts, how, rounded)
            scores = scores_of(images, prompts, Path(folder) / str(number))
            if name == EXACT:
                exact, exact_scores = images.astype(int), scores
            rows[name] = distances(images, exact, scores, exact_scores)
            print(name, rows[name], flush=True)
        far = np.abs(exact - draw_base(recipe, prompts)).mean()
    return {"variants": rows, "images": len(prompts), "lora_moves_mean_levels": float(far)}


def distances(
    images: np.ndarray, exact: np.ndarray, scores: np.ndarray, exact_scores: np.ndarray
) -> dict[str, Any]:
    """Return how far ``images`` [n, H, W, 3] and their ``scores`` [n, metrics] are from the exact
    ones: levels of 255, the share of values that differ, and each metric's change.
    """
    gap = np.abs(images.astype(int) - exact.astype(int))
    moved = np.abs(scores - exact_scores)
    return {
        "max_levels": int(gap.max()),
        "mean_levels": float(gap.mean()),
        "share_changed": float((gap > 0).mean()),
        "scores": {
            metric: {"max": float(np.nanmax(column)), "mean": float(np.nanmean(column)),
                     "unscored": int(np.isnan(column).sum())}
            for metric, column in zip(SCORERS, moved.T, strict=True)
        },
    }  # fmt: skip


def draw_base(recipe: Recipe, prompts: Sequence[Prompt]) -> np.ndarray:
    """Return the images of the base model alone."""
    return draw(recipe, prompts, "alone", rounded=False).astype(int)


def main() -> None:
    """Measure and write the results and the table; ``--table`` writes the table alone anew."""
    out = ROOT / "benchmarks" / "results" / "lora_merge.json"
    if "--table" not in sys.argv:
        git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty= and changes"]
        commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
        result = {
            **measure(),
            "commit": commit or "unknown", "machine": platform.machine(),
            "python": platform.python_version(), "torch": version("torch"),
            "diffusers": version("diffusers"), "peft": version("peft"),
            "date": dt.datetime.now(dt.UTC).date().isoformat(),
        }  # fmt: skip
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    text = table(json.loads(out.read_text(encoding="utf-8")))
    write_section("lora_merge", text)
    print(text)


def table(result: dict[str, Any]) -> str:
    """Return the Markdown of a result."""
    intro = (
        f"`python benchmarks/lora_merge.py`: {result['images']} images of the demo base with "
        f"{LORA.stem} on the CPU, computed in float32, against diffusers' adapters beside the "
        "float32 weights. The LoRA itself moves these images by "
        f"{result['lora_moves_mean_levels']:.1f} levels of 255 on average. The demo base lies in "
        "float16 in its files, so rounding its own weights changes nothing (last row). "
        f"{result['machine']}, torch {result['torch']}, diffusers {result['diffusers']}, "
        f"peft {result['peft']}, {result['date']}."
    )
    shown = {name: row for name, row in result["variants"].items() if name != EXACT}
    lines = [
        "## LoRAs merged into the weights",
        "",
        intro,
        "",
        *movement_table("weights", SCORERS, shown),
    ]
    return "\n".join(lines)


def write_section(name: str, text: str) -> None:
    """Put ``text`` between this benchmark's markers in benchmarks/README.md."""
    page = ROOT / "benchmarks" / "README.md"
    old = page.read_text("utf-8")
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    section = f"{begin}\n{text}\n{end}"
    if begin in old and end in old:
        head, rest = old.split(begin, 1)
        new = head + section + rest.split(end, 1)[1]
    else:
        new = old.rstrip() + f"\n\n{section}\n"
    page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
