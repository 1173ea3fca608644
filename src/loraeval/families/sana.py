"""Sana: Gemma 2 reads the prompt, a linear transformer over 32 times smaller latents."""

from __future__ import annotations

from loraeval.families.record import Family, Rendering, Sign

FAMILY = Family(
    "sana", "Sana",
    versions=("sana",),
    signs=(
        Sign(r"ff_conv_(?:inverted|depth|point)|mlp_(?:inverted|depth|point)_conv"),
        Sign(r"^transformer_blocks_\d+_attn[12]_to_", (2240,)),
        Sign(r"^blocks_\d+_(?:attn_qkv|cross_attn_(?:q|kv)_linear)", (2240,)),
        Sign(r"^transformer_blocks_\d+_attn[12]_to_", (1152,), sure=False),
        Sign(r"^blocks_\d+_(?:attn_qkv|cross_attn_(?:q|kv)_linear)", (1152,), sure=False),
    ),
    render=Rendering(
        pipelines=("SanaPipeline",),
        engine="loraeval.render.general:GeneralEngine",
        denoiser="transformer",
        encoders=("text_encoder",),
        parts={"transformer": ("unet",), "text_encoder": ("te",)},
        multiple=32,
        call={"use_resolution_binning": False},
        steps=20, guidance=4.5, guided="true",
        source="SanaPipeline's defaults: 20 steps, guidance 4.5",
        prompt_tokens=300,
    ),
)  # fmt: skip
