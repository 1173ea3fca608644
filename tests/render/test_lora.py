# ruff: noqa: E501, RUF043 - keys of real files
"""LoRA files: every module placed, exact weights, against an own merge and against diffusers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loraeval.errors import CheckpointError
from loraeval.render.lora_merge import WeightSwapper, read_lora
from loraeval.render.lora_names import group_keys, match, module_names
from loraeval.render.random_models import lora_layers, random_parts, write_lora


def components(family: str) -> dict[str, torch.nn.Module]:
    torch.manual_seed(3)
    return {name: part for name, (part, _) in random_parts(family, "tiny").items() if name != "vae"}


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_every_module_of_sd_scripts_has_its_place(kohya: Path, family: str) -> None:
    listed = json.loads((kohya / "modules.json").read_text())
    with torch.device("meta"):
        parts = random_parts(family, "full")
    layers = {
        name: {
            path: tuple(layer.weight.shape)
            for path, layer in part.named_modules()
            if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d))
        }
        for name, (part, _) in parts.items()
        if name != "vae"
    }
    names = {**listed[family], **listed[f"{family}_locon_extra"]}
    keys = [f"{name}.lora_{half}.weight" for name in names for half in ("down", "up")]
    placed = match(group_keys(keys), module_names(layers, family))
    assert len(placed) == len(names)
    for (component, path), spot in placed.items():
        shape = layers[component][path]
        assert shape[:2] == (names[spot.name]["out"], names[spot.name]["in"])


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_weights_are_w_plus_alpha_over_rank_up_down(family: str, tmp_path: Path) -> None:
    parts = components(family)
    before = {c: {k: v.clone() for k, v in m.state_dict().items()} for c, m in parts.items()}
    swapper = WeightSwapper(parts, family)
    path = write_lora(tmp_path / "a.safetensors", lora_layers(family), rank=4, alpha=1.0, seed=5)
    raw = load_file(path)
    lora = read_lora(path)
    swapper.apply(lora, 0.7)
    assert swapper.applied == len(raw) // 3
    changed = 0
    for component, module in parts.items():
        for name, value in module.state_dict().items():
            old = before[component][name]
            spots = [p for p, m in swapper.place(lora).items() if p == (component, name[:-7])]
            if name.endswith(".weight") and spots:
                key = swapper.place(lora)[spots[0]].name
                up, down = (
                    raw[f"{key}.lora_up.weight"].double(),
                    raw[f"{key}.lora_down.weight"].double(),
                )
                delta = torch.einsum("or,ri->oi", up.flatten(1), down.flatten(1)).reshape(old.shape)
                want = old.double() + 0.7 * 1.0 / 4 * delta
                assert torch.allclose(value.double(), want, atol=1e-6)
                changed += 1
            else:
                assert torch.equal(value, old)
    assert changed == swapper.applied
    swapper.apply(None)
    for component, module in parts.items():
        assert all(torch.equal(v, before[component][k]) for k, v in module.state_dict().items())


def test_swaps_leave_no_trace_whatever_came_before(tmp_path: Path) -> None:
    parts = components("sd15")
    swapper = WeightSwapper(parts, "sd15")
    layers = lora_layers("sd15")
    few = {name: shape for name, shape in layers.items() if "attn1" in name}
    first = read_lora(write_lora(tmp_path / "a.safetensors", layers, rank=8, seed=1))
    second = read_lora(write_lora(tmp_path / "b.safetensors", few, rank=2, seed=2))
    fresh = components("sd15")
    WeightSwapper(fresh, "sd15").apply(second)
    for lora in (first, second, first, None, first, second):
        swapper.apply(lora)
    for name, module in parts.items():
        other = fresh[name].state_dict()
        assert all(torch.equal(v, other[k]) for k, v in module.state_dict().items())


def test_mixed_alphas_and_ranks_and_whole_number_alphas(tmp_path: Path) -> None:
    layers = lora_layers("sd15")
    tensors = load_file(write_lora(tmp_path / "a.safetensors", layers, rank=4, alpha=4))
    names = list(layers)
    tensors[f"{names[0]}.alpha"] = torch.tensor(2)  # int64, as a TOML file leaves it
    del tensors[f"{names[1]}.alpha"]
    save_file(tensors, tmp_path / "b.safetensors")
    lora = read_lora(tmp_path / "b.safetensors")
    assert lora.factors[names[0]] == 0.5
    assert lora.factors[names[1]] == 1.0


def test_files_that_are_refused(tmp_path: Path) -> None:
    layers = lora_layers("sd15")
    path = write_lora(tmp_path / "a.safetensors", layers)
    tensors = load_file(path)
    name = next(iter(layers))

    def refused(change: dict[str, torch.Tensor | None], words: str) -> None:
        new = {k: v for k, v in {**tensors, **change}.items() if v is not None}
        save_file(new, tmp_path / "x.safetensors")
        with pytest.raises(CheckpointError, match=words):
            WeightSwapper(components("sd15"), "sd15").apply(read_lora(tmp_path / "x.safetensors"))

    refused({f"{name}.lora_up.weight": torch.full_like(tensors[f"{name}.lora_up.weight"], torch.nan)},
            "hold NaN or infinity")  # fmt: skip
    refused({f"{name}.lora_up.weight": None}, "without both lora_down and lora_up")
    refused({f"{name}.dora_scale": torch.ones(3)}, "do not fit each other")
    refused({f"{name}.oft_blocks": torch.ones(3)}, "OFT is not supported")
    refused({f"{name}.hada_w1_a": torch.ones(3, 4)}, "without all of hada_w1_a")
    refused({"lora_unet_nothing_here.lora_down.weight": torch.ones(4, 8),
             "lora_unet_nothing_here.lora_up.weight": torch.ones(8, 4)},
            "1 of its .* modules have no place in the base model")  # fmt: skip
    refused({"what.is.this": torch.ones(3)}, "keys of no known LoRA format: what.is.this")
    swapper = WeightSwapper(components("sd15"), "sd15")
    with pytest.raises(CheckpointError, match="no place|another family"):
        swapper.apply(read_lora(write_lora(tmp_path / "xl.safetensors", lora_layers("sdxl"))))
    assert swapper.applied == 0


@pytest.mark.parametrize(
    ("key", "module", "role"),
    [
        ("unet.mid_block.attentions.0.proj_in.lora_A.weight", "unet.mid_block.attentions.0.proj_in", "down"),
        ("unet.a.to_q.lora.up.weight", "unet.a.to_q", "up"),
        ("text_encoder.encoder.layers.0.fc1.lora_linear_layer.down.weight", "text_encoder.encoder.layers.0.fc1", "down"),
        ("unet.a.attn1.processor.to_out_lora.down.weight", "unet.a.attn1.to_out.0", "down"),
        ("lora_te2_text_model_encoder_layers_3_mlp_fc2.lora_up.weight", "lora_te2_text_model_encoder_layers_3_mlp_fc2", "up"),
    ],
)  # fmt: skip
def test_ways_of_naming(key: str, module: str, role: str) -> None:
    twin = key
    for a, b in (("lora_A", "lora_B"), ("down", "up")):
        if role == "down" and a in key and (a != "down" or "lora_A" not in key):
            twin = key[::-1].replace(a[::-1], b[::-1], 1)[::-1]
        elif role == "up" and b in key:
            twin = key[::-1].replace(b[::-1], a[::-1], 1)[::-1]
    found = group_keys([key, twin])
    assert list(found) == [module]
    assert found[module].keys[role] == key


def test_the_image_is_that_of_diffusers_own_loader(
    bases: dict[str, Path], series: dict[str, list[Path]]
) -> None:
    from diffusers import StableDiffusionPipeline

    from loraeval.render.sd_load import quieten

    quieten()
    images = []
    for how in ("theirs", "ours"):
        pipe = StableDiffusionPipeline.from_pretrained(bases["sd15"], safety_checker=None)
        pipe.set_progress_bar_config(disable=True)
        if how == "theirs":
            pipe.load_lora_weights(series["sd15"][0])
        else:
            parts = {"unet": pipe.unet, "text_encoder": pipe.text_encoder}
            WeightSwapper(parts, "sd15").apply(read_lora(series["sd15"][0]))
        generator = torch.Generator().manual_seed(1)
        out = pipe("a cat", width=64, height=64, num_inference_steps=3, generator=generator,
                   output_type="pt").images  # fmt: skip
        images.append(out)
    assert float((images[0] - images[1]).abs().max()) <= 1.01 / 255
