"""What is compiled: the same model, one compile for blocks of one shape, and what if not."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.render.test_faults import pictures, worst

from loraeval.families import rendering_of
from loraeval.records import Caption, FamilyName, Prompt, Recipe
from loraeval.render import compiling, sd
from loraeval.render.denoise import conditions, first_step
from loraeval.render.economy import break_even, parts_to_compile
from loraeval.render.recipe import resolve_recipe
from loraeval.render.renderer import Renderer
from loraeval.render.sd import Engine
from loraeval.render.store import Store


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let torch.compile capture, reuse and guard as ever, but run what it captured as it is: code
    for a CPU would take minutes to compile. Returns the names of the threads that it captured on.
    """
    real, threads = torch.nn.Module.compile, []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        threads.append(threading.current_thread().name)
        return graph.forward

    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **k: real(self, **k, backend=backend)
    )
    torch._dynamo.reset()
    return threads


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("family", ["sd15", pytest.param("sdxl", marks=pytest.mark.nightly)])
def test_compiled_renders_are_those_of_the_plain_model(
    bases: Any, series: Any, prompts: list[Prompt], tmp_path: Path, family: FamilyName
) -> None:
    recipe = Recipe(base_model=str(bases[family]), family=family, width=64, height=64, steps=2)
    made = []
    for how in ("never", "always"):
        with Renderer(
            recipe, Store(tmp_path / how), devices="cpu", compile=how, batch_size=2
        ) as renderer:
            first = pictures(renderer.render(series[family][:1], prompts[:2], [1]))
            with torch.compiler.set_stance("fail_on_recompile" if how == "always" else "default"):
                rest = pictures(renderer.render(series[family][1:], prompts[:2], [1]))
                one = pictures(renderer.render([None], prompts[:1], [1]))  # filled up to two
            facts = renderer.facts()
            assert facts["compiled"] is (how == "always")
            assert facts["compiled_parts"] == (
                list(rendering_of(family).compiling) if how == "always" else []
            )
            made.append(first | rest | one)
    assert worst(*made) <= 1
    names = sorted(made[0])
    assert (made[0][names[-1]] != made[0][names[-3]]).any()  # other weights, other images


@pytest.mark.nightly
def test_all_engines_of_a_process_compute_their_own_blocks(
    bases: Any, prompts: list[Prompt], quick: list[str]
) -> None:
    """Marks of blocks outlive an engine, and a block of one may be taken for another's: with and
    without guidance, after an engine of the other family, compiled output is the plain one.
    """
    for family in ("sdxl", "sd15", "sd15"):
        torch._dynamo.reset()  # else the third takes the second's code, as it may
        recipe = Recipe(base_model=str(bases[family]), family=family, width=64, height=64, steps=2)
        engine = Engine(resolve_recipe(recipe, device="cpu"), "cpu")
        engine.compile(["unet"])
        text = engine.embed([prompt.text for prompt in prompts[:2]], 1, None)
        for scale in (1.0, 7.5) if family == "sd15" else (7.5,):
            told = replace(engine.recipe, guidance_scale=scale)
            given = conditions(engine.pipe, told, text, text[::-1])
            noise = engine.noise(told, [1, 2], given.states.dtype)
            step = partial(first_step, engine.pipe, told, noise, given)
            assert compiling.disagreement(step) < 1e-5, (family, scale)
    assert len(quick) == 5


@pytest.mark.nightly
def test_every_guidance_scale_is_compiled_and_compared_on_the_compiling_thread(
    recipe: Recipe, tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    real = sd.disagreement
    monkeypatch.setattr(sd, "disagreement", lambda call: compared.append(1) or real(call))
    texts = [Prompt("a", "a cat", Caption("a cat")),
             Prompt("b", "a cat", Caption("a cat"), overrides={"guidance_scale": 1.0})]  # fmt: skip
    with Renderer(recipe, Store(tmp_path), devices="cpu", compile="always") as renderer:
        for prompt in texts:
            list(renderer.render([None], [prompt], [1]))
        assert renderer.facts()["compiled"] is True
    assert len(quick) == len(compared) == 3  # the UNet twice, the decoder once
    assert all(name.startswith("compile") for name in quick)


@pytest.mark.usefixtures("quick")
def test_a_block_is_captured_once_for_each_shape(recipe: Recipe) -> None:
    engine = Engine(resolve_recipe(recipe, device="cpu"), "cpu")
    kinds = rendering_of("sd15").blocks
    blocks = [m for m in engine.pipe.unet.modules() if type(m).__name__ in kinds]
    engine.compile(["unet"])
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    engine.pipe.unet._compiled_call_impl = torch.compile(
        engine.pipe.unet._call_impl, fullgraph=True, dynamic=False, backend=backend
    )
    hidden = torch.zeros(2, 77, engine.pipe.unet.config.cross_attention_dim)
    with torch.no_grad():
        engine.pipe.unet(torch.zeros(2, 4, 8, 8), torch.tensor(5), encoder_hidden_states=hidden)
    calls = [node for node in graphs[0].graph.nodes if "invoke_subgraph" in str(node.target)]
    shared = {node.args[0].target for node in calls}
    # The two with a stretch that is computed on half the rows are no regions, and some versions of
    # torch put a block that comes once where it stands.
    assert len(blocks) - 8 <= len(calls) <= len(blocks) - 2
    assert len(calls) > 2 * len(shared)


@pytest.mark.parametrize("wrong", [pytest.param("differs", marks=pytest.mark.nightly), "raises"])
def test_code_that_is_wrong_is_noticed_and_not_used(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str], wrong: str,
) -> None:  # fmt: skip
    with Renderer(recipe, Store(tmp_path / "a"), devices="cpu", compile="never") as renderer:
        want = pictures(renderer.render([None], prompts[:2], [1]))

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        if wrong == "raises":
            raise RuntimeError("no C compiler\nwas found")
        return lambda *given: [output * 1.1 for output in graph(*given)]

    real = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **k: real(self, **k, backend=backend)
    )
    torch._dynamo.reset()
    with Renderer(recipe, Store(tmp_path / "b"), devices="cpu", compile="always") as renderer:
        made = pictures(renderer.render([None], prompts[:1], [1]))
        assert renderer.facts()["compiled"] is False
        made |= pictures(renderer.render([None], prompts[1:2], [1]))  # not tried again
    said = capfd.readouterr().err
    assert said.count("rendering goes on without it") == 1
    assert ("no C compiler was found" if wrong == "raises" else "changed the output by 10") in said
    assert worst(made, want) <= 1


@pytest.mark.parametrize(
    ("compiled", "plain", "found"),
    [(1.0, 1.0, 0.0), (1.5, 1.0, 0.5), (math.nan, 1.0, math.nan), (math.nan, math.nan, 0.0)],
)
def test_disagreement(compiled: float, plain: float, found: float) -> None:
    outputs = iter([torch.full((2, 3), compiled), torch.full((2, 3), plain)])
    assert compiling.disagreement(lambda: next(outputs)) == pytest.approx(found, nan_ok=True)


def test_what_pays_is_compiled() -> None:
    seconds = {"unet": 0.17, "vae": 0.013}
    costs = rendering_of("sd15").compiling
    unet, vae = costs["unet"], costs["vae"]
    first = break_even(0.17, unet.cold, unet.share)
    second = break_even(0.013, vae.cold, vae.share)
    assert first < second
    assert parts_to_compile("sd15", first - 2, 1, seconds, set()) == ()
    assert parts_to_compile("sd15", first, 1, seconds, set()) == ("unet",)
    assert parts_to_compile("sd15", first, 2, seconds, set()) == ()  # two sizes cost twice
    assert parts_to_compile("sd15", second, 1, seconds, set()) == ("unet", "vae")
    warm = break_even(0.17, unet.warm, unet.share)
    assert warm < first
    assert parts_to_compile("sd15", warm, 1, seconds, {"unet"}) == ("unet",)
    assert parts_to_compile("sdxl", 10**6, 1, seconds, set()) == ("unet",)
