"""What each trainer records in the files that it writes, in the common names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from loraeval.checkpoints.recorded import Recorded, recorded_values
from loraeval.checkpoints.script_facts import ScriptFacts
from loraeval.checkpoints.trainer import MUSUBI, SD_SCRIPTS, Trainer
from loraeval.checkpoints.trainers import ai_toolkit, onetrainer, peft
from loraeval.checkpoints.trainers.names import Name, take
from loraeval.checkpoints.values import canonical, number

MAX_CONFIG = 1 << 20
"""Characters of a configuration inside metadata at most."""

_PLAIN = ("ss_base_model_version", "ss_output_name", "modelspec.title", "modelspec.date",
          "modelspec.architecture", "modelspec.prediction_type")  # fmt: skip

_CAPTIONS = {
    "caption_fingerprint", "captions_read", "caption_tokens_at_least", "repeats", "images",
    "train_data_dir",
}  # fmt: skip
"""What ``ss_tag_frequency`` tells in a file of sd-scripts; others put trigger words there."""


def values_of(trainer: Trainer, metadata: Mapping[str, str]) -> Recorded:
    """Return what the metadata of a file say of each parameter, by the trainer that wrote it."""
    if trainer.program in (SD_SCRIPTS, MUSUBI):
        return recorded_values(metadata)
    if trainer.program == ai_toolkit.PROGRAM:
        return _ai_toolkit(metadata)
    if trainer.program == onetrainer.PROGRAM:
        return _onetrainer(metadata)
    found = recorded_values(metadata)
    for name in _CAPTIONS:
        found.pop(name, None)
    found.update(_adapter(metadata))
    step = number(metadata.get("global_step", ""))
    if isinstance(step, int) and trainer.program is not None:
        found["steps_at_save"] = (step, "global_step")
    return found


def _kept(metadata: Mapping[str, str]) -> Recorded:
    return recorded_values({key: metadata[key] for key in _PLAIN if key in metadata})


def _ai_toolkit(metadata: Mapping[str, str]) -> Recorded:
    found = _kept(metadata)
    try:
        info = json.loads(metadata.get("training_info", "{}")[:10_000])
    except (ValueError, RecursionError):
        info = {}
    for key, name in (("step", "steps_at_save"), ("epoch", "epoch_at_save")):
        value = number(info.get(key)) if isinstance(info, dict) else None
        if value is not None:
            found[name] = (value, f"training_info: {key}")
    return found


def _onetrainer(metadata: Mapping[str, str]) -> Recorded:
    found = _kept(metadata)
    found.pop("base_model_version", None)  # "sdxl_" stands there for other programs' sake
    try:
        tree = json.loads(metadata.get("ot_config", "{}")[:MAX_CONFIG])
    except (ValueError, RecursionError):
        return found
    if isinstance(tree, dict):
        facts = onetrainer.facts(Path("ot_config"), tree)
        for name, value in facts.values.items():
            found[name] = (value, f"ot_config: {facts.own.get(name, name)}")
    return found


_ADAPTER = (
    Name("lora_dropout", "network_dropout"), Name("use_dora", "dora"),
    Name("r", "network_dim"), Name("lora_alpha", "network_alpha"),
)  # fmt: skip


def _adapter(metadata: Mapping[str, str]) -> Recorded:
    """PEFT's settings, of the UNet or transformer before the text encoders."""
    parts = peft.adapter_metadata(metadata)
    part = next((name for name in ("unet", "transformer", "") if name in parts), None)
    if part is None:
        return {}
    facts = ScriptFacts(Path("metadata"), "metadata")
    take(facts, parts[part], _ADAPTER)
    key = f"lora_adapter_metadata: {part}." if part else ""
    return {
        name: (canonical(name, value), f"{key}{facts.own[name]}")
        for name, value in facts.values.items()
    }
