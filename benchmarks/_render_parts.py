"""What each measure of the renderer brings, timed by itself: one UNet step, the VAE, the rest."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._render_bench import Bench, kernels, timed
from benchmarks._render_steps import loras, prompts

LONG = 6.0
"""Seconds of unbroken steps of compiled code: enough for the card to settle at its power limit."""


def parts(work: Path, family: str, images: int, how: str) -> dict[str, Any]:
    """Time one guided UNet step of ``images`` images and a decode in variants: ``eager``, compiled
    with the repeating blocks ``marked``, as the renderer does, or without marks, ``whole``, or
    marked and each kernel ``tuned`` by descent along its coordinates; or ``attention`` alone.
    """
    import torch
    from torch._inductor import config

    from loraeval.render.compiling import compile_module

    bench = Bench(work, family)
    if how == "eager":
        return _eager(bench, work, family, images)
    if how == "attention":
        return _attention(bench, images)
    bench.layout(True)
    modules = {"unet": bench.unet, "vae": bench.vae.decoder}
    calls = {"unet": bench.step(images), "vae": bench.decode(bench.at_once)}
    if family == "sdxl":
        del calls["vae"]  # float32, never compiled
    config.coordinate_descent_tuning = how == "tuned"
    for part, call in calls.items():
        if how != "whole":
            compile_module(modules[part], bench.engine.recipe.family)
        if how == "whole":
            modules[part].compile(fullgraph=True, dynamic=False)
        with kernels("cudnn"):
            bench.first(f"compile_{part}_s", call)
            if part == "unet":
                bench.note(how, images, call, long=LONG)
                bench.profile(how, call)
                _graph(bench, f"{how}, CUDA graph", images, call)
            else:
                bench.note(f"decode, {how}", bench.at_once, call, 1, long=LONG)
                bench.profile(f"decode, {how}", call)
    bench.result["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return bench.result


def _eager(bench: Bench, work: Path, family: str, images: int) -> dict[str, Any]:
    for last in (False, True):
        bench.layout(last)
        name = "channels last" if last else "channels first"
        call = bench.step(images, last=last)
        with kernels("flash"):
            if not last:
                bench.note(f"{name}, 1 image", 1, bench.step(1))
                if family == "sd15":
                    bench.note(f"{name}, 16 images", 16, bench.step(16))
            bench.note(name, images, call)
        with kernels("cudnn"):
            bench.note(f"{name}, cuDNN attention", images, call)
            if not last and family == "sd15":
                twice = bench.step(images, shared=False)
                bench.note(f"{name}, cuDNN attention, both halves whole", images, twice)
            bench.note(f"decode, {name}", bench.at_once, bench.decode(bench.at_once), 1)
            bench.profile(f"{name}, cuDNN attention", call)
        if family == "sd15":
            with kernels("cudnn", benchmark=True):
                bench.note(f"{name}, cuDNN attention, cudnn.benchmark", images, call)
    with kernels("cudnn"):
        for count in (1, images):
            call = bench.step(count, last=True)
            _graph(bench, f"CUDA graph, channels last, {count}", count, call)
    _xformers(bench, images)
    _rest(bench, work, family, images)
    return bench.result


def _graph(bench: Bench, name: str, images: int, call: Callable[[], object]) -> None:
    """Replay the step as a CUDA graph: no launches from Python."""
    import torch

    try:
        call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
    except RuntimeError as error:
        bench.result[name] = f"{type(error).__name__}: {str(error)[:200]}"
        return
    bench.note(name, images, graph.replay, long=LONG)


def _attention(bench: Bench, images: int) -> dict[str, Any]:
    """Time the attention of one block at each level of the UNet, its heads as they lie in the
    projections' output, by kernel, and with heads filled up to a width of 64, 128 or 256.
    """
    import torch
    from torch.nn.functional import pad, scaled_dot_product_attention

    config = bench.unet.config
    heads = config.num_attention_heads or config.attention_head_dim
    for level, width in enumerate(config.block_out_channels):
        side = bench.size >> level
        count = heads if isinstance(heads, int) else heads[level]
        each = width // count
        wide = next(size for size in (64, 128, 256) if size >= each)
        for keys in (side * side, 77):
            rows = [
                torch.randn(2 * images, length, count, each, device="cuda", dtype=torch.float16)
                for length in (side * side, keys, keys)
            ]
            views = [row.transpose(1, 2) for row in rows]
            filled = [pad(row, (0, wide - each)).transpose(1, 2) for row in rows]
            what = f"{side * side} tokens, {keys} keys, {count} heads of {each}"

            def attend(given: list[Any] = views, scale: float = each**-0.5) -> object:
                return scaled_dot_product_attention(*given, scale=scale)

            for first in ("cudnn", "flash"):
                with kernels(first):
                    bench.note(f"attention, {what}, {first}", images, attend, 1, long=0.2)
            if wide > each:
                with kernels("cudnn"):
                    name = f"attention, {what}, cudnn, filled up to {wide}"
                    bench.note(name, images, partial(attend, filled), 1, long=0.2)
            del rows, views, filled
    return bench.result


def _xformers(bench: Bench, images: int) -> None:
    from loraeval.errors import LoraevalError
    from loraeval.render.sd_load import set_attention

    sdpa = dict(bench.unet.attn_processors)
    try:
        bench.result["xformers processor"] = set_attention(bench.engine.pipe, "xformers")
    except LoraevalError as error:
        bench.result["xformers"] = str(error)
        return
    with kernels("cudnn"):
        bench.note("channels last, xformers", images, bench.step(images, last=True))
    bench.unet.set_attn_processor(sdpa)


def _rest(bench: Bench, work: Path, family: str, images: int) -> None:
    """Time what happens around the steps: LoRA, text, PNG; last what changes the weights."""
    import torch

    from loraeval.render.lora_merge import read_lora
    from loraeval.render.pixels import to_host
    from loraeval.render.store_file import encode_png

    result, engine = bench.result, bench.engine
    path = loras(work, family)[0]
    begin = time.perf_counter()
    lora = read_lora(path, "cuda:0")
    result["lora_read_s"] = time.perf_counter() - begin
    swapper = engine._swapper  # noqa: SLF001
    swapper.apply(lora, 1.0)
    result["lora_swap_s"] = timed(lambda: swapper.apply(lora, 1.0), 3)
    swapper.apply(None)
    images_on_gpu: Any = bench.decode(8)()
    pixels = to_host([], images_on_gpu, images_on_gpu).pixels
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for image in pixels:
        encode_png(image.numpy(), "{}")
    result["png_s_per_image"] = (time.perf_counter() - begin) / len(pixels)
    texts = [prompt.text for prompt in prompts(images)]
    begin = time.perf_counter()
    engine.embed(texts, 1, None)
    torch.cuda.synchronize()
    result["text_s"] = time.perf_counter() - begin
    with kernels("cudnn"):
        bench.unet.fuse_qkv_projections()
        bench.note("channels last, fused QKV", images, bench.step(images, last=True))
        bench.unet.unfuse_qkv_projections()
        engine.pipe.load_lora_weights(path)
        bench.note("channels last, LoRA as PEFT layers", images, bench.step(images, last=True))
