"""What a diffusers folder from a stranger may hold: known classes, weights without code in them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

ALLOW = "LORAEVAL_ALLOW_CKPT"
"""Environment variable: 1 loads pickled weights of a base model, with weights only."""

_WEIGHTS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
"""Where a pipeline's parts may come from; the last is diffusers' own name of its safety checker."""


def pickles_allowed() -> bool:
    """Say whether the user asked for pickled weights of base models."""
    return os.environ.get(ALLOW) == "1"


def check_folder(folder: Path, index: Mapping[str, Any]) -> None:
    """Raise ``CheckpointError`` unless the folder of ``index`` (its model_index.json) can be loaded
    without running what it brings: each part is a class of diffusers or transformers, and each
    part's weights are safetensors (pickles where ``LORAEVAL_ALLOW_CKPT=1`` asks for them).
    """
    for name, part in index.items():
        if name.startswith("_") or not isinstance(part, list):
            continue
        if part and all(isinstance(item, (int, float)) for item in part):
            continue  # an option of the pipeline, such as numbers of layers
        library = part[0] if part else None
        if library is not None and library not in _LIBRARIES:
            raise CheckpointError(
                f"{clean(folder)}: its {clean(name, 60)} wants code of {clean(repr(library), 60)}; "
                "only classes of diffusers and transformers are loaded, never a model's own code"
            )
    if pickles_allowed():
        return
    for name in _WEIGHTS:
        files = [path for path in (folder / name).glob("*") if path.is_file()]
        pickled = sorted(path.name for path in files if path.suffix in _PICKLES)
        if pickled and not any(path.suffix == ".safetensors" for path in files):
            raise CheckpointError(
                f"{clean(folder)}: {name} has its weights only as {clean(pickled[0], 60)}; a "
                "pickle can run code when it is loaded: take the safetensors version, or set "
                f"{ALLOW}=1 to load one that you trust with weights only"
            )
