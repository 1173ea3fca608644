"""The configurations of SD 1.5 and SDXL as diffusers writes them, without a hub.

A single-file base model holds weights only. ``write_configs`` writes the folder of configurations
that diffusers needs beside it. Widths and depths are the published ones of the two models; the
tokenizer is CLIP's, built from the vocabulary that open_clip carries.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

from loraeval.errors import MissingExtraError
from loraeval.records import Family

_UNET: dict[Family, dict[str, Any]] = {
    "sd15": {
        "sample_size": 64,
        "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
        "layers_per_block": 2,
    },
    "sdxl": {
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
    },
}
_CLIP_L = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "projection_dim": 768, "hidden_act": "quick_gelu",
}  # fmt: skip
_CLIP_G = {
    "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
    "num_attention_heads": 20, "projection_dim": 1280, "hidden_act": "gelu",
}  # fmt: skip
_CLIP = {
    "vocab_size": 49408, "max_position_embeddings": 77, "layer_norm_eps": 1e-5,
    "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 1,
}  # fmt: skip
_SCHEDULER = {
    "_class_name": "DPMSolverMultistepScheduler", "num_train_timesteps": 1000,
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon", "steps_offset": 1, "timestep_spacing": "leading",
}  # fmt: skip


def unet_config(family: Family) -> dict[str, Any]:
    """Return the configuration of the family's UNet."""
    return {"_class_name": "UNet2DConditionModel", **_UNET[family]}


def vae_config(family: Family) -> dict[str, Any]:
    """Return the configuration of the family's VAE."""
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "latent_channels": 4,
        "layers_per_block": 2,
        "sample_size": 512 if family == "sd15" else 1024,
        "scaling_factor": 0.18215 if family == "sd15" else 0.13025,
        "force_upcast": family == "sdxl",
    }


def text_config(part: str) -> dict[str, Any]:
    """Return the configuration of ``text_encoder`` or ``text_encoder_2``."""
    second = part == "text_encoder_2"
    return {
        "architectures": ["CLIPTextModelWithProjection" if second else "CLIPTextModel"],
        "model_type": "clip_text_model",
        **_CLIP,
        **(_CLIP_G if second else _CLIP_L),
    }


def scheduler_config() -> dict[str, Any]:
    """Return the noise schedule that both families were trained with."""
    return dict(_SCHEDULER)


def write_configs(folder: Path, family: Family) -> Path:
    """Write the configurations and tokenizers of a family below ``folder``; return ``folder``.

    Raises ``MissingExtraError`` where open_clip, which carries CLIP's vocabulary, is missing.
    """
    xl = family == "sdxl"
    parts = ["text_encoder", "text_encoder_2"] if xl else ["text_encoder"]
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionXLPipeline" if xl else "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", _SCHEDULER["_class_name"]],
    }
    for part in parts:
        kind = text_config(part)["architectures"][0]
        index[part] = ["transformers", kind]
        index[part.replace("text_encoder", "tokenizer")] = ["transformers", "CLIPTokenizer"]
        _write(folder / part / "config.json", text_config(part))
        pad = "!" if part == "text_encoder_2" else "<|endoftext|>"
        clip_tokenizer(pad).save_pretrained(folder / part.replace("text_encoder", "tokenizer"))
    if xl:
        index["force_zeros_for_empty_prompt"] = True
    else:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
        index["requires_safety_checker"] = False
    _write(folder / "model_index.json", index)
    _write(folder / "unet" / "config.json", unet_config(family))
    _write(folder / "vae" / "config.json", vae_config(family))
    _write(folder / "scheduler" / "scheduler_config.json", scheduler_config())
    return folder


def clip_tokenizer(pad_token: str = "<|endoftext|>") -> Any:  # noqa: S107 - not a password
    """Return CLIP's tokenizer with 49408 entries, made of open_clip's vocabulary file."""
    from loraeval import torchvision_ops

    found = importlib.util.find_spec("open_clip")
    if found is None or found.origin is None:
        raise MissingExtraError("open_clip", "clip", "a single-file base model")
    torchvision_ops.install()
    from transformers import CLIPTokenizer

    path = Path(found.origin).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    merges: Any = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    letters = _byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77, pad_token=pad_token)


def _byte_letters() -> list[str]:
    """Return the 256 characters that stand for bytes in CLIP's vocabulary, in its order: the
    printable Latin-1 characters as themselves, the rest from U+0100 on.
    """
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + index) for index in range(len(rest))]


def _write(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
