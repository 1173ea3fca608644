"""LoRA files that are well formed and make no sense: refused in one sentence, or merged."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch

from loraeval.checkpoints.dtypes import ITEM_BYTES
from loraeval.errors import CheckpointError
from loraeval.render.lora_merge import WeightSwapper, read_lora
from loraeval.render.random_models import random_parts

LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
STEM = f"lora_unet_{LAYER.replace('.', '_')}"
SIDE = 32
Tensors = dict[str, tuple[str, list[int]]]


def write(path: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> Path:
    """Write a safetensors file of bytes 0x11, which are small numbers in every dtype."""
    head: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, (dtype, shape) in tensors.items():
        size = ITEM_BYTES[dtype]
        for side in shape:
            size *= side
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\x11" * end)
    return path


def kohya(dtype: str = "F32", alpha: str = "F32", shape: tuple[int, ...] = (),
          rank: int = 2) -> Tensors:  # fmt: skip
    return {f"{STEM}.lora_down.weight": (dtype, [rank, SIDE]),
            f"{STEM}.lora_up.weight": (dtype, [SIDE, rank]),
            f"{STEM}.alpha": (alpha, list(shape))}  # fmt: skip


def peft() -> Tensors:
    return {f"unet.{LAYER}.lora_A.weight": ("F32", [2, SIDE]),
            f"unet.{LAYER}.lora_B.weight": ("F32", [SIDE, 2])}  # fmt: skip


@pytest.mark.parametrize("dtype", ITEM_BYTES)
def test_every_dtype_of_the_format_is_merged(tmp_path: Path, dtype: str) -> None:
    torch.manual_seed(3)
    parts = {n: p for n, (p, _) in random_parts("sd15", "tiny").items() if n != "vae"}
    swapper = WeightSwapper(parts, "sd15")
    for tensors in (kohya(dtype=dtype), kohya(alpha=dtype), kohya(shape=(3, 3))):
        swapper.apply(read_lora(write(tmp_path / "a.safetensors", tensors)), 1.0)
        assert swapper.applied == 1
        assert all(w.isfinite().all() for part in parts.values() for w in part.parameters())


@pytest.mark.parametrize("tensors", [
    kohya(shape=(0,)), kohya(rank=0), {},
    {f"{STEM}.lora_down.weight": ("F32", []), f"{STEM}.lora_up.weight": ("F32", []),
     f"{STEM}.alpha": ("F32", [])},
], ids=["empty alpha", "rank 0", "no tensors", "no axes"])  # fmt: skip
def test_shapes_that_give_no_scale_are_refused(tmp_path: Path, tensors: Tensors) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_lora(write(tmp_path / "a.safetensors", tensors))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("alpha", ["1" + "0" * 400, "NaN", "1e999", "-Infinity"])
@pytest.mark.parametrize("key", ['"unet.lora_alpha": ', '"unet.alpha_pattern": {"attn1.to_q": '])
def test_an_alpha_beyond_numbers_is_refused(tmp_path: Path, key: str, alpha: str) -> None:
    text = "{" + key + alpha + "}" * key.count("{") + "}"
    file = write(tmp_path / "a.safetensors", peft(), {"lora_adapter_metadata": text})
    with pytest.raises(CheckpointError, match="no number to scale with"):
        read_lora(file)


@pytest.mark.parametrize("text", ["[" * 50_000, "9" * 6000, "[1]", '{"unet.lora_alpha": true}',
                                  '{"unet.alpha_pattern": {"": 3, "x": null}}'])  # fmt: skip
def test_metadata_of_another_kind_says_nothing(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "a.safetensors", peft(), {"lora_adapter_metadata": text})
    assert list(read_lora(file).factors.values()) == [1.0]
