"""Workers on Ray: one actor a GPU, wherever in the cluster it is.

How many actors there are follows from what the cluster has, not from the host that drives it; each
actor finds its device itself, as the GPU that Ray gave it. Past one host the store's folder must be
on a file system that all hosts see, at the same path.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.errors import LoraevalError, MissingExtraError, RenderError, UsageError
from loraeval.render.devices import choose_devices
from loraeval.render.dispatch import Event
from loraeval.render.plan import CheckpointRef, Job
from loraeval.render.ray_start import join, start_here
from loraeval.render.worker import Made, Setup

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_RESTARTS = 3
"""Actors started again in one crew before dead ones stay dead."""
FREED_SECONDS = 10.0
"""How long the GPU of an actor that died may take to count as free again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``actors`` of ``gpus`` GPUs each; ``device`` is ``cuda`` for the GPU that Ray gives an actor,
    or ``cpu``.
    """

    actors: int
    device: str
    gpus: int = 0


class _Actor:
    """What Ray runs in each actor's process. ``work`` is what ``prepare`` was called with before
    the actor that this one replaces died: it must compile what that one had compiled.
    """

    def __init__(self, setup: Setup, work: tuple[int, int] | None = None) -> None:
        from loraeval.render.worker import Worker

        if setup.device == "cpu":
            os.environ["OMP_NUM_THREADS"] = "1"
        else:
            setup = replace(setup, device=given_device())
        self.device = setup.device
        self._worker = Worker(setup)
        if work is not None:
            self._worker.prepare([], *work)

    def pid(self) -> int:
        return os.getpid()

    def where(self) -> tuple[str, list[str], str]:
        import ray

        context = ray.get_runtime_context()
        return context.get_node_id(), context.get_accelerator_ids().get("GPU", []), self.device

    def facts(self) -> dict[str, Any]:
        return self._worker.facts()

    def prepare(self, checkpoints: list[CheckpointRef], images: int, shapes: int) -> float:
        return self._worker.prepare(checkpoints, images, shapes)

    def render(self, jobs: list[Job]) -> list[Made]:
        return self._worker.submit(jobs).result()


class RayCrew:
    """The actors of ``plan`` on the Ray that runs. ``setup.device`` is replaced by what each actor
    finds.
    """

    def __init__(self, setup: Setup, plan: Plan) -> None:
        self._ray: Any = import_ray()
        self._setup = replace(setup, device=plan.device)
        self._plan = plan
        self.size = plan.actors
        self._restarts = 0
        self._work: tuple[int, int] | None = None
        self._pending: dict[Any, tuple[int, int]] = {}
        self._actors = [self._start() for _ in range(self.size)]

    @property
    def pids(self) -> list[int]:
        """Process ids of the actors, by worker."""
        return [int(self._ray.get(actor.pid.remote())) for actor in self._actors]

    @property
    def places(self) -> list[tuple[str, list[str], str]]:
        """Node, Ray's ids of the GPUs given, and the device found there, by worker."""
        return [tuple(self._ray.get(actor.where.remote())) for actor in self._actors]

    def facts(self, worker: int) -> dict[str, Any]:
        """Return the ``Worker.facts`` of one actor."""
        return dict(self._ray.get(self._actors[worker].facts.remote()))

    def prepare(self, checkpoints: list[CheckpointRef], images: int, shapes: int) -> float:
        """Load every actor's pipeline and check the checkpoints; return the slowest estimate."""
        self._work = (images, shapes)
        calls = [
            actor.prepare.remote(checkpoints if index == 0 else [], images, shapes)
            for index, actor in enumerate(self._actors)
        ]
        self._ray.wait(calls, num_returns=len(calls))  # none is left under way behind an error
        try:
            return float(max(self._ray.get(calls)))
        except self._ray.exceptions.RayActorError as error:
            raise RenderError(f"a Ray actor died while it loaded the model ({error})") from error
        except self._ray.exceptions.RayTaskError as error:
            raise _cause(error) from error

    def send(self, worker: int, index: int, jobs: list[Job]) -> None:
        """Hand a unit to an actor; a dead one is noticed in ``wait``."""
        self._pending[self._actors[worker].render.remote(jobs)] = (worker, index)

    def wait(self) -> Event:
        """Block until a unit is finished or an actor died."""
        ready, _ = self._ray.wait(list(self._pending), num_returns=1)
        worker, index = self._pending.pop(ready[0])
        try:
            made = self._ray.get(ready[0])
        except self._ray.exceptions.RayActorError:
            gone = [call for call, (owner, _) in self._pending.items() if owner == worker]
            for call in gone:
                del self._pending[call]
            return Event(worker, None, None)
        except self._ray.exceptions.RayTaskError as error:
            raise _cause(error) from error
        return Event(worker, index, tuple(made))

    def replace(self, worker: int) -> bool:
        """Start a new actor in the place of a dead one, a few times at most, and only where the
        cluster still has a GPU for it: it may have lost the host.
        """
        if self._restarts >= MAX_RESTARTS or not self._has_room():
            return False
        self._restarts += 1
        self._actors[worker] = self._start(self._work)
        return True

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            self._ray.kill(actor)

    def _has_room(self) -> bool:
        if not self._plan.gpus:
            return True
        until = time.monotonic() + FREED_SECONDS
        while time.monotonic() < until:
            if self._ray.available_resources().get("GPU", 0) >= self._plan.gpus:
                return True
            time.sleep(0.2)
        return False

    def _start(self, work: tuple[int, int] | None = None) -> Any:
        # Two calls at once: one waits for its files while the other has the device.
        options: dict[str, Any] = {
            "num_cpus": 1, "num_gpus": self._plan.gpus, "max_concurrency": 2,
            "scheduling_strategy": "SPREAD",
        }  # fmt: skip
        path = os.pathsep.join(
            [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
        )
        options["runtime_env"] = {"env_vars": {"PYTHONPATH": path.rstrip(os.pathsep)}}
        return self._ray.remote(_Actor).options(**options).remote(self._setup, work)


class Fleet:
    """A renderer's Ray: started or joined on construction, joined again by ``crew`` after
    ``close``. ``address``, ``devices`` and ``workers`` as ``connect`` and ``plan_actors`` take
    them; raises what they raise.
    """

    def __init__(self, address: str, devices: str | Sequence[str], workers: int | None) -> None:
        here = len(choose_devices(devices, workers)) if address == "local" else workers or 1
        self._address, self._here = address, here
        self._ours = connect(address, here)
        try:
            self.plan = plan_actors(devices, workers)
        except BaseException:
            self.close()
            raise

    @property
    def devices(self) -> list[str]:
        """One entry an actor, as a renderer counts its devices."""
        return [self.plan.device] * self.plan.actors

    def crew(self, setup: Setup) -> RayCrew:
        """Start the actors of the plan."""
        self._ours = connect(self._address, self._here) or self._ours
        return RayCrew(setup, self.plan)

    def close(self) -> None:
        """End Ray where it was started or joined here."""
        if self._ours:
            import_ray().shutdown()
        self._ours = False


def import_ray() -> Any:
    """Return Ray. Raises ``MissingExtraError`` where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # An actor without a GPU sees the host's variables as they are, as a worker without Ray does.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("ray", "ray", "rendering on several hosts") from error
    return ray


def connect(address: str, workers: int) -> bool:
    """Start Ray on this host alone (``local``), or join the cluster at ``address`` (``auto``,
    ``host:port``, ``ray://host:port``), unless Ray runs in this process; return whether it is ours
    to end. Raises ``MissingExtraError`` and, where no cluster answers, ``RenderError``.
    """
    ray = import_ray()
    if ray.is_initialized():
        return False
    if address == "local":
        start_here(ray, workers)
    else:
        join(ray, address)
    return True


def plan_actors(devices: str | Sequence[str], workers: int | None = None) -> Plan:
    """Return the actors for the Ray that runs: one for each GPU of its hosts that is free, or, for
    ``cpu`` and where no host has a GPU, ``workers`` (1) on CPUs.

    Raises ``UsageError`` for devices by number and for more workers than GPUs, ``RenderError``
    where all GPUs are taken.
    """
    ray = import_ray()
    wanted = devices if isinstance(devices, str) else ",".join(devices)
    if wanted not in ("auto", "cuda", "cpu"):
        raise UsageError(
            f"with Ray devices must be auto, cuda or cpu, found {wanted!r}: Ray chooses the GPU of "
            "each worker; set CUDA_VISIBLE_DEVICES where Ray starts to leave some out"
        )
    if workers is not None and workers < 1:
        raise UsageError(f"workers must be 1 or more, found {workers}")
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    there = sum(int(node.get("GPU", 0)) for node in nodes)
    if wanted == "cpu" or (wanted == "auto" and not there):
        return Plan(workers or 1, "cpu")
    if not there:
        raise UsageError("no host of this Ray cluster has a GPU; render on CPUs with devices = cpu")
    free, until = 0, time.monotonic() + FREED_SECONDS
    while not free and time.monotonic() < until:  # a cluster that was just joined tells it late
        free = min(there, int(ray.available_resources().get("GPU", 0)))
        if not free:
            time.sleep(0.2)
    if not free:
        raise RenderError(f"all {there} GPUs of the Ray cluster are in use; wait until one is free")
    if workers is not None and workers > free:
        raise UsageError(f"{workers} workers asked for, {free} GPUs are free in the Ray cluster")
    return Plan(workers or free, "cuda", 1)


def given_device() -> str:
    """Return the device that stands for the GPU which Ray gave this actor.

    Raises ``RenderError`` where torch finds no GPU on this host.
    """
    import ray
    import torch

    host: Any = ray.util
    given = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise RenderError(
            f"Ray gave a worker GPU {', '.join(given) or 'none'} of the host "
            f"{host.get_node_ip_address()}, where torch finds none; look at the host's driver "
            "and its build of torch, or start its Ray with --num-gpus 0"
        )
    if count == 1 or not given:
        return "cuda:0"  # Ray shows an actor its own GPU alone, unless it was told not to
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return f"cuda:{shown.index(given[0]) if given[0] in shown else int(given[0])}"


def _cause(error: Any) -> Exception:
    """Return the user's mistake inside Ray's error, or the error itself."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, LoraevalError) else error
