"""FLUX.1 (dev, schnell and what was trained from them): CLIP and T5, a transformer 3072 wide."""

from __future__ import annotations

from loraeval.families.record import Family, Rendering, Sign, Training

STREAMS: tuple[tuple[str, tuple[str, ...]], ...] = tuple(
    (f"double_blocks.{{n}}.{theirs}", tuple(f"transformer_blocks.{{n}}.{one}" for one in ours))
    for theirs, ours in (
        ("img_attn.qkv", ("attn.to_q", "attn.to_k", "attn.to_v")),
        ("txt_attn.qkv", ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")),
        ("processor.qkv1", ("attn.to_q", "attn.to_k", "attn.to_v")),
        ("processor.qkv2", ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")),
        ("img_attn.proj", ("attn.to_out.0",)), ("txt_attn.proj", ("attn.to_add_out",)),
        ("qkv1", ("attn.to_q", "attn.to_k", "attn.to_v")),
        ("qkv2", ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")),
        ("proj1", ("attn.to_out.0",)), ("proj2", ("attn.to_add_out",)),
        ("img_mlp.0", ("ff.net.0.proj",)), ("img_mlp.2", ("ff.net.2",)),
        ("txt_mlp.0", ("ff_context.net.0.proj",)), ("txt_mlp.2", ("ff_context.net.2",)),
        ("img_mod.lin", ("norm1.linear",)), ("txt_mod.lin", ("norm1_context.linear",)),
    )
)  # fmt: skip
"""Black Forest Labs' names of the blocks with two streams (XLabs' as ``qkv1``, ``proj1``)."""

_SINGLE = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
SINGLE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("single_blocks.{n}.linear1", tuple(f"single_transformer_blocks.{{n}}.{x}" for x in _SINGLE)),
    ("single_blocks.{n}.linear2", ("single_transformer_blocks.{n}.proj_out",)),
    ("single_blocks.{n}.modulation.lin", ("single_transformer_blocks.{n}.norm.linear",)),
)
"""Their names of the blocks with one stream."""

ENDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("img_in", ("x_embedder",)), ("txt_in", ("context_embedder",)),
    ("time_in.in_layer", ("time_text_embed.timestep_embedder.linear_1",)),
    ("time_in.out_layer", ("time_text_embed.timestep_embedder.linear_2",)),
    ("vector_in.in_layer", ("time_text_embed.text_embedder.linear_1",)),
    ("vector_in.out_layer", ("time_text_embed.text_embedder.linear_2",)),
    ("guidance_in.in_layer", ("time_text_embed.guidance_embedder.linear_1",)),
    ("guidance_in.out_layer", ("time_text_embed.guidance_embedder.linear_2",)),
    ("final_layer.linear", ("proj_out",)),
    ("final_layer.adaLN_modulation.1", ("~norm_out.linear",)),
)  # fmt: skip
"""Their names of what stands before and after the blocks; ``~``: shift and scale swapped."""

SHARED = (
    Sign(r"double_blocks\.\d+\.(?:img|txt)_(?:attn|mlp)\.", (3072, 12288), sure=False),
    Sign(r"(?:double|single)_blocks_\d+_(?:img_attn|txt_attn|img_mlp_|txt_mlp_|linear)",
         (3072, 12288, 15360), sure=False),
    Sign(r"^(?:single_)?transformer_blocks_\d+_(?:attn_(?:to|add)_|ff|proj_mlp|proj_out)",
         (3072, 12288, 15360), sure=False),
    Sign(r"(?:double|single)_blocks_\d+_|^single_transformer_blocks_", sure=False),
)  # fmt: skip
"""Layers that FLUX.1 and what was cut down from it have alike."""

FAMILY = Family(
    "flux", "FLUX.1",
    versions=("flux", "flux1", "flux-1"),
    signs=(
        Sign(r"double_blocks_\d+_(?:img|txt)_mod_lin$|single_blocks_\d+_modulation_lin$"),
        Sign(r"^guidance_in_|^vector_in_|time_text_embed_guidance_embedder"),
        Sign(r"^(?:single_)?transformer_blocks_\d+_norm(?:1|1_context)?_linear$", (3072,)),
        *SHARED,
        Sign(r"encoder_block_\d+_layer_", (4096,), sure=False, component="te2"),
        Sign(r"(?:self_attn|mlp)_", (768,), sure=False, component="te1"),
    ),
    text_names={"te": "te1"},
    training=Training("flux_train_network.py", "flux1", "flux-1-dev"),
    render=Rendering(
        pipelines=("FluxPipeline",),
        engine="loraeval.render.general:GeneralEngine",
        denoiser="transformer",
        encoders=("text_encoder", "text_encoder_2"),
        parts={"transformer": ("unet",), "text_encoder": ("te", "te1"),
               "text_encoder_2": ("te2", "te3")},
        layers=(*STREAMS, *SINGLE, *ENDS),
        multiple=16,
        steps=28, guidance=3.5, guided="embedded",
        source="black-forest-labs/FLUX.1-dev: 28 steps, guidance 3.5 (FluxPipeline's defaults)",
        prompt_tokens=512,
    ),
)  # fmt: skip
