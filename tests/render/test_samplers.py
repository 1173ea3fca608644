"""Names of samplers, and the options that each scheduler takes."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path

import pytest

from loraeval.errors import UsageError
from loraeval.render.recipe import recipe_from_fields
from loraeval.render.samplers import OPTIONS, SAMPLERS, plain, resolve_sampler
from loraeval.render.sd_load import import_diffusers


@pytest.mark.parametrize("kind", OPTIONS)
def test_options_are_those_of_diffusers(kind: str) -> None:
    known = inspect.signature(getattr(import_diffusers(), kind).__init__).parameters
    assert set(known) - {"self"} == OPTIONS[kind]


@pytest.mark.parametrize(
    ("names", "kind", "options"),
    [
        (["dpmpp_2m_karras", "DPM++ 2M Karras"], "DPMSolverMultistepScheduler",
         {"use_karras_sigmas": True}),
        (["euler_a", "Euler a", "k_euler_a", "euler_ancestral"],
         "EulerAncestralDiscreteScheduler", {}),
        (["dpmpp_2m_sde", "DPM++ 2M SDE"], "DPMSolverMultistepScheduler",
         {"algorithm_type": "sde-dpmsolver++"}),
        (["dpmpp_sde_karras", "DPM++ SDE Karras"], "DPMSolverSinglestepScheduler",
         {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True}),
        (["uni_pc", "UniPC"], "UniPCMultistepScheduler",
         {"solver_type": "bh1", "final_sigmas_type": "sigma_min"}),
        (["dpmsolver++", "dpmpp_2m", "DPMSolverMultistepScheduler"],
         "DPMSolverMultistepScheduler", {}),
        (["euler_sgm_uniform", "Euler SGM Uniform"], "EulerDiscreteScheduler",
         {"timestep_spacing": "trailing"}),
        (["base"], "base", {}),
    ],
)  # fmt: skip
def test_one_sampler_has_one_recipe_whatever_it_is_called(
    names: list[str], kind: str, options: dict[str, object]
) -> None:
    for name in names:
        assert resolve_sampler(name, {}) == (kind, options)
    made = [recipe_from_fields({"base_model": "x", "scheduler": name}) for name in names]
    assert len({recipe.digest for recipe in made}) == 1


def test_every_name_and_alias_is_known_as_written() -> None:
    for name, sampler in SAMPLERS.items():
        for word in (name, *sampler.aliases):
            assert plain(word) == word
            assert resolve_sampler(word, {}) == (sampler.scheduler, dict(sampler.options))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("dpmpp_2m", {"use_karas_sigmas": True}, "did you mean use_karras_sigmas"),
        ("ddim", {"eta": 1.0}, "has no option 'eta'"),
        ("eulr", {}, "did you mean euler"),
        ("euler_a_karras", {}, "cannot be combined with karras"),
    ],
)
def test_what_a_sampler_does_not_have_is_refused(
    name: str, options: dict[str, object], said: str
) -> None:
    fields = {"base_model": "x", "scheduler": name, "scheduler_options": options}
    with pytest.raises(UsageError, match=said):
        recipe_from_fields(fields)


def test_the_page_of_samplers_is_the_table(repo: Path) -> None:
    spec = importlib.util.spec_from_file_location("table", repo / "tools" / "sampler_table.py")
    assert spec is not None
    assert spec.loader is not None
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    assert (repo / "docs" / "samplers.md").read_text(encoding="utf-8") == table.page()
