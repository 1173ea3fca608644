"""Base models and LoRA files with random weights, for tests and benchmarks; nothing is fetched.

``tiny`` models have the shape of SD 1.5 and SDXL at a few million weights and render in a fraction
of a second on a CPU. ``full`` ones have the published widths and depths; the speed of rendering
does not depend on the weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from loraeval.families import rendering_of
from loraeval.records import FamilyName
from loraeval.render.base_configs import part_config, write_configs

Size = Literal["tiny", "full"]


def build_base(
    folder: Path, family: FamilyName, size: Size = "tiny", *, seed: int = 0, device: str = "cpu",
    dtype: str = "float32",
) -> Path:  # fmt: skip
    """Write a base model with random weights as a diffusers folder; return ``folder``."""
    import torch
    from safetensors.torch import save_file

    write_configs(folder, family)
    torch.manual_seed(seed)
    with torch.device(device):
        parts = random_parts(family, size)
    for name, (module, config) in parts.items():
        if size == "tiny":
            (folder / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
        module = module.to(getattr(torch, dtype))
        weights = {key: value.cpu().contiguous() for key, value in module.state_dict().items()}
        stem = "diffusion_pytorch_model" if name in ("unet", "vae") else "model"
        save_file(weights, folder / name / f"{stem}.safetensors", metadata={"format": "pt"})
    return folder


def random_parts(family: FamilyName, size: Size) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return each part of a pipeline with random weights, and its configuration."""
    from loraeval import torchvision_ops

    torchvision_ops.install()
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    def config(part: str) -> dict[str, Any]:
        return part_config(family, part) | dict(rendering.tiny[part] if size == "tiny" else {})

    models: Any = diffusers
    rendering = rendering_of(family)
    unet, vae = config("unet"), config("vae")
    parts: dict[str, tuple[Any, dict[str, Any]]] = {
        "unet": (models.UNet2DConditionModel.from_config(unet), unet),
        "vae": (models.AutoencoderKL.from_config(vae), vae),
    }
    kinds = {kind.__name__: kind for kind in (CLIPTextModel, CLIPTextModelWithProjection)}
    for name in rendering.encoders:
        text = config(name)
        plain = {key: value for key, value in text.items() if key != "model_type"}
        parts[name] = (kinds[text["architectures"][0]](CLIPTextConfig(**plain)), text)
    return parts


def lora_layers(family: FamilyName, size: Size = "tiny") -> dict[str, tuple[int, ...]]:
    """Return the layers that ``networks.lora`` trains, by kohya's names, with weight shapes."""
    import torch

    with torch.device("meta"):
        parts = random_parts(family, size)
    layers: dict[str, tuple[int, ...]] = {}
    for part, (module, _) in parts.items():
        words = rendering_of(family).parts.get(part)
        prefix = f"lora_{words[-1]}" if words else ""
        for path, layer in module.named_modules():
            if not prefix or not isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)):
                continue
            if part == "unet" and ".attentions." in path:
                layers[f"{prefix}_{path.replace('.', '_')}"] = tuple(layer.weight.shape)
            elif part != "unet" and path != "text_projection":
                bare = path.removeprefix("text_model.").replace(".", "_")
                layers[f"{prefix}_text_model_{bare}"] = tuple(layer.weight.shape)
    return layers


def write_lora(
    path: Path,
    layers: Mapping[str, tuple[int, ...]],
    *,
    rank: int = 4,
    alpha: float | None = None,
    seed: int = 0,
    strength: float = 0.3,
    dtype: str = "float16",
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a LoRA file in kohya's format with random weights; return ``path``.

    ``strength`` is the size of the change relative to a weight of size 1/√inputs; ``alpha`` None is
    half the rank.
    """
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    alpha = rank / 2 if alpha is None else alpha
    kind = getattr(torch, dtype)
    tensors = {}
    for name, shape in layers.items():
        down = torch.randn((rank, *shape[1:]), generator=generator)
        up = torch.randn((shape[0], rank, *(1 for _ in shape[2:])), generator=generator)
        inputs = down[0].numel()
        up *= strength * rank**0.5 / (alpha * inputs**0.5)
        tensors[f"{name}.lora_down.weight"] = down.to(kind)
        tensors[f"{name}.lora_up.weight"] = up.to(kind)
        tensors[f"{name}.alpha"] = torch.tensor(float(alpha), dtype=kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=dict(metadata or {}))
    return path
