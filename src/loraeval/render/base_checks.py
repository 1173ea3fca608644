"""Base models that cannot be rendered, told by names and shapes before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

UNET, VAE = "model.diffusion_model.", "first_stage_model."
_CHANNELS = {9: "an inpainting model (its UNet takes 9 channels)",
             8: "an image-editing model (its UNet takes 8 channels)"}  # fmt: skip
_FOREIGN = (
    ("cond_stage_model.model.", "a Stable Diffusion 2 model"),
    ("conditioner.embedders.0.model.", "SDXL's refiner"),
    ("control_model.", "a ControlNet"),
    ("double_blocks.", "a Flux model"),
    ("joint_blocks.", "a Stable Diffusion 3 model"),
)
_OLD_CLIP = "cond_stage_model.transformer.embeddings."
_DEEP = f"{UNET}input_blocks.8.1.transformer_blocks."
"""Where SDXL has ten layers and its distilled relatives fewer."""
SDXL_LAYERS = 10
WANTED = "expected a whole text-to-image model of SD 1.5 or SDXL"


def check_single_file(path: Path, shapes: Mapping[str, Any], *, own_vae: bool = False) -> None:
    """Raise ``CheckpointError`` for a single file of tensor ``shapes`` by name that is no whole
    text-to-image model of a family that is rendered; ``own_vae`` where the recipe brings a VAE.
    """
    foreign = next(
        (what for start, what in _FOREIGN if any(name.startswith(start) for name in shapes)), None
    )
    first = shapes.get(f"{UNET}input_blocks.0.0.weight")
    if foreign is not None:
        _refuse(path, f"this is {foreign}")
    if first is None:
        kind = "a VAE" if any(name.startswith(("decoder.", VAE)) for name in shapes) else None
        _refuse(path, f"found no UNet in it{f'; it looks like {kind}' if kind else ''}")
    if len(first) > 1 and first[1] != 4:
        _refuse(path, f"this is {_CHANNELS.get(first[1], f'of {first[1]} channels')}")
    if any(name.startswith(_OLD_CLIP) for name in shapes):
        _refuse(
            path,
            "its text encoder has the keys of an old transformers (cond_stage_model.transformer."
            "embeddings without text_model): save it anew with a current tool",
        )
    layers = {name.split(".")[6] for name in shapes if name.startswith(_DEEP)}
    if "conditioner.embedders.1.model.ln_final.weight" in shapes and len(layers) < SDXL_LAYERS:
        _refuse(
            path,
            f"its UNet has {len(layers)} layers where SDXL's has {SDXL_LAYERS} (SSD-1B or another "
            "pruned one), which a single file does not describe: take its folder of diffusers",
        )
    if not own_vae and not any(name.startswith(f"{VAE}decoder.") for name in shapes):
        _refuse(path, "it has no VAE: name one in the recipe with vae = FILE")


def check_folder_unet(path: Path, config: Mapping[str, Any]) -> None:
    """Raise ``CheckpointError`` for a folder whose UNet ``config`` is of a model that is not
    rendered: Stable Diffusion 2, or one that takes more than an image's latents.
    """
    channels = config.get("in_channels", 4)
    if channels != 4:
        _refuse(path, f"this is {_CHANNELS.get(channels, f'of {channels} channels')}")


def _refuse(path: Path, why: str) -> NoReturn:
    raise CheckpointError(f"{clean(path)}: {WANTED}; {why}")
