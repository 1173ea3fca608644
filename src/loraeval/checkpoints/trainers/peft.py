"""PEFT's ``adapter_config.json``, and the flags of diffusers' example scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loraeval.checkpoints.script_facts import ScriptFacts
from loraeval.checkpoints.trainers.names import Name, take

PROGRAM = "PEFT"
DIFFUSERS = "diffusers' example scripts"

NAMES = (
    Name("peft_type", "adapter", "lower"),
    Name("r", "network_dim"),
    Name("lora_alpha", "network_alpha"),
    Name("lora_dropout", "network_dropout"),
    Name("use_dora", "dora"),
    Name("base_model_name_or_path", "pretrained_model_name_or_path"),
)

DIFFUSERS_NAMES = (
    Name("rank", "network_dim"),
    Name("lora_alpha", "network_alpha"),
    Name("lora_dropout", "network_dropout"),
    Name("use_dora", "dora"),
    Name("learning_rate", "learning_rate"),
    Name("text_encoder_lr", "text_encoder_lr"),
    Name("train_text_encoder", "text_encoder_trained"),
    Name("optimizer", "optimizer_type", "optimizer"),
    Name("lr_scheduler", "lr_scheduler"),
    Name("lr_warmup_steps", "lr_warmup_steps"),
    Name("lr_num_cycles", "lr_scheduler_num_cycles"),
    Name("lr_power", "lr_scheduler_power"),
    Name("max_train_steps", "max_train_steps"),
    Name("num_train_epochs", "max_train_epochs"),
    Name("train_batch_size", "train_batch_size"),
    Name("gradient_accumulation_steps", "gradient_accumulation_steps"),
    Name("gradient_checkpointing", "gradient_checkpointing"),
    Name("max_grad_norm", "max_grad_norm"),
    Name("resolution", "resolution", "sizes"),
    Name("random_flip", "flip_aug"),
    Name("repeats", "repeats"),
    Name("mixed_precision", "mixed_precision", "precision"),
    Name("seed", "seed"),
    Name("snr_gamma", "min_snr_gamma"),
    Name("noise_offset", "noise_offset", "positive"),
    Name("prior_loss_weight", "prior_loss_weight"),
    Name("weighting_scheme", "weighting_scheme"),
    Name("logit_mean", "logit_mean"),
    Name("logit_std", "logit_std"),
    Name("mode_scale", "mode_scale"),
    Name("guidance_scale", "guidance_scale"),
    Name("checkpointing_steps", "save_every_n_steps"),
    Name("cache_latents", "cache_latents"),
    Name("pretrained_model_name_or_path", "pretrained_model_name_or_path"),
    Name("pretrained_vae_model_name_or_path", "vae"),
)


def fits(tree: Mapping[str, Any]) -> bool:
    """Whether a tree is PEFT's adapter configuration."""
    return "peft_type" in tree and ("r" in tree or "target_modules" in tree)


def facts(path: Path, tree: Mapping[str, Any]) -> ScriptFacts:
    """Return what an adapter configuration says: the adapter, nothing of the training."""
    found = ScriptFacts(path, "PEFT adapter configuration", program=PROGRAM, complete=False)
    take(found, tree, NAMES)
    return found


def adapter_metadata(metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return PEFT's settings by component out of ``lora_adapter_metadata``, or out of flat keys
    (``r``, ``lora_alpha``) under the empty name; nothing where there are none.
    """
    try:
        tree = json.loads(metadata.get("lora_adapter_metadata", "null")[: 1 << 20])
    except (ValueError, RecursionError):
        tree = None
    parts: dict[str, dict[str, Any]] = {}
    if isinstance(tree, dict):
        for key, value in tree.items():
            part, dot, name = str(key).partition(".")
            if dot:
                parts.setdefault(part, {})[name] = value
            elif isinstance(value, dict):
                parts.setdefault(part, {}).update(value)
    if not parts and "r" in metadata and "lora_alpha" in metadata:
        parts[""] = {"r": metadata["r"], "lora_alpha": metadata["lora_alpha"]}
    return parts
