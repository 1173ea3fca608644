"""A pipeline of diffusers of any family, loaded whole from a folder. Imports torch."""

from __future__ import annotations

from typing import Any

import torch

from loraeval.errors import RenderError
from loraeval.families import rendering_of
from loraeval.records import Recipe
from loraeval.render.base_model import locate_base, read_json
from loraeval.render.sd_load import import_diffusers, quieten


def load_general(recipe: Recipe, device: torch.device) -> Any:
    """Return the pipeline of a resolved recipe, its parts not moved yet and its calls meant for
    ``device``; weights are never fetched. Raises ``RenderError`` where diffusers cannot load it.
    """
    diffusers = import_diffusers()
    quieten()
    base = locate_base(recipe.base_model, offline=True)
    rendering = rendering_of(recipe.family)
    name = str(read_json(base / "model_index.json").get("_class_name"))
    kind = getattr(diffusers, name if name in rendering.pipelines else rendering.pipelines[0])
    try:
        pipe = kind.from_pretrained(
            base, torch_dtype=getattr(torch, recipe.dtype), local_files_only=True,
            use_safetensors=True,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError) as error:
        raise RenderError(f"{base}: diffusers cannot load this base model ({error})") from error
    # Where parts lie on the host for a while, the pipeline still computes on the device.
    pipe.__class__ = type(name, (type(pipe),), {"_execution_device": property(lambda _: device)})
    pipe.set_progress_bar_config(disable=True)
    for part in (rendering.denoiser, "vae", *rendering.encoders):
        if (module := getattr(pipe, part, None)) is not None:
            module.requires_grad_(requires_grad=False)
    return pipe
