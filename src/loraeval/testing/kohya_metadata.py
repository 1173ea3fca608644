"""The metadata that sd-scripts records in a LoRA file, for files that tests and demos write.

Every value is a string made by ``str()``, as in real files: ``None`` becomes ``"None"``, a flag
``"True"``, a resolution the text of a tuple, tables JSON.
"""

from __future__ import annotations

import json
from typing import Any

from loraeval.families import DEFAULT, training_of
from loraeval.records import FamilyName

MINIMUM_KEYS = (
    "ss_v2", "ss_base_model_version", "ss_network_module", "ss_network_dim", "ss_network_alpha",
    "ss_network_args",
)  # fmt: skip
"""What is left of the ``ss_`` keys with ``--no_metadata`` and after ``merge_lora``."""

_DATASET_KEYS = (
    "batch_size_per_device", "total_batch_size", "resolution", "color_aug", "flip_aug",
    "random_crop", "shuffle_caption", "keep_tokens", "enable_bucket", "bucket_no_upscale",
    "min_bucket_reso", "max_bucket_reso", "bucket_info", "reg_dataset_dirs",
)  # fmt: skip

_TAGS = {"pixel art": 8, "24x24": 8, "portrait of a robot": 8, "background (#3a6ea5)": 8}


def kohya_metadata(
    family: FamilyName = DEFAULT.name, *, rank: int = 4, alpha: float | None = 2.0, images: int = 8,
    repeats: int = 10, tags: dict[str, int] | None = None, dataset_config: bool = False,
    minimum: bool = False, **recorded: Any,
) -> dict[str, str]:  # fmt: skip
    """Return the ``ss_*`` and ``modelspec.*`` metadata of a training run of ``family``.

    ``recorded`` overrides keys by their name without ``ss_`` (``learning_rate=1e-4``); ``...``
    (Ellipsis) drops a key. ``tags`` is the tag frequency of the one image folder;
    ``dataset_config`` moves the data-set keys into ``ss_datasets`` as ``--dataset_config`` does;
    ``minimum`` leaves what ``--no_metadata`` writes.
    """
    training = training_of(family)
    size = training.native_size
    directory = f"{repeats}_robots"
    count = images * repeats
    counts = tags if tags is not None else dict(_TAGS)
    values: dict[str, Any] = {
        # provenance
        "session_id": 1234567890, "training_started_at": "1700000000.0",
        "training_finished_at": "1700003600.0", "output_name": "run", "training_comment": None,
        "sd_scripts_commit_hash": "(unknown)", "steps": 100, "epoch": 1,
        # model
        "sd_model_name": training.model_name,
        "v2": False, "base_model_version": training.version,
        "clip_skip": None, "max_token_length": 225,
        # network
        "network_module": "networks.lora", "network_dim": rank,
        "network_alpha": float(alpha) if alpha is not None else None, "network_dropout": None,
        "scale_weight_norms": None,
        # learning
        "learning_rate": 1e-4, "text_encoder_lr": 5e-5, "unet_lr": 1e-4,
        "optimizer": "bitsandbytes.optim.adamw.AdamW8bit", "lr_scheduler": "cosine_with_restarts",
        "lr_warmup_steps": 0, "max_grad_norm": 1.0, "min_snr_gamma": 5.0,
        "debiased_estimation": False, "loss_type": "l2", "huber_schedule": "snr",
        "huber_scale": 1.0, "huber_c": 0.1, "prior_loss_weight": 1.0,
        # noise
        "noise_offset": 0.1, "noise_offset_random_strength": False,
        "multires_noise_iterations": 6, "multires_noise_discount": 0.3,
        "adaptive_noise_scale": 0.00357, "zero_terminal_snr": False, "ip_noise_gamma": None,
        "ip_noise_gamma_random_strength": False,
        # precision and memory
        "mixed_precision": "fp16", "full_fp16": False, "fp8_base": False, "fp8_base_unet": False,
        "gradient_checkpointing": True, "gradient_accumulation_steps": 1, "cache_latents": True,
        "lowram": False,
        # duration
        "num_epochs": 10, "max_train_steps": 10 * -(-count // 4),
        "num_batches_per_epoch": -(-count // 4), "seed": 42,
        # data
        "num_train_images": count, "num_reg_images": 0, "num_validation_images": 0,
        "caption_dropout_rate": 0.0, "caption_dropout_every_n_epochs": 0,
        "caption_tag_dropout_rate": 0.0, "face_crop_aug_range": None,
        "resize_interpolation": None, "batch_size_per_device": 4, "total_batch_size": 4,
        "resolution": (size, size), "color_aug": False, "flip_aug": False, "random_crop": False,
        "shuffle_caption": True, "keep_tokens": 2, "enable_bucket": False,
        "bucket_no_upscale": False, "min_bucket_reso": None, "max_bucket_reso": None,
        "bucket_info": json.dumps(None), "tag_frequency": json.dumps({directory: counts}),
        "dataset_dirs": json.dumps({directory: {"n_repeats": repeats, "img_count": images}}),
        "reg_dataset_dirs": json.dumps({}),
        # validation
        "validation_seed": None, "validation_split": 0.0, "max_validation_steps": None,
        "validate_every_n_epochs": None, "validate_every_n_steps": None,
    }  # fmt: skip
    values.update(recorded)
    if dataset_config:
        values["datasets"] = _datasets(values, directory, repeats, images, size)
        for key in _DATASET_KEYS:
            values.pop(key, None)
    metadata = {f"ss_{key}": str(value) for key, value in values.items() if value is not ...}
    if minimum:
        metadata = {key: metadata[key] for key in MINIMUM_KEYS if key in metadata}
    return metadata | {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{training.architecture}/lora",
        "modelspec.implementation": training.implementation,
        "modelspec.title": str(values["output_name"]),
        "modelspec.resolution": f"{size}x{size}",
        "modelspec.date": "2025-11-09T03:09:00",
        "modelspec.prediction_type": "epsilon",
    }


def _datasets(values: dict[str, Any], directory: str, repeats: int, images: int, size: int) -> str:
    return json.dumps(
        [
            {
                "is_dreambooth": True,
                "batch_size_per_device": values["batch_size_per_device"],
                "num_train_images": values["num_train_images"],
                "num_reg_images": values["num_reg_images"],
                "resolution": [size, size],
                "enable_bucket": values["enable_bucket"],
                "min_bucket_reso": values["min_bucket_reso"],
                "max_bucket_reso": values["max_bucket_reso"],
                "tag_frequency": json.loads(values["tag_frequency"]),
                "bucket_info": json.loads(values["bucket_info"]),
                "resize_interpolation": values["resize_interpolation"],
                "subsets": [
                    {
                        "img_count": images,
                        "num_repeats": repeats,
                        "color_aug": values["color_aug"],
                        "flip_aug": values["flip_aug"],
                        "random_crop": values["random_crop"],
                        "shuffle_caption": values["shuffle_caption"],
                        "keep_tokens": values["keep_tokens"],
                        "keep_tokens_separator": "",
                        "secondary_separator": None,
                        "enable_wildcard": False,
                        "caption_prefix": None,
                        "caption_suffix": None,
                        "image_dir": directory,
                        "class_tokens": directory.split("_", 1)[1],
                        "is_reg": False,
                    }
                ],
            }
        ]
    )
