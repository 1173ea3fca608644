"""Every family with a transformer, from its tiny random pipeline to images, beside diffusers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from loraeval import families
from loraeval.errors import CheckpointError, UsageError
from loraeval.families.names import names_of
from loraeval.records import Caption, Prompt, Recipe
from loraeval.render.base_model import base_family
from loraeval.render.lora_merge import WeightSwapper, read_lora
from loraeval.render.recipe import read_recipe, resolve_recipe
from loraeval.render.renderer import Renderer
from loraeval.render.store import Store

GENERAL = [name for name in families.rendered() if families.rendering_of(name).prompt_tokens]
QUICK = "z-image"
EVERY = [name if name == QUICK else pytest.param(name, marks=pytest.mark.nightly)
         for name in GENERAL]  # fmt: skip
TEXTS = ["a red cat", "a blue dog", "the green bird on a cat"]
PROMPTS = [Prompt(f"p{n}", text, Caption(text)) for n, text in enumerate(TEXTS)]


@pytest.fixture(scope="session")
def tiny_bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of diffusers by family, each built when it is first asked for."""
    from tests.render import tiny

    folder = tmp_path_factory.mktemp("tiny")

    class Built(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            self[name] = tiny.build(folder / name, name)
            return self[name]

    return Built()


def recipe_of(base: Path, name: str, **more: Any) -> Recipe:
    rendering = families.rendering_of(name)
    return Recipe(
        base_model=str(base), width=32, height=32, steps=3, guidance_scale=rendering.guidance,
        scheduler="base", dtype="float32", **more,
    )  # fmt: skip


def pictures(renders: Any) -> dict[str, np.ndarray]:
    return {r.name: np.asarray(Image.open(r.image).convert("RGB")).astype(int) for r in renders}


def plain(base: Path, name: str, prompt: str, seed: int, lora: Path | None = None) -> np.ndarray:
    """What a user gets of diffusers."""
    import diffusers

    rendering = families.rendering_of(name)
    kind = json.loads((base / "model_index.json").read_text())["_class_name"]
    pipe = getattr(diffusers, kind).from_pretrained(base)
    pipe.set_progress_bar_config(disable=True)
    if lora is not None:
        pipe.load_lora_weights(lora)
    given = {"negative_prompt": ""} if rendering.guided == "true" else {}
    image = pipe(
        prompt=prompt, width=32, height=32, num_inference_steps=3, output_type="np",
        generator=torch.Generator().manual_seed(seed),
        max_sequence_length=rendering.prompt_tokens,
        **{rendering.scale_name: rendering.guidance}, **given, **rendering.call,
    ).images[0]  # fmt: skip
    return (image * 255).round().astype(int)


def linears(base: Path, name: str) -> dict[str, tuple[int, int]]:
    """Paths of a tiny transformer's linear layers, with rows and columns."""
    import diffusers

    index = json.loads((base / "model_index.json").read_text())
    kind = getattr(diffusers, index["transformer"][1])
    module = kind.from_config(json.loads((base / "transformer/config.json").read_text()))
    return {
        path: (layer.out_features, layer.in_features)
        for path, layer in module.named_modules()
        if isinstance(layer, torch.nn.Linear)
    }


def write_forms(folder: Path, base: Path, name: str, seed: int = 0) -> dict[str, Path]:
    """Write one random LoRA in three ways: diffusers' names, kohya's, and the original code's with
    a named adapter. Layers whose rows the original stacks share their down matrix.
    """
    shapes = linears(base, name)
    rendering = families.rendering_of(name)
    groups: dict[str, list[tuple[str, bool]]] = {}
    for theirs, ours in rendering.layers:
        for number in range(3):
            paths = [path.removeprefix("~").format(n=number) for path in ours]
            if all(path in shapes for path in paths) and not theirs.endswith(("1", "2", "qkv1")):
                groups[theirs.format(n=number)] = [
                    (path, one.startswith("~")) for path, one in zip(paths, ours, strict=True)
                ]
    taken = {path for group in groups.values() for path, _ in group}
    groups |= {path: [(path, False)] for path in shapes if path not in taken and "block" in path}
    generator = torch.Generator().manual_seed(seed)
    forms: dict[str, dict[str, torch.Tensor]] = {"diffusers": {}, "kohya": {}, "original": {}}
    for theirs, members in groups.items():
        columns = shapes[members[0][0]][1]
        down = torch.randn(4, columns, generator=generator) / columns**0.5
        ups = [torch.randn(shapes[path][0], 4, generator=generator) * 0.3 for path, _ in members]
        for (path, _), up in zip(members, ups, strict=True):
            forms["diffusers"][f"transformer.{path}.lora_A.weight"] = down.clone()
            forms["diffusers"][f"transformer.{path}.lora_B.weight"] = up.clone()
        stacked = torch.cat([
            torch.cat(up.chunk(2)[::-1]) if swapped else up
            for (_, swapped), up in zip(members, ups, strict=True)
        ])  # fmt: skip
        flat = f"lora_unet_{theirs.replace('.', '_')}"
        forms["kohya"] |= {
            f"{flat}.lora_down.weight": down.clone(),
            f"{flat}.lora_up.weight": stacked * 2,
            f"{flat}.alpha": torch.tensor(2.0),
        }
        forms["original"] |= {
            f"diffusion_model.{theirs}.lora_A.default.weight": down.clone(),
            f"diffusion_model.{theirs}.lora_B.default.weight": stacked.clone(),
        }
    folder.mkdir(parents=True, exist_ok=True)
    for form, tensors in forms.items():
        save_file(tensors, folder / f"{form}.safetensors")
    return {form: folder / f"{form}.safetensors" for form in forms}


@pytest.mark.parametrize("name", EVERY)
def test_images_are_those_of_diffusers_whatever_the_batch(
    tiny_bases: dict[str, Path], name: str, tmp_path: Path
) -> None:
    base = tiny_bases[name]
    made = []
    for size in (1, 8):
        with Renderer(
            recipe_of(base, name), Store(tmp_path / str(size)), devices="cpu", batch_size=size
        ) as renderer:
            assert renderer.recipe.family == name == base_family(base)
            made.append(pictures(renderer.render([None], PROMPTS, [1, 2])))
    assert max(int(abs(made[0][k] - made[1][k]).max()) for k in made[0]) <= 1
    assert min(image.std() for image in made[0].values()) > 1
    wanted = plain(base, name, PROMPTS[0].text, 2)
    assert abs(wanted - made[1]["base/p0-2.png"]).max() <= 1


@pytest.mark.parametrize("name", EVERY)
def test_three_ways_of_naming_give_the_weights_of_diffusers_own_loader(
    tiny_bases: dict[str, Path], name: str, tmp_path: Path
) -> None:
    import diffusers

    base = tiny_bases[name]
    kind = json.loads((base / "model_index.json").read_text())["_class_name"]
    pipe = getattr(diffusers, kind).from_pretrained(base)
    files = write_forms(tmp_path, base, name)
    before = {k: v.clone() for k, v in pipe.transformer.state_dict().items()}
    ours = {}
    swapper = WeightSwapper({"transformer": pipe.transformer}, name)
    for form, path in files.items():
        lora = read_lora(path)
        swapper.apply(lora, 1.0)
        assert swapper.applied == len(lora.modules)
        state = pipe.transformer.state_dict()
        ours[form] = {k: state[k] - v for k, v in before.items() if not torch.equal(state[k], v)}
    swapper.apply(None)
    assert all(torch.equal(v, before[k]) for k, v in pipe.transformer.state_dict().items())
    pipe.load_lora_weights(files["diffusers"])
    wanted = {
        f"{path}.weight": layer.get_delta_weight("default_0").detach()
        for path, layer in pipe.transformer.named_modules()
        if hasattr(layer, "get_delta_weight") and "default_0" in getattr(layer, "lora_A", {})
    }
    assert len(wanted) > 4
    for form, found in ours.items():
        assert set(found) == set(wanted), form
        for key, delta in wanted.items():
            assert float((found[key] - delta).abs().max()) <= 1e-5, (form, key)


@pytest.mark.parametrize("name", EVERY)
def test_a_series_is_swapped_in_place_and_goes_on_after_a_stop(
    tiny_bases: dict[str, Path], name: str, tmp_path: Path
) -> None:
    base = tiny_bases[name]
    series = []
    for epoch in (1, 2):
        forms = write_forms(tmp_path / str(epoch), base, name, seed=epoch)
        series.append(forms["diffusers"].rename(tmp_path / f"run-{epoch:06d}.safetensors"))
    recipe, store = recipe_of(base, name), Store(tmp_path / "store")
    with Renderer(recipe, store, devices="cpu", batch_size=2) as renderer:
        stopped = renderer.render([None, *series], PROMPTS[:2], [1])
        first = next(stopped)
        stopped.close()
    with Renderer(recipe, store, devices="cpu", batch_size=2) as renderer:
        images = pictures(renderer.render([None, *series], PROMPTS[:2], [1]))
        before = sum(renderer.health.values())
        assert pictures(renderer.render([None, *series], PROMPTS[:2], [1])).keys() == images.keys()
        assert sum(renderer.health.values()) == before < len(images)
    assert first.name in images
    for epoch in (1, 2):
        wanted = plain(base, name, PROMPTS[0].text, 1, series[epoch - 1])
        found = images[f"run-{epoch:06d}/p0-1.png"]
        assert abs(found - wanted).max() <= 1
        assert abs(found - images["base/p0-1.png"]).max() > 1
    scaled = replace(recipe, lora_scale=0.0)
    with Renderer(scaled, store, devices="cpu") as renderer:
        (zero,) = pictures(renderer.render(series[:1], PROMPTS[:1], [1])).values()
    assert abs(zero - images["base/p0-1.png"]).max() == 0


@pytest.mark.parametrize("name", EVERY)
def test_a_lora_of_another_family_is_refused_before_weights_are_loaded(
    tiny_bases: dict[str, Path], name: str, tmp_path: Path
) -> None:
    from loraeval.testing.kohya_files import write_lora

    other = write_lora(tmp_path / "a.safetensors", rank=1, metadata=None)
    with (
        Renderer(
            recipe_of(tiny_bases[name], name), Store(tmp_path / "s"), devices="cpu"
        ) as renderer,
        pytest.raises(CheckpointError, match=rf"LoRA for sd15 .*base model is {name}"),
    ):
        list(renderer.render([other], PROMPTS[:1], [1]))
    assert renderer._team is None


def test_a_recipe_with_what_images_would_ignore_is_refused(
    tiny_bases: dict[str, Path],
) -> None:
    base = tiny_bases[QUICK]
    wrong = Recipe(base_model=str(base), clip_skip=2, width=32, height=32)
    with pytest.raises(UsageError, match=r"scheduler .*clip_skip .*--recipe z-image"):
        resolve_recipe(wrong, device="cpu")
    with pytest.raises(UsageError, match="multiples of 16"):
        resolve_recipe(replace(recipe_of(base, QUICK), width=40), device="cpu")


@pytest.mark.parametrize("name", GENERAL)
def test_each_family_has_its_default_recipe_in_the_package(name: str) -> None:
    recipe = read_recipe(name, base_model="m")
    rendering = families.rendering_of(name)
    assert (recipe.steps, recipe.guidance_scale) == (rendering.steps, rendering.guidance)
    assert (recipe.family, recipe.scheduler, recipe.dtype) == (name, "base", "bfloat16")
    assert recipe.width % rendering.multiple == 0


@pytest.mark.parametrize("name", GENERAL)
def test_no_name_of_the_original_code_stands_for_two_layers(name: str) -> None:
    rendering = families.rendering_of(name)
    seen = [theirs for theirs, _ in rendering.layers]
    assert len(seen) == len(set(seen))
    paths = [ours[0].removeprefix("~").format(n=0) for _, ours in rendering.layers]
    table = names_of(rendering, rendering.denoiser, paths)
    assert table or not rendering.layers


def test_one_family_walks_from_the_command_line_to_the_report(
    tiny_bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loraeval import cli

    base = tiny_bases[QUICK]
    series = []
    for epoch in (1, 2):
        forms = write_forms(tmp_path / str(epoch), base, QUICK, seed=epoch)
        series.append(forms["kohya"].rename(tmp_path / f"run-{epoch:06d}.safetensors"))
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        f'base_model = "{base}"\nfamily = "{QUICK}"\nwidth = 32\nheight = 32\nsteps = 2\n'
        'guidance_scale = 5.0\nscheduler = "base"\ndtype = "float32"\nseeds = [1]\n'
    )
    prompts = tmp_path / "set.txt"
    prompts.write_text("a red cat\na blue dog\n")
    monkeypatch.chdir(tmp_path)
    code = cli.main([
        "run", *map(str, series), "--recipe", str(recipe), "--prompts", str(prompts),
        "--scorers", "health", "--devices", "cpu", "--out", "out", "--offline",
    ])  # fmt: skip
    assert code == 0
    rows = (tmp_path / "out" / "scores.jsonl").read_text().splitlines()
    assert len([row for row in rows if '"prompt_id"' in row]) == 4
    assert cli.main(["report", "out", "--out", "page"]) == 0
    assert list((tmp_path / "page").glob("*.html"))
