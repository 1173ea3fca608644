# ruff: noqa: E402 - imports must not start in this folder
"""The steps of benchmarks/render.py; each runs in its own process and prints one JSON object."""

from __future__ import annotations

import sys

# The checkout, not this folder, is where imports start: a benchmark may be called as a module of
# the standard library is.
sys.path[0] = str(__file__).rpartition("benchmarks")[0] or "."

import argparse
import json
import statistics
import threading
import time
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()
SUBJECTS = (
    "woman with red hair",
    "man with a blue hat",
    "robot with gold eyes",
    "cat with a scarf",
)
EPOCHS, PROMPTS, RANK = 10, 40, 32


def prompts(count: int) -> list[Any]:
    """Return ``count`` different prompts of one 75-token chunk, as our captions begin."""
    from loraeval.records import Caption, Prompt

    found = []
    for index in range(count):
        text = f"pixel art, 24x24, portrait of a {SUBJECTS[index % 4]}, solid background {index}"
        found.append(Prompt(f"p{index:02d}", text, Caption(text)))
    return found


def loras(work: Path, family: str) -> list[Path]:
    """Return the LoRA files of the series, in order."""
    return sorted((work / f"{family}-loras").glob("*.safetensors"))


def recipe(work: Path, family: str) -> Any:
    """Return the default recipe on the random base model; SDXL at 1024."""
    from loraeval.records import Recipe

    size = 512 if family == "sd15" else 1024
    return Recipe(base_model=str(work / family), family=family, width=size, height=size)


def build(work: Path, family: str) -> dict[str, Any]:
    """Write the random base model in float16 and the LoRA series, text encoders trained."""
    from loraeval.render.random_models import build_base, lora_layers, write_lora

    build_base(work / family, family, "full", device="cuda", dtype="float16")
    layers = lora_layers(family, "full")
    for epoch in range(1, (EPOCHS if family == "sd15" else 2) + 1):
        path = work / f"{family}-loras" / f"series-{epoch:06d}.safetensors"
        write_lora(path, layers, rank=RANK, alpha=RANK / 2, seed=epoch, strength=0.1)
    size = loras(work, family)[0].stat().st_size
    return {"modules": len(layers), "lora_bytes": size}


def loop(work: Path, family: str, images: int) -> dict[str, Any]:
    """The plain loop: per epoch load the pipeline, load the LoRA, render one image at a time."""
    import torch

    from loraeval import torchvision_ops

    torchvision_ops.install()
    import diffusers

    xl = family == "sdxl"
    kind = diffusers.StableDiffusionXLPipeline if xl else diffusers.StableDiffusionPipeline
    size = 1024 if xl else 512
    out = work / f"loop-{family}"
    out.mkdir(exist_ok=True)
    epochs = []
    for path in loras(work, family)[:2]:
        start = time.perf_counter()
        options = {} if xl else {"safety_checker": None}
        pipe = kind.from_pretrained(work / family, torch_dtype=torch.float16, **options).to("cuda")
        pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
        pipe.set_progress_bar_config(disable=True)
        loaded = time.perf_counter()
        pipe.load_lora_weights(path)
        with_lora = time.perf_counter()
        times = []
        for index, prompt in enumerate(prompts(images)):
            begin = time.perf_counter()
            generator = torch.Generator("cpu").manual_seed(42)
            image = pipe(prompt.text, num_inference_steps=30, guidance_scale=7.5, width=size,
                         height=size, generator=generator).images[0]  # fmt: skip
            image.save(out / f"{path.stem}-{index}.png")
            times.append(time.perf_counter() - begin)
        epochs.append({"load_s": loaded - start, "lora_s": with_lora - loaded, "image_s": times})
        del pipe
        torch.cuda.empty_cache()
    second = epochs[1]
    image = statistics.median(second["image_s"])
    epoch = second["load_s"] + second["lora_s"] + PROMPTS * image
    return {"epochs": epochs, "s_per_image": image, "images_per_s_loop_body": 1 / image,
            "s_per_epoch_of_40": epoch, "images_per_s": PROMPTS / epoch}  # fmt: skip


class Card:
    """The clock and the power of the first GPU, read each half second while it lives; needs the
    package nvidia-ml-py.
    """

    def __init__(self) -> None:
        self.clocks: list[int] = []
        self.powers: list[float] = []
        self.why = ""
        self._end = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def seen(self) -> dict[str, Any]:
        """Stop; return medians over the second half of the readings, MHz and watts."""
        self._end.set()
        half = len(self.powers) // 2
        if not half:
            return {"clock": f"not read: {self.why or 'too short'}"}
        return {"clock_mhz": statistics.median(self.clocks[half:]),
                "power_w": statistics.median(self.powers[half:])}  # fmt: skip

    def _watch(self) -> None:
        import torch

        while torch.cuda.is_available() and not self._end.wait(0.5):
            try:
                self.clocks.append(torch.cuda.clock_rate())
                self.powers.append(torch.cuda.power_draw() / 1000)
            except Exception as error:  # noqa: BLE001 - the figures go on without it
                self.why = f"{type(error).__name__}: {error}"
                return


def ours(
    work: Path, family: str, how: str, epochs: int, images: int, devices: str
) -> dict[str, Any]:
    """The renderer over the series: swaps, text encoding, PNG, fsync, index, all included."""
    import torch

    import loraeval.render.sd  # noqa: F401 - before the clock starts, as in the loop
    from loraeval.render.renderer import Renderer
    from loraeval.render.sd_load import import_diffusers
    from loraeval.render.store import Store

    diffusers = import_diffusers()
    _ = (
        diffusers.StableDiffusionXLPipeline
        if family == "sdxl"
        else diffusers.StableDiffusionPipeline
    )
    imported = time.perf_counter()
    card = Card()
    store = Store(work / f"store-{family}-{how}-{devices.replace(',', '-')}-{time.time_ns()}")
    marks: list[float] = []
    series = loras(work, family)
    chosen = [series[index % len(series)] for index in range(epochs)]
    with Renderer(
        recipe(work, family), store, devices=devices, progress=False,
        compile={"auto": "auto", "compiled": "always"}.get(how, "never"),
    ) as renderer:  # fmt: skip
        built = time.perf_counter()
        seeds = [42 + index // len(series) for index in range(0, epochs, len(series))]
        made = renderer.render(dict.fromkeys(chosen), prompts(images), seeds)
        marks.extend(time.perf_counter() for _ in made)
        facts, health = renderer.facts(), dict(renderer.health)
    total = marks[-1] - imported
    # The first batch carries loading and compiling; the rate after it is the sustained one.
    first = images * max(1, epochs * 3 // 5) if len(seeds) == 1 else images
    sustained = None
    if len(marks) > first:
        sustained = (len(marks) - first) / (marks[-1] - marks[first - 1])
    return {
        "images": len(marks), "import_s": imported - STARTED, "construct_s": built - imported,
        "first_batch_s": marks[images - 1] - built, "total_s": total,
        "images_per_s": len(marks) / total, "sustained_images_per_s": sustained,
        "startup_s": total - len(marks) / sustained if sustained else None,
        "facts": facts, "health": health, **card.seen(),
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
        "marks": [round(mark - imported, 2) for mark in marks[:: max(1, images // 4)]],
    }  # fmt: skip


def main() -> None:
    """Run one step; print its JSON on the last line of standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--family", default="sd15")
    parser.add_argument("--how", default="compiled")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--images", type=int, default=PROMPTS)
    parser.add_argument("--devices", default="cuda:0")
    parser.add_argument("--dtype", default="float16")
    args = parser.parse_args()
    if args.step == "build":
        result = build(args.work, args.family)
    elif args.step == "loop":
        result = loop(args.work, args.family, args.images)
    elif args.step == "ours":
        result = ours(args.work, args.family, args.how, args.epochs, args.images, args.devices)
    elif args.step == "parts":
        from benchmarks._render_parts import parts

        result = parts(args.work, args.family, args.images, args.how)
    else:
        from benchmarks._render_numerics import numerics

        result = numerics(args.devices, args.dtype)
    result["step_s"] = time.perf_counter() - STARTED
    sys.stdout.flush()
    print("\n" + json.dumps(result))


if __name__ == "__main__":
    main()
