"""Lumina-Image 2.0 and what was trained from it: Gemma 2, a single-stream transformer 2304 wide."""

from __future__ import annotations

from loraeval.families.record import Family, Rendering, Sign, Training

LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = tuple(
    (f"{block}.{{n}}.{name}", tuple(f"{block}.{{n}}.{one}" for one in paths))
    for block in ("layers", "noise_refiner", "context_refiner")
    for name, paths in (
        ("attention.qkv", ("attn.to_q", "attn.to_k", "attn.to_v")),
        ("attention.out", ("attn.to_out.0",)),
        ("feed_forward.w1", ("feed_forward.linear_1",)),
        ("feed_forward.w2", ("feed_forward.linear_2",)),
        ("feed_forward.w3", ("feed_forward.linear_3",)),
        ("adaLN_modulation.1", ("norm1.linear",)),
    )
)

FAMILY = Family(
    "lumina2", "Lumina 2",
    versions=("lumina",),
    signs=(
        Sign(r"^(?:layers|noise_refiner|context_refiner)_\d+_(?:attention|attn|feed_forward)",
             (2304, 9216)),
        Sign(r"^(?:layers|noise_refiner|context_refiner)_\d+_(?:attn_to_|feed_forward_linear)"),
        Sign(r"^(?:layers|noise_refiner|context_refiner)_\d+_", sure=False),
    ),
    training=Training("lumina_train_network.py", "lumina2", "lumina-2"),
    render=Rendering(
        pipelines=("Lumina2Pipeline", "Lumina2Text2ImgPipeline"),
        engine="loraeval.render.general:GeneralEngine",
        denoiser="transformer",
        encoders=("text_encoder",),
        parts={"transformer": ("unet",), "text_encoder": ("te",)},
        layers=LAYERS,
        multiple=16,
        steps=30, guidance=4.0, guided="true",
        source="Alpha-VLLM/Lumina-Image-2.0: guidance 4; Lumina2Pipeline's default of 30 steps",
        prompt_tokens=256,
    ),
)  # fmt: skip
