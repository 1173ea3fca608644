"""How long a device takes for one step and one decode, found by doing them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from loraeval.render.denoise import conditions, first_step

if TYPE_CHECKING:
    from loraeval.render.sd import Engine


def seconds_per_step(engine: Engine, images: int) -> float:
    """Return the seconds that one denoising step of ``images`` images of the recipe takes; where so
    many do not fit into memory, what half as many take, twice.

    Raises ``RenderError`` when not even one image fits.
    """
    recipe = replace(engine.recipe, negative_prompt="")
    text = engine.embed([""], 1, recipe.clip_skip)[0]

    def step(count: int) -> object:
        given = conditions(engine.pipe, recipe, [text] * count, [text] * count)
        noise = engine.noise(recipe, [0] * count, text.states.dtype)
        return first_step(engine.pipe, recipe, noise, given)

    return _timed(engine, step, images)


def seconds_to_decode(engine: Engine, images: int) -> float:
    """Return the seconds that decoding ``images`` images of the recipe takes; memory and errors as
    in ``seconds_per_step``.
    """

    def step(count: int) -> object:
        return engine.decode(engine.noise(engine.recipe, [0] * count, engine.pipe.vae.dtype))

    return _timed(engine, step, images)


def _timed(engine: Engine, call: Callable[[int], object], images: int) -> float:
    import torch

    gpu = engine.device.type == "cuda"
    try:
        seconds = 0.0
        for _ in range(2 if gpu else 1):
            start = time.perf_counter()
            with torch.no_grad(), engine.kernels():
                call(images)
            if gpu:
                torch.cuda.synchronize(engine.device)
            seconds = time.perf_counter() - start
        return seconds
    except torch.cuda.OutOfMemoryError as error:
        if images == 1:
            raise engine.too_large(engine.recipe) from error
        error.__traceback__ = None
    torch.cuda.empty_cache()
    half = images // 2
    return _timed(engine, call, half) * images / half
