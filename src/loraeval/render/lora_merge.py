"""The LoRA of a checkpoint put into a pipeline's weights, in place, and taken out again.

A weight becomes ``W + scale · alpha/rank · up @ down``, summed in float32 and rounded once to the
weight's dtype. ``W`` is always the base model's own value, kept aside when a module is first
touched, so nothing drifts: what stands in a module follows from the checkpoint alone, never from
what was loaded before. The tensors stay where they are, so compiled code stays valid, no wrapper
layer costs time in every step, and a swap takes milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.errors import CheckpointError
from loraeval.render.lora_names import LoraModule, group_keys, match, module_names

if TYPE_CHECKING:
    import torch

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA as read from its file. ``factors`` maps each module to alpha/rank; tensors are on the
    CPU in the file's dtype.
    """

    path: Path
    modules: Mapping[str, LoraModule]
    tensors: Mapping[str, torch.Tensor]
    factors: Mapping[str, float]
    trains_text: bool = False


def read_lora(path: Path, device: str = "cpu") -> Lora:
    """Read a LoRA file: kohya, diffusers or PEFT naming, ``.safetensors``.

    Raises ``CheckpointError`` for another format, an unsupported kind of adapter, modules with a
    missing half, and tensors with NaN or infinity in them (they would render as black images).
    """
    import torch
    from safetensors.torch import load_file

    from loraeval.checkpoints.header import read_header

    header = read_header(path)
    modules = group_keys(header.tensors, str(path))
    tensors = load_file(path, device=device)
    finite = torch.stack([tensor.isfinite().all() for tensor in tensors.values()]).tolist()
    broken = [name for name, good in zip(tensors, finite, strict=True) if not good]
    if broken:
        raise CheckpointError(
            f"{path}: {len(broken)} of its {len(tensors)} tensors hold NaN or infinity, "
            f"{broken[0]} for one; this checkpoint is broken, take an earlier epoch"
        )
    alphas = _peft_alphas(header.metadata)
    alpha_keys = [m.alpha for m in modules.values() if m.alpha is not None]
    values = [tensors[key].reshape(-1)[0].double() for key in alpha_keys]
    scales = dict(zip(alpha_keys, torch.stack(values).tolist() if values else [], strict=True))
    factors = {}
    for name, module in modules.items():
        rank = tensors[module.down].shape[0]
        if module.alpha is not None:
            factors[name] = scales[module.alpha] / rank
        else:
            factors[name] = _peft_factor(alphas, name, rank)
    text = [m.up for n, m in modules.items() if n.startswith(("lora_te", "text_encoder"))]
    trained = bool(text) and any(torch.stack([tensors[key].any() for key in text]).tolist())
    return Lora(path, modules, tensors, factors, trained)


class WeightSwapper:
    """Puts one checkpoint after the other into the weights of a pipeline.

    ``components`` maps ``unet``, ``text_encoder`` and ``text_encoder_2`` to modules. The base
    values of touched weights are kept on ``keep_on`` (their own device by default).
    """

    def __init__(
        self,
        components: Mapping[str, torch.nn.Module],
        family: str,
        keep_on: torch.device | None = None,
    ) -> None:
        import torch

        self._weights: dict[Place, torch.Tensor] = {}
        for component, root in components.items():
            for path, module in root.named_modules():
                if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
                    self._weights[component, path] = module.weight
        paths: dict[str, list[str]] = {component: [] for component in components}
        for component, path in self._weights:
            paths[component].append(path)
        self._table = module_names(paths, family)
        self._keep_on = keep_on
        self._base: dict[Place, torch.Tensor] = {}
        self._touched: set[Place] = set()
        self.applied = 0
        """Number of modules that the current LoRA changed."""

    def place(self, lora: Lora) -> dict[Place, LoraModule]:
        """Return where each module of ``lora`` belongs, shapes checked.

        Raises ``CheckpointError`` where one has no place or another shape than its layer.
        """
        placed = match(lora.modules, self._table, str(lora.path))
        for place, module in placed.items():
            down, up = lora.tensors[module.down], lora.tensors[module.up]
            weight = self._weights[place]
            rank = down.shape[0]
            fits = (
                up.shape[0] == weight.shape[0]
                and up[0].numel() == rank
                and down[0].numel() == weight[0].numel()
            )
            if not fits:
                raise CheckpointError(
                    f"{lora.path}: {module.name} was trained for a layer of "
                    f"{down[0].numel()} inputs "
                    f"and {up.shape[0]} outputs, the base model's has {weight[0].numel()} and "
                    f"{weight.shape[0]}; the LoRA belongs to another family of base models"
                )
        return placed

    def apply(self, lora: Lora | None, scale: float = 1.0) -> None:
        """Make the weights those of ``lora`` at ``scale``; None, or scale 0, is the base model.

        All is checked before the first weight changes.
        """
        import torch

        placed = {} if lora is None or scale == 0 else self.place(lora)
        with torch.no_grad():
            for place in self._touched - placed.keys():
                self._weights[place].copy_(self._base[place])
            self._touched &= placed.keys()
            for place, module in placed.items():
                assert lora is not None
                weight = self._weights[place]
                if place not in self._base:
                    base = weight.detach().clone(memory_format=torch.preserve_format)
                    self._base[place] = base if self._keep_on is None else base.to(self._keep_on)
                self._touched.add(place)
                factor = scale * lora.factors[module.name]
                delta = _delta(lora, module, factor, weight)
                base = self._base[place].to(weight.device)
                weight.copy_(delta.add_(base))
        self.applied = len(placed)


def _delta(lora: Lora, module: LoraModule, factor: float, weight: torch.Tensor) -> torch.Tensor:
    """Return ``factor · up @ down`` in float32 on the weight's device, in the weight's shape.

    A convolution's ``down`` is [rank, in, kh, kw] and its ``up`` [out, rank, 1, 1]: the product
    over the flattened axes is their composition.
    """
    import torch

    down = lora.tensors[module.down].to(weight.device, torch.float32).flatten(1)
    up = lora.tensors[module.up].to(weight.device, torch.float32).flatten(1)
    return (up @ down).mul_(factor).view(weight.shape)


def _peft_alphas(metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        value = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _peft_factor(alphas: Mapping[str, Any], name: str, rank: int) -> float:
    """Return alpha/rank as PEFT's metadata give it; 1 where they say nothing, as diffusers does."""
    component, _, path = name.partition(".")
    alpha = alphas.get(f"{component}.lora_alpha")
    pattern = alphas.get(f"{component}.alpha_pattern")
    if isinstance(pattern, dict):
        for key, value in pattern.items():
            if path == key or path.endswith(f".{key}"):
                alpha = value
    if not isinstance(alpha, (int, float)) or isinstance(alpha, bool):
        return 1.0
    root = rank**0.5 if alphas.get(f"{component}.use_rslora") is True else rank
    return float(alpha) / root
