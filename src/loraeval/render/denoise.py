"""The denoising loop, without a stop between device and host.

It computes what the pipelines of diffusers compute with their schedulers (a test holds it to them,
bit by bit where both halves of a guided batch are computed whole: ``halves``), but keeps the
schedule on the host and hands the UNet its moments from one copy: the pipelines wait for the device
several times a batch, and the next batch's swap, texts and launches wait with them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loraeval.records import Recipe
from loraeval.render.encode import Embedding
from loraeval.render.halves import equal_halves
from loraeval.render.pixels import to_device

if TYPE_CHECKING:
    import torch


class Stopped(Exception):  # noqa: N818 - no error: somebody asked for it
    """Denoising was asked to stop between two steps."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the UNet is given beside latents and moment, a row each: ``states`` [rows, tokens,
    width]; SDXL's pooled text and sizes in ``added``; ``scale``, the guidance scale's embedding for
    models distilled to take one. ``guided``: rows of negatives first, then as many of prompts.
    """

    states: torch.Tensor
    added: dict[str, torch.Tensor] | None = None
    scale: torch.Tensor | None = None
    guided: bool = True


def conditions(
    pipe: Any, recipe: Recipe, positive: Sequence[Embedding], negative: Sequence[Embedding]
) -> Conditions:
    """Return the conditions of a batch: guidance in the same batch where the scale exceeds 1."""
    import torch

    width = pipe.unet.config.time_cond_proj_dim
    guided = recipe.guidance_scale > 1 and width is None
    used = [*negative, *positive] if guided else list(positive)
    states = torch.cat([item.states for item in used])
    pooled = [item.pooled for item in used if item.pooled is not None]
    added = scale = None
    if pooled:
        size = (recipe.height, recipe.width)
        ids = torch.tensor([[*size, 0, 0, *size]], dtype=states.dtype)
        rows = to_device(ids, states.device).expand(len(used), -1)
        added = {"text_embeds": torch.cat(pooled), "time_ids": rows}
    if width is not None:
        scales = torch.full((len(used),), recipe.guidance_scale - 1.0)
        made = pipe.get_guidance_scale_embedding(scales, embedding_dim=width)
        scale = to_device(made.to(states.dtype), states.device)
    return Conditions(states, added, scale, guided)


def predict(unet: Any, rows: torch.Tensor, moment: torch.Tensor, given: Conditions) -> torch.Tensor:
    """Return what the UNet predicts for latents ``rows`` [rows, channels, h, w] at ``moment``; with
    guidance their second half repeats the first.
    """
    with equal_halves(unet, equal=given.guided):
        found: torch.Tensor = unet(
            rows,
            moment,
            encoder_hidden_states=given.states,
            timestep_cond=given.scale,
            added_cond_kwargs=given.added,
            return_dict=False,
        )[0]
    return found


def denoise(
    pipe: Any, recipe: Recipe, noise: torch.Tensor, given: Conditions,
    draws: Sequence[torch.Generator] = (), stopped: Callable[[], bool] = lambda: False,
) -> torch.Tensor:  # fmt: skip
    """Return the latents [n, channels, h, w] that ``noise`` of that shape becomes.

    ``draws`` has a generator an image, for samplers whose steps draw noise: an image then depends
    on its own seed alone. ``stopped`` is asked before each step; raises ``Stopped`` once it is so.
    """
    import torch

    scheduler, times, moments, latents = _start(pipe, recipe, noise)
    drawn: dict[str, Any] = {}
    if "generator" in inspect.signature(scheduler.step).parameters:
        drawn["generator"] = list(draws) or None
    with torch.no_grad():
        for time, moment in zip(times, moments, strict=True):
            if stopped():
                raise Stopped
            out = predict(pipe.unet, _rows(scheduler, latents, time, given), moment, given)
            if given.guided:
                without, prompted = out.chunk(2)
                out = without + recipe.guidance_scale * (prompted - without)
                if recipe.guidance_rescale:
                    out = rescaled(out, prompted, recipe.guidance_rescale)
            latents = scheduler.step(out, time, latents, return_dict=False, **drawn)[0]
    return latents


def rescaled(out: torch.Tensor, prompted: torch.Tensor, share: float) -> torch.Tensor:
    """Return guided predictions ``out`` with their spread taken towards that of ``prompted``, by
    image: ``share`` of CFG rescale (arXiv 2305.08891, equations 15 and 16).
    """
    dims = list(range(1, out.dim()))
    wanted, found = (item.std(dim=dims, keepdim=True) for item in (prompted, out))
    return share * (out * (wanted / found)) + (1 - share) * out


def first_step(pipe: Any, recipe: Recipe, noise: torch.Tensor, given: Conditions) -> torch.Tensor:
    """Return what the UNet predicts in the first step of ``denoise``."""
    scheduler, times, moments, latents = _start(pipe, recipe, noise)
    return predict(pipe.unet, _rows(scheduler, latents, times[0], given), moments[0], given)


def _start(
    pipe: Any, recipe: Recipe, noise: torch.Tensor
) -> tuple[Any, torch.Tensor, torch.Tensor, torch.Tensor]:
    scheduler = pipe.scheduler
    scheduler.set_timesteps(recipe.steps, device="cpu")
    moments = to_device(scheduler.timesteps, noise.device)
    return scheduler, scheduler.timesteps, moments, noise * scheduler.init_noise_sigma


def _rows(
    scheduler: Any, latents: torch.Tensor, time: torch.Tensor, given: Conditions
) -> torch.Tensor:
    import torch

    rows = torch.cat([latents, latents]) if given.guided else latents
    scaled: torch.Tensor = scheduler.scale_model_input(rows, time)
    return scaled
