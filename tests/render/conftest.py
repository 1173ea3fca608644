"""Tiny base models and LoRAs with random weights, built once a session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loraeval.records import Caption, FamilyName, Prompt, Recipe

if TYPE_CHECKING:
    from loraeval.render.sd import Engine

FAMILIES: tuple[FamilyName, ...] = ("sd15", "sdxl")


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny base models by family."""
    import torch

    from loraeval.render.random_models import build_base

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("bases")
    return {family: build_base(folder / family, family) for family in ("sd15", "sdxl")}


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Three epochs of one run by family; text encoders trained, alpha half the rank."""
    from loraeval.render.random_models import lora_layers, write_lora

    folder = tmp_path_factory.mktemp("loras")
    return {
        family: [
            write_lora(folder / family / f"run-{n:06d}.safetensors", lora_layers(family), seed=n)
            for n in (1, 2, 3)
        ]
        for family in ("sd15", "sdxl")
    }


@pytest.fixture(scope="module")
def engines(bases: dict[str, Path]) -> dict[str, Engine]:
    """An engine on the CPU by family, for 64×64 and 4 steps."""
    from loraeval.render.recipe import resolve_recipe
    from loraeval.render.sd import Engine

    made = {}
    for family in FAMILIES:
        recipe = Recipe(base_model=str(bases[family]), family=family, width=64, height=64, steps=4)
        made[family] = Engine(resolve_recipe(recipe, device="cpu"), "cpu")
    return made


@pytest.fixture
def prompts() -> list[Prompt]:
    """Three prompts, the last of two chunks."""
    texts = ["a red cat", "a blue dog", "a green bird " * 30]
    return [Prompt(f"p{n}", text, Caption(text)) for n, text in enumerate(texts)]


@pytest.fixture
def recipe(bases: dict[str, Path]) -> Recipe:
    """The smallest recipe on the SD 1.5-shaped base."""
    return Recipe(base_model=str(bases["sd15"]), width=64, height=64, steps=3)
