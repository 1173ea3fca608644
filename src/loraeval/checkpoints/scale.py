"""The factor on a LoRA's update: alpha / rank, from alpha tensors or PEFT's metadata.

One function for ``inspect`` and for the renderer, so that the scale shown is the scale rendered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

_LONGEST, _REPEATS = 200, 3
"""Characters and repetitions that a pattern of names may have: it comes from a stranger."""


def peft_alphas(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return what PEFT recorded: ``lora_adapter_metadata`` (``unet.r``, ``unet.lora_alpha``, …), or
    ``adapter_config`` without a component (``r``, ``lora_alpha``, …); empty where there is neither.
    """
    for key in ("lora_adapter_metadata", "adapter_config"):
        try:
            value = json.loads(metadata.get(key, "{}"))
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and value:
            return value
    return {}


def module_scale(
    name: str, rank: int, alpha: float | None, alphas: Mapping[str, Any] | None = None
) -> float:
    """Return alpha / rank of the module ``name`` (``unet.…``, ``lora_unet_…``).

    ``alpha`` is that of the module's own tensor, which wins; else PEFT's ``alphas`` decide (the
    first of its patterns that fits the end of the name, and its square root of the rank where asked
    for), else the scale is 1, as diffusers takes it. Raises ``ZeroDivisionError`` for a rank of 0
    and ``CheckpointError`` for a pattern that is none.
    """
    if alpha is not None:
        return alpha / rank
    alphas = alphas or {}
    path = name.removeprefix("base_model.model.")
    start = ""
    if not any(key in alphas for key in ("lora_alpha", "r")):  # recorded by component
        component, _, path = path.partition(".")
        start = f"{component}."
    value = alphas.get(f"{start}lora_alpha")
    pattern = alphas.get(f"{start}alpha_pattern")
    if isinstance(pattern, dict):
        value = next((new for key, new in pattern.items() if _fits(str(key), path)), value)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return 1.0
    root = rank**0.5 if alphas.get(f"{start}use_rslora") is True else rank
    return float(value) / root


def _fits(pattern: str, path: str) -> bool:
    """Return whether PEFT takes ``pattern`` for a module: a regular expression at the end of its
    path, after a dot.
    """
    if path == pattern or path.endswith(f".{pattern}"):
        return True
    repeats = len(re.findall(r"[*+{]", pattern))
    if len(pattern) > _LONGEST or repeats > _REPEATS or re.search(r"\)[*+{?]", pattern):
        raise CheckpointError(
            f"the alpha_pattern {clean(pattern, 80)} is too intricate to be read safely; write the "
            "names of the modules out"
        )
    try:
        return re.match(rf"(?:.*\.)?(?:{pattern})$", path) is not None
    except re.error as error:
        raise CheckpointError(
            f"the alpha_pattern {clean(pattern, 80)} is no regular expression ({error})"
        ) from error
