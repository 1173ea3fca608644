"""How far images and scores of the demo world move with how they are computed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.lora_merge import LORA, ROOT, SCORERS, distances, scores_of

from loraeval.prompts.sets import read_prompts
from loraeval.records import Prompt
from loraeval.render.plan import CheckpointRef, Job, make_job
from loraeval.render.recipe import read_recipe, resolve_recipe
from loraeval.render.sd import Engine

PROMPTS, SEEDS = 12, (42, 43)
REFERENCE = "one batch"


def numerics(device: str, dtype: str) -> dict[str, Any]:
    """Render the same prompts and seeds in every way; return how far images and scores are from
    those of one batch, and how far a score lies from that of another seed.
    """
    raw = replace(read_recipe("demo", base_model=str(ROOT / "demo" / "base")), dtype=dtype)
    wanted = resolve_recipe(raw, device=device, offline=True)
    prompts = read_prompts(str(ROOT / "prompts" / "demo.toml")).prompts[:PROMPTS]
    count = len(prompts) * len(SEEDS)
    engine = Engine(wanted, device)
    made = {REFERENCE: draw(engine, prompts, count)}
    made["the same again"] = draw(engine, prompts, count)
    made["the model loaded again"] = draw(Engine(wanted, device), prompts, count)
    made["the order reversed"] = draw(engine, prompts, count, backwards=True)
    made[f"batches of {count // 2}"] = draw(engine, prompts, count // 2)
    made["one by one"] = draw(engine, prompts, 1)
    if device != "cpu":
        engine.compile(["unet", "vae"])
        made["compiled"] = draw(engine, prompts, count)
    compiled = sorted(engine.parts)
    beside = Engine(wanted, device)
    beside.pipe.load_lora_weights(LORA)
    beside.use = lambda *_: None  # type: ignore[method-assign]
    made["the LoRA beside the weights"] = draw(beside, prompts, count)
    if device != "cpu":
        full = resolve_recipe(replace(raw, dtype="float32"), device="cpu", offline=True)
        made["float32 on the CPU"] = draw(Engine(full, "cpu"), prompts, count)
    every = [prompt for prompt in prompts for _ in SEEDS]
    with tempfile.TemporaryDirectory() as folder:
        scores = {
            name: scores_of(images, every, Path(folder) / str(number))
            for number, (name, images) in enumerate(made.items())
        }
    pairs = scores[REFERENCE].reshape(len(prompts), len(SEEDS), -1)
    noise = np.sqrt(np.nanmean(np.nanvar(pairs, axis=1, ddof=1), axis=0))
    rows = {
        name: distances(images, made[REFERENCE], scores[name], scores[REFERENCE])
        for name, images in made.items()
        if name != REFERENCE
    }
    return {
        "images": count, "compiled": compiled, "dtype": wanted.dtype, "numerics": rows,
        "noise": dict(zip(SCORERS, map(float, noise), strict=True)),
    }  # fmt: skip


def draw(
    engine: Engine, prompts: Sequence[Prompt], limit: int, *, backwards: bool = False
) -> np.ndarray:
    """Return the images, uint8 [n, H, W, 3], in batches of ``limit``, in the order of the jobs."""
    ref = CheckpointRef(LORA, LORA.name, "demo_perfect", 10, LORA.name)
    jobs = [make_job(engine.recipe, ref, prompt, seed) for prompt in prompts for seed in SEEDS]
    engine.limit = limit
    done: dict[str, np.ndarray] = {}
    for pending in engine.run(jobs[::-1] if backwards else jobs):
        pending.wait()
        found: list[Job] = pending.jobs
        done |= {job.key: image.numpy() for job, image in zip(found, pending.pixels, strict=True)}
    return np.stack([done[job.key] for job in jobs])
