"""Small base models and LoRAs on a real GPU; every test here skips where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from loraeval.records import Caption, Prompt


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder, and skip them without a CUDA device."""
    here = Path(__file__).parent
    ours = [item for item in items if here in item.path.parents]
    if not ours:
        return
    import torch

    absent = pytest.mark.skip(reason="needs a CUDA GPU")
    for item in ours:
        item.add_marker(pytest.mark.gpu)
        if not torch.cuda.is_available():
            item.add_marker(absent)


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny random base models by family."""
    from loraeval.render.random_models import build_base

    folder = tmp_path_factory.mktemp("bases")
    return {family: build_base(folder / family, family) for family in ("sd15", "sdxl")}


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Three epochs of a LoRA series by family, text encoders trained."""
    from loraeval.render.random_models import lora_layers, write_lora

    folder = tmp_path_factory.mktemp("loras")
    return {
        family: [
            write_lora(folder / family / f"run-{n:06d}.safetensors", lora_layers(family), seed=n)
            for n in (1, 2, 3)
        ]
        for family in ("sd15", "sdxl")
    }


@pytest.fixture
def prompts() -> list[Prompt]:
    """Six prompts, two of them longer than one chunk."""
    texts = [f"pixel art portrait number {n} " * (1 + 12 * (n > 3)) for n in range(6)]
    return [Prompt(f"p{n}", text, Caption(text)) for n, text in enumerate(texts)]
