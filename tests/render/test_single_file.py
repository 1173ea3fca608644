"""A base model in one file, with the names that the first Stable Diffusion gave its tensors."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from loraeval.records import Prompt, Recipe
from loraeval.render import sd_load
from loraeval.render.renderer import Renderer
from loraeval.render.store import Store

RESNETS = 2
"""Residual layers in each block of the tiny UNet, as random_models builds it."""

UNET_RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
               "norm2": "out_layers.0", "conv2": "out_layers.3",
               "conv_shortcut": "skip_connection"}  # fmt: skip
VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def unet_name(name: str) -> str:
    """The first model's name of a tensor of diffusers' UNet: blocks in one numbered row."""
    top = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
           "time_embedding.linear_1": "time_embed.0",
           "time_embedding.linear_2": "time_embed.2"}  # fmt: skip
    for ours, theirs in top.items():
        if name.startswith(ours + "."):
            return theirs + name[len(ours) :]
    parts = name.split(".")
    if parts[0] == "mid_block":
        kind, index, rest = parts[1], int(parts[2]), parts[3:]
        place = f"middle_block.{1 if kind == 'attentions' else 2 * index}"
    else:
        block, kind, index, rest = int(parts[1]), parts[2], int(parts[3]), parts[4:]
        if parts[0] == "down_blocks":
            row = (RESNETS + 1) * block + 1 + (RESNETS if kind == "downsamplers" else index)
            place = f"input_blocks.{row}.{1 if kind == 'attentions' else 0}"
            rest = ["op", *rest[1:]] if kind == "downsamplers" else rest
        else:
            row = (RESNETS + 1) * block + (RESNETS if kind == "upsamplers" else index)
            # The first block up has no attention, so its upsampler stands where that would.
            after = 2 if block > 0 else 1
            second = {"resnets": 0, "attentions": 1, "upsamplers": after}[kind]
            place = f"output_blocks.{row}.{second}"
    if kind == "resnets":
        rest = [UNET_RESNET[rest[0]], *rest[1:]]
    return ".".join([place, *rest])


def vae_name(name: str) -> str:
    """The first model's name of a tensor of diffusers' autoencoder."""
    parts = name.split(".")
    if len(parts) < 4 or parts[1] in ("conv_in", "conv_out"):
        return name.replace("conv_norm_out", "norm_out")
    coder, block = parts[0], parts[1]
    if block == "mid_block":
        if parts[2] == "attentions":
            rest = ".".join(parts[4:-1])
            return f"{coder}.mid.attn_1.{VAE_ATTENTION[rest]}.{parts[-1]}"
        place, rest = f"{coder}.mid.block_{int(parts[3]) + 1}", parts[4:]
    else:
        down = block == "down_blocks"
        number = int(parts[2]) if down else 3 - int(parts[2])
        side = "down" if down else "up"
        if parts[3].endswith("samplers"):
            return f"{coder}.{side}.{number}.{side}sample.{'.'.join(parts[5:])}"
        place, rest = f"{coder}.{side}.{number}.block.{parts[4]}", parts[5:]
    return ".".join([place, *rest]).replace("conv_shortcut", "nin_shortcut")


def text_name(name: str) -> str:
    bare = name.removeprefix("text_model.")
    return f"text_model.{bare}"


def one_file(base: Path, path: Path) -> Path:
    """Write the folder ``base`` as one file under the first model's names."""
    tensors: dict[str, torch.Tensor] = {}
    for part, prefix, rename in (
        ("unet", "model.diffusion_model.", unet_name),
        ("vae", "first_stage_model.", vae_name),
        ("text_encoder", "cond_stage_model.transformer.", text_name),
    ):
        for name, value in load_file(next((base / part).glob("*.safetensors"))).items():
            new = prefix + rename(name)
            assert new not in tensors, f"{name} and another are both {new}"
            if ".attn_1." in new and ".norm." not in new and value.ndim == 2:
                value = value[:, :, None, None]  # a convolution of 1×1 then
            tensors[new] = value.contiguous()
    save_file(tensors, path)
    return path


def pictures(renders: Any) -> dict[str, np.ndarray]:
    return {r.name: np.asarray(Image.open(r.image), dtype=int) for r in renders}


def test_one_file_gives_the_images_of_its_folder(
    bases: dict[str, Path], series: dict[str, list[Path]], recipe: Recipe, prompts: list[Prompt],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def tiny_configs(folder: Path, family: str) -> Path:
        """What ``write_configs`` writes, with the widths of the tiny model."""
        ignore = shutil.ignore_patterns("*.safetensors")
        return Path(shutil.copytree(bases[family], folder / "tiny", ignore=ignore))

    monkeypatch.setattr(sd_load, "write_configs", tiny_configs)
    path = one_file(bases["sd15"], tmp_path / "model.safetensors")
    checkpoints = [None, series["sd15"][0]]
    made = []
    for name, base in (("a", bases["sd15"]), ("b", path)):
        wanted = replace(recipe, base_model=str(base))
        with Renderer(wanted, Store(tmp_path / name), devices="cpu", offline=True) as renderer:
            assert renderer.recipe.family == "sd15"
            made.append(pictures(renderer.render(checkpoints, prompts, [1])))
    assert made[0].keys() == made[1].keys()
    assert max(int(np.abs(made[0][k] - made[1][k]).max()) for k in made[0]) <= 1
