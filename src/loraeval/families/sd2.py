"""Stable Diffusion 2.x: OpenCLIP ViT-H reads the prompt; the 768 models predict v."""

from __future__ import annotations

from loraeval.families.clip import CLIP_L, SCHEDULER, TINY_TEXT, TINY_VAE, VAE
from loraeval.families.record import Compiling, Family, Rendering, Sign, Training
from loraeval.families.sd15 import TINY_UNET, UNET

CLIP_H = CLIP_L | {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23,
    "num_attention_heads": 16, "projection_dim": 512, "hidden_act": "gelu",
}  # fmt: skip

FAMILY = Family(
    "sd2", "SD 2.x",
    denoiser="unet",
    versions=("sd-v2", "sd2", "sd-2", "stable-diffusion-v2", "stable-diffusion-2"),
    text_names={"te1": "te"},
    signs=(
        Sign(r"(?:down_blocks|up_blocks|mid_block)_.*attn2_to_[kv]$", (1024,)),
        Sign(r"(?:self_attn|mlp)_", (1024,), sure=False, component="te1?"),
    ),
    training=Training(
        script="train_network.py", version="sd_v2", architecture="stable-diffusion-v2-768-v",
        model_name="stable-diffusion-2-1", clip_skip=True, forward_tflop=0.8, native_size=768,
    ),
    render=Rendering(
        pipelines=("StableDiffusionPipeline",),
        options={"safety_checker": None, "feature_extractor": None,
                 "requires_safety_checker": False},
        index={"safety_checker": [None, None], "feature_extractor": [None, None],
               "requires_safety_checker": False},
        encoders=("text_encoder",),
        parts={"unet": ("unet",), "text_encoder": ("te1", "te")},
        encode="encode_last",
        single_file=("cond_stage_model.model.",),
        told_by={"cross_attention_dim": 1024},
        configs={
            "unet": UNET | {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20],
                            "sample_size": 96, "use_linear_projection": True},
            "vae": VAE | {"sample_size": 768, "scaling_factor": 0.18215, "force_upcast": False},
            "text_encoder": CLIP_H,
            "scheduler": SCHEDULER
            | {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"},
        },
        tiny={"unet": TINY_UNET | {"attention_head_dim": [4, 8, 8], "cross_attention_dim": 1024},
              "vae": TINY_VAE, "text_encoder": TINY_TEXT | {"hidden_size": 1024}},
        blocks=("ResnetBlock2D", "Transformer2DModel"),
        images_at_512=48,
        compiling={"unet": Compiling(36.6, 9.5, 0.70), "vae": Compiling(8.9, 1.3, 0.47)},
        steps=30, guidance=7.5, guided="true",
        source="stabilityai/stable-diffusion-2-1: 768 pixels, v-prediction",
        prompt_tokens=None,
    ),
)  # fmt: skip
"""Costs of compiling are those measured for SD 1.5, whose UNet has the same blocks."""
