"""Stable Diffusion 1.x: one CLIP text encoder, a UNet that reads states 768 wide."""

from __future__ import annotations

from loraeval.families.clip import CLIP_L, SCHEDULER, TINY_TEXT, TINY_VAE, VAE
from loraeval.families.record import Compiling, Family, Layout, Rendering, Sign, Training

_WIDTHS = (320, 640, 1280, 1280)

_LAYOUT = Layout(
    components=("unet", "te"),
    text_encoders={"te": (12, 768)},
    cross_attention=768,
    attention=(
        *((f"down_blocks_{b}_attentions_{i}", _WIDTHS[b], 1) for b in range(3) for i in range(2)),
        ("mid_block_attentions_0", 1280, 1),
        *(
            (f"up_blocks_{b}_attentions_{i}", (1280, 640, 320)[b - 1], 1)
            for b in (1, 2, 3)
            for i in range(3)
        ),
    ),
    residual=(
        *(
            (f"down_blocks_{b}_resnets_{i}", before if i == 0 else after, after)
            for b, (before, after) in enumerate([(320, 320), (320, 640), (640, 1280), (1280, 1280)])
            for i in range(2)
        ),
        *((f"mid_block_resnets_{i}", 1280, 1280) for i in range(2)),
        *(
            (f"up_blocks_{b}_resnets_{i}", before, after)
            for b, (after, befores) in enumerate(
                [
                    (1280, (2560, 2560, 2560)),
                    (1280, (2560, 2560, 1920)),
                    (640, (1920, 1280, 960)),
                    (320, (960, 640, 640)),
                ]
            )
            for i, before in enumerate(befores)
        ),
    ),
    resamplers=(
        *((f"down_blocks_{b}_downsamplers_0_conv", _WIDTHS[b]) for b in range(3)),
        *((f"up_blocks_{b}_upsamplers_0_conv", (1280, 1280, 640)[b]) for b in range(3)),
    ),
    residual_layers=("conv1", "time_emb_proj", "conv2", "conv_shortcut"),
    projection=1,
)

UNET = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 64,
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "layers_per_block": 2,
}
TINY_UNET = {
    "block_out_channels": [32, 64, 64], "cross_attention_dim": 32, "sample_size": 8,
    "attention_head_dim": 4, "norm_num_groups": 8,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
}  # fmt: skip

FAMILY = Family(
    name="sd15",
    title="SD 1.5",
    denoiser="unet",
    versions=("sd-v1", "sd-1-5", "sd1", "sd-15", "stable-diffusion-v1", "stable-diffusion-1",
    "sd-1"),
    signs=(
        Sign(r"(?:down_blocks|up_blocks|mid_block)_.*attn2_to_[kv]$", (768,)),
        Sign(r"attentions_\d+_proj_(?:in|out)$", kernel=1),
        Sign(r"(?:self_attn|mlp)_", (768,), sure=False, component="te"),
    ),
    text_names={"te1": "te"},
    training=Training(
        script="train_network.py", version="sd_v1", architecture="stable-diffusion-v1",
        model_name="stable-diffusion-v1-5", clip_skip=True, forward_tflop=0.8, native_size=512,
    ),
    layout=_LAYOUT,
    render=Rendering(
        pipelines=("StableDiffusionPipeline",),
        options={"safety_checker": None, "feature_extractor": None,
                 "requires_safety_checker": False},
        index={"safety_checker": [None, None], "feature_extractor": [None, None],
               "requires_safety_checker": False},
        encoders=("text_encoder",),
        parts={"unet": ("unet",), "text_encoder": ("te1", "te")},
        encode="encode_last",
        single_file=("cond_stage_model.transformer.",),
        configs={
            "unet": UNET,
            "vae": VAE | {"sample_size": 512, "scaling_factor": 0.18215, "force_upcast": False},
            "text_encoder": CLIP_L, "scheduler": SCHEDULER | {"_class_name": "PNDMScheduler"},
        },
        tiny={"unet": TINY_UNET, "vae": TINY_VAE, "text_encoder": TINY_TEXT},
        blocks=("ResnetBlock2D", "Transformer2DModel"),
        images_at_512=48,
        compiling={"unet": Compiling(36.6, 9.5, 0.70), "vae": Compiling(8.9, 1.3, 0.47)},
        source="stable-diffusion-v1-5: the web interfaces' usual 30 steps at guidance 7.5",
    ),
)  # fmt: skip
"""Costs of compiling as measured on H200s: see ``render.economy``."""
