"""The tokenizers of a base model, without its weights: to count what a prompt takes."""

from __future__ import annotations

from typing import Any

from loraeval.records import Recipe
from loraeval.render.base_model import locate_base


def load_tokenizers(recipe: Recipe) -> list[Any]:
    """Return the tokenizer of SD 1.5, or the two of SDXL, of a resolved recipe's base model."""
    from loraeval import torchvision_ops
    from loraeval.render.base_configs import clip_tokenizer

    torchvision_ops.install()
    base = locate_base(recipe.base_model, offline=True)
    if base.is_file():
        return [clip_tokenizer()]
    from transformers import CLIPTokenizer

    names = ("tokenizer", "tokenizer_2")
    return [
        CLIPTokenizer.from_pretrained(base / name, local_files_only=True)
        for name in names
        if (base / name).is_dir()
    ]
