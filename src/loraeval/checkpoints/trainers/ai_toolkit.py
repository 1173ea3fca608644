"""ai-toolkit's configuration: YAML or JSON with a ``config`` that holds ``process`` steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loraeval.checkpoints.script_facts import ScriptFacts, give
from loraeval.checkpoints.trainers.names import Name, arguments, take
from loraeval.checkpoints.values import number
from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

PROGRAM = "ai-toolkit"

NAMES = (
    Name("network.type", "adapter", "lower"),
    Name("network.linear", "network_dim"),
    Name("network.rank", "network_dim"),
    Name("network.alpha", "network_alpha"),
    Name("network.linear_alpha", "network_alpha"),
    Name("network.conv", "conv_dim"),
    Name("network.conv_alpha", "conv_alpha"),
    Name("network.dropout", "network_dropout"),
    Name("network.pretrained_lora_path", "network_weights"),
    Name("train.lr", "learning_rate"),
    Name("train.unet_lr", "unet_lr"),
    Name("train.text_encoder_lr", "text_encoder_lr"),
    Name("train.optimizer", "optimizer_type", "optimizer"),
    Name("train.lr_scheduler", "lr_scheduler"),
    Name("train.steps", "max_train_steps"),
    Name("train.batch_size", "train_batch_size"),
    Name("train.gradient_accumulation", "gradient_accumulation_steps"),
    Name("train.gradient_accumulation_steps", "gradient_accumulation_steps"),
    Name("train.gradient_checkpointing", "gradient_checkpointing"),
    Name("train.dtype", "mixed_precision", "precision"),
    Name("train.train_text_encoder", "text_encoder_trained"),
    Name("train.train_text_encoder", "network_train_unet_only", "not"),
    Name("train.noise_scheduler", "noise_scheduler"),
    Name("train.noise_offset", "noise_offset"),
    Name("train.min_snr_gamma", "min_snr_gamma"),
    Name("train.snr_gamma", "min_snr_gamma"),
    Name("train.timestep_type", "timestep_sampling"),
    Name("train.content_or_style", "timestep_bias"),
    Name("train.min_denoising_steps", "min_timestep"),
    Name("train.max_denoising_steps", "max_timestep"),
    Name("train.loss_type", "loss_type"),
    Name("train.max_grad_norm", "max_grad_norm"),
    Name("train.ema_config.use_ema", "ema"),
    Name("train.prompt_dropout_prob", "caption_dropout_rate"),
    Name("save.dtype", "save_precision", "dtype"),
    Name("save.save_every", "save_every_n_steps"),
    Name("model.name_or_path", "pretrained_model_name_or_path"),
    Name("model.arch", "base_model_version"),
    Name("model.is_v_pred", "v_parameterization"),
    Name("model.vae_path", "vae"),
    Name("model.quantize", "quantize"),
    Name("datasets.[].resolution", "resolution", "sizes"),
    Name("datasets.[].caption_ext", "caption_extension", "extension"),
    Name("datasets.[].caption_dropout_rate", "caption_dropout_rate"),
    Name("datasets.[].token_dropout_rate", "caption_tag_dropout_rate"),
    Name("datasets.[].shuffle_tokens", "shuffle_caption"),
    Name("datasets.[].keep_tokens", "keep_tokens"),
    Name("datasets.[].num_repeats", "repeats"),
    Name("datasets.[].flip_x", "flip_aug"),
    Name("datasets.[].random_crop", "random_crop"),
    Name("datasets.[].buckets", "enable_bucket"),
    Name("datasets.[].cache_latents_to_disk", "cache_latents_to_disk"),
)


def fits(tree: Mapping[str, Any]) -> bool:
    """Whether a tree is ai-toolkit's configuration."""
    config = tree.get("config")
    return isinstance(config, dict) and isinstance(config.get("process"), list)


def facts(path: Path, tree: Mapping[str, Any]) -> ScriptFacts:
    """Return what the first training process of a configuration says.

    Raises ``CheckpointError`` where none of its processes trains a network.
    """
    config = tree["config"]
    steps = [step for step in config["process"] if isinstance(step, dict)]
    trains = [step for step in steps if isinstance(step.get("train"), dict)]
    if not trains:
        raise CheckpointError(
            f"{clean(path)}: ai-toolkit's configuration without a process that trains"
        )
    found = ScriptFacts(path, "ai-toolkit configuration", program=PROGRAM, complete=False)
    if len(trains) > 1:
        found.warnings.append(f"{len(trains)} training processes; the first one is read")
    step = dict(trains[0])
    rows = step.get("datasets")
    if isinstance(rows, list):
        step["datasets"] = [r for r in rows if isinstance(r, dict) and r.get("is_reg") is not True]
    take(found, step, NAMES)
    name = config.get("name")
    give(found, "output_name", name if isinstance(name, str) else None, "config.name")
    train = step["train"]
    give(
        found, "optimizer_args", arguments(train.get("optimizer_params")), "train.optimizer_params"
    )
    if number(found.values.get("noise_offset")) == 0:
        found.values["noise_offset"] = None
    _family(found, step.get("model"))
    if not found.values.get("network_dim") and not isinstance(step.get("network"), dict):
        found.warnings.append("no network is trained: the whole model may be")
    return found


def _family(found: ScriptFacts, model: Any) -> None:
    """Older configurations name the family by a switch."""
    if not isinstance(model, dict) or "base_model_version" in found.values:
        return
    for key, version in (("is_xl", "sdxl_base_v1-0"), ("is_flux", "flux1"), ("is_v3", "sd3"),
                         ("is_v2", "sd_v2"), ("is_lumina2", "lumina2")):  # fmt: skip
        if model.get(key) is True:
            give(found, "base_model_version", version, f"model.{key}")


def software(metadata: Mapping[str, str]) -> str | None:
    """Return the version of ai-toolkit that wrote a file, empty where it does not say, None where
    it was not written by it.
    """
    try:
        tree = json.loads(metadata.get("software", "null")[:10_000])
    except (ValueError, RecursionError):
        return None
    if isinstance(tree, dict) and tree.get("name") == PROGRAM:
        return str(tree.get("version", ""))[:40]
    return None
