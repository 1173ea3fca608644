"""The hash of a base model: what is loaded counts, what lies beside it does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loraeval.render import base_hash
from loraeval.render.base_configs import write_configs
from loraeval.render.base_files import loaded_files, loads_half, weight_files
from loraeval.render.base_hash import hash_of

from .test_single_file import one_file

HUB = (
    "model_index.json", "README.md", "v1-5-pruned.safetensors", "feature_extractor/config.json",
    "safety_checker/config.json", "safety_checker/model.safetensors",
    "scheduler/scheduler_config.json", "text_encoder/config.json",
    "text_encoder/model.safetensors", "text_encoder/model.fp16.safetensors",
    "text_encoder/pytorch_model.bin", "tokenizer/vocab.json", "tokenizer/merges.txt",
    "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors", "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors", "vae_1_0/diffusion_pytorch_model.safetensors",
)  # fmt: skip


def test_what_is_fetched_is_what_is_loaded() -> None:
    assert loaded_files(HUB) == [
        "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
        "text_encoder/model.safetensors", "tokenizer/merges.txt", "tokenizer/vocab.json",
        "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]  # fmt: skip


def test_half_precision_alone_and_models_in_pieces_are_loaded() -> None:
    half = [name for name in HUB if ".fp16." in name or not name.endswith(".safetensors")]
    half.append("vae/diffusion_pytorch_model.fp16.safetensors")
    assert loads_half(half)
    assert not loads_half(HUB)
    assert weight_files(half, "unet") == ["unet/diffusion_pytorch_model.fp16.safetensors"]
    pieces = [f"unet/diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    index = "unet/diffusion_pytorch_model.safetensors.index.json"
    assert weight_files([index, *pieces, "unet/config.json"], "unet") == [index, *pieces]


def test_files_that_are_not_loaded_move_no_hash_and_those_that_are_do(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    base = Path(shutil.copytree(bases["sd15"], tmp_path / "base"))
    before = hash_of(base, "sd15")
    weights = load_file(base / "unet" / "diffusion_pytorch_model.safetensors")
    halves = {name: value.half() for name, value in weights.items()}
    save_file(halves, base / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    (base / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    (base / "text_encoder" / "notes.txt").write_text("x")
    config = base / "unet" / "config.json"
    told = json.loads(config.read_text()) | {"_diffusers_version": "0.1", "norm_eps": 1e-05}
    config.write_text(json.dumps(told))
    assert hash_of(base, "sd15") == before
    config.write_text(json.dumps(told | {"norm_eps": 1e-4}))
    assert hash_of(base, "sd15") != before
    config.write_text(json.dumps(told))
    weights["conv_in.bias"] = weights["conv_in.bias"] + 1e-3
    save_file(weights, base / "unet" / "diffusion_pytorch_model.safetensors")
    assert hash_of(base, "sd15") != before


def test_a_folder_and_a_single_file_of_the_same_weights_have_one_hash(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = bases["sd15"]
    single = one_file(base, tmp_path / "model.safetensors")
    monkeypatch.setattr(  # the tiny model's widths, where a real file has the published ones
        base_hash, "part_config",
        lambda _, part: json.loads(next((base / part).glob("*config.json")).read_text()),
    )  # fmt: skip
    assert hash_of(single, "sd15") == hash_of(base, "sd15")
    weights = load_file(single)
    weights["alphas_cumprod"] = torch.ones(1000)
    weights["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)
    save_file(weights, single)
    assert hash_of(single, "sd15") == hash_of(base, "sd15")


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_published_settings_are_one_as_folder_and_as_single_file(
    family: str, tmp_path: Path
) -> None:
    write_configs(tmp_path, family)
    told = {
        path.parent.name: json.loads(path.read_text())
        for path in tmp_path.glob("*/*config.json") if not path.parent.name.startswith("token")
    }  # fmt: skip
    published = {part: base_hash.part_config(family, part) for part in told}
    assert base_hash._settings(told, tmp_path) == base_hash._settings(published)


def test_open_clips_joined_and_turned_tensors_are_those_of_diffusers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    q, k, v, turned = torch.randn(4, 8, 8)
    start = "conditioner.embedders.1.model."
    joined = {
        f"{start}transformer.resblocks.0.attn.in_proj_weight": torch.cat([q, k, v]),
        f"{start}text_projection": turned.T.contiguous(),
    }
    save_file(joined, tmp_path / "single.safetensors")
    parted = {"q.weight": q, "k.weight": k, "v.weight": v, "text_projection.weight": turned}
    save_file(
        {name: value.contiguous() for name, value in parted.items()}, tmp_path / "p.safetensors"
    )
    from loraeval.checkpoints.header import read_header

    found = base_hash._digests(
        read_header(tmp_path / "single.safetensors"), "text_encoder_2", start
    )  # fmt: skip
    assert sorted(found) == base_hash._tensors(tmp_path / "p.safetensors").split()
