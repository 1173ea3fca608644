"""Tiny random pipelines of every family with a transformer, built without any download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from loraeval import torchvision_ops

torchvision_ops.install()

import diffusers  # noqa: E402
import transformers  # noqa: E402

WORDS = ["<pad>", "</s>", "<unk>", "<s>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "user",
         "assistant", "system", "a", "red", "blue", "cat", "dog", "of", "the", "and", "green",
         "bird", "on", "image", "think", "\n", "in", "with"]  # fmt: skip
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }} {% if m['content'] is string %}"
    "{{ m['content'] }}{% else %}{% for c in m['content'] %}{{ c['text'] }}{% endfor %}{% endif %}"
    "<|im_end|> {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


def tokenizer(length: int = 512, side: str = "right") -> Any:
    """Return a tokenizer of whole words with a chat template."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    inner = Tokenizer(WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = Whitespace()
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", pad_token="<pad>", eos_token="</s>",
        bos_token="<s>", model_max_length=length, padding_side=side,
    )  # fmt: skip
    made.chat_template = CHAT
    return made


def clip(width: int = 32, *, projected: bool = False) -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=64, hidden_size=width, intermediate_size=37, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=77, projection_dim=width, eos_token_id=1,
    )  # fmt: skip
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(config)


def t5(width: int = 32) -> Any:
    return transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=64,
            d_model=width,
            d_kv=8,
            d_ff=37,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
        )
    )


def qwen3(width: int = 32, layers: int = 4, *, causal: bool = False) -> Any:
    kind = transformers.Qwen3ForCausalLM if causal else transformers.Qwen3Model
    return kind(
        transformers.Qwen3Config(
            vocab_size=64,
            hidden_size=width,
            intermediate_size=64,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
        )
    )


def gemma(width: int = 32) -> Any:
    return transformers.Gemma2Model(
        transformers.Gemma2Config(
            vocab_size=64,
            hidden_size=width,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
        )
    )


def vae(latents: int = 4, **more: Any) -> Any:
    return diffusers.AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=latents, block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1, norm_num_groups=8, sample_size=32, shift_factor=0.1,
        scaling_factor=0.4, use_quant_conv=False, use_post_quant_conv=False, **more,
    )  # fmt: skip


def flow(**more: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**more)


def flux() -> Any:
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8), guidance_embeds=True,
    )  # fmt: skip
    return diffusers.FluxPipeline(
        scheduler=flow(use_dynamic_shifting=True), vae=vae(4), text_encoder=clip(),
        tokenizer=tokenizer(77), text_encoder_2=t5(), tokenizer_2=tokenizer(),
        transformer=transformer,
    )  # fmt: skip


def chroma() -> Any:
    transformer = diffusers.ChromaTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, axes_dims_rope=(4, 4, 8),
        approximator_hidden_dim=32, approximator_layers=1, approximator_num_channels=16,
    )  # fmt: skip
    return diffusers.ChromaPipeline(
        scheduler=flow(), vae=vae(4), text_encoder=t5(), tokenizer=tokenizer(),
        transformer=transformer,
    )  # fmt: skip


def sd3() -> Any:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=32, patch_size=1, in_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=4, joint_attention_dim=32, caption_projection_dim=32,
        pooled_projection_dim=64, out_channels=4, qk_norm="rms_norm",
    )  # fmt: skip
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer, scheduler=flow(), vae=vae(4), text_encoder=clip(projected=True),
        tokenizer=tokenizer(77), text_encoder_2=clip(projected=True), tokenizer_2=tokenizer(77),
        text_encoder_3=t5(), tokenizer_3=tokenizer(),
    )  # fmt: skip


def z_image() -> Any:
    transformer = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=32, n_layers=2,
        n_refiner_layers=1, n_heads=2, n_kv_heads=2, qk_norm=True, cap_feat_dim=32,
        rope_theta=256.0,
        t_scale=1000.0, axes_dims=[8, 4, 4], axes_lens=[2048, 32, 32],
    )  # fmt: skip
    return diffusers.ZImagePipeline(
        scheduler=flow(), vae=vae(4), text_encoder=qwen3(), tokenizer=tokenizer(),
        transformer=transformer,
    )  # fmt: skip


def lumina2() -> Any:
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=4, patch_size=2, in_channels=4, hidden_size=24, num_layers=2,
        num_refiner_layers=1, num_attention_heads=3, num_kv_heads=1, multiple_of=16,
        norm_eps=1e-5, scaling_factor=1.0, axes_dim_rope=(4, 2, 2), axes_lens=(128, 128, 128),
        cap_feat_dim=32,
    )  # fmt: skip
    return diffusers.Lumina2Pipeline(
        transformer=transformer, scheduler=flow(), vae=vae(4), text_encoder=gemma(),
        tokenizer=tokenizer(),
    )  # fmt: skip


def qwen_vision(width: int = 32, kind: str = "Qwen2_5_VL") -> Any:
    text = {
        "vocab_size": 64, "hidden_size": width, "intermediate_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]},
    }  # fmt: skip
    if kind == "Qwen2_5_VL":
        vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2,
                  "out_hidden_size": width}  # fmt: skip
        config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision)
        return transformers.Qwen2_5_VLForConditionalGeneration(config)
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2,
              "out_hidden_size": width, "deepstack_visual_indexes": [0]}  # fmt: skip
    return transformers.Qwen3VLModel(
        transformers.Qwen3VLConfig(text_config=text, vision_config=vision)
    )


def qwen_vae() -> Any:
    return diffusers.AutoencoderKLQwenImage(
        base_dim=16, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False],
        latents_mean=[0.1] * 4, latents_std=[1.0] * 4,
    )  # fmt: skip


def qwen_image() -> Any:
    transformer = diffusers.QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    return diffusers.QwenImagePipeline(
        scheduler=flow(), vae=qwen_vae(), text_encoder=qwen_vision(), tokenizer=tokenizer(),
        transformer=transformer,
    )  # fmt: skip


def krea2() -> Any:
    transformer = diffusers.Krea2Transformer2DModel(
        in_channels=16, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=64, timestep_embed_dim=16, text_hidden_dim=32,
        num_text_layers=2, text_num_attention_heads=4, text_num_key_value_heads=4,
        text_intermediate_size=64, num_layerwise_text_blocks=1, num_refiner_text_blocks=1,
        axes_dims_rope=(4, 2, 2),
    )  # fmt: skip
    return diffusers.Krea2Pipeline(
        scheduler=flow(), vae=qwen_vae(), text_encoder=qwen_vision(kind="Qwen3_VL"),
        tokenizer=tokenizer(), transformer=transformer, text_encoder_select_layers=(1, 2),
    )  # fmt: skip


def flux2() -> Any:
    transformer = diffusers.Flux2Transformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=96, axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )  # fmt: skip
    made = diffusers.AutoencoderKLFlux2(
        block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, layers_per_block=1,
        norm_num_groups=8, sample_size=32,
    )  # fmt: skip
    return diffusers.Flux2KleinPipeline(
        scheduler=flow(), vae=made, text_encoder=qwen3(layers=28, causal=True),
        tokenizer=tokenizer(), transformer=transformer, is_distilled=False,
    )  # fmt: skip


def sana() -> Any:
    transformer = diffusers.SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=2, num_attention_heads=2,
        attention_head_dim=4, num_cross_attention_heads=2, cross_attention_head_dim=4,
        cross_attention_dim=8, caption_channels=32, sample_size=32,
    )  # fmt: skip
    made = diffusers.AutoencoderDC(
        in_channels=3, latent_channels=4, attention_head_dim=2,
        encoder_block_types=("ResBlock",) * 2, decoder_block_types=("ResBlock",) * 2,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8), encoder_qkv_multiscales=((), ()),
        decoder_qkv_multiscales=((), ()), encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1), downsample_block_type="conv",
        upsample_block_type="interpolate", decoder_norm_types="rms_norm",
        decoder_act_fns="silu", scaling_factor=0.41407,
    )  # fmt: skip
    return diffusers.SanaPipeline(
        tokenizer=tokenizer(), text_encoder=gemma(), vae=made, transformer=transformer,
        scheduler=flow(shift=7.0),
    )  # fmt: skip


BUILDERS = {
    "flux": flux, "chroma": chroma, "flux2": flux2, "sd3": sd3, "qwen-image": qwen_image,
    "z-image": z_image, "lumina2": lumina2, "krea2": krea2, "sana": sana,
}  # fmt: skip
"""A builder a family."""


def build(folder: Path, family: str) -> Path:
    """Write the tiny pipeline of a family as a folder of diffusers; return it."""
    torch.manual_seed(0)
    pipe = BUILDERS[family]()
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    pipe.save_pretrained(folder)
    return folder
