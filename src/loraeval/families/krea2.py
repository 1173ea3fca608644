"""Krea 2: a vision-language model reads the prompt, gated attention in a single stream."""

from __future__ import annotations

from loraeval.families.record import Family, Rendering, Sign, Training

_INNER = (
    ("attn.wq", "attn.to_q"), ("attn.wk", "attn.to_k"), ("attn.wv", "attn.to_v"),
    ("attn.wo", "attn.to_out.0"), ("attn.gate", "attn.to_gate"),
    ("mlp.gate", "ff.gate"), ("mlp.up", "ff.up"), ("mlp.down", "ff.down"),
)  # fmt: skip
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    *(
        (f"{theirs}.{{n}}.{name}", (f"{ours}.{{n}}.{path}",))
        for theirs, ours in (
            ("blocks", "transformer_blocks"),
            ("txtfusion.layerwise_blocks", "text_fusion.layerwise_blocks"),
            ("txtfusion.refiner_blocks", "text_fusion.refiner_blocks"),
        )
        for name, path in _INNER
    ),
    ("first", ("img_in",)), ("last.linear", ("final_layer.linear",)),
    ("tmlp.0", ("time_embed.linear_1",)), ("tmlp.2", ("time_embed.linear_2",)),
    ("tproj.1", ("time_mod_proj",)), ("txtmlp.1", ("txt_in.linear_1",)),
    ("txtmlp.3", ("txt_in.linear_2",)), ("txtfusion.projector", ("text_fusion.projector",)),
)  # fmt: skip

FAMILY = Family(
    "krea2", "Krea 2",
    versions=("krea2", "krea-2"),
    signs=(
        Sign(r"^blocks_\d+_attn_(?:w[qkvo]|gate)$|^blocks_\d+_mlp_(?:gate|up|down)$|^txtfusion_"),
        Sign(r"^transformer_blocks_\d+_(?:attn_to_gate|ff_(?:gate|up|down))$|^text_fusion_"),
        Sign(r"^transformer_blocks_\d+_attn_to_", (6144,), sure=False),
    ),
    training=Training("krea2_train_network.py", "krea2", "krea-2"),
    render=Rendering(
        pipelines=("Krea2Pipeline",),
        engine="loraeval.render.general:GeneralEngine",
        denoiser="transformer",
        encoders=("text_encoder",),
        parts={"transformer": ("unet",), "text_encoder": ("te",)},
        layers=LAYERS,
        multiple=16,
        steps=28, guidance=4.5, guided="true",
        source="Krea2Pipeline's defaults: 28 steps, guidance 4.5",
        prompt_tokens=512,
    ),
)  # fmt: skip
