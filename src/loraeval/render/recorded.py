"""What a LoRA recorded of its training, held against the recipe that it is rendered with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from loraeval import families
from loraeval.checkpoints.header import Header
from loraeval.checkpoints.scale import peft_alphas
from loraeval.outside.text import clean
from loraeval.records import Recipe
from loraeval.render.prediction import Prediction, compare, of_lora, of_options


def notes(
    header: Header, recipe: Recipe, base: Prediction, base_file: str | None
) -> tuple[str, ...]:
    """Return a line for each thing that ``recipe`` (resolved) does otherwise than the training of
    the LoRA with ``header`` did, and for an alpha that nothing tells.

    ``base`` is what the base model says that it predicts, ``base_file`` the SHA-256 of a single
    file. Raises ``CheckpointError`` for another prediction than the base model's, unless the recipe
    asks for another one than that itself.
    """
    name, metadata = header.path.name, header.metadata
    used = of_options(recipe.scheduler_options)
    chosen = used.kind is not None and used.kind != (base.kind or "epsilon")
    line = compare(of_lora(metadata), used, name, chosen=chosen)
    lines = [*filter(None, [line]), *_differences(clean(name), metadata, recipe, base_file)]
    if not peft_alphas(metadata) and not any(key.endswith("alpha") for key in header.tensors):
        lines.append(
            f"{clean(name)}: no alpha is recorded in it or beside it, so its factor is 1 (alpha = "
            "rank), as diffusers takes it"
        )
    return tuple(lines)


def _differences(
    name: str, metadata: Mapping[str, str], recipe: Recipe, base_file: str | None
) -> Iterator[str]:
    skipped = metadata.get("ss_clip_skip", "")
    training = families.FAMILIES[recipe.family].training
    if training is not None and training.clip_skip and re.fullmatch(r"None|\d+", skipped):
        trained = 1 if skipped == "None" else max(1, int(skipped))
        if trained != (recipe.clip_skip or 1):
            yield (
                f"{name}: trained with clip skip {trained}, rendered with {recipe.clip_skip or 1}; "
                f"set clip_skip = {trained} in the recipe to render it as it was trained"
            )
    size = re.fullmatch(r"\(?(\d+)(?:, *(\d+))?\)?", metadata.get("ss_resolution", ""))
    if size is not None:
        width, height = int(size[1]), int(size[2] or size[1])
        if (width, height) != (recipe.width, recipe.height):
            yield (
                f"{name}: trained at {width}x{height}, rendered at {recipe.width}x{recipe.height}"
            )
    trained_on = metadata.get("ss_new_sd_model_hash", "")
    if base_file and re.fullmatch(r"[0-9a-f]{64}", trained_on) and trained_on != base_file:
        called = clean(metadata.get("ss_sd_model_name", ""), 80) or trained_on[:12]
        here = Path(recipe.base_model).name
        yield f"{name}: trained on the base model {called}, rendered on {here}"
