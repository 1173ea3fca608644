"""FLUX.2 (klein 4B and 9B, dev): one language model, modulation shared by all blocks."""

from __future__ import annotations

from loraeval.families.flux import STREAMS
from loraeval.families.record import Family, Rendering, Sign, Training

_WIDE = (4096, 6144)
_MLP = {"ff.net.0.proj": "ff.linear_in", "ff.net.2": "ff.linear_out",
        "ff_context.net.0.proj": "ff_context.linear_in",
        "ff_context.net.2": "ff_context.linear_out"}  # fmt: skip


def _renamed(path: str) -> str:
    for old, new in _MLP.items():
        if path.endswith(f"}}.{old}"):
            return path.removesuffix(old) + new
    return path


LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    *((name, tuple(map(_renamed, paths))) for name, paths in STREAMS if "_mod." not in name),
    ("single_blocks.{n}.linear1", ("single_transformer_blocks.{n}.attn.to_qkv_mlp_proj",)),
    ("single_blocks.{n}.linear2", ("single_transformer_blocks.{n}.attn.to_out",)),
    ("img_in", ("x_embedder",)), ("txt_in", ("context_embedder",)),
    ("time_in.in_layer", ("time_guidance_embed.timestep_embedder.linear_1",)),
    ("time_in.out_layer", ("time_guidance_embed.timestep_embedder.linear_2",)),
    ("guidance_in.in_layer", ("time_guidance_embed.guidance_embedder.linear_1",)),
    ("guidance_in.out_layer", ("time_guidance_embed.guidance_embedder.linear_2",)),
    ("single_stream_modulation.lin", ("single_stream_modulation.linear",)),
    ("double_stream_modulation_img.lin", ("double_stream_modulation_img.linear",)),
    ("double_stream_modulation_txt.lin", ("double_stream_modulation_txt.linear",)),
    ("final_layer.linear", ("proj_out",)),
    ("final_layer.adaLN_modulation.1", ("~norm_out.linear",)),
)  # fmt: skip

FAMILY = Family(
    "flux2", "FLUX.2",
    versions=("flux2", "flux-2"),
    signs=(
        Sign(r"to_qkv_mlp_proj|stream_modulation|time_guidance_embed|ff(?:_context)?_linear_(?:in|out)$"),
        Sign(r"(?:double|single)_blocks_\d+_|^(?:single_)?transformer_blocks_\d+_attn_(?:to|add)_",
             _WIDE),
        Sign(r"single_blocks_\d+_linear1$", ratio=9),
        Sign(r"double_blocks_\d+_(?:img|txt)_mlp_0$", ratio=6),
        Sign(r"double_blocks_\d+_(?:img_attn|txt_attn)", (3072,), sure=False),
        Sign(r"^transformer_blocks_\d+_attn_(?:to|add)_", (3072,), sure=False),
    ),
    training=Training("flux2_train_network.py", "flux2", "flux-2-dev"),
    render=Rendering(
        pipelines=("Flux2KleinPipeline", "Flux2Pipeline"),
        engine="loraeval.render.general:GeneralEngine",
        denoiser="transformer",
        encoders=("text_encoder",),
        parts={"transformer": ("unet",), "text_encoder": ("te", "te1")},
        layers=LAYERS,
        multiple=16,
        steps=50, guidance=4.0, guided="by model",
        source="black-forest-labs/FLUX.2-dev: 50 steps, guidance 4; distilled klein 4 steps",
        prompt_tokens=512,
    ),
)  # fmt: skip
