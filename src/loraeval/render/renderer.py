"""Render prompts × seeds × checkpoints into the store, on one device or many.

from loraeval.render.recipe import read_recipe
from loraeval.render.renderer import Renderer
from loraeval.render.store import Store

recipe = read_recipe("default", base_model="models/stable-diffusion-v1-5")
with Renderer(recipe, Store()) as renderer:
for render in renderer.render(["epoch-01.safetensors"], prompts, seeds=[42, 43]):
print(render.image, render.epoch, render.prompt.id, render.seed)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from loraeval.errors import CheckpointError, UsageError
from loraeval.families import rendering_of
from loraeval.records import Checkpoint, Prompt, PromptSet, Recipe, Render
from loraeval.render import economy
from loraeval.render.devices import choose_devices
from loraeval.render.fleet import Fleet
from loraeval.render.plan import (
    BASE_MODEL,
    CheckpointRef,
    Job,
    batches,
    make_job,
    render_key,
    unique,
)
from loraeval.render.recipe import resolve_recipe
from loraeval.render.store import Store
from loraeval.render.worker import Made, Setup, Worker, render_here

if TYPE_CHECKING:
    from loraeval.checkpoints.header import Header
    from loraeval.render.labels import Labels

LONG_RUN = 8
"""From this many images on, the estimate is printed before the run."""


class Renderer:
    """Renders what the store does not hold yet, as fast as the devices allow.

    ``recipe`` is resolved on construction (``renderer.recipe`` has the base model's hash and the
    dtype of the device). ``devices``: ``auto`` (every CUDA GPU, else the CPU), or a list such as
    ``cuda:0,cuda:1`` or ``cpu``; ``workers`` takes the first so many of them, or starts so many CPU
    workers. ``ray``: ``local``, or the address of a Ray cluster whose hosts share the store; the
    cluster is joined on construction, and has a worker on each of its free GPUs.
    ``batch_size`` None tries the largest and halves it when memory runs out. ``compile``: ``auto``
    (where the run is long enough to pay for it), ``always``, ``never``. ``progress`` None shows a
    bar on a terminal. ``health`` counts what was made: ``ok``, ``vae-float32``, ``black``, ``nan``.

    Raises ``UsageError`` for devices that are not there, ``CheckpointError`` for a base model that
    cannot be found, ``StoreError`` for a store that cannot be written.
    """

    def __init__(
        self,
        recipe: Recipe,
        store: Store,
        *,
        devices: str | Sequence[str] = "auto",
        workers: int | None = None,
        ray: str | None = None,
        batch_size: int | None = None,
        compile: str = "auto",  # noqa: A002 - the word that users know
        offline: bool = False,
        progress: bool | None = None,
    ) -> None:
        if compile not in ("auto", "always", "never"):
            raise UsageError(f"compile must be auto, always or never, found {compile!r}")
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"batch size must be 1 or more, found {batch_size}")
        self.store = store
        self._ray = Fleet(ray, devices, workers) if ray is not None else None
        self.devices = self._ray.devices if self._ray else choose_devices(devices, workers)
        self.recipe = resolve_recipe(recipe, device=self.devices[0], store=store, offline=offline)
        self.health: dict[str, int] = {}
        self.notes: list[str] = []
        """What the LoRAs say of their training that the recipe does otherwise; printed once."""
        self._compile, self._batch_size = compile, batch_size
        self._shown = economy.wants_progress(progress)
        self._team: Any = None
        self._labels: Labels | None = None
        self._tokenizers: list[Any] = []
        self._chunks: dict[tuple[str, str], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def render(
        self,
        checkpoints: Iterable[Path | str | None],
        prompts: PromptSet | Iterable[Prompt],
        seeds: Iterable[int] | None = None,
    ) -> Iterator[Render]:
        """Yield the render of every checkpoint, prompt and seed: those in the store first, the
        others as they are made. ``seeds`` None takes the recipe's; a checkpoint None is the base.

        Raises ``CheckpointError`` before the first render for one that cannot be rendered,
        and ``RenderError`` where the model cannot be run.
        """
        chosen = tuple(seeds) if seeds is not None else self.recipe.seeds
        listed = prompts.prompts if isinstance(prompts, PromptSet) else tuple(prompts)
        pairs = [(prompt, seed) for prompt in listed for seed in chosen]
        refs = self._describe(checkpoints)
        return self._render([self._job(ref, *pair) for ref in refs for pair in pairs])

    def render_jobs(
        self, checkpoint: Path | str | None, jobs: Iterable[tuple[Prompt, int]]
    ) -> Iterator[Render]:
        """Yield the renders of ``checkpoint`` (None: the base model) for pairs of prompt and seed:
        those in the store first, the others as they are made (several workers finish in any order).
        Raises as ``render`` does.
        """
        ref = self._describe([checkpoint])[0]
        return self._render([self._job(ref, prompt, seed) for prompt, seed in jobs])

    def facts(self) -> dict[str, Any]:
        """Return what really runs: attention processor, batch limit, compiled; empty before the
        first image and with several workers (then the index of the store has it by image).
        """
        return self._team.facts() if isinstance(self._team, Worker) else {}

    def close(self) -> None:
        """End workers and free their devices. The renderer starts them again when used again."""
        team, self._team = self._team, None
        if team is not None:
            team.close()
        if self._ray is not None:
            self._ray.close()

    def describe(self, checkpoints: Iterable[Path]) -> list[Checkpoint]:
        """Return what is known of each checkpoint file; raises as ``render`` does.

        A file is read and hashed, and its folder ordered, once however often it is rendered.
        """
        return [
            Checkpoint(ref.run, ref.epoch, ref.step, ref.name, ref.sha256, self.recipe.lora_scale)
            for ref in self._describe(checkpoints)
        ]

    def _describe(self, checkpoints: Iterable[Path | str | None]) -> list[CheckpointRef]:
        if self._labels is None:
            from loraeval.render.labels import Labels

            self._labels = Labels(self.recipe.family, self.store, self._told)
        refs = self._labels.describe(checkpoints)
        for ref in refs:
            for line in self._labels.notes.get(ref.name or "", ()):
                self._note(line)
        return refs

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)
            print(f"loraeval: {line}", file=sys.stderr)

    def _told(self, header: Header) -> tuple[str, ...]:
        from loraeval.render.base_model import base_prediction, locate_base
        from loraeval.render.recorded import notes

        base = locate_base(self.recipe.base_model, offline=True)
        sha256 = self.store.file_sha256(base) if base.is_file() else None
        return notes(header, self.recipe, base_prediction(base, chosen=True), sha256)

    def _job(self, ref: CheckpointRef, prompt: Prompt, seed: int) -> Job:
        texts = (prompt.text, prompt.negative or self.recipe.negative_prompt)
        if rendering_of(self.recipe.family).prompt_tokens is not None:
            self._chunks[texts] = 1  # read as one sequence, not in chunks
        if texts not in self._chunks:
            from loraeval.render.tokenizers import load_tokenizers
            from loraeval.render.tokens import asks_ui, chunks_needed

            self._tokenizers = self._tokenizers or load_tokenizers(self.recipe)
            limit = self.recipe.max_prompt_chunks
            layout = self.recipe.prompt_layout
            self._chunks[texts] = chunks_needed(self._tokenizers, texts, limit, layout)
            if layout == "training" and any(map(asks_ui, texts)):
                self._note(
                    "weights in brackets and BREAK are words of the prompt, as in training; set "
                    'prompt_layout = "ui" in the recipe to render them as A1111 and ComfyUI do'
                )
        return make_job(self.recipe, ref, prompt, seed, self._chunks[texts])

    def _render(self, jobs: list[Job]) -> Iterator[Render]:
        missing = []
        found = []
        for job in jobs:
            path = self.store.find(job.key)
            if path is None:
                missing.append(job)
            else:
                found.append(job.key)
                yield self._record(job, path)
        if found:
            self.store.touch(found)
        if missing:
            yield from self._make(missing)

    def _make(self, missing: list[Job]) -> Iterator[Render]:
        waiting: dict[str, list[Job]] = {}
        for job in missing:
            waiting.setdefault(job.key, []).append(job)
        todo = unique(missing)
        bar = economy.Progress(len(missing), self._shown)
        try:
            seconds = self._start(todo)
            on_cpu = not self.devices[0].startswith("cuda")
            if len(todo) >= LONG_RUN and (self._shown or on_cpu):
                print(economy.estimate_text(len(todo), seconds, self.devices), file=sys.stderr)
            for made in self._run(todo):
                for item in made:
                    self.health[item.health] = self.health.get(item.health, 0) + 1
                    if item.health not in ("ok", "vae-float32"):
                        bar.say(f"{item.key[:12]}: the image is {item.health}, also after a retry")
                    for job in waiting.pop(item.key):
                        bar.step()
                        yield self._record(job, self.store.path(item.key))
        except KeyboardInterrupt:
            left = sum(map(len, waiting.values()))
            print(
                f"loraeval: interrupted with {len(missing) - left} of {len(missing)} images made; "
                "they are in the store, and the same command goes on from there",
                file=sys.stderr,
            )
            raise
        finally:
            bar.close()

    def _start(self, todo: list[Job]) -> float:
        """Start the workers if they are not there, check what they will need; return the expected
        seconds an image on one device.
        """
        refs = list({job.checkpoint.sha256: job.checkpoint for job in todo}.values())
        shapes = len({(j.recipe.width, j.recipe.height, j.chunks) for j in todo})
        if self._team is None:
            setups = [
                Setup(self.recipe, self.store, device, self._compile, self._batch_size)
                for device in self.devices
            ]
            if self._ray is not None:
                self._team = self._ray.crew(setups[0])
            elif len(setups) > 1:
                from loraeval.render.pool import ProcessCrew

                self._team = ProcessCrew(setups)
            else:
                self._team = Worker(setups[0])
        images = -(-len(todo) // len(self.devices))
        try:
            return float(self._team.prepare(refs, images, shapes))
        except BaseException as error:
            # With a checkpoint that does not fit, all workers have answered and hold their models.
            if not isinstance(self._team, Worker) and not isinstance(error, CheckpointError):
                self.close()
            raise

    def _run(self, todo: list[Job]) -> Iterator[Sequence[Made]]:
        team = self._team
        limit = self._batch_size or economy.default_limit(self.recipe, self.devices[0])
        if isinstance(team, Worker):
            limit = team.facts()["limit"]
            yield from render_here(team, list(batches(todo, limit)))
            return
        from loraeval.render.dispatch import run_units

        size = economy.unit_limit(len(todo), limit, len(self.devices))
        try:
            yield from run_units(team, list(batches(todo, size)))
        except BaseException:
            # Units under way would answer into the next call; the next call starts afresh.
            self.close()
            raise

    def _record(self, job: Job, path: Path) -> Render:
        base = None
        if job.checkpoint.path is not None:
            key = render_key(job.recipe, BASE_MODEL.sha256, job.prompt, job.seed)
            base = self.store.path(key)
        ref = job.checkpoint
        stem = ref.name.removesuffix(".safetensors") if ref.name else "base"
        return Render(
            image=path,
            name=f"{stem}/{job.prompt.id}-{job.seed}.png",
            run=ref.run,
            prompt=job.prompt,
            checkpoint=ref.name,
            epoch=ref.epoch,
            seed=job.seed,
            width=job.recipe.width,
            height=job.recipe.height,
            recipe=job.recipe_digest,
            base_image=base if base is not None and base.is_file() else None,
            step=ref.step,
            strength=self.recipe.lora_scale if ref.name else None,
            made_with=self.store.made_with(job.key),
        )
