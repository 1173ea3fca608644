"""LyCORIS kinds merged into weights: against LyCORIS's own layers, PEFT's DoRA, and by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from loraeval import torchvision_ops
from loraeval.errors import CheckpointError
from loraeval.render.adapters import LoraModule, decompose, difference
from loraeval.render.lora_merge import WeightSwapper, read_lora
from loraeval.render.lora_names import group_keys
from loraeval.render.random_models import lora_layers, random_parts, write_lora


def layer_of(shape: str) -> nn.Module:
    return {
        "linear": lambda: nn.Linear(24, 32),
        "conv": lambda: nn.Conv2d(24, 32, 3, padding=1),
        "square": lambda: nn.Conv2d(24, 24, 3, padding=1),
    }[shape]()


@pytest.mark.parametrize("shape", ["linear", "conv", "square"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("locon", {}),
        ("locon", {"use_tucker": True}),
        ("locon", {"rs_lora": True}),
        ("locon", {"weight_decompose": True}),
        ("locon", {"weight_decompose": True, "wd_on_out": False}),
        ("loha", {}),
        ("loha", {"use_tucker": True}),
        ("loha", {"weight_decompose": True}),
        ("lokr", {"factor": 4}),
        ("lokr", {"factor": 4, "use_tucker": True}),
        ("lokr", {"factor": 8, "decompose_both": True, "lora_dim": 1}),
        ("lokr", {"full_matrix": True}),
        ("lokr", {"factor": 4, "weight_decompose": True, "wd_on_out": False}),
    ],
)
def test_the_layer_computes_what_lycoris_trained(
    kind: str, options: dict[str, Any], shape: str, tmp_path: Path
) -> None:
    lycoris = pytest.importorskip("lycoris")
    torch.manual_seed(0)
    made = {"locon": lycoris.LoConModule, "loha": lycoris.LohaModule, "lokr": lycoris.LokrModule}
    layer = layer_of(shape)
    adapter = made[kind]("x", layer, 1.0, **{"lora_dim": 2, "alpha": 1.0, **options}).eval()
    with torch.no_grad():
        for name, value in adapter.named_parameters():
            value.copy_(
                value * (1 + 0.3 * torch.rand_like(value))
                if "dora" in name
                else torch.randn_like(value) * 0.2
            )
    inputs = torch.randn(2, 24) if shape == "linear" else torch.randn(2, 24, 8, 8)
    with torch.no_grad():
        plain = layer(inputs)
        adapter.apply_to()
        wanted = layer(inputs)
    tensors = {f"lora_unet_x.{name}": t.contiguous() for name, t in
               adapter.custom_state_dict().items()}  # fmt: skip
    save_file(tensors, tmp_path / "a.safetensors")

    root = nn.Module()
    root.x = layer_of(shape)
    root.x.load_state_dict(layer.state_dict())
    swapper = WeightSwapper({"unet": root}, "sd15")
    with torch.no_grad():
        swapper.apply(read_lora(tmp_path / "a.safetensors"), 1.0)
        assert torch.allclose(root.x(inputs), wanted, atol=1e-5)
        swapper.apply(read_lora(tmp_path / "a.safetensors"), 0.5)
        half = root.x(inputs)
        swapper.apply(None)
        assert torch.equal(root.x(inputs), plain)
    assert float((wanted - plain).abs().max()) > 1e-2
    # At half the scale the weight lies halfway, with DoRA as without.
    assert torch.allclose(half, (plain + wanted) / 2, atol=1e-5)


@pytest.mark.parametrize("shape", ["linear", "conv", "square"])
def test_dora_as_peft_names_and_merges_it(shape: str, tmp_path: Path) -> None:
    torchvision_ops.install()
    import peft

    torch.manual_seed(1)
    root = nn.Module()
    root.x = layer_of(shape)
    before = {name: value.clone() for name, value in root.state_dict().items()}
    config = peft.LoraConfig(r=2, lora_alpha=1, target_modules=["x"], use_dora=True)
    wrapped = peft.inject_adapter_in_model(config, root)
    with torch.no_grad():
        for name, value in wrapped.named_parameters():
            if "lora_" in name:
                change = 1 + 0.3 * torch.rand_like(value)
                value.copy_(value * change if "magnitude" in name else torch.randn_like(value))
    tensors = {f"unet.{name}": t.contiguous() for name, t in
               peft.get_peft_model_state_dict(wrapped).items()}  # fmt: skip
    assert any("lora_magnitude_vector" in name for name in tensors)
    save_file(
        tensors, tmp_path / "a.safetensors", {"lora_adapter_metadata": '{"unet.lora_alpha": 1}'}
    )
    wrapped.x.merge()
    wanted = wrapped.x.base_layer.weight.detach().clone()

    plain = nn.Module()
    plain.x = layer_of(shape)
    plain.load_state_dict(before)
    WeightSwapper({"unet": plain}, "sd15").apply(read_lora(tmp_path / "a.safetensors"))
    assert torch.allclose(plain.x.weight, wanted, atol=1e-5)
    assert float((wanted - before["x.weight"]).abs().max()) > 0.01


def test_by_hand() -> None:
    module = LoraModule("m", {"lokr_w1": "a", "lokr_w2": "b"})
    tensors = {"a": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([[3.0], [4.0]])}
    assert difference(module, tensors, 1).tolist() == [[3.0, 6.0], [4.0, 8.0]]
    module = LoraModule(
        "m", {f"hada_w{i}_{j}": f"{i}{j}" for i in "12" for j in "ab"} | {"alpha": "x"}
    )
    tensors = {"1a": torch.tensor([[1.0], [2.0]]), "1b": torch.tensor([[3.0, 4.0]]),
               "2a": torch.tensor([[5.0], [6.0]]), "2b": torch.tensor([[7.0, 8.0]])}  # fmt: skip
    assert difference(module, tensors, 1).tolist() == [[105.0, 160.0], [252.0, 384.0]]
    weight = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    assert torch.allclose(
        decompose(weight, torch.tensor([[10.0], [1.0]]), peft=False),
        torch.tensor([[6.0, 8.0], [0.0, 1.0]]),
    )


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(3)
    parts = {n: part for n, (part, _) in random_parts("sd15", "tiny").items() if n != "vae"}
    layers = lora_layers("sd15")
    name = next(n for n in layers if n.endswith("attn1_to_q"))
    plain = {
        key: torch.ones(1)
        for key in (f"{name}.lora_down.weight", f"{name}.lora_up.weight", f"{name}.lora_mid.weight")
    }
    assert group_keys(plain)[name].kind == "lora"
    with pytest.raises(CheckpointError, match="without all of hada_w1_a"):
        group_keys([f"{name}.hada_w1_a", f"{name}.hada_w1_b", f"{name}.hada_w2_a"])
    with pytest.raises(CheckpointError, match="without both factors of lokr_w1"):
        group_keys([f"{name}.lokr_w1", f"{name}.lokr_w2_a"])
    with pytest.raises(CheckpointError, match="without both lora_down"):
        group_keys([f"{name}.lora_mid.weight", f"{name}.lora_up.weight", f"{name}.dora_scale"])

    path = write_lora(tmp_path / "a.safetensors", {name: layers[name]})
    from safetensors.torch import load_file

    tensors = load_file(path)
    outputs = tensors[f"{name}.lora_up.weight"].shape[0]
    for extra, words in (
        ({f"{name}.dora_scale": torch.ones(outputs + 1, 1)}, "do not fit each other"),
        ({f"{name}.lora_mid.weight": torch.ones(3, 3, 1, 1)}, "do not fit each other"),
    ):
        save_file({**tensors, **extra}, tmp_path / "b.safetensors")
        with pytest.raises(CheckpointError, match=words):
            WeightSwapper(parts, "sd15").apply(read_lora(tmp_path / "b.safetensors"))


def test_untrained_text_modules_are_seen_in_every_kind(tmp_path: Path) -> None:
    text = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    for zero in (True, False):
        tensors = {
            f"{text}.lokr_w1": torch.ones(2, 2),
            f"{text}.lokr_w2": torch.zeros(4, 4) if zero else torch.ones(4, 4),
        }
        save_file(tensors, tmp_path / "a.safetensors")
        assert read_lora(tmp_path / "a.safetensors").trains_text is not zero
