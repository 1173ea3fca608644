"""Z-Image and Z-Image-Turbo: one language model, a single-stream transformer 3840 wide."""

from __future__ import annotations

from loraeval.families.record import Family, Rendering, Sign, Training

LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = tuple(
    (f"{block}.{{n}}.attention.{name}", tuple(f"{block}.{{n}}.attention.{one}" for one in paths))
    for block in ("layers", "noise_refiner", "context_refiner")
    for name, paths in (("qkv", ("to_q", "to_k", "to_v")), ("out", ("to_out.0",)))
)
"""The names of the original code, which ComfyUI keeps: one matrix for query, key and value."""

FAMILY = Family(
    "z-image", "Z-Image",
    versions=("z-image", "zimage"),
    signs=(
        Sign(r"^(?:layers|noise_refiner|context_refiner)_\d+_(?:attention|feed_forward)",
             (3840, 10240)),
        Sign(r"^(?:layers|noise_refiner|context_refiner)_\d+_attention_to_"),
        Sign(r"^(?:layers|noise_refiner|context_refiner)_\d+_(?:attention|feed)", sure=False),
    ),
    training=Training("zimage_train_network.py", "z_image", "z-image"),
    render=Rendering(
        pipelines=("ZImagePipeline",),
        engine="loraeval.render.general:GeneralEngine",
        denoiser="transformer",
        encoders=("text_encoder",),
        parts={"transformer": ("unet",), "text_encoder": ("te",)},
        layers=LAYERS,
        multiple=16,
        steps=50, guidance=5.0, guided="true",
        source="Tongyi-MAI/Z-Image: ZImagePipeline's defaults, 50 steps, guidance 5; Turbo 8, 0",
        prompt_tokens=512,
    ),
)  # fmt: skip
