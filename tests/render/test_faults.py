"""Memory that runs out, images that come out black or NaN, autoencoders of another reduction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from loraeval.errors import RenderError
from loraeval.prompts.sets import read_prompts
from loraeval.records import Prompt, Recipe
from loraeval.render import sd
from loraeval.render.pixels import decode, initial_noise
from loraeval.render.recipe import read_recipe
from loraeval.render.renderer import Renderer
from loraeval.render.store import Store
from loraeval.render.timing import seconds_per_step


def pictures(renders: Any) -> dict[str, np.ndarray]:
    return {r.name: np.asarray(Image.open(r.image), dtype=int) for r in renders}


def worst(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> int:
    assert a.keys() == b.keys()
    return max(int(np.abs(a[name] - b[name]).max()) for name in a)


def started(recipe: Recipe, store: Store, prompts: list[Prompt]) -> Renderer:
    """A renderer whose model is loaded."""
    renderer = Renderer(recipe, store, devices="cpu", compile="never")
    renderer._start([renderer._job(renderer._describe([None])[0], prompts[0], 0)])
    return renderer


def fits(renderer: Renderer, rows: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the UNet take at most ``rows`` rows, two an image; return what it was given."""
    unet = renderer._team._engine.pipe.unet
    real, given = unet.forward, []

    def forward(sample: torch.Tensor, *args: Any, **options: Any) -> Any:
        given.append(len(sample))
        if len(sample) > rows:
            raise torch.OutOfMemoryError("no memory left on this device")
        return real(sample, *args, **options)

    monkeypatch.setattr(unet, "forward", forward)
    return given


def test_batches_are_halved_until_they_fit(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Renderer(recipe, Store(tmp_path / "a"), devices="cpu") as renderer:
        want = pictures(renderer.render([None], prompts[:2], range(5)))
    with started(recipe, Store(tmp_path / "b"), prompts) as renderer:
        given = fits(renderer, 6, monkeypatch)
        assert renderer.facts()["limit"] == 8
        made = pictures(renderer.render([None], prompts[:2], range(5)))
        assert renderer.health == {"ok": 10}
        assert renderer.facts()["limit"] == 2
    tries = [rows for rows in given if rows > 6]
    assert tries == [10]  # five images once, then never more than two
    assert worst(made, want) <= 1


def test_not_even_one_image_fits(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started(recipe, Store(tmp_path), prompts) as renderer:
        fits(renderer, 1, monkeypatch)
        with pytest.raises(RenderError, match="one image of 64x64 does not fit"):
            list(renderer.render([None], prompts[:2], range(4)))
        engine = renderer._team._engine
        with pytest.raises(RenderError, match="one image of 64x64 does not fit"):
            seconds_per_step(engine, 8)


def test_the_estimate_is_made_with_what_fits(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started(recipe, Store(tmp_path), prompts) as renderer:
        given = fits(renderer, 2, monkeypatch)
        assert seconds_per_step(renderer._team._engine, 7) > 0
    assert given == [14, 6, 2]


def broken(
    monkeypatch: pytest.MonkeyPatch, *, also_in_float32: bool
) -> list[bool]:  # fmt: skip
    """Let the first image of each batch come out black and the second with a NaN."""
    asked: list[bool] = []

    def faulty(
        vae: Any, latents: torch.Tensor, most: int, *, same: bool = False, in_float32: bool = False
    ) -> torch.Tensor:
        images = decode(vae, latents, most, same=same, in_float32=in_float32)
        if len(images) == 1 and not in_float32:  # the estimate's
            return images
        asked.append(in_float32)
        if not in_float32:
            images[0] = -1.0
            images[1, 0, 5, 5] = float("nan")
        elif also_in_float32:
            images[0] = -1.0 if len([a for a in asked if a]) == 1 else float("nan")
        return images

    monkeypatch.setattr(sd, "decode", faulty)
    return asked


def test_black_and_nan_images_are_decoded_again_in_float32(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Renderer(recipe, Store(tmp_path / "a"), devices="cpu") as renderer:
        want = pictures(renderer.render([None], prompts[:2], [1, 2]))
    asked = broken(monkeypatch, also_in_float32=False)
    store = Store(tmp_path / "b")
    with Renderer(recipe, store, devices="cpu") as renderer:
        made = pictures(renderer.render([None], prompts[:2], [1, 2]))
        assert renderer.health == {"vae-float32": 2, "ok": 2}
    assert sorted(asked) == [False, True, True]
    assert sorted(row.health for row in store.rows()) == ["ok", "ok", "vae-float32", "vae-float32"]
    assert worst(made, want) <= 1


def test_images_that_stay_broken_are_kept_and_named(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, also_in_float32=True)
    store = Store(tmp_path)
    with Renderer(recipe, store, devices="cpu") as renderer:
        made = list(renderer.render([None], prompts[:2], [1, 2]))
        assert renderer.health == {"black": 1, "nan": 1, "ok": 2}
    assert len(made) == 4
    assert sorted(row.health for row in store.rows()) == ["black", "nan", "ok", "ok"]
    black = next(row for row in store.rows() if row.health == "black")
    assert int(np.asarray(Image.open(store.path(black.key))).max()) == 0


def test_the_float32_decode_computes_in_float32_and_leaves_the_vae_as_it_was(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path
) -> None:
    full = started(recipe, Store(tmp_path / "a"), prompts)
    half = started(replace(recipe, vae_dtype="bfloat16"), Store(tmp_path / "b"), prompts)
    with full, half:
        latents = initial_noise(3, (2, 4, 8, 8))
        vaes = [r._team._engine.pipe.vae for r in (full, half)]
        # The same weights, those of the second rounded: raised to float32 they stay rounded.
        vaes[0].load_state_dict({k: v.float() for k, v in vaes[1].state_dict().items()})
        want = decode(vaes[0], latents, 8)
        raised, rounded = decode(vaes[1], latents, 8, in_float32=True), decode(vaes[1], latents, 8)
    assert raised.dtype == torch.float32
    assert rounded.dtype == vaes[1].dtype == torch.bfloat16
    assert torch.allclose(raised, want, atol=1e-6)
    assert not torch.allclose(rounded.float(), want, atol=1e-4)


def test_an_autoencoder_of_fourfold_reduction(repo: Path, tmp_path: Path) -> None:
    recipe = read_recipe("demo", base_model=str(repo / "demo" / "base"), steps=2)
    prompt = read_prompts(str(repo / "prompts" / "demo.toml")).prompts[0]
    with Renderer(recipe, Store(tmp_path), devices="cpu") as renderer:
        (made,) = renderer.render([None], [prompt], [1])
        engine = renderer._team._engine
        assert engine.pipe.vae_scale_factor == 4
    with Image.open(made.image) as image:
        assert image.size == (96, 96) == (made.width, made.height)
