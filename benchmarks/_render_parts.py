"""What each measure of the renderer brings, timed by itself, and how far numbers move."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks._render_steps import loras, prompts, recipe


def timed(call: Callable[[], object], repeats: int = 5, warm: int = 2) -> float:
    """Return the median seconds of ``call`` on the GPU."""
    import torch

    for _ in range(warm):
        call()
    torch.cuda.synchronize()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def parts(work: Path, family: str, images: int, how: str) -> dict[str, Any]:
    """Time one guided UNet step of ``images`` images in each variant, and the other parts.

    A variant's ``images_per_s`` is what 30 such steps alone would allow.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from loraeval.render import sd
    from loraeval.render.lora_merge import read_lora
    from loraeval.render.pixels import decode, initial_noise, to_host
    from loraeval.render.recipe import resolve_recipe
    from loraeval.render.sd_load import set_attention
    from loraeval.render.store_file import encode_png

    resolved = resolve_recipe(recipe(work, family), device="cuda:0")
    start = time.perf_counter()
    engine = sd.Engine(resolved, "cuda:0")
    result: dict[str, Any] = {"load_s": time.perf_counter() - start}
    unet = engine.pipe.unet
    text = engine.embed(["a portrait"], 1, None)[0]
    size = resolved.width // 8

    def step(count: int, *, channels_last: bool = True) -> Callable[[], object]:
        latents = initial_noise(1, (2 * count, 4, size, size)).to("cuda", torch.float16)
        if channels_last:
            latents = latents.to(memory_format=torch.channels_last)
        hidden = text.states.repeat(2 * count, 1, 1)
        moment = torch.tensor(500, device="cuda")
        added = None
        if text.pooled is not None:
            ids = hidden.new_tensor([[1024, 1024, 0, 0, 1024, 1024]]).repeat(2 * count, 1)
            added = {"text_embeds": text.pooled.repeat(2 * count, 1), "time_ids": ids}

        def call() -> object:
            with torch.no_grad():
                return unet(latents, moment, encoder_hidden_states=hidden, added_cond_kwargs=added)

        return call

    def note(name: str, count: int, seconds: float) -> None:
        rate = count / (30 * seconds)
        result[name] = {"batch": count, "step_s": seconds, "images_per_s": rate}
        print(name, result[name], flush=True)

    flash = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    best = sd.SDPA_ORDER
    if how == "compiled":
        engine.compile()
        with sdpa_kernel(best, set_priority=True):
            begin = time.perf_counter()
            call = step(images)
            call()
            torch.cuda.synchronize()
            result["compile_s"] = time.perf_counter() - begin
            note("compiled", images, timed(call, 10))
            torch.backends.cudnn.benchmark = True
            note("compiled, cudnn.benchmark", images, timed(call, 10))
            torch.backends.cudnn.benchmark = False
        return result
    unet.to(memory_format=torch.contiguous_format)
    with sdpa_kernel(flash, set_priority=True):
        note("one image", 1, timed(step(1, channels_last=False)))
        note("batch 16", min(16, images), timed(step(min(16, images), channels_last=False)))
        note("batch", images, timed(step(images, channels_last=False)))
        unet.to(memory_format=torch.channels_last)
        note("channels-last", images, timed(step(images)))
    with sdpa_kernel(best, set_priority=True):
        note("channels-last, cuDNN attention", images, timed(step(images)))
        torch.backends.cudnn.benchmark = True
        note("the same, cudnn.benchmark", images, timed(step(images)))
        torch.backends.cudnn.benchmark = False
    sdpa = dict(unet.attn_processors)
    try:
        result["xformers processor"] = set_attention(engine.pipe, "xformers")
        note("channels-last, xformers", images, timed(step(images)))
    except Exception as error:  # noqa: BLE001 - the benchmark goes on and says so
        result["xformers"] = f"{type(error).__name__}: {error}"
    unet.set_attn_processor(sdpa)
    path = loras(work, family)[0]
    begin = time.perf_counter()
    lora = read_lora(path)
    result["lora_read_s"] = time.perf_counter() - begin
    swapper = engine._swapper  # noqa: SLF001
    swapper.apply(lora, 1.0)
    result["lora_swap_s"] = timed(lambda: swapper.apply(lora, 1.0), 3)
    with sdpa_kernel(best, set_priority=True):
        note("LoRA in the weights", images, timed(step(images)))
    swapper.apply(None)
    latents = initial_noise(2, (8, 4, size, size)).to("cuda", torch.float16)
    result["decode_s_per_image"] = timed(lambda: decode(engine.pipe.vae, latents)) / 8
    pixels = to_host([], latents, decode(engine.pipe.vae, latents)).pixels
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for image in pixels:
        encode_png(image.numpy(), "{}")
    result["png_s_per_image"] = (time.perf_counter() - begin) / len(pixels)
    begin = time.perf_counter()
    engine.embed([prompt.text for prompt in prompts(8)], 1, None)
    torch.cuda.synchronize()
    result["text_s_per_prompt"] = (time.perf_counter() - begin) / 8
    engine.pipe.load_lora_weights(path)
    with sdpa_kernel(best, set_priority=True):
        note("LoRA as PEFT layers", images, timed(step(images)))
    return result


def numerics(work: Path, images: int) -> dict[str, Any]:
    """Compare 8-bit images: other batch sizes, again, and the LoRA in the weights or beside them,
    each against float32.
    """
    import torch

    from loraeval.render import sd
    from loraeval.render.plan import CheckpointRef, make_job
    from loraeval.render.recipe import resolve_recipe

    path = loras(work, "sd15")[0]
    ref = CheckpointRef(path, "lora", "series", 1, path.name)
    half = resolve_recipe(recipe(work, "sd15"), device="cuda:0")
    full = replace(half, dtype="float32", vae_dtype="float32")

    def render(engine: Any, limit: int, count: int = images) -> torch.Tensor:
        jobs = [make_job(engine.recipe, ref, prompt, 42) for prompt in prompts(count)]
        engine.limit = limit
        done = []
        for pending in engine.run(jobs):
            pending.wait()
            done.append(pending.pixels.int())
        return torch.cat(done)

    def differ(a: torch.Tensor, b: torch.Tensor) -> dict[str, float]:
        gap = (a - b).abs().float()
        return {"max": float(gap.max()), "mean": float(gap.mean()),
                "rms": float(gap.square().mean().sqrt())}  # fmt: skip

    engine = sd.Engine(half, "cuda:0")
    whole = render(engine, images)
    result: dict[str, Any] = {
        "again": differ(whole, render(engine, images)),
        "batch of half": differ(whole, render(engine, images // 2)),
        "batch of 1": differ(whole[:4], render(engine, 1, 4)),
        "spread of the images": float(whole.float().std()),
    }
    print(result, flush=True)
    engine._swapper.apply(None)  # noqa: SLF001
    engine.pipe.load_lora_weights(path)
    engine._text = ("peft", 1.0)  # noqa: SLF001
    engine.use = lambda *_: None  # type: ignore[method-assign]
    attached = render(engine, images)
    del engine
    torch.cuda.empty_cache()
    exact = render(sd.Engine(full, "cuda:0"), images)
    result["float16, LoRA in the weights, against float32"] = differ(whole, exact)
    result["float16, LoRA as PEFT layers, against float32"] = differ(attached, exact)
    return result
