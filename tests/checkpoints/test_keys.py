"""One grammar: what a key is called, for inspect, the gatekeeper and the renderer alike."""

# ruff: noqa: E501
from __future__ import annotations

import json
from pathlib import Path

import pytest

from loraeval.checkpoints.anatomy import check_loadable, read_anatomy
from loraeval.checkpoints.keys import split_key
from loraeval.errors import CheckpointError
from loraeval.render.lora_names import group_keys
from loraeval.testing.kohya_files import write_safetensors

CASES = Path(__file__).resolve().parents[2].parent / "shared/cases/headers.jsonl"
PATH = "blocks_0_attn_to_q"

TABLE = [
    # key, component, path, role, kind
    ("lora_unet_blocks_0_attn_to_q.lora_down.weight", "unet", PATH, "down", "lora"),
    ("lora_unet.blocks.0.attn.to_q.lora_up.weight", "unet", PATH, "up", "lora"),
    ("lycoris_blocks_0_attn_to_q.lora_up.weight", "unet", PATH, "up", "lora"),
    ("lycoris_transformer_blocks_0_attn_to_q.lokr_w1", "unet", f"transformer_{PATH}", "lokr_w1", "lokr"),
    ("lora_transformer_blocks_0_attn_to_q.lora_A.weight", "unet", PATH, "down", "peft"),
    ("diffusion_model.blocks.0.attn.to_q.lora_A.weight", "unet", PATH, "down", "peft"),
    ("model.diffusion_model.blocks.0.attn.to_q.lora_B.weight", "unet", PATH, "up", "peft"),
    ("transformer.blocks.0.attn.to_q.lora_down.weight", "unet", PATH, "down", "lora"),
    ("transformer.blocks.0.attn.to_q.alpha", "unet", PATH, "alpha", "alpha"),
    ("transformer.blocks.0.attn.to_q.lora_A.default_0.weight", "unet", PATH, "down", "peft"),
    ("transformer.blocks.0.attn.to_q.lora_B.my-name", "unet", PATH, "up", "peft"),
    ("transformer.base_model.model.blocks.0.attn.to_q.lora_A", "unet", PATH, "down", "peft"),
    ("base_model.model.blocks.0.attn.to_q.lora_B.weight", "unet", PATH, "up", "peft"),
    ("_orig_mod.blocks.0.attn.to_q.lora_B.weight", "unet", PATH, "up", "peft"),
    ("unet.blocks.0.attn.to_q.lora_magnitude_vector.default.weight", "unet", PATH, "magnitude", "dora"),
    ("unet.blocks.0.attn.to_q.lora_magnitude_vector", "unet", PATH, "magnitude", "dora"),
    ("unet.blocks.0.attn.to_q.lora.up.weight", "unet", PATH, "up", "diffusers"),
    ("blocks.0.attn.processor.to_q_lora.down.weight", "unet", PATH, "down", "diffusers"),
    ("unet.blocks.0.attn.processor.to_out_lora.up.weight", "unet", "blocks_0_attn_to_out_0", "up", "diffusers"),
    ("double_blocks.0.processor.qkv_lora2.up.weight", "unet", "double_blocks_0_qkv2", "up", "diffusers"),
    ("text_encoder_2.layers.0.fc1.lora_linear_layer.up.weight", "te2", "layers_0_fc1", "up", "diffusers"),
    ("lora_te3_encoder_block_0.hada_w1_a", "te3", "encoder_block_0", "hada_w1_a", "loha"),
    ("lycoris_text_model_encoder_layers_0_fc1.diff", "te", "encoder_layers_0_fc1", "diff", "full"),
    ("lora_prior_unet_down_0.lora_down.weight", "unet", "down_0", "down", "lora"),
    ("what.is.this.lora_down.weight", "unknown", "what_is_this", "down", "lora"),
    ("unet.blocks.0.attn.to_q.lora_B.bias", "unet", PATH, "lora_B.bias", "lora-bias"),
    ("unet.blocks.0.attn.to_q.oft_R.weight", "unet", PATH, "oft_R.weight", "oft"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "component", "path", "role", "kind"), TABLE)
def test_a_key_is_taken_apart(key: str, component: str, path: str, role: str, kind: str) -> None:
    found = split_key(key)
    assert found is not None
    assert (found.component, found.path, found.role, found.kind) == (component, path, role, kind)


@pytest.mark.parametrize(
    "key",
    ["model.diffusion_model.input_blocks.0.0.weight", "unet.conv_in.weight", "clip_l", "alpha",
     "first_stage_model.decoder.conv_in.bias", "text_encoder.layers.0.bias", "what.is.this.alpha",
     "down_blocks.0.motion_modules.0.to_q.processor.to_q_lora.down.weight"],
)  # fmt: skip
def test_what_is_no_key_of_a_lora_is_none(key: str) -> None:
    assert split_key(key) is None


def test_a_suffix_of_a_lora_is_a_lora_of_unknown_naming(tmp_path: Path) -> None:
    import numpy as np

    path = write_safetensors(
        tmp_path / "a.safetensors",
        {"my.net.fc.lora_A.weight": np.ones((2, 8)), "my.net.fc.lora_B.weight": np.ones((8, 2))},
    )
    anatomy = read_anatomy(path)
    assert "a LoRA whose naming is not known" in anatomy.format_evidence
    with pytest.raises(CheckpointError, match="a LoRA whose naming is not known"):
        check_loadable(anatomy, "sd15")
    with pytest.raises(CheckpointError, match="no known LoRA format"):
        group_keys(["my.net.fc.lora_A.weight", "my.net.fc.lora_B.weight"])


def _cases() -> list[dict[str, object]]:
    if not CASES.is_file():
        return []
    return [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]


@pytest.mark.skipif(not CASES.is_file(), reason="the cases from the field are not at hand")
@pytest.mark.parametrize("case", _cases(), ids=lambda case: str(case["name"]))
def test_inspect_names_the_case_and_all_three_answer_alike(
    case: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    from loraeval.testing.headers import write_header

    path = write_header(tmp_path / "a.safetensors", case["tensors"], case["metadata"])
    anatomy = read_anatomy(path)
    assert case["family"] in (None, anatomy.family)
    assert "no LoRA keys" not in anatomy.format_evidence
    try:
        group_keys(case["tensors"])
        renders = True
    except CheckpointError:
        renders = False
    accepted = not (anatomy.unsupported or anatomy.unknown_keys or anatomy.format == "unknown")
    assert renders == accepted
