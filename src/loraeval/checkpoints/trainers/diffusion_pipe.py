"""diffusion-pipe's configuration: TOML with ``[model]``, ``[adapter]`` and ``[optimizer]``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loraeval.checkpoints.script_facts import ScriptFacts, beside, give, parse_toml, read_text
from loraeval.checkpoints.trainers.names import Name, arguments, take
from loraeval.outside.text import clean

PROGRAM = "diffusion-pipe"

NAMES = (
    Name("adapter.type", "adapter"),
    Name("adapter.rank", "network_dim"),
    Name("adapter.dropout", "network_dropout"),
    Name("adapter.init_from_existing", "network_weights"),
    Name("optimizer.lr", "learning_rate"),
    Name("optimizer.type", "optimizer_type", "optimizer"),
    Name("lr_scheduler", "lr_scheduler"),
    Name("warmup_steps", "lr_warmup_steps"),
    Name("epochs", "max_train_epochs"),
    Name("max_steps", "max_train_steps"),
    Name("micro_batch_size_per_gpu", "train_batch_size"),
    Name("gradient_accumulation_steps", "gradient_accumulation_steps"),
    Name("gradient_clipping", "max_grad_norm"),
    Name("activation_checkpointing", "gradient_checkpointing", "on"),
    Name("save_every_n_epochs", "save_every_n_epochs"),
    Name("save_every_n_steps", "save_every_n_steps"),
    Name("save_dtype", "save_precision", "dtype"),
    Name("model.type", "base_model_version"),
    Name("model.dtype", "mixed_precision", "precision"),
    Name("model.transformer_dtype", "quantize"),
    Name("model.diffusion_model_dtype", "quantize"),
    Name("model.timestep_sample_method", "timestep_sampling"),
    Name("model.sigmoid_scale", "sigmoid_scale"),
    Name("model.shift", "discrete_flow_shift"),
    Name("model.guidance", "guidance_scale"),
    Name("model.min_t", "min_timestep", "thousandths"),
    Name("model.max_t", "max_timestep", "thousandths"),
    Name("model.v_pred", "v_parameterization"),
    Name("model.min_snr_gamma", "min_snr_gamma"),
    Name("model.debiased_estimation_loss", "debiased_estimation_loss"),
    Name("model.unet_lr", "unet_lr"),
    Name("model.text_encoder_1_lr", "text_encoder_lr"),
    Name("model.checkpoint_path", "pretrained_model_name_or_path"),
    Name("model.ckpt_path", "pretrained_model_name_or_path"),
    Name("model.diffusers_path", "pretrained_model_name_or_path"),
    Name("model.transformer_path", "pretrained_model_name_or_path"),
    Name("model.diffusion_model", "pretrained_model_name_or_path"),
    Name("model.vae_path", "vae"),
)

DATASET_NAMES = (
    Name("resolutions", "resolution", "sizes"),
    Name("directory.[].num_repeats", "repeats"),
    Name("enable_ar_bucket", "enable_bucket"),
    Name("directory.[].caption_prefix", "caption_prefix"),
)


def fits(tree: Mapping[str, Any]) -> bool:
    """Whether a tree is diffusion-pipe's configuration, or that of its data set."""
    model = tree.get("model")
    if isinstance(model, dict) and "type" in model:
        return (
            "micro_batch_size_per_gpu" in tree
            or "pipeline_stages" in tree
            or isinstance(tree.get("adapter"), dict)
        )
    return "resolutions" in tree and isinstance(tree.get("directory"), list)


def facts(path: Path, tree: Mapping[str, Any]) -> ScriptFacts:
    """Return what a configuration says, and its data set's where that lies beside it."""
    if "directory" in tree and "model" not in tree:
        found = ScriptFacts(path, "diffusion-pipe data set", program=PROGRAM, complete=False)
        take(found, tree, DATASET_NAMES)
        return found
    found = ScriptFacts(path, "diffusion-pipe configuration", program=PROGRAM, complete=False)
    take(found, tree, NAMES)
    rank = found.values.get("network_dim")
    if rank is not None:
        give(found, "network_alpha", rank, "adapter.rank, which alpha is set to")
    give(found, "optimizer_args", arguments(tree.get("optimizer"), without=("type", "lr")),
         "optimizer")  # fmt: skip
    if not isinstance(tree.get("adapter"), dict):
        found.warnings.append("no [adapter]: the whole model is trained, no LoRA")
    name = str(tree.get("dataset", ""))
    file = beside(path, name, ".toml")
    if file is not None:
        take(found, parse_toml(file, read_text(file)), DATASET_NAMES)
    elif name:
        found.missing.append(name)
        found.warnings.append(f"the data set's {clean(name)} is not beside it")
        for entry in DATASET_NAMES:
            found.unresolved.setdefault(entry.common, name)
    return found
