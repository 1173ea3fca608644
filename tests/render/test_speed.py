"""What an image takes is measured while rendering and known to the next estimate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loraeval.records import Prompt, Recipe
from loraeval.render import timing
from loraeval.render.economy import Pace, estimate_text
from loraeval.render.renderer import Renderer
from loraeval.render.sd import Engine
from loraeval.render.store import Store
from loraeval.render.worker import Setup, Worker, speed_name


def test_pace_of_overlapping_units() -> None:
    pace = Pace()
    pace.add(0.0, 100.0, 4)  # compiling
    assert (pace.images, pace.seconds) == (4, 100.0)
    pace.add(60.0, 108.0, 4)  # started while the first was finished on the host
    assert (pace.images, pace.seconds) == (4, 8.0)
    pace.add(200.0, 206.0, 2)  # after a pause, which nobody rendered in
    assert (pace.images, pace.seconds) == (6, 14.0)


def test_the_second_estimate_is_what_the_first_run_measured(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    store = Store(tmp_path)
    with Renderer(recipe, store, devices="cpu", batch_size=2, compile="never") as renderer:
        list(renderer.render([None], prompts[:2], range(4)))
        name = speed_name(renderer.recipe, "cpu")
    known = store.known_speed(name)
    assert known is not None
    assert known > 0
    capsys.readouterr()

    def never(*_: Any) -> float:
        raise AssertionError("the speed is known")

    monkeypatch.setattr(timing, "seconds_per_step", never)
    with Renderer(recipe, store, devices="cpu", batch_size=2, compile="never") as renderer:
        list(renderer.render([None], prompts[:2], range(10, 110, 25)))
        printed = capsys.readouterr().err
        assert estimate_text(8, known, ["cpu"]) in printed
        other = Setup(renderer.recipe, Store(tmp_path / "other"), "cpu", "never")
    with pytest.raises(AssertionError, match="the speed is known"):
        Worker(other).prepare([], 8, 1)  # another store does not know it


def test_images_of_another_size_do_not_count(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path
) -> None:
    from dataclasses import replace

    store = Store(tmp_path)
    small = replace(prompts[0], overrides={"width": 32, "height": 32})
    with Renderer(recipe, store, devices="cpu") as renderer:
        list(renderer.render([None], [small], [1]))
        assert store.known_speed(speed_name(renderer.recipe, "cpu")) is None


def test_a_unit_that_compiled_says_nothing_about_the_speed_after_it(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "compile", lambda engine, parts: setattr(engine, "parts", parts))
    monkeypatch.setattr(Engine, "_verify", lambda *_: None)
    store = Store(tmp_path)
    with Renderer(recipe, store, devices="cpu", batch_size=2, compile="always") as renderer:
        name = speed_name(renderer._job(renderer._describe([None])[0], prompts[0], 0).recipe,
                          "cpu", compiled=True)  # fmt: skip
        list(renderer.render([None], prompts[:1], [1, 2]))
        assert store.known_speed(name) is None
        list(renderer.render([None], prompts[1:2], [1, 2]))
        assert store.known_speed(name) is not None
