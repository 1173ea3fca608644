"""What both halves of a guided batch share is computed once, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from loraeval.records import FamilyName, Recipe
from loraeval.render.denoise import Conditions, conditions, denoise, predict
from loraeval.render.halves import NAME, equal_halves, share_halves
from loraeval.render.pixels import initial_noise
from loraeval.render.sd import Engine


@pytest.fixture
def rows_of(engines: dict[str, Engine]) -> Iterator[dict[str, list[int]]]:
    """Numbers of rows that reached modules of SD 1.5's UNet, by a name."""
    unet = engines["sd15"].pipe.unet
    first, second = unet.down_blocks[0].attentions[:2]
    modules = {
        "resnet": unet.down_blocks[0].resnets[0].conv1,
        "self": first.transformer_blocks[0].attn1.to_q,
        "cross": first.transformer_blocks[0].attn2.to_q,
        "next resnet": unet.down_blocks[0].resnets[1].conv1,
        "next self": second.transformer_blocks[0].attn1.to_q,
    }
    seen: dict[str, list[int]] = {name: [] for name in modules}
    hooks = [
        module.register_forward_pre_hook(lambda _, given, n=name: seen[n].append(len(given[0])))
        for name, module in modules.items()
    ]
    yield seen
    for hook in hooks:
        hook.remove()


def batch(engine: Engine, **changes: Any) -> tuple[Recipe, torch.Tensor, Conditions]:
    recipe = replace(engine.recipe, **changes)
    noise = torch.cat([initial_noise(seed, (1, 4, 8, 8)) for seed in (1, 2, 3)])
    positive = engine.embed(["a red cat", "a blue dog", "a green bird"], 1, None)
    negative = engine.embed(["blurred"], 1, None) * 3
    return recipe, noise, conditions(engine.pipe, recipe, positive, negative)


def test_with_guidance_the_stretch_before_the_text_sees_half_the_rows(
    engines: dict[str, Engine], rows_of: dict[str, list[int]]
) -> None:
    recipe, noise, given = batch(engines["sd15"])
    denoise(engines["sd15"].pipe, recipe, noise, given)
    assert rows_of["resnet"] == rows_of["self"] == [3] * 4
    assert rows_of["cross"] == rows_of["next resnet"] == rows_of["next self"] == [6] * 4


def test_without_guidance_all_rows_are_computed(
    engines: dict[str, Engine], rows_of: dict[str, list[int]]
) -> None:
    recipe, noise, given = batch(engines["sd15"], guidance_scale=1.0)
    denoise(engines["sd15"].pipe, recipe, noise, given)
    assert all(rows == [3] * 4 for rows in rows_of.values())


def test_sharing_moves_the_latents_by_rounding_alone(
    engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines["sd15"]
    recipe, noise, given = batch(engine)
    shared = denoise(engine.pipe, recipe, noise, given)
    monkeypatch.delitem(engine.pipe.unet.__dict__, NAME)
    alone = denoise(engine.pipe, recipe, noise, given)
    assert float((shared - alone).abs().max()) < 1e-5 * float(alone.abs().max())
    assert float((alone - noise).abs().max()) > 0.1


def test_what_was_said_ends_with_the_call(engines: dict[str, Engine]) -> None:
    unet = engines["sd15"].pipe.unet
    _, noise, given = batch(engines["sd15"])
    broken = replace(given, states=given.states[:, :, :3])
    with torch.no_grad(), pytest.raises(RuntimeError):
        predict(unet, torch.cat([noise, noise]), torch.tensor(5), broken)
    assert getattr(unet, NAME).equal is False
    with equal_halves(unet, equal=True):
        assert getattr(unet, NAME).equal is True
    assert getattr(unet, NAME).equal is False


def test_a_lora_in_the_shared_stretch_is_felt(engines: dict[str, Engine]) -> None:
    engine = engines["sd15"]
    recipe, noise, given = batch(engine)
    before = denoise(engine.pipe, recipe, noise, given)
    weight = engine.pipe.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.mul_(3.0)
        after = denoise(engine.pipe, recipe, noise, given)
        weight.copy_(kept)
    assert float((after - before).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("sdxl", {}),
        ("sd15", {"class_embed_type": "timestep"}),
        ("sd15", {"time_cond_proj_dim": 16}),
        ("sd15", {"only_cross_attention": True}),
        ("sd15", {"dual_cross_attention": True}),
    ],
)
def test_models_whose_rows_differ_from_the_start_share_nothing(
    engines: dict[str, Engine], family: FamilyName, changes: dict[str, Any]
) -> None:
    kind, config = type(engines[family].pipe.unet), engines[family].pipe.unet.config
    assert share_halves(kind.from_config(config, **changes)) is False


def test_a_plain_unet_shares(engines: dict[str, Engine]) -> None:
    unet = engines["sd15"].pipe.unet
    assert share_halves(type(unet).from_config(unet.config)) is True
