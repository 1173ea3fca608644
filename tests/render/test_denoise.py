"""Our denoising loop against the pipelines of diffusers, bit by bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from loraeval.records import FamilyName, Recipe
from loraeval.render.denoise import conditions, denoise
from loraeval.render.economy import decode_limit
from loraeval.render.encode import Embedding
from loraeval.render.halves import NAME
from loraeval.render.pixels import decode, generator_of, initial_noise
from loraeval.render.recipe import resolve_recipe
from loraeval.render.samplers import SAMPLERS, draws_noise, resolve_sampler
from loraeval.render.sd import Engine
from loraeval.render.sd_load import make_scheduler


@pytest.fixture(scope="module", name="engines")
def whole_engines(engines: dict[str, Engine]) -> dict[str, Engine]:
    """With both halves of a guided batch computed whole, as the pipelines do: see test_halves."""
    for engine in engines.values():
        engine.pipe.unet.__dict__.pop(NAME, None)
    return engines


@pytest.fixture(autouse=True)
def own_scheduler(engines: dict[str, Engine]) -> Iterator[None]:
    """Each test starts from the scheduler that the engines were made with."""
    before = {family: engine.pipe.scheduler for family, engine in engines.items()}
    yield
    for family, engine in engines.items():
        engine.pipe.scheduler = before[family]


def by_the_pipeline(
    engine: Engine, recipe: Recipe, noise: torch.Tensor, positive: Any, negative: Any,
    draws: Any = None, eta: float = 0.0,
) -> torch.Tensor:  # fmt: skip
    arguments: dict[str, Any] = {
        "prompt_embeds": torch.cat([item.states for item in positive]),
        "negative_prompt_embeds": torch.cat([item.states for item in negative]),
    }
    if positive[0].pooled is not None:
        arguments["pooled_prompt_embeds"] = torch.cat([item.pooled for item in positive])
        arguments["negative_pooled_prompt_embeds"] = torch.cat([item.pooled for item in negative])
    found: torch.Tensor = engine.pipe(
        **arguments,
        latents=noise,
        num_inference_steps=recipe.steps,
        guidance_scale=recipe.guidance_scale,
        width=recipe.width,
        height=recipe.height,
        guidance_rescale=recipe.guidance_rescale,
        generator=draws,
        eta=eta,
        output_type="latent",
    ).images
    return found


def texts(engine: Engine) -> tuple[list[Embedding], list[Embedding]]:
    positive = engine.embed(["a red cat", "a blue dog"], 1, None)
    return positive, engine.embed(["blurred"], 1, None) * 2


CASES = [("sd15", name) for name in SAMPLERS] + [
    ("sd15", "dpmpp_2m_karras"), ("sd15", "dpmpp_2m_sde_exponential"), ("sd15", "euler_beta"),
    ("sd15", "heun_simple"), ("sdxl", "euler_a"), ("sdxl", "dpmpp_2m"), ("sdxl", "lcm"),
    ("sdxl", "euler_sgm_uniform"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:__array_wrap__")  # KDPM2 of diffusers, with numpy 2
@pytest.mark.parametrize(("family", "sampler"), CASES)
def test_every_sampler_gives_the_latents_of_the_pipeline_and_alone_those_of_the_batch(
    engines: dict[str, Engine], family: FamilyName, sampler: str
) -> None:
    engine = engines[family]
    scheduler, options = resolve_sampler(sampler, {})
    recipe = replace(engine.recipe, scheduler=scheduler, scheduler_options=options)
    engine.pipe.scheduler = make_scheduler(recipe, engine.pipe.scheduler)
    noise = torch.cat([initial_noise(seed, (1, 4, 8, 8)) for seed in (1, 2)])
    positive, negative = texts(engine)
    given = conditions(engine.pipe, recipe, positive, negative)

    eta = 0.3 if sampler == "tcd" else 0.0  # the pipelines give TCD none, its own default is this

    def draws() -> list[torch.Generator]:
        return [generator_of(seed) for seed in (11, 12)]

    want = by_the_pipeline(engine, recipe, noise, positive, negative, draws(), eta)
    assert torch.equal(denoise(engine.pipe, recipe, noise, given, draws()), want)
    again = denoise(engine.pipe, recipe, noise, given, draws())
    assert torch.equal(again, want)  # nothing is left over
    assert float((want - noise).abs().max()) > 0.1
    second = conditions(engine.pipe, recipe, positive[1:], negative[1:])
    alone = denoise(engine.pipe, recipe, noise[1:], second, draws()[1:])
    assert float((alone - want[1:]).abs().max()) < 1e-4 * float(want.abs().max())
    other = denoise(engine.pipe, recipe, noise[1:], second, [generator_of(99)])
    differs = float((other - alone).abs().max()) > 0.01
    assert differs is draws_noise(scheduler, options)


def test_rescaled_guidance_is_that_of_the_pipeline(engines: dict[str, Engine]) -> None:
    engine = engines["sd15"]
    recipe = replace(engine.recipe, guidance_rescale=0.7)
    engine.pipe.scheduler = make_scheduler(recipe, engine.pipe.scheduler)
    noise = initial_noise(1, (2, 4, 8, 8))
    positive, negative = texts(engine)
    given = conditions(engine.pipe, recipe, positive, negative)
    want = by_the_pipeline(engine, recipe, noise, positive, negative)
    found = denoise(engine.pipe, recipe, noise, given)
    assert torch.allclose(found, want, atol=1e-5)
    plain = denoise(engine.pipe, replace(recipe, guidance_rescale=0.0), noise, given)
    assert not torch.allclose(found, plain, atol=1e-2)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_without_guidance_only_the_prompts_are_computed(
    engines: dict[str, Engine], family: FamilyName
) -> None:
    engine = engines[family]
    recipe = replace(engine.recipe, guidance_scale=1.0, width=32)
    noise = torch.cat([initial_noise(seed, (1, 4, 8, 4)) for seed in (1, 2)])
    positive, negative = texts(engine)
    given = conditions(engine.pipe, recipe, positive, negative)
    assert len(given.states) == 2
    assert not given.guided
    want = by_the_pipeline(engine, recipe, noise, positive, negative)
    assert torch.equal(denoise(engine.pipe, recipe, noise, given), want)


def test_a_model_that_takes_the_guidance_scale_is_told_it(bases: dict[str, Path]) -> None:
    recipe = Recipe(base_model=str(bases["sd15"]), width=64, height=64, steps=2)
    engine = Engine(resolve_recipe(recipe, device="cpu"), "cpu")
    torch.manual_seed(0)
    kind = type(engine.pipe.unet)
    engine.pipe.unet = kind.from_config(engine.pipe.unet.config, time_cond_proj_dim=16).eval()
    noise = initial_noise(1, (1, 4, 8, 8))
    positive, negative = (texts(engine)[0][:1], texts(engine)[1][:1])
    made = {}
    for scale in (2.0, 7.5):
        told = replace(engine.recipe, guidance_scale=scale)
        given = conditions(engine.pipe, told, positive, negative)
        made[scale] = denoise(engine.pipe, told, noise, given)
        want = by_the_pipeline(engine, told, noise, positive, negative)
        assert torch.equal(made[scale], want)
    assert not torch.equal(made[2.0], made[7.5])


def test_decoding_in_pieces_gives_the_images_of_decoding_one_by_one(
    engines: dict[str, Engine],
) -> None:
    vae = engines["sd15"].pipe.vae
    latents = initial_noise(3, (7, 4, 8, 8))
    want = torch.cat([decode(vae, latents[index : index + 1], 1) for index in range(7)])
    sizes: list[int] = []
    watch = vae.decoder.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    try:
        pieces, same = decode(vae, latents, 3), decode(vae, latents, 3, same=True)
    finally:
        watch.remove()
    assert sizes == [3, 3, 1, 3, 3, 3]
    assert len(pieces) == len(same) == 7
    assert torch.allclose(pieces, want, atol=1e-5)
    assert torch.allclose(same, want, atol=1e-5)


def test_images_decoded_at_once() -> None:
    recipe = Recipe(base_model="a", width=512, height=512)
    assert decode_limit(recipe, 0) == decode_limit(recipe, 24 * 2**30) == 10
    assert decode_limit(recipe, 80 * 2**30) == 20
    assert decode_limit(replace(recipe, width=1024, height=1024), 80 * 2**30) == 5
    assert decode_limit(replace(recipe, width=2048, height=2048), 0) == 1
