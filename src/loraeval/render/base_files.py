"""Which files of a base model are loaded: the same answer for loading, hashing and fetching."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import PurePosixPath

PARTS = (
    "unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3",
    "text_encoder_4",
)  # fmt: skip
"""Parts with weights."""

TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3", "tokenizer_4")
_STEMS = ("diffusion_pytorch_model", "model")
_HALF = ".fp16"


def loads_half(names: Iterable[str]) -> bool:
    """Return whether a folder with files of ``names`` (relative, with /) is loaded as its variant
    ``fp16``: where its UNet has no weights but those.
    """
    unet = [name for name in names if name.startswith("unet/") and name.endswith(".safetensors")]
    return bool(unet) and all(_HALF in name for name in unet)


def weight_files(names: Iterable[str], part: str) -> list[str]:
    """Return the files of a part's weights that are loaded, whole or as the index of its pieces and
    they themselves; of full and half precision one, as ``loads_half`` says.
    """
    there = {name for name in names if name.startswith(f"{part}/") and name.count("/") == 1}
    orders = (_HALF, "") if loads_half(names) else ("", _HALF)
    for stem in _STEMS:
        for variant in orders:
            whole = f"{part}/{stem}{variant}.safetensors"
            if whole in there:
                return [whole]
            index = f"{part}/{stem}.safetensors.index{variant}.json"
            if index in there:
                pieces = (
                    name for name in there
                    if name.endswith(".safetensors") and "-of-" in name
                    and name.startswith(f"{part}/{stem}") and (_HALF in name) == bool(variant)
                )  # fmt: skip
                return [index, *sorted(pieces)]
    return []


def loaded_files(names: Iterable[str]) -> list[str]:
    """Return everything of a folder or a repository that is loaded: configurations, tokenizers and
    one set of weights a part; no safety checker, no second VAE, no pickles.
    """
    names = list(names)
    kept = ["model_index.json"] if "model_index.json" in names else []
    for part in (*PARTS, *TOKENIZERS, "scheduler"):
        kept += [
            name for name in names
            if PurePosixPath(name).parent.as_posix() == part
            and name.endswith((".json", ".txt", ".jinja", ".model"))
            and ".safetensors.index" not in name
        ]  # fmt: skip
    for part in PARTS:
        kept += weight_files(names, part)
    return sorted(kept)


def index_pieces(text: str) -> list[str]:
    """Return the files that the index of a model in pieces names."""
    return sorted(set(json.loads(text).get("weight_map", {}).values()))
