"""The demo base's parts: tokenizer, text encoder, UNet, autoencoder, scheduler."""

from __future__ import annotations

import functools
import re
from itertools import pairwise
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from loraeval.testing.portraits_words import vocabulary

LENGTH = 77
"""Tokens a prompt: 75 and the two marks."""


def _byte_characters() -> list[str]:
    """Return the characters that byte-level BPE writes the 256 bytes with."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    shifted = [256 + n for n in range(256 - len(plain))]
    return [chr(code) for code in (*plain, *shifted)]


def _bpe(parts: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    while len(parts) > 1:
        pairs = [(ranks.get((a, b), 10**9), i) for i, (a, b) in enumerate(pairwise(parts))]
        rank, i = min(pairs)
        if rank == 10**9:
            break
        parts = [*parts[:i], parts[i] + parts[i + 1], *parts[i + 2 :]]
    return parts


def _only_hex(part: str) -> bool:
    return re.fullmatch(r"[0-9a-f]+", part.removesuffix("</w>")) is not None


@functools.cache
def build_tokenizer() -> CLIPTokenizer:
    """Return a CLIP tokenizer with one token a known word and one a hex digit.

    No merge joins two pieces that are both hex letters, so a code always falls into six tokens.
    Unknown text falls into bytes. The mark of the end is also the padding, as in SD 1.5.
    """
    merges: list[tuple[str, str]] = []
    ranks: dict[tuple[str, str], int] = {}
    for word in vocabulary():
        while True:
            parts = _bpe([*word[:-1], word[-1] + "</w>"], ranks)
            if len(parts) == 1:
                break
            pair = next((a, b) for a, b in pairwise(parts) if not (_only_hex(a) and _only_hex(b)))
            ranks[pair] = len(merges)
            merges.append(pair)
    letters = _byte_characters()
    entries = [*letters, *(letter + "</w>" for letter in letters)]
    entries += list(dict.fromkeys(a + b for a, b in merges))
    entries += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={entry: i for i, entry in enumerate(entries)},
        merges=merges,
        model_max_length=LENGTH,
        pad_token="<|endoftext|>",
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return the untrained text encoder: 4 layers, 128 wide."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            projection_dim=128,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_unet() -> UNet2DConditionModel:
    """Return the untrained UNet, in SD 1.5's shape: 4 latent channels, 24x24, three levels."""
    return UNet2DConditionModel(
        sample_size=24,
        block_out_channels=(48, 96, 144),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def build_autoencoder() -> AutoencoderKL:
    """Return the untrained autoencoder: 4x smaller, 4 latent channels."""
    return AutoencoderKL(
        block_out_channels=(32, 64, 96),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=16,
        sample_size=96,
    )


def build_scheduler() -> DDIMScheduler:
    """Return the scheduler: v-prediction, zero terminal SNR, trailing timesteps."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=0,
    )


def save_pipeline(
    folder: Path,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    vae: AutoencoderKL,
) -> None:
    """Write the base in diffusers format, fp16 safetensors."""
    pipe = StableDiffusionPipeline(
        vae=vae.to("cpu", torch.float16),
        text_encoder=text_encoder.to("cpu", torch.float16),
        tokenizer=tokenizer,
        unet=unet.to("cpu", torch.float16),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder, safe_serialization=True)


def load_pipeline(folder: Path, device: str, dtype: torch.dtype) -> StableDiffusionPipeline:
    """Read the base back, as any user would."""
    pipe = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True, torch_dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)
