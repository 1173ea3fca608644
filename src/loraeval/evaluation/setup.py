"""From a request to what does the work: recipe, prompts, renderer, panel, gate options."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from loraeval.errors import LoraevalError, UsageError
from loraeval.evaluation.gate_run import GateSetup
from loraeval.evaluation.panels import SCORERS, PanelChoice, build_panel, say, show_progress
from loraeval.evaluation.request import Request
from loraeval.outside.offline import offline_asked

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.evaluation.engine import Engine
    from loraeval.gate import GateOptions
    from loraeval.records import PromptSet, Recipe


def gate_setup(request: Request, baseline: Baseline, *, quiet: bool) -> GateSetup:
    """Return the gate that ``request`` describes, for every door.

    Raises ``UsageError`` naming at once all that is missing, before an encoder is loaded.
    """
    options = gate_options(request)
    choice = panel_choice(request)
    if request.renders is not None:
        from loraeval.sources import find_renders, problem_words

        known = choose_prompts(request, baseline) if request.prompts else None
        listed = find_renders(request.path(request.renders), known)
        found = tuple(listed)
        for words in problem_words(listed):
            say(words, quiet)
        panel = build_panel(choice, baseline, quiet=quiet)
        return GateSetup(baseline, panel, options, found=found)
    check_complete(request, baseline)
    recipe, prompts = choose_recipe(request, baseline), choose_prompts(request, baseline)
    renderer = make_renderer(request, recipe)
    panel = build_panel(choice, baseline, quiet=quiet)
    return GateSetup(baseline, panel, options, renderer=renderer, prompts=prompts)


def baseline_of(request: Request) -> Baseline | None:
    """Read the request's baseline, None where none is named; raise ``BaselineError`` as its reader
    does.
    """
    from loraeval.baselines import read_baseline

    if request.baseline is None:
        return None
    with contextlib.suppress(LoraevalError):
        return read_baseline(request.baseline, root=request.root / "baselines")
    return read_baseline(request.baseline)


def check_complete(request: Request, baseline: Baseline | None) -> None:
    """Raise ``UsageError`` that names everything without which nothing can be rendered."""
    flag, missing = request.flag, []
    known = baseline is not None and baseline.recipe
    if request.recipe is None and request.base_model is None and not known:
        missing.append(
            f"a base model to render with: give {flag('base-model')} (a diffusers folder, a "
            f".safetensors file or a hub id), or score images that exist with {flag('renders')}"
        )
    if not request.prompts and (baseline is None or not baseline.prompt_set):
        missing.append(
            f"a prompt set to render: give {flag('prompts')} (a set of prompts/ or a path)"
        )
    if missing:
        raise UsageError("expected " + "; and ".join(missing))


def make_renderer(request: Request, recipe: Recipe) -> Engine:
    """Return a renderer for ``recipe`` on the chosen devices, with the store opened."""
    from loraeval.render.renderer import Renderer
    from loraeval.render.store import Store

    return Renderer(
        recipe,
        Store(request.store_folder),
        devices=request.devices,
        workers=request.workers,
        ray=request.ray,
        batch_size=request.batch_size,
        compile=request.compile,
        offline=offline_asked(request.offline),
        progress=show_progress(),
    )


def choose_recipe(request: Request, baseline: Baseline | None) -> Recipe:
    """Return the recipe to render with: the named one, else the baseline's, else the default."""
    from loraeval.render.recipe import read_recipe, recipe_from_fields

    overrides: dict[str, object] = {}
    if request.base_model is not None:
        overrides["base_model"] = request.existing(request.base_model)
    if request.seeds:
        overrides["seeds"] = request.seeds
    if request.recipe is None and baseline is not None and baseline.recipe:
        fields = {**baseline.recipe, **overrides, "base_model_hash": None}
        return recipe_from_fields(fields, f"baseline {baseline.name}")
    return read_recipe(request.existing(request.recipe) or "default", **overrides)


def choose_prompts(request: Request, baseline: Baseline | None) -> PromptSet:
    """Return the prompts to render: the named set, else the baseline's."""
    from loraeval.prompts.sets import read_prompts

    name = request.existing(request.prompts) or (baseline.prompt_set if baseline else None)
    found = read_prompts(name or "")
    for note in found.notes:
        say(f"prompts {found.name}: {note}")
    return found


def panel_choice(request: Request) -> PanelChoice:
    """Return what ``request`` says of scorers, encoder, reference and lattice."""
    return PanelChoice(
        scorers=SCORERS if request.scorers is None else request.scorers,
        encoder=request.existing(request.encoder) or "auto",
        reference=None if request.reference is None else request.path(request.reference),
        lattice=request.lattice,
        offline=request.offline,
    )


def gate_options(request: Request) -> GateOptions:
    """Return how sure the gate must be; raise ``UsageError`` for what contradicts itself."""
    from loraeval.gate import GateOptions

    names = ("alpha", "power", "max_images", "min_images", "bad_share", "strict", "allow_partial")
    given = {name: getattr(request, name) for name in names if getattr(request, name) is not None}
    return GateOptions(**given)
