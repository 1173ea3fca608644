"""A renderer without a model: real jobs, keys and store, images drawn by the portrait generator.

For tests and benchmarks of everything around rendering: it needs no torch, and the same job gives
the same pixels on every machine.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loraeval.checkpoints.header import Header
from loraeval.prompts.caption import parse_caption
from loraeval.records import Prompt, PromptSet, Recipe
from loraeval.render.plan import CheckpointRef, Job, make_job
from loraeval.render.renderer import Renderer
from loraeval.render.store import Store
from loraeval.render.worker import Made
from loraeval.testing.portraits import render_pixel_art, scene
from loraeval.testing.portraits_degrade import stray_cells

_ID = "portrait-"


def fake_recipe(size: int = 240, seeds: tuple[int, ...] = (42,)) -> Recipe:
    """Return a resolved recipe of square images of ``size`` pixels that no model stands behind."""
    return Recipe(
        base_model="fake",
        base_model_hash="0" * 64,
        family="sd15",
        width=size,
        height=size,
        dtype="float32",
        vae_dtype="float32",
        attention="sdpa",
        seeds=seeds,
        name="fake",
    )


def portrait_prompts(count: int) -> PromptSet:
    """Return ``count`` prompts: the captions of the generator's first portraits."""
    return PromptSet(
        f"portraits-{count}",
        tuple(
            Prompt(f"{_ID}{n:05d}", text, parse_caption(text))
            for n in range(count)
            for text in [scene(n).caption]
        ),
    )


def draw(job: Job) -> NDArray[np.uint8]:
    """Return the image of ``job``, uint8 H×W×3: the portrait that a prompt of
    ``portrait_prompts`` names, with a few stray cells, fewer in later epochs, that follow from the
    job's key alone.
    """
    number = int(job.prompt.id.removeprefix(_ID))
    rng = int.from_bytes(hashlib.sha256(job.key.encode()).digest()[:4], "big")
    epoch = job.checkpoint.epoch
    share = 0.3 if epoch is None else 0.15 / (1 + epoch)
    portrait = scene(number)
    size = job.recipe.width
    if share < 1 / portrait.cells.shape[0] ** 2:
        return render_pixel_art(portrait, size)
    cells = stray_cells(portrait.cells, share, rng)
    factor = size // cells.shape[0]
    return np.repeat(np.repeat(cells, factor, axis=0), factor, axis=1)


class FakeRenderer(Renderer):
    """Renders jobs by ``draw`` into ``store``, one after the other in this process.

    ``recipe`` must be resolved (``fake_recipe``) and its size a multiple of 24. ``seconds`` is
    slept before each image is stored.
    """

    def __init__(self, recipe: Recipe, store: Store, *, seconds: float = 0.0) -> None:
        self.store = store
        self.recipe = recipe
        self.devices = ["cpu"]
        self.health: dict[str, int] = {}
        self.made = 0
        self._batch_size = None
        self._shown = False
        self._team = None
        self._labels = None
        self.notes: list[str] = []
        self._ray = None
        self._seconds = seconds

    def _told(self, header: Header) -> tuple[str, ...]:  # noqa: ARG002 - its own signature
        return ()  # no base model stands behind it

    def _job(self, ref: CheckpointRef, prompt: Prompt, seed: int) -> Job:
        return make_job(self.recipe, ref, prompt, seed)

    def _start(self, todo: list[Job]) -> float:  # noqa: ARG002 - the renderer's own signature
        return self._seconds

    def _run(self, todo: list[Job]) -> Iterator[Sequence[Made]]:
        for job in todo:
            time.sleep(self._seconds)
            self.store.write(job, draw(job), "ok", {"device": "fake"})
            self.made += 1
            yield [Made(job.key, "ok")]


def fake_checkpoints(folder: Path, epochs: int = 3, name: str = "FAKE") -> list[Path]:
    """Write a series of small LoRA files of ``epochs`` epochs and return them in order."""
    from loraeval.testing.kohya_files import write_lora

    return [
        write_lora(
            folder / f"{name}-{epoch:06d}.safetensors",
            rank=1,
            seed=epoch,
            components=("te",),
            output_name=name,
            epoch=epoch,
            num_epochs=epochs + 1,
        )
        for epoch in range(1, epochs + 1)
    ]
