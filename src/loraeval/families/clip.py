"""CLIP's two text encoders and the noise schedule, as SD 1.5 and SDXL were trained with them."""

from __future__ import annotations

from typing import Any

_SHARED = {
    "model_type": "clip_text_model", "vocab_size": 49408, "max_position_embeddings": 77,
    "layer_norm_eps": 1e-5, "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 1,
}  # fmt: skip

CLIP_L: dict[str, Any] = {
    "architectures": ["CLIPTextModel"], **_SHARED,
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "projection_dim": 768, "hidden_act": "quick_gelu",
}  # fmt: skip
"""The configuration of OpenAI's CLIP ViT-L/14 text encoder."""

CLIP_G: dict[str, Any] = {
    "architectures": ["CLIPTextModelWithProjection"], **_SHARED,
    "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
    "num_attention_heads": 20, "projection_dim": 1280, "hidden_act": "gelu",
}  # fmt: skip
"""The configuration of OpenCLIP's ViT-bigG/14 text encoder."""

SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "clip_sample": False, "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None,
}  # fmt: skip
"""What the published schedulers of SD 1.x and SDXL share."""

VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "latent_channels": 4,
    "layers_per_block": 2,
}
"""What the VAEs of SD 1.x and SDXL share."""

TINY_VAE: dict[str, Any] = {
    "block_out_channels": [16, 32, 32, 32], "norm_num_groups": 8, "sample_size": 64,
}  # fmt: skip
TINY_TEXT: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "projection_dim": 32,
}  # fmt: skip
