"""The factor on a LoRA's update: alpha / rank, from alpha tensors or PEFT's metadata.

One function for ``inspect`` and for the renderer, so that the scale shown is the scale rendered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def peft_alphas(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the table ``lora_adapter_metadata`` (``unet.r``, ``unet.lora_alpha``, …), empty where
    there is none.
    """
    try:
        value = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def module_scale(
    name: str, rank: int, alpha: float | None, alphas: Mapping[str, Any] | None = None
) -> float:
    """Return alpha / rank of the module ``name`` (``unet.…``, ``lora_unet_…``).

    ``alpha`` is that of the module's own tensor, which wins; else PEFT's ``alphas`` decide (with
    its pattern of exceptions, and its square root of the rank where asked for), else the scale is
    1, as diffusers takes it. Raises ``ZeroDivisionError`` for a rank of 0.
    """
    if alpha is not None:
        return alpha / rank
    alphas = alphas or {}
    component, _, path = name.partition(".")
    value = alphas.get(f"{component}.lora_alpha")
    pattern = alphas.get(f"{component}.alpha_pattern")
    if isinstance(pattern, dict):
        for key, exception in pattern.items():
            if path == key or path.endswith(f".{key}"):
                value = exception
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return 1.0
    root = rank**0.5 if alphas.get(f"{component}.use_rslora") is True else rank
    return float(value) / root
