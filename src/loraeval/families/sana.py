"""Sana: Gemma 2 reads the prompt, a linear transformer over 32 times smaller latents."""

from __future__ import annotations

from loraeval.families.record import Family, Sign

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
)  # fmt: skip
