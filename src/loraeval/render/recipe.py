"""Recipes: read from TOML, checked, and resolved for a base model and a device.

A recipe file is flat TOML with the fields of ``loraeval.records.Recipe``; ``scheduler_options`` is
a table. A name without a path is looked for as ``recipes/NAME.toml`` in the working directory, in
the installed package, and in the checkout.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval import families
from loraeval.errors import UsageError
from loraeval.outside import toml
from loraeval.outside.text import clean, read_text
from loraeval.records import Recipe
from loraeval.render.samplers import resolve_sampler

if TYPE_CHECKING:
    from loraeval.render.store import Store

DTYPES = ("float16", "bfloat16", "float32")
ATTENTION = ("auto", "sdpa", "xformers", "sliced")
MAX_BYTES = 1 << 20
"""A longer recipe file is refused unread."""
_FIELDS = tuple(item.name for item in fields(Recipe))
_WHOLE = ("width", "height", "steps", "max_prompt_chunks")


def read_recipe(path_or_name: str | Path, **overrides: object) -> Recipe:
    """Read a recipe file, or the recipe called ``path_or_name``; ``overrides`` that are not None
    replace fields.

    Raises ``UsageError`` for a file that is missing or is not TOML, an unknown field (the nearest
    known one is named) and a value out of range.
    """
    path = _find(path_or_name)
    text = read_text(path, UsageError, MAX_BYTES)
    try:
        values: dict[str, Any] = toml.loads(text)
    except ValueError as error:
        raise UsageError(f"{clean(path)}: expected a recipe in TOML ({clean(error)})") from error
    values.setdefault("name", path.stem)
    values.update({key: value for key, value in overrides.items() if value is not None})
    return recipe_from_fields(values, str(path))


def recipe_from_fields(values: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """Make a checked ``Recipe`` of plain values; ``UsageError`` starts with ``where``."""
    for key in values:
        if key not in _FIELDS:
            near = difflib.get_close_matches(key, _FIELDS, 1)
            hint = f"did you mean {near[0]}" if near else f"known are {', '.join(_FIELDS)}"
            raise UsageError(f"{where}: unknown recipe field {key!r}; {hint}")
    if "base_model" not in values:
        raise UsageError(f"{where}: a recipe needs base_model, a diffusers folder, file or hub id")
    given = dict(values)
    if "seeds" in given:
        seeds = given["seeds"]
        if isinstance(seeds, (str, bytes)) or not all(_whole(seed) for seed in seeds):
            raise UsageError(f"{where}: seeds must be a list of whole numbers, found {seeds!r}")
        given["seeds"] = tuple(seeds)
    given["base_model"] = str(given["base_model"])
    return check_recipe(Recipe(**given), where)


def check_recipe(recipe: Recipe, where: str = "recipe") -> Recipe:
    """Return ``recipe`` with the name of its sampler resolved, if it can be rendered. Raises
    ``UsageError`` for the first field that can not: sizes that are no multiple of 8, no steps, an
    unknown sampler, an option that it does not take.
    """
    for name in _WHOLE:
        value = getattr(recipe, name)
        if not _whole(value) or value < 1:
            raise UsageError(f"{where}: {name} must be a whole number above 0, found {value!r}")
    if recipe.width % 8 or recipe.height % 8:
        raise UsageError(
            f"{where}: width and height must be multiples of 8, "
            f"found {recipe.width}x{recipe.height}"
        )
    for name, value in (
        ("guidance_scale", recipe.guidance_scale),
        ("lora_scale", recipe.lora_scale),
        ("guidance_rescale", recipe.guidance_rescale),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e3:
            raise UsageError(f"{where}: {name} must be a number, found {value!r}")
    if recipe.clip_skip is not None and not (_whole(recipe.clip_skip) and recipe.clip_skip >= 1):
        raise UsageError(f"{where}: clip_skip must be 1 or more, found {recipe.clip_skip!r}")
    if not recipe.seeds:
        raise UsageError(f"{where}: seeds must hold at least one seed")
    _one_of(where, "family", recipe.family, ("auto", *families.rendered()))
    _one_of(where, "dtype", recipe.dtype, DTYPES)
    _one_of(where, "vae_dtype", recipe.vae_dtype, ("auto", *DTYPES))
    _one_of(where, "attention", recipe.attention, ATTENTION)
    _one_of(where, "prompt_layout", recipe.prompt_layout, ("training", "ui"))
    if not 0 <= recipe.guidance_rescale <= 1:
        raise UsageError(
            f"{where}: guidance_rescale must lie between 0 and 1, found {recipe.guidance_rescale}"
        )
    scheduler, options = resolve_sampler(recipe.scheduler, recipe.scheduler_options, where)
    return replace(recipe, scheduler=scheduler, scheduler_options=options)


def resolve_recipe(
    recipe: Recipe, *, device: str = "auto", store: Store | None = None, offline: bool = False
) -> Recipe:
    """Return ``recipe`` with everything filled in that decides pixels: the base model's hash and
    family, what it predicts, the dtype that ``device`` can compute (float32 on a CPU), the VAE's
    dtype and the attention. Its digest is then what renders and baselines are keyed by.

    Where a family's own VAE overflows in float16, ``vae_dtype = "auto"`` means float32.
    Raises ``CheckpointError`` where the base model cannot be found or is of no known family.
    """
    from loraeval.render.base_hash import hash_of
    from loraeval.render.base_model import base_family, base_prediction, locate_base
    from loraeval.render.other_vae import other_vae_hash
    from loraeval.render.prediction import scheduler_options

    recipe = check_recipe(recipe)
    base = locate_base(recipe.base_model, offline=offline)
    family = base_family(base, own_vae=recipe.vae is not None)
    check_family(recipe, family)
    on_cpu = device.startswith("cpu") or (device == "auto" and not _has_cuda())
    dtype = "float32" if on_cpu and recipe.dtype == "float16" else recipe.dtype
    vae_dtype = recipe.vae_dtype
    if vae_dtype == "auto":
        overflows = families.rendering_of(family).vae_overflows and dtype == "float16"
        vae_dtype = "float32" if overflows else dtype
    vae_hash = None
    if recipe.vae is not None:
        vae_hash = other_vae_hash(Path(recipe.vae).expanduser(), store)
    general = families.rendering_of(family).prompt_tokens is not None
    predicts = base_prediction(base, chosen="prediction_type" in recipe.scheduler_options)
    return replace(
        recipe,
        base_model_hash=hash_of(base, family, store),
        vae_hash=vae_hash,
        scheduler_options={}
        if general
        else scheduler_options(predicts, recipe.scheduler_options, recipe.scheduler),
        family=family,
        dtype=dtype,
        vae_dtype=vae_dtype,
        attention="sdpa" if recipe.attention == "auto" else recipe.attention,
    )


def check_family(recipe: Recipe, family: str) -> None:
    """Raise ``UsageError`` for a recipe with a field that images of ``family`` would ignore."""
    rendering, title = families.rendering_of(family), families.FAMILIES[family].title
    if rendering.prompt_tokens is None:
        return
    wrong = {
        "scheduler": (recipe.scheduler != "base", 'its own, scheduler = "base"'),
        "scheduler_options": (bool(recipe.scheduler_options), "none"),
        "clip_skip": (recipe.clip_skip is not None, "none"),
        "guidance_rescale": (bool(recipe.guidance_rescale), "none"),
        "vae": (recipe.vae is not None, "its own"),
        "attention": (recipe.attention not in ("auto", "sdpa"), "sdpa"),
        "vae_dtype": (recipe.vae_dtype not in ("auto", recipe.dtype), "auto"),
        "negative_prompt": (bool(recipe.negative_prompt) and rendering.guided != "true", "none"),
    }
    found = [f"{name} ({wanted})" for name, (bad, wanted) in wrong.items() if bad]
    if found:
        raise UsageError(
            f"recipe {recipe.name}: images of {title} would ignore {', '.join(found)}; take "
            f"--recipe {family}, or set what stands in brackets"
        )
    if recipe.width % rendering.multiple or recipe.height % rendering.multiple:
        raise UsageError(
            f"recipe {recipe.name}: width and height must be multiples of {rendering.multiple} for "
            f"{title}, found {recipe.width}x{recipe.height}"
        )


def _find(path_or_name: str | Path) -> Path:
    path = Path(path_or_name)
    if path.suffix == ".toml" or path.is_file():
        return path
    here = Path(__file__).resolve()
    folders = [Path("recipes"), here.parent / "recipes", here.parents[3] / "recipes"]
    for folder in folders:
        if (found := folder / f"{path}.toml").is_file():
            return found
    known = sorted({item.stem for folder in folders for item in folder.glob("*.toml")})
    raise UsageError(f"no recipe called {path}; known are: {', '.join(known) or 'none'}")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _one_of(where: str, name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{where}: {name} must be one of {', '.join(allowed)}, found {value!r}")


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
