"""SimpleTuner's settings: config.json, with or without dashes, and the older config.env."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loraeval.checkpoints.script_facts import ScriptFacts, beside, parse_json, read_text
from loraeval.checkpoints.shell.posix import posix_script
from loraeval.checkpoints.shell.words import Variables
from loraeval.checkpoints.trainers.names import Name, arguments, take
from loraeval.checkpoints.values import number
from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

PROGRAM = "SimpleTuner"

NAMES = (
    Name("lora_type", "adapter"),
    Name("lora_rank", "network_dim"),
    Name("lora_alpha", "network_alpha"),
    Name("lora_dropout", "network_dropout"),
    Name("use_dora", "dora"),
    Name("init_lora", "network_weights"),
    Name("learning_rate", "learning_rate"),
    Name("text_encoder_lr", "text_encoder_lr"),
    Name("train_text_encoder", "text_encoder_trained"),
    Name("optimizer", "optimizer_type", "optimizer"),
    Name("optimizer_config", "optimizer_args"),
    Name("lr_scheduler", "lr_scheduler"),
    Name("lr_warmup_steps", "lr_warmup_steps"),
    Name("lr_num_cycles", "lr_scheduler_num_cycles"),
    Name("lr_power", "lr_scheduler_power"),
    Name("max_train_steps", "max_train_steps", "positive"),
    Name("num_train_epochs", "max_train_epochs", "positive"),
    Name("train_batch_size", "train_batch_size"),
    Name("gradient_accumulation_steps", "gradient_accumulation_steps"),
    Name("gradient_checkpointing", "gradient_checkpointing"),
    Name("max_grad_norm", "max_grad_norm"),
    Name("mixed_precision", "mixed_precision", "precision"),
    Name("base_model_precision", "quantize"),
    Name("seed", "seed"),
    Name("use_ema", "ema"),
    Name("snr_gamma", "min_snr_gamma"),
    Name("noise_offset", "noise_offset", "positive"),
    Name("rescale_betas_zero_snr", "zero_terminal_snr"),
    Name("flow_schedule_shift", "discrete_flow_shift"),
    Name("flow_sigmoid_scale", "sigmoid_scale"),
    Name("loss_type", "loss_type"),
    Name("caption_dropout_probability", "caption_dropout_rate"),
    Name("pretrained_model_name_or_path", "pretrained_model_name_or_path"),
    Name("pretrained_vae_model_name_or_path", "vae"),
    Name("model_family", "base_model_version"),
    Name("prediction_type", "prediction_type"),
    Name("checkpoint_step_interval", "save_every_n_steps"),
    Name("checkpointing_steps", "save_every_n_steps"),
    Name("checkpoint_epoch_interval", "save_every_n_epochs"),
    Name("tracker_run_name", "output_name"),
)

_ENVIRONMENT = {
    "MODEL_NAME": "pretrained_model_name_or_path", "MAX_NUM_STEPS": "max_train_steps",
    "NUM_EPOCHS": "num_train_epochs", "LR_SCHEDULE": "lr_scheduler", "TRAINING_SEED": "seed",
    "OPTIMIZER": "optimizer", "RESOLUTION": "resolution", "MIN_SNR_GAMMA": "snr_gamma",
    "CHECKPOINTING_STEPS": "checkpointing_steps", "LR_WARMUP_STEPS": "lr_warmup_steps",
    "CAPTION_DROPOUT_PROBABILITY": "caption_dropout_probability",
}  # fmt: skip
_OWN = {"model_family", "lora_rank", "lora_type", "data_backend_config", "model_type",
        "checkpoint_step_interval", "resolution_type", "caption_dropout_probability"}  # fmt: skip


def _plain(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Keys may carry the dashes of the command line."""
    return {str(key).removeprefix("--"): value for key, value in tree.items()}


def fits(tree: Mapping[str, Any]) -> bool:
    """Whether a tree holds SimpleTuner's settings."""
    return len(_OWN & _plain(tree).keys()) >= 2


def facts(path: Path, tree: Mapping[str, Any]) -> ScriptFacts:
    """Return what SimpleTuner's settings say. Its own defaults are not claimed."""
    found = ScriptFacts(path, "SimpleTuner settings", program=PROGRAM, complete=False)
    plain = {key: _switch(value) for key, value in _plain(tree).items()}
    options = plain.get("optimizer_config")
    if isinstance(options, dict):
        plain["optimizer_config"] = arguments(options)
    take(found, plain, NAMES)
    _resolution(found, plain)
    if plain.get("model_type") not in (None, "lora"):
        found.warnings.append(f"model_type is {clean(plain['model_type'])}: no LoRA is trained")
    if found.values.get("adapter") == "standard":
        found.values["adapter"] = "lora"
    name = plain.get("lycoris_config")
    if found.values.get("adapter") == "lycoris":
        found.values.pop("network_dim", None)
        _lycoris(found, str(name) if name else "")
    return found


def _switch(value: Any) -> Any:
    return (
        {"true": True, "false": False}.get(value.lower(), value)
        if isinstance(value, str)
        else value
    )


def _resolution(found: ScriptFacts, plain: Mapping[str, Any]) -> None:
    """A resolution may be the length of an edge in pixels or an area in megapixels."""
    value, kind = number(plain.get("resolution")), str(plain.get("resolution_type", ""))
    if value is None:
        return
    found.own["resolution"] = "resolution"
    if kind.startswith("pixel") or (kind in ("", "area") and value > 32):
        found.values["resolution"] = f"{value}x{value}"
    else:
        found.values.pop("resolution", None)
        found.unresolved["resolution"] = f"{value} megapixels ({kind or 'area'})"


def _lycoris(found: ScriptFacts, name: str) -> None:
    """Follow the LyCORIS settings that lie beside the configuration."""
    file = beside(found.path, name)
    if file is None:
        found.missing.append(name or "the LyCORIS settings")
        found.warnings.append(f"the LyCORIS settings {clean(name)} are not beside it")
        return
    tree = parse_json(file, read_text(file))
    take(found, tree, (
        Name("algo", "adapter"), Name("linear_dim", "network_dim"),
        Name("linear_alpha", "network_alpha"), Name("factor", "lokr_factor"),
    ))  # fmt: skip


def environment_facts(path: Path, text: str) -> ScriptFacts:
    """Read ``config.env``: assignments by SimpleTuner's names of variables."""
    variables = Variables()
    posix_script(text, variables)
    tree: dict[str, Any] = {}
    for key, value in variables.values.items():
        if value is not None and len(value) == 1 and not value[0].open:
            tree[_ENVIRONMENT.get(key, key.lower())] = value[0].text
    known = {name.own for name in NAMES}
    if len(known & tree.keys()) < 3:
        raise CheckpointError(f"{clean(path)}: no settings of SimpleTuner stand in it")
    found = facts(path, tree)
    found.kind = "SimpleTuner environment"
    return found
