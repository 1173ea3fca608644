"""SDXL and what was trained from it: two CLIP text encoders, a UNet that reads states 2048 wide.

sd-scripts names its UNet by Stability's own block names (``input_blocks_4_1``).
"""

from __future__ import annotations

from loraeval.families.clip import CLIP_G, CLIP_L, SCHEDULER, TINY_TEXT, TINY_VAE, VAE
from loraeval.families.record import Compiling, Family, Layout, Rendering, Sign, Training

_LAYOUT = Layout(
    components=("unet", "te1", "te2"),
    text_encoders={"te1": (12, 768), "te2": (32, 1280)},
    cross_attention=2048,
    attention=(
        *((f"input_blocks_{i}_1", 640, 2) for i in (4, 5)),
        *((f"input_blocks_{i}_1", 1280, 10) for i in (7, 8)),
        ("middle_block_1", 1280, 10),
        *((f"output_blocks_{i}_1", 1280, 10) for i in range(3)),
        *((f"output_blocks_{i}_1", 640, 2) for i in (3, 4, 5)),
    ),
    residual=(
        *(
            (f"input_blocks_{i}_0", before, after)
            for i, before, after in [
                (1, 320, 320), (2, 320, 320), (4, 320, 640),
                (5, 640, 640), (7, 640, 1280), (8, 1280, 1280),
            ]
        ),
        ("middle_block_0", 1280, 1280),
        ("middle_block_2", 1280, 1280),
        *(
            (f"output_blocks_{i}_0", before, after)
            for i, (before, after) in enumerate(
                [
                    (2560, 1280), (2560, 1280), (1920, 1280),
                    (1920, 640), (1280, 640), (960, 640),
                    (960, 320), (640, 320), (640, 320),
                ]
            )
        ),
    ),
    resamplers=(
        ("input_blocks_3_0_op", 320),
        ("input_blocks_6_0_op", 640),
        ("output_blocks_2_2_conv", 1280),
        ("output_blocks_5_2_conv", 640),
    ),
    residual_layers=("in_layers_2", "emb_layers_1", "out_layers_3", "skip_connection"),
    projection=0,
)  # fmt: skip

UNET = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 128,
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20],
    "transformer_layers_per_block": [1, 2, 10],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "layers_per_block": 2,
}
TINY_UNET = {
    "block_out_channels": [32, 32, 64], "cross_attention_dim": 64, "sample_size": 8,
    "attention_head_dim": [2, 2, 4], "transformer_layers_per_block": [1, 1, 2],
    "norm_num_groups": 8, "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + 32,
}  # fmt: skip

FAMILY = Family(
    name="sdxl",
    title="SDXL",
    denoiser="unet",
    versions=("sdxl", "stable-diffusion-xl"),
    signs=(
        Sign(
            r"(?:^|_)(?:down_blocks|up_blocks|mid_block|input_blocks|output_blocks|middle_block)_"
            r".*attn2_to_[kv]$",
            (2048,),
            sure=False,
        ),
        Sign(r"(?:input_blocks|output_blocks|middle_block)_", sure=False),
        Sign(r"(?:self_attn|mlp)_", (768,), sure=False, component="te1?"),
        Sign(r"(?:self_attn|mlp)_", (1280,), sure=False, component="te2"),
    ),
    text_names={"te": "te1"},
    training=Training(
        script="sdxl_train_network.py", version="sdxl_base_v1-0",
        architecture="stable-diffusion-xl-v1-base",
        implementation="https://github.com/Stability-AI/generative-models",
        model_name="stable-diffusion-xl-base-1.0", file_names=("xl",),
        forward_tflop=6.0,
    ),
    layout=_LAYOUT,
    render=Rendering(
        pipelines=("StableDiffusionXLPipeline",),
        options={"add_watermarker": False},
        index={"force_zeros_for_empty_prompt": True},
        encoders=("text_encoder", "text_encoder_2"),
        parts={"unet": ("unet",), "text_encoder": ("te", "te1"), "text_encoder_2": ("te2",)},
        names="stability",
        encode="encode_penultimate",
        single_file=("conditioner.embedders.1.",),
        configs={
            "unet": UNET,
            "vae": VAE | {"sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
            "text_encoder": CLIP_L, "text_encoder_2": CLIP_G, "scheduler": SCHEDULER
            | {"_class_name": "EulerDiscreteScheduler", "prediction_type": "epsilon",
               "timestep_spacing": "leading"},
        },
        tiny={"unet": TINY_UNET, "vae": TINY_VAE, "text_encoder": TINY_TEXT,
              "text_encoder_2": TINY_TEXT},
        blocks=("ResnetBlock2D", "BasicTransformerBlock"),
        images_at_512=24,
        compiling={"unet": Compiling(54.3, 16.5, 0.82)},
        vae_overflows=True,
        source="stable-diffusion-xl-base-1.0: 30 steps at guidance 7.5",
    ),
)  # fmt: skip
"""Its transformers repeat inside, up to ten times. Its VAE is in float32, never compiled."""
