"""What a call that fails leaves behind: the next call renders the images of its own checkpoint."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import loraeval
from loraeval import records
from loraeval.errors import CheckpointError
from loraeval.records import Prompt, Recipe
from loraeval.render import lora_merge
from loraeval.render.fleet import Plan, RayCrew, connect, import_ray
from loraeval.render.pixels import decode, initial_noise
from loraeval.render.pool import ProcessCrew
from loraeval.render.random_models import lora_layers, write_lora
from loraeval.render.recipe import resolve_recipe
from loraeval.render.renderer import Renderer
from loraeval.render.store import Store
from loraeval.render.worker import Setup, Worker


def pixels(renders: Any) -> list[np.ndarray]:
    return [np.asarray(Image.open(render.image), dtype=int) for render in renders]


def worst(a: list[np.ndarray], b: list[np.ndarray]) -> int:
    assert len(a) == len(b) > 0
    return max(int(np.abs(x - y).max()) for x, y in zip(a, b, strict=True))


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """Two LoRAs of one size in bytes with other weights."""
    layers = lora_layers("sd15")
    return [write_lora(tmp_path / f"{n}.safetensors", layers, seed=seed, strength=0.5)
            for n, seed in (("a", 1), ("b", 2))]  # fmt: skip


def alone(recipe: Recipe, folder: Path, file: Path, prompt: Prompt) -> list[np.ndarray]:
    with Renderer(recipe, Store(folder), devices="cpu", compile="never") as renderer:
        return pixels(renderer.render([file], [prompt], [1]))


def test_a_file_overwritten_after_it_was_hashed_fails_the_call_and_the_next_call_renders_it(
    recipe: Recipe, pair: list[Path], prompts: list[Prompt], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    store = Store(tmp_path / "store")
    want = alone(recipe, tmp_path / "other", pair[1], prompts[0])
    with Renderer(recipe, store, devices="cpu", compile="never") as renderer:
        list(renderer.render([None], prompts[:1], [1]))
        real = Worker.submit

        def overwritten(worker: Worker, jobs: list[Any]) -> Any:
            if jobs[0].checkpoint.path is not None:
                shutil.copyfile(pair[1], pair[0])
                monkeypatch.setattr(Worker, "submit", real)
            return real(worker, jobs)

        monkeypatch.setattr(Worker, "submit", overwritten)
        with pytest.raises(CheckpointError, match="changed while it was being rendered"):
            list(renderer.render([pair[0]], prompts[:1], [1]))
        assert len(list(store.rows())) == 1  # the base model's image alone
        made = list(renderer.render([pair[0]], prompts[:1], [1]))
    assert worst(pixels(made), want) <= 1


def test_a_checkpoint_replaced_by_one_of_its_size_and_time_is_not_served_the_old_images(
    recipe: Recipe, pair: list[Path], prompts: list[Prompt], tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    for path in pair:
        os.utime(path, (1_700_000_000, 1_700_000_000))
    a, b = pair
    assert a.stat().st_size == b.stat().st_size
    with Renderer(recipe, store, devices="cpu", compile="never") as renderer:
        first = pixels(renderer.render([a], prompts[:1], [1]))
        want = pixels(renderer.render([b], prompts[:1], [1]))
        shutil.copy2(b, a)  # in place: same inode, size and mtime
        assert worst(pixels(renderer.render([a], prompts[:1], [1])), want) == 0
    assert worst(first, want) > 8


@pytest.mark.parametrize("at", [0, 40])
def test_out_of_memory_while_b_is_merged_and_then_a_again_renders_a(
    recipe: Recipe, pair: list[Path], prompts: list[Prompt], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, at: int,
) -> None:  # fmt: skip
    a, b = pair
    want = alone(recipe, tmp_path / "fresh", a, prompts[1])
    real, calls = lora_merge._merged, []

    def failing(*given: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) > at:
            raise RuntimeError("an error of the device while merging")
        return real(*given)

    with Renderer(recipe, Store(tmp_path / "s"), devices="cpu", compile="never") as renderer:
        list(renderer.render([a], prompts[:1], [1]))
        monkeypatch.setattr(lora_merge, "_merged", failing)
        with pytest.raises(RuntimeError, match="while merging"):
            list(renderer.render([b], prompts[:1], [1]))
        monkeypatch.setattr(lora_merge, "_merged", real)
        made = pixels(renderer.render([a], prompts[1:2], [1]))
        base = pixels(renderer.render([None], prompts[1:2], [1]))
    assert worst(made, want) == 0
    with Renderer(recipe, Store(tmp_path / "t"), devices="cpu", compile="never") as renderer:
        assert worst(base, pixels(renderer.render([None], prompts[1:2], [1]))) == 0


def test_a_float32_decode_that_fails_and_then_a_decode_gives_the_dtype_of_before(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = replace(recipe, vae_dtype="bfloat16")
    with Renderer(wanted, Store(tmp_path), devices="cpu", compile="never") as renderer:
        list(renderer.render([None], prompts[:1], [1]))
        vae = renderer._team._engine.pipe.vae
        latents = initial_noise(3, (1, 4, 8, 8))
        want = decode(vae, latents, 1)
        real = vae.decoder.forward

        def failing(*given: Any, **named: Any) -> Any:
            raise torch.OutOfMemoryError("no memory left on this device")

        monkeypatch.setattr(vae.decoder, "forward", failing)
        with pytest.raises(torch.OutOfMemoryError):
            decode(vae, latents, 1, in_float32=True)
        monkeypatch.setattr(vae.decoder, "forward", real)
        assert vae.dtype == torch.bfloat16
        assert torch.equal(decode(vae, latents, 1), want)


def test_out_of_memory_in_the_retry_of_a_black_image_keeps_it_black_and_the_next_call_renders(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loraeval.render import sd

    def faulty(vae: Any, latents: torch.Tensor, most: int, **named: Any) -> torch.Tensor:
        if named.get("in_float32"):
            raise torch.OutOfMemoryError("no memory left on this device")
        return decode(vae, latents, most, **named) * 0 - 1

    store = Store(tmp_path)
    with Renderer(recipe, store, devices="cpu", compile="never") as renderer:
        list(renderer.render([None], prompts[:1], [1]))
        monkeypatch.setattr(sd, "decode", faulty)
        assert len(list(renderer.render([None], prompts[:1], [2]))) == 1
        assert renderer.health == {"ok": 1, "black": 1}
        monkeypatch.setattr(sd, "decode", decode)
        list(renderer.render([None], prompts[:1], [3]))
        assert renderer.health == {"ok": 2, "black": 1}


@pytest.mark.slow
def test_a_lora_that_does_not_fit_fails_two_workers_and_the_next_call_renders(
    recipe: Recipe, pair: list[Path], prompts: list[Prompt], tmp_path: Path
) -> None:
    layers = {name: (shape[0], shape[1] + 8, *shape[2:])
              for name, shape in lora_layers("sd15").items()}  # fmt: skip
    wide = write_lora(tmp_path / "wide.safetensors", layers)
    with Renderer(recipe, Store(tmp_path / "s"), devices="cpu", workers=2) as renderer:
        with pytest.raises(CheckpointError, match="was trained for a layer of"):
            list(renderer.render([wide], prompts[:1], [1]))
        crew = renderer._team
        made = pixels(renderer.render([pair[0]], prompts[:1], [1]))
        assert renderer._team is crew  # the models are still loaded
    assert worst(made, alone(recipe, tmp_path / "one", pair[0], prompts[0])) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["processes", "ray"])
def test_a_worker_that_is_killed_and_then_its_replacement_both_hold_what_is_to_be_compiled(
    recipe: Recipe, tmp_path: Path, kind: str
) -> None:
    if kind == "ray":
        pytest.importorskip("ray")
    wanted = resolve_recipe(recipe, device="cpu")
    setup = Setup(wanted, Store(tmp_path / "s"), "cpu", compile="always")
    ours = kind == "ray" and connect("local", 2)
    crew = ProcessCrew([setup, setup]) if kind == "processes" else RayCrew(setup, Plan(2, "cpu"))
    try:
        crew.prepare([], 8, 1)
        before = crew.facts(0)
        os.kill(crew.pids[0], signal.SIGKILL)
        assert crew.replace(0)
        after = crew.facts(0)  # nothing was rendered: nothing is compiled yet
    finally:
        crew.close()
        if ours:
            import_ray().shutdown()
    assert before["compiled_parts"] == after["compiled_parts"] == ["unet", "vae"]


def test_another_render_version_and_then_the_same_call_renders_anew(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    digests = []
    for version in (records.RENDER_VERSION, records.RENDER_VERSION + 1):
        monkeypatch.setattr(records, "RENDER_VERSION", version)
        with Renderer(recipe, store, devices="cpu", compile="never") as renderer:
            list(renderer.render([None], prompts[:1], [1]))
            assert renderer.health == {"ok": 1}
            digests.append(renderer.recipe.digest)
    assert len(list(store.rows())) == len(set(digests)) == 2


def test_row_and_file_of_a_render_say_what_made_it(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path
) -> None:
    import diffusers

    store = Store(tmp_path)
    with Renderer(recipe, store, devices="cpu", compile="never") as renderer:
        (made,) = renderer.render([None], prompts[:1], [1])
    (row,) = store.rows()
    with Image.open(made.image) as image:
        in_file = json.loads(json.loads(image.text["loraeval"])["details"])  # type: ignore[attr-defined]
    assert in_file == json.loads(row.details)
    wanted = {"loraeval": loraeval.__version__, "torch": torch.__version__,
              "diffusers": diffusers.__version__, "device": "cpu",
              "processor": "AttnProcessor2_0"}  # fmt: skip
    assert {name: in_file[name] for name in wanted} == made.made_with == wanted


@pytest.mark.slow
def test_a_script_without_a_main_guard_ends_in_one_sentence(recipe: Recipe, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from loraeval.records import Caption, Prompt, Recipe\n"
        "from loraeval.render.renderer import Renderer\n"
        "from loraeval.render.store import Store\n"
        f"recipe = Recipe(base_model={recipe.base_model!r}, width=64, height=64, steps=1)\n"
        f"with Renderer(recipe, Store({str(tmp_path / 's')!r}), devices='cpu', workers=2) as r:\n"
        "    list(r.render([None], [Prompt('p', 'a cat', Caption('a cat'))], [1]))\n"
    )
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert "if __name__ ==" in last
    assert "bootstrapping" not in ended.stderr
    assert ended.stderr.count("Traceback") == 1  # the script's own, of the error that it meets
