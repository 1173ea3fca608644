"""Ctrl-C while rendering: soon over, what is finished is kept, and how to go on is said."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loraeval.records import Prompt, Recipe
from loraeval.render.renderer import Renderer
from loraeval.render.store import Store

SCRIPT = """
from loraeval.records import Caption, Prompt, Recipe
from loraeval.render import renderer as module, sd
from loraeval.render.store import Store
if __name__ == "__main__":
    recipe = Recipe(base_model={base!r}, width=64, height=64, steps=4000)
    prompts = [Prompt("p", "a cat", Caption("a cat"))]
    with module.Renderer(recipe, Store({store!r}), devices="cpu", batch_size=1) as renderer:
        quick = Recipe(base_model={base!r}, width=64, height=64, steps=2)
        with module.Renderer(quick, Store({store!r}), devices="cpu", batch_size=1) as first:
            list(first.render([None], prompts, [1, 2]))
        real = sd.Engine._sample
        def sampling(engine, batch):
            print("sampling", flush=True)
            return real(engine, batch)
        sd.Engine._sample = sampling
        list(renderer.render([None], prompts, [1, 2]))
"""


@pytest.mark.slow
def test_an_interrupted_batch_ends_at_its_next_step(recipe: Recipe, tmp_path: Path) -> None:
    store = tmp_path / "s"
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(base=recipe.base_model, store=str(store)))
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "sampling"
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, said = process.communicate(timeout=120)
    print(f"over after {time.monotonic() - begun:.1f} s")
    assert process.returncode not in (0, None)
    assert "interrupted with 0 of 2 images made" in said
    assert "the same command goes on from there" in said
    assert len(list(Store(store).rows())) == 2  # 4000 steps would have taken minutes


def test_what_was_sampled_before_the_stop_is_stored(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    with Renderer(recipe, store, devices="cpu", compile="never", batch_size=1) as renderer:
        list(renderer.render([None], prompts[:1], [0]))
        worker = renderer._team
        engine = worker._engine
        real, sampled = engine._sample, []

        def counted(batch):  # type: ignore[no-untyped-def]
            made = real(batch)
            sampled.append(batch)
            if len(sampled) == 2:
                engine.stop.set()
            return made

        monkeypatch.setattr(engine, "_sample", counted)
        renderer._start(jobs := [
            renderer._job(renderer._describe([None])[0], prompts[0], seed) for seed in range(1, 6)
        ])  # fmt: skip
        assert len(worker.submit(jobs).result()) == 2
    assert len(list(store.rows())) == 3
