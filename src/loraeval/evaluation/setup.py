"""From options to a gate setup: what the command line's and pytest's words mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.errors import UsageError
from loraeval.evaluation.gate_run import GateSetup
from loraeval.evaluation.panels import PanelChoice, build_panel, show_progress
from loraeval.outside.offline import offline_asked

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.gate import GateOptions
    from loraeval.records import PromptSet, Recipe
    from loraeval.render.renderer import Renderer

DEFAULT_STORE = ".loraeval/store"
"""Where renders are kept, relative to where the command runs."""

PYTEST_FLAG = "--lora-"


@dataclass(frozen=True, slots=True)
class RenderChoice:
    """How to render: texts as the user gave them, None for the default. ``flag`` is how the user
    spells an option, for messages: ``--`` or pytest's ``--lora-``.
    """

    base_model: str | None = None
    prompts: str | None = None
    recipe: str | None = None
    seeds: tuple[int, ...] = ()
    store: Path = Path(DEFAULT_STORE)
    devices: str = "auto"
    workers: int | None = None
    ray: str | None = None
    batch_size: int | None = None
    compile: str = "auto"
    offline: bool = False
    flag: str = "--"


def make_renderer(choice: RenderChoice, recipe: Recipe) -> Renderer:
    """Return a renderer for ``recipe`` on the chosen devices, with the store opened."""
    from loraeval.render.renderer import Renderer
    from loraeval.render.store import Store

    return Renderer(
        recipe,
        Store(choice.store),
        devices=choice.devices,
        workers=choice.workers,
        ray=choice.ray,
        batch_size=choice.batch_size,
        compile=choice.compile,
        offline=offline_asked(choice.offline),
        progress=show_progress(),
    )


def choose_recipe(choice: RenderChoice, baseline: Baseline | None) -> Recipe:
    """Return the recipe to render with: the named one, else the baseline's, else the default.

    Raises ``UsageError`` where no base model is named anywhere.
    """
    from loraeval.render.recipe import read_recipe, recipe_from_fields

    overrides: dict[str, object] = {}
    if choice.base_model is not None:
        overrides["base_model"] = choice.base_model
    if choice.seeds:
        overrides["seeds"] = choice.seeds
    if choice.recipe is None and baseline is not None and baseline.recipe:
        fields = {**baseline.recipe, **overrides, "base_model_hash": None}
        return recipe_from_fields(fields, f"baseline {baseline.name}")
    if choice.recipe is None and choice.base_model is None:
        raise UsageError(
            f"expected a base model to render with: give {choice.flag}base-model (a diffusers "
            "folder, a .safetensors file or a hub id), or score images that exist with "
            f"{choice.flag}renders"
        )
    return read_recipe(choice.recipe or "default", **overrides)


def choose_prompts(choice: RenderChoice, baseline: Baseline | None) -> PromptSet:
    """Return the prompts to render: the named set, else the baseline's."""
    from loraeval.prompts.sets import read_prompts

    name = choice.prompts or (baseline.prompt_set if baseline is not None else None)
    if not name:
        raise UsageError(
            f"expected a prompt set to render: give {choice.flag}prompts (a set of prompts/ "
            "or a path)"
        )
    return read_prompts(name)


def setup_from_settings(
    settings: Mapping[str, str | None], baseline: Baseline, root: Path, here: Path
) -> GateSetup:
    """Return the gate setup that pytest's ``--lora-*`` settings describe.

    ``settings`` by option name without the prefix; paths are relative to ``here``, then ``root``.
    """
    options = gate_options(
        alpha=settings.get("alpha"),
        max_images=settings.get("max-images"),
        min_images=settings.get("min-images"),
    )
    # The panel loads an encoder: what costs nothing is looked at before it.
    reference = settings.get("reference")
    panel_choice = PanelChoice(
        encoder=settings.get("encoder") or "auto",
        reference=_path(reference, root, here) if reference else None,
    )
    renders = settings.get("renders")
    if renders:
        from loraeval.sources import find_renders

        prompts = settings.get("prompts")
        choice = RenderChoice(prompts=prompts, flag=PYTEST_FLAG)
        known = choose_prompts(choice, baseline) if prompts else None
        found = tuple(find_renders(_path(renders, root, here), known))
        panel = build_panel(panel_choice, baseline, quiet=True)
        return GateSetup(baseline, panel, options, found=found)
    base_model = settings.get("base-model")
    choice = RenderChoice(
        base_model=_existing(base_model, root, here),
        prompts=_existing(settings.get("prompts"), root, here),
        recipe=_existing(settings.get("recipe"), root, here),
        store=_path(settings.get("store") or DEFAULT_STORE, root, here),
        devices=settings.get("devices") or "auto",
        flag=PYTEST_FLAG,
    )
    recipe, prompt_set = choose_recipe(choice, baseline), choose_prompts(choice, baseline)
    renderer = make_renderer(choice, recipe)
    panel = build_panel(panel_choice, baseline, quiet=True)
    return GateSetup(baseline, panel, options, renderer=renderer, prompts=prompt_set)


def gate_options(
    *,
    alpha: str | float | None = None,
    power: str | float | None = None,
    max_images: str | int | None = None,
    min_images: str | int | None = None,
) -> GateOptions:
    """Return gate options from texts or numbers; raise ``UsageError`` for what is no number."""
    from loraeval.gate import GateOptions

    fields: dict[str, object] = {}
    for name, value, kind in (
        ("alpha", alpha, float),
        ("power", power, float),
        ("max_images", max_images, int),
        ("min_images", min_images, int),
    ):
        if value is not None:
            try:
                fields[name] = kind(value)
            except ValueError:
                raise UsageError(
                    f"{name.replace('_', '-')}: expected {'a whole ' if kind is int else 'a '}"
                    f"number, found {value!r}"
                ) from None
    return GateOptions(**fields)  # type: ignore[arg-type]


def _path(text: str, root: Path, here: Path) -> Path:
    """Return the path that ``text`` names from ``here``, else from ``root``, else as typed."""
    for folder in (here, root):
        if (folder / text).exists():
            return folder / text
    return here / text


def _existing(text: str | None, root: Path, here: Path) -> str | None:
    """Return ``text`` as a path where one exists, else as it is: a name or a hub id."""
    if text is None:
        return None
    path = _path(text, root, here)
    return str(path) if path.exists() else text
