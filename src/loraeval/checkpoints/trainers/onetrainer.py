"""OneTrainer's settings: JSON of its own, or ``ot_config`` in a file's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loraeval.checkpoints.script_facts import ScriptFacts, give
from loraeval.checkpoints.trainers.names import Name, arguments, take
from loraeval.checkpoints.values import number

PROGRAM = "OneTrainer"

NAMES = (
    Name("peft_type", "adapter", "lower"),
    Name("lora_rank", "network_dim"),
    Name("lora_alpha", "network_alpha"),
    Name("lora_decompose", "dora"),
    Name("dropout_probability", "network_dropout"),
    Name("lora_model_name", "network_weights"),
    Name("learning_rate", "learning_rate"),
    Name("unet.learning_rate", "unet_lr"),
    Name("transformer.learning_rate", "unet_lr"),
    Name("text_encoder.learning_rate", "text_encoder_lr"),
    Name("text_encoder.train", "text_encoder_trained"),
    Name("learning_rate_scheduler", "lr_scheduler", "lower"),
    Name("learning_rate_warmup_steps", "lr_warmup_steps"),
    Name("learning_rate_cycles", "lr_scheduler_num_cycles"),
    Name("learning_rate_min_factor", "lr_scheduler_min_lr_ratio"),
    Name("optimizer.optimizer", "optimizer_type", "optimizer"),
    Name("clip_grad_norm", "max_grad_norm"),
    Name("epochs", "max_train_epochs"),
    Name("batch_size", "train_batch_size"),
    Name("gradient_accumulation_steps", "gradient_accumulation_steps"),
    Name("resolution", "resolution", "sizes"),
    Name("aspect_ratio_bucketing", "enable_bucket"),
    Name("latent_caching", "cache_latents"),
    Name("train_dtype", "mixed_precision", "precision"),
    Name("output_dtype", "save_precision", "dtype"),
    Name("ema", "ema", "on"),
    Name("offset_noise_weight", "noise_offset", "positive"),
    Name("rescale_noise_scheduler_to_zero_terminal_snr", "zero_terminal_snr"),
    Name("force_v_prediction", "v_parameterization"),
    Name("min_noising_strength", "min_timestep", "thousandths"),
    Name("max_noising_strength", "max_timestep", "thousandths"),
    Name("timestep_distribution", "timestep_sampling", "lower"),
    Name("timestep_shift", "discrete_flow_shift"),
    Name("masked_training", "masked_loss"),
    Name("base_model_name", "pretrained_model_name_or_path"),
    Name("vae.model_name", "vae"),
    Name("save_filename_prefix", "output_name"),
    Name("concepts.[].balancing", "repeats"),
    Name("concepts.[].text.enable_tag_shuffling", "shuffle_caption"),
    Name("concepts.[].text.keep_tags_count", "keep_tokens"),
    Name("concepts.[].image.enable_random_flip", "flip_aug"),
)

_MODELS = {
    "STABLE_DIFFUSION_15": "sd_v1", "STABLE_DIFFUSION_XL_10_BASE": "sdxl_base_v1-0",
    "FLUX_DEV_1": "flux1", "STABLE_DIFFUSION_35": "sd3-5", "STABLE_DIFFUSION_3": "sd3",
}  # fmt: skip


def fits(tree: Mapping[str, Any]) -> bool:
    """Whether a tree holds OneTrainer's settings."""
    own = {"training_method", "learning_rate_scheduler", "base_model_name", "concept_file_name",
           "peft_type", "timestep_distribution", "output_model_destination"}  # fmt: skip
    return len(own & tree.keys()) >= 2 or (
        isinstance(tree.get("optimizer"), dict)
        and "optimizer" in tree["optimizer"]
        and "lora_rank" in tree
    )


def facts(path: Path, tree: Mapping[str, Any]) -> ScriptFacts:
    """Return what OneTrainer's settings say. Its own defaults are not claimed."""
    found = ScriptFacts(path, "OneTrainer settings", program=PROGRAM, complete=False)
    rows = tree.get("concepts")
    if isinstance(rows, list):
        kept = [
            row for row in rows
            if isinstance(row, dict) and row.get("enabled") is not False
            and row.get("type", "STANDARD") == "STANDARD"
        ]  # fmt: skip
        tree = {**tree, "concepts": kept}
    take(found, tree, NAMES)
    method = str(tree.get("training_method", "LORA"))
    if method != "LORA":
        found.warnings.append(f"training_method is {method}: no LoRA is trained")
    give(found, "base_model_version", _MODELS.get(str(tree.get("model_type"))), "model_type")
    optimizer = tree.get("optimizer")
    give(found, "optimizer_args", arguments(optimizer, without=("optimizer", "optimizer_defaults")),
         "optimizer")  # fmt: skip
    if tree.get("loss_weight_fn") == "MIN_SNR_GAMMA":
        give(found, "min_snr_gamma", tree.get("loss_weight_strength"), "loss_weight_strength")
    elif tree.get("loss_weight_fn") == "DEBIASED_ESTIMATION":
        give(found, "debiased_estimation_loss", True, "loss_weight_fn")
    if str(tree.get("peft_type", "")).upper() == "LOKR":
        give(found, "network_dim", tree.get("lokr_dim"), "lokr_dim")
    encoder = tree.get("text_encoder")
    if isinstance(encoder, dict) and encoder.get("train") is False:
        found.values.pop("text_encoder_lr", None)
        give(found, "network_train_unet_only", True, "text_encoder.train")
    every, unit = number(tree.get("save_every")), tree.get("save_every_unit")
    if every and unit in ("EPOCH", "STEP"):
        name = "save_every_n_epochs" if unit == "EPOCH" else "save_every_n_steps"
        give(found, name, every, "save_every")
    return found
