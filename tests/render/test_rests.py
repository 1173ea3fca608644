"""What half precision takes from a LoRA's difference: at most a hundredth, in every dtype."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from loraeval.render.lora_merge import WeightSwapper, read_lora
from loraeval.render.random_models import lora_layers, random_parts, write_lora
from loraeval.render.rests import LARGEST


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("strength", [0.3, 0.01, 0.003])
def test_the_applied_difference_is_right_to_a_hundredth(
    tmp_path: Path, dtype: torch.dtype, strength: float
) -> None:
    torch.manual_seed(0)
    unet = random_parts("sd15", "tiny")["unet"][0].to(dtype)
    before = {name: p.detach().clone() for name, p in unet.named_parameters()}
    layers = {k: v for k, v in lora_layers("sd15").items() if k.startswith("lora_unet_")}
    lora = read_lora(
        write_lora(tmp_path / "a.safetensors", layers, strength=strength, dtype="float32")
    )
    swapper = WeightSwapper({"unet": unet}, "sd15")
    swapper.apply(lora)
    plain = swapper.rounding_error(lora, 1.0)
    taken = whole = 0.0
    for place, spot in swapper.place(lora).items():
        layer = unet.get_submodule(place[1])
        down, up = (lora.tensors[spot.module.keys[role]].double() for role in ("down", "up"))
        wanted = (up.flatten(1) @ down.flatten(1)).view(layer.weight.shape) / 2  # alpha over rank
        found = layer.weight.detach().double() - before[f"{place[1]}.weight"].double()
        if hasattr(layer, "loraeval_rest"):
            found = found + layer.loraeval_rest.double()
        taken += float((found - wanted).square().sum())
        whole += float(wanted.square().sum())
    error = (taken / whole) ** 0.5
    print(f"{dtype} {strength}: rounded once {plain:.4f}, applied {error:.6f}")
    assert error <= LARGEST
    assert (plain > LARGEST) is any(hasattr(m, "loraeval_rest") for m in unet.modules())
    swapper.apply(None)
    assert not any(hasattr(m, "loraeval_rest") for m in unet.modules())
    assert all(torch.equal(p, before[name]) for name, p in unet.named_parameters())


def test_layers_with_a_rest_give_what_the_unrounded_weight_gives() -> None:
    from loraeval.render.rests import Rests, split

    torch.manual_seed(0)
    rests = Rests()
    for layer, given in (
        (torch.nn.Linear(8, 6), torch.randn(3, 8)),
        (torch.nn.Conv2d(4, 6, 3, stride=2, padding=1), torch.randn(2, 4, 9, 9)),
    ):
        whole = layer.weight.detach().clone()
        want = layer(given)
        rounded, rest = split(whole, torch.bfloat16)
        with torch.no_grad():
            layer.weight.copy_(rounded.float())
        far = float((layer(given) - want).detach().abs().max())
        rests.set(layer, rest.float())
        assert float((layer(given) - want).detach().abs().max()) < far / 50
        rests.drop(layer)
        assert float((layer(given) - want).detach().abs().max()) == far
