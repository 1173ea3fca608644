# ruff: noqa: RUF043
"""Recipe files, and what resolving fills in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from loraeval.errors import CheckpointError, UsageError
from loraeval.records import Recipe
from loraeval.render.base_hash import hash_of
from loraeval.render.base_model import base_family, locate_base
from loraeval.render.recipe import read_recipe, recipe_from_fields, resolve_recipe
from loraeval.render.store import Store


def test_named_recipes() -> None:
    recipe = read_recipe("default", base_model="m", seeds=[1, 2], steps=None)
    assert (recipe.width, recipe.height, recipe.steps, recipe.guidance_scale) == (512, 512, 30, 7.5)
    assert (recipe.base_model, recipe.seeds, recipe.name) == ("m", (1, 2), "default")
    assert recipe.digest == Recipe(base_model="m", family="sd15").digest
    assert read_recipe("sdxl").family == "sdxl"
    assert read_recipe("preview").digest != read_recipe("default").digest


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stpes": 3}, "did you mean steps"),
        ({"width": 500}, "multiples of 8"),
        ({"steps": 0}, "steps must be a whole number above 0"),
        ({"steps": True}, "steps must be a whole number"),
        ({"scheduler": "EulerDiscretScheduler"}, "did you mean EulerDiscreteScheduler"),
        ({"scheduler_options": {"algorithm": "dpmsolver++"}}, "did you mean algorithm_type"),
        ({"guidance_rescale": 1.5}, "guidance_rescale must lie between 0 and 1"),
        ({"prompt_layout": "a1111"}, "prompt_layout must be one of training, ui"),
        ({"dtype": "int8"}, "dtype must be one of"),
        ({"seeds": []}, "at least one seed"),
        ({"seeds": "42"}, "list of whole numbers"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a number"),
        ({"clip_skip": 0}, "clip_skip"),
    ],
)
def test_bad_fields(fields: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        recipe_from_fields({"base_model": "m", **fields})


def test_files_that_are_not_recipes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recipe called nope; known are: .*default"):
        read_recipe("nope")
    (tmp_path / "r.toml").write_text("steps = = 3")
    with pytest.raises(UsageError, match="expected a recipe in TOML"):
        read_recipe(tmp_path / "r.toml")


def test_resolving_fills_hash_family_and_dtype(
    bases: dict[str, Path], tmp_path: Path, recipe: Recipe
) -> None:
    store = Store(tmp_path)
    done = resolve_recipe(recipe, device="cpu", store=store)
    assert (done.family, done.dtype, done.vae_dtype, done.attention) == (
        "sd15", "float32", "float32", "sdpa",
    )  # fmt: skip
    assert done.base_model_hash == hash_of(bases["sd15"], "sd15")
    moved = tmp_path / "elsewhere"
    shutil.copytree(bases["sd15"], moved)
    again = resolve_recipe(replace(recipe, base_model=str(moved)), device="cpu", store=store)
    assert again.digest == done.digest
    config = moved / "scheduler" / "scheduler_config.json"
    said = json.loads(config.read_text()) | {"prediction_type": "v_prediction"}
    config.write_text(json.dumps(said))
    assert (
        resolve_recipe(replace(recipe, base_model=str(moved)), device="cpu").digest != done.digest
    )
    on_gpu = resolve_recipe(replace(recipe, base_model=str(bases["sdxl"])), device="cuda:0")
    assert (on_gpu.family, on_gpu.dtype, on_gpu.vae_dtype) == ("sdxl", "float16", "float32")


def test_base_models_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such base model"):
        locate_base(str(tmp_path / "gone" / "x"))
    with pytest.raises(CheckpointError, match="not in the local hub cache"):
        locate_base("nobody/nothing-at-all")
    with pytest.raises(CheckpointError, match="no model_index.json"):
        locate_base(str(tmp_path))
    (tmp_path / "m.ckpt").write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match="a pickle can run code"):
        locate_base(str(tmp_path / "m.ckpt"))
    (tmp_path / "model_index.json").write_text('{"_class_name": "KandinskyPipeline"}')
    with pytest.raises(CheckpointError, match="says KandinskyPipeline"):
        base_family(tmp_path)


def test_named_recipes_of_an_installed_package(repo: Path, tmp_path: Path) -> None:
    """Lay the package out as the wheel does, far from the checkout, and read a recipe there."""
    project = tomllib.loads((repo / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    site = tmp_path / "a" / "b" / "site"
    for package in wheel["packages"]:
        shutil.copytree(
            repo / package, site / Path(package).name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for source, place in wheel["force-include"].items():
        shutil.copytree(repo / source, site / place)
    code = (
        "import loraeval; from loraeval.render.recipe import read_recipe as read;"
        "print(loraeval.__file__, read('default').steps, read('demo').width)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(site / "loraeval" / "__init__.py"), "30", "96"]
