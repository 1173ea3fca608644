"""One device's worker: a thread that drives the device, threads that encode and store images.

While the device computes a batch, the images of the one before are copied, encoded as PNG, synced
and entered in the store. Images with NaN and black images are decoded once more with the VAE in
float32 before they are stored.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.families import rendering_of
from loraeval.records import Recipe
from loraeval.render import economy
from loraeval.render.plan import CheckpointRef, Job
from loraeval.render.store import Store

if TYPE_CHECKING:
    from loraeval.families.record import Part
    from loraeval.render.lora_merge import Lora
    from loraeval.render.pixels import Pending
    from loraeval.render.sd import Engine


@dataclass(frozen=True, slots=True)
class Made:
    """One finished image; ``health`` is ``ok``, ``vae-float32``, ``black`` or ``nan``."""

    key: str
    health: str


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker needs to know, pickled to other processes. ``compile`` is ``auto``, ``always``
    or ``never``; ``images`` the number that the decision of ``auto`` counts on.
    """

    recipe: Recipe
    store: Store
    device: str
    compile: str = "auto"
    limit: int | None = None


class Worker:
    """Renders units of jobs on one device into the store. Loads its pipeline on first use."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._engine: Engine | None = None
        self._device = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._finish = ThreadPoolExecutor(2, thread_name_prefix="finish")
        threads = max(2, min(4, os.cpu_count() or 2))
        self._encode = ThreadPoolExecutor(threads, thread_name_prefix="png")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._loras: dict[str, Future[Lora]] = {}
        self._last: str | None = None
        self._versions: dict[str, str] = {}
        self._expected = 0.0
        self._pace = economy.Pace()
        self._pace_lock = threading.Lock()

    def prepare(self, checkpoints: Iterable[CheckpointRef], images: int, shapes: int) -> float:
        """Load the pipeline, check that every checkpoint fits it, decide on compiling; return the
        expected seconds an image.

        Raises ``CheckpointError`` for the first checkpoint that does not fit, before any image.
        """
        return self._device.submit(self._prepare, list(checkpoints), images, shapes).result()

    def submit(self, jobs: list[Job]) -> Future[list[Made]]:
        """Queue jobs of one group; the result comes when all are in the store."""
        ref = jobs[0].checkpoint
        if ref.path is not None and ref.sha256 not in self._loras and ref.sha256 != self._last:
            self._loras[ref.sha256] = self._reader.submit(self._read_file, ref.path, ref.sha256)
        self._last = ref.sha256
        sampled = self._device.submit(self._sample, jobs)
        return self._finish.submit(self._store, sampled, jobs)

    def facts(self) -> dict[str, Any]:
        """Return what the engine really runs with: processor, batch limit, compiled or not."""
        engine = self._engine
        if engine is None:
            return {}
        return {
            "processor": engine.processor,
            "limit": engine.limit,
            "compiled": engine.compiled,
            "compiled_parts": list(engine.parts),
            "modules": engine.applied,
        }

    def close(self) -> None:
        """Stop denoising before its next step, store what is sampled already, and release the
        device's memory.
        """
        engine = self._engine
        if engine is not None:
            name = speed_name(self.setup.recipe, engine.device_name)
            for part in engine.ready:
                self.setup.store.note_speed(f"{name}, {part} compiled once", 1, 0.0)
            engine.stop.set()
        self._reader.shutdown(wait=True, cancel_futures=True)
        self._device.shutdown(wait=True, cancel_futures=True)
        self._finish.shutdown(wait=True)
        self._encode.shutdown(wait=True)
        self._engine = None

    def _load(self) -> Engine:
        if self._engine is None:
            from loraeval.render.sd_load import use_compile_cache

            use_compile_cache(self.setup.store.folder / "compile")
            module, _, name = rendering_of(self.setup.recipe.family).engine.partition(":")
            kind = getattr(importlib.import_module(module), name)
            self._engine = kind(self.setup.recipe, self.setup.device, limit=self.setup.limit)
            self._engine.reader = self._read
            self._versions = made_with()
        return self._engine

    def _prepare(self, checkpoints: list[CheckpointRef], images: int, shapes: int) -> float:
        from loraeval.render.lora_merge import read_lora

        engine = self._load()
        self._loras.clear()  # what was read ahead for units that were given up
        self._last = None
        for checkpoint in checkpoints:
            if checkpoint.path is not None:
                engine.check(read_lora(checkpoint.path, str(engine.device), checkpoint.sha256))
        return self._decide(engine, images, shapes)

    def _decide(self, engine: Engine, images: int, shapes: int) -> float:
        """Compile what is asked for or pays; return the expected seconds an image. Nothing is timed
        once something is compiled: that would compile it for another batch size.
        """
        recipe, store, how = self.setup.recipe, self.setup.store, self.setup.compile
        name = speed_name(recipe, engine.device_name)
        known = store.known_speed(speed_name(recipe, engine.device_name, compiled=True))
        if engine.parts:
            return known or self._expected
        may_compile = how == "auto" and engine.device_name != "cpu"
        eager = store.known_speed(name)
        spent: dict[Part, float] = {}
        if eager is None or may_compile:
            spent = self._time(engine, images)
        self._expected = eager or sum(spent.values())
        costs = rendering_of(recipe.family).compiling
        if how == "always":
            engine.compile(costs)
        elif may_compile:
            cached = {
                part for part in costs
                if store.known_speed(f"{name}, {part} compiled once") is not None
            }  # fmt: skip
            engine.compile(economy.parts_to_compile(recipe.family, images, shapes, spent, cached))
        if engine.parts:
            self._expected = known or self._expected * costs["unet"].share
        return self._expected

    def _time(self, engine: Engine, images: int) -> dict[Part, float]:
        """Return the seconds an image that each part takes, by trying."""
        from loraeval.render import timing

        if (own := engine.times()) is not None:
            return own
        gpu = engine.device_name != "cpu"
        size = min(engine.limit, 16, images) if gpu else 1
        step = timing.seconds_per_step(engine, size) / size
        decode = timing.seconds_to_decode(engine, size) / size
        return {"unet": step * self.setup.recipe.steps, "vae": decode}

    def _read_file(self, path: Path, sha256: str) -> Lora:
        from loraeval.render.sd import read_beside

        return read_beside(path, self.setup.device, sha256)

    def _read(self, path: Path, sha256: str) -> Lora:
        """Return a LoRA, read ahead while the batch before it was computed where possible. What
        was read ahead is held by its content, and let go here: equal files are held once.
        """
        ahead = self._loras.pop(sha256, None)
        return self._read_file(path, sha256) if ahead is None else ahead.result()

    def _sample(self, jobs: list[Job]) -> tuple[float, list[Pending]]:
        from loraeval.render.denoise import Stopped

        started = time.perf_counter()
        made: list[Pending] = []
        with suppress(Stopped):  # what was sampled before it is stored
            made.extend(self._load().run(jobs))
        return started, made

    def _store(self, sampled: Future[tuple[float, list[Pending]]], jobs: list[Job]) -> list[Made]:
        made: list[Made] = []
        started, batches = sampled.result()
        for pending in batches:
            pending.wait()
            faults = pending.faults()
            writes = [
                self._encode.submit(self._write, pending, index, faults.get(index))
                for index in range(len(pending.jobs))
            ]
            made += [write.result() for write in writes]
        if jobs[0].recipe.digest == self.setup.recipe.digest:
            self._note_pace(started, len(jobs))
        return made

    def _note_pace(self, started: float, images: int) -> None:
        """Keep what images take here, storing them included, for the next run's estimate."""
        assert self._engine is not None
        recipe, engine = self.setup.recipe, self._engine
        name = speed_name(recipe, engine.device_name, compiled=engine.compiled)
        with self._pace_lock:
            self._pace.add(started, time.perf_counter(), images)
            if engine.compiled and self._pace.units < 2:
                return  # the first compiled unit is mostly compiling
            self.setup.store.note_speed(name, self._pace.images, self._pace.seconds)

    def _write(self, pending: Pending, index: int, fault: str | None) -> Made:
        assert self._engine is not None
        pixels, health = pending.pixels[index], "ok"
        if fault is not None and not self._engine.stop.is_set():
            retried = self._device.submit(self._engine.again, pending, index).result()
            health = fault
            if retried is not None:
                pixels, health = retried.pixels[0], retried.faults().get(0, "vae-float32")
        elif fault is not None:
            health = fault
        job = pending.jobs[index]
        details = {
            **self._versions,
            "device": self._engine.device_name,
            "batch": pending.batch,
            "processor": self._engine.processor,
            "compiled": self._engine.compiled,
        }
        self.setup.store.write(job, pixels.numpy(), health, details)
        return Made(job.key, health)


def made_with() -> dict[str, str]:
    """Return the versions of what makes an image here: loraeval, torch, diffusers."""
    import torch
    from diffusers import __version__ as diffusers

    from loraeval import __version__

    return {"loraeval": __version__, "torch": str(torch.__version__), "diffusers": str(diffusers)}


def speed_name(recipe: Recipe, device: str, *, compiled: bool = False) -> str:
    """Return what a measured speed is filed under: the device's name and the recipe's digest."""
    return f"{device} {recipe.digest}{' compiled' if compiled else ''}"


def render_here(worker: Worker, units: list[list[Job]], ahead: int = 3) -> Iterable[list[Made]]:
    """Yield each unit's images as they are stored, with at most ``ahead`` units under way."""
    waiting: list[Future[list[Made]]] = []
    todo = iter(units)
    try:
        while True:
            while len(waiting) < ahead and (unit := next(todo, None)) is not None:
                waiting.append(worker.submit(unit))
            if not waiting:
                return
            yield waiting.pop(0).result()
    finally:
        for future in waiting:
            future.cancel()
