"""Chroma: FLUX.1's blocks without its modulation, T5 alone, true guidance."""

from __future__ import annotations

from loraeval.families.flux import ENDS, SHARED, SINGLE, STREAMS
from loraeval.families.record import Family, Rendering, Sign, Training

FAMILY = Family(
    "chroma", "Chroma",
    versions=("chroma",),
    signs=(Sign(r"distilled_guidance_layer"), *SHARED),
    training=Training("flux_train_network.py", "chroma", "chroma"),
    render=Rendering(
        pipelines=("ChromaPipeline",),
        engine="loraeval.render.general:GeneralEngine",
        denoiser="transformer",
        encoders=("text_encoder",),
        parts={"transformer": ("unet",), "text_encoder": ("te", "te3")},
        layers=(*STREAMS, *SINGLE, *ENDS),
        multiple=16,
        steps=35, guidance=5.0, guided="true",
        source="lodestones/Chroma1-HD: 35 to 40 steps, guidance 3 to 5 (ChromaPipeline's defaults)",
        prompt_tokens=512,
    ),
)  # fmt: skip
