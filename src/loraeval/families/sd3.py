"""Stable Diffusion 3 and 3.5: two CLIPs and T5, blocks of two streams."""

from __future__ import annotations

from loraeval.families.record import Family, Rendering, Sign, Training

_JOINT = (
    ("x_block.attn.qkv", ("attn.to_q", "attn.to_k", "attn.to_v")),
    ("context_block.attn.qkv", ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")),
    ("x_block.attn2.qkv", ("attn2.to_q", "attn2.to_k", "attn2.to_v")),
    ("x_block.attn.proj", ("attn.to_out.0",)), ("x_block.attn2.proj", ("attn2.to_out.0",)),
    ("context_block.attn.proj", ("attn.to_add_out",)),
    ("x_block.mlp.fc1", ("ff.net.0.proj",)), ("x_block.mlp.fc2", ("ff.net.2",)),
    ("context_block.mlp.fc1", ("ff_context.net.0.proj",)),
    ("context_block.mlp.fc2", ("ff_context.net.2",)),
    ("x_block.adaLN_modulation.1", ("norm1.linear",)),
    ("context_block.adaLN_modulation.1", ("norm1_context.linear",)),
)  # fmt: skip
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    *(
        (f"joint_blocks.{{n}}.{name}", tuple(f"transformer_blocks.{{n}}.{one}" for one in paths))
        for name, paths in _JOINT
    ),
    ("context_embedder", ("context_embedder",)), ("x_embedder.proj", ("pos_embed.proj",)),
    ("t_embedder.mlp.0", ("time_text_embed.timestep_embedder.linear_1",)),
    ("t_embedder.mlp.2", ("time_text_embed.timestep_embedder.linear_2",)),
    ("y_embedder.mlp.0", ("time_text_embed.text_embedder.linear_1",)),
    ("y_embedder.mlp.2", ("time_text_embed.text_embedder.linear_2",)),
    ("final_layer.linear", ("proj_out",)),
    ("final_layer.adaLN_modulation.1", ("~norm_out.linear",)),
)  # fmt: skip

FAMILY = Family(
    "sd3", "SD 3.5",
    versions=("sd3", "sd-3", "stable-diffusion-3", "sd35"),
    signs=(
        Sign(r"joint_blocks_|context_block_|x_block_"),
        Sign(r"^transformer_blocks_\d+_(?:attn2?_(?:to|add)_|ff|norm1)", (1536, 2432, 6144, 9728)),
        Sign(r"(?:self_attn|mlp)_", (768,), sure=False, component="te1"),
        Sign(r"(?:self_attn|mlp)_", (1280,), sure=False, component="te2"),
        Sign(r"encoder_block_\d+_layer_", (4096,), sure=False, component="te3"),
    ),
    text_names={"te": "te1"},
    training=Training("sd3_train_network.py", "sd3", "stable-diffusion-3-m"),
    render=Rendering(
        pipelines=("StableDiffusion3Pipeline",),
        engine="loraeval.render.general:GeneralEngine",
        denoiser="transformer",
        encoders=("text_encoder", "text_encoder_2", "text_encoder_3"),
        parts={"transformer": ("unet",), "text_encoder": ("te", "te1"),
               "text_encoder_2": ("te2",), "text_encoder_3": ("te3",)},
        layers=LAYERS,
        multiple=16,
        steps=28, guidance=7.0, guided="true",
        source="StableDiffusion3Pipeline's defaults: 28 steps, guidance 7 (3.5 medium: 40 and 4.5)",
        prompt_tokens=256,
    ),
)  # fmt: skip
