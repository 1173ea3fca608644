"""Qwen-Image: a vision-language model reads the prompt, 60 blocks of two streams, true guidance."""

from __future__ import annotations

from loraeval.families.record import Family, Rendering, Sign, Training

FAMILY = Family(
    "qwen-image", "Qwen-Image",
    versions=("qwen",),
    signs=(
        Sign(r"^transformer_blocks_\d+_(?:img|txt)_(?:mod|mlp)"),
        Sign(r"^transformer_blocks_(?:2\d|[345]\d)_attn_(?:to|add)_", (3072,)),
        Sign(r"^transformer_blocks_\d+_attn_(?:to|add)_", (3072,), sure=False),
    ),
    training=Training("qwen_image_train_network.py", "qwen_image", "Qwen-Image"),
    render=Rendering(
        pipelines=("QwenImagePipeline",),
        engine="loraeval.render.general:GeneralEngine",
        denoiser="transformer",
        encoders=("text_encoder",),
        parts={"transformer": ("unet",), "text_encoder": ("te",)},
        multiple=16,
        steps=50, guidance=4.0, guided="true", scale_name="true_cfg_scale",
        source="Qwen/Qwen-Image: 50 steps, true guidance 4 (QwenImagePipeline's defaults)",
        prompt_tokens=512,
    ),
)  # fmt: skip
