"""Workers on Ray: one actor a GPU, on this host or on a cluster.

Past one host the store's folder must be on a file system that all hosts see, at the same path.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.errors import LoraevalError, MissingExtraError, RenderError
from loraeval.render.dispatch import Event
from loraeval.render.plan import CheckpointRef, Job
from loraeval.render.worker import Made, Setup

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_RESTARTS = 3
"""Actors started again in one crew before dead ones stay dead."""


class _Actor:
    """What Ray runs in each actor's process."""

    def __init__(self, setup: Setup) -> None:
        from loraeval.render.worker import Worker

        if setup.device.startswith("cpu"):
            os.environ["OMP_NUM_THREADS"] = "1"
        self._worker = Worker(setup)

    def pid(self) -> int:
        return os.getpid()

    def prepare(self, checkpoints: list[CheckpointRef], images: int, shapes: int) -> float:
        return self._worker.prepare(checkpoints, images, shapes)

    def render(self, jobs: list[Job]) -> list[Made]:
        return self._worker.submit(jobs).result()


class RayCrew:
    """Actors on Ray. ``address`` None starts Ray on this host alone, told to use 127.0.0.1 and
    without a dashboard (Ray 2.60 still opens ports on all addresses: see SECURITY.md); else it
    joins the cluster there (``auto``, ``ray://host:port``).

    Raises ``MissingExtraError`` where Ray is not installed.
    """

    def __init__(self, setups: Sequence[Setup], address: str | None = None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # An idle actor's accelerator variables must not hide the GPU that a setup names.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError("ray", "ray", "rendering on several hosts") from error
        self._ray: Any = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False}
            if address is None:
                options |= {"num_cpus": len(setups), "_node_ip_address": "127.0.0.1"}
            ray.init(address=address, configure_logging=False, **options)
        self._setups = list(setups)
        self.size = len(self._setups)
        self._restarts = 0
        self._pending: dict[Any, tuple[int, int]] = {}
        self._actors = [self._start(setup) for setup in self._setups]

    @property
    def pids(self) -> list[int]:
        """Process ids of the actors, by worker."""
        return [int(self._ray.get(actor.pid.remote())) for actor in self._actors]

    def prepare(self, checkpoints: list[CheckpointRef], images: int, shapes: int) -> float:
        """Load every actor's pipeline and check the checkpoints; return the slowest estimate."""
        calls = [
            actor.prepare.remote(checkpoints if index == 0 else [], images, shapes)
            for index, actor in enumerate(self._actors)
        ]
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
        """Start a new actor in the place of a dead one, a few times at most."""
        if self._restarts >= MAX_RESTARTS:
            return False
        self._restarts += 1
        self._actors[worker] = self._start(self._setups[worker])
        return True

    def close(self) -> None:
        """End the actors, and Ray itself where this crew started it."""
        for actor in self._actors:
            self._ray.kill(actor)
        if self._ours:
            self._ray.shutdown()

    def _start(self, setup: Setup) -> Any:
        gpus = 1 if setup.device.startswith("cuda") else 0
        # Two calls at once: one waits for its files while the other has the device.
        options: dict[str, Any] = {"num_cpus": 1, "num_gpus": gpus, "max_concurrency": 2}
        path = os.pathsep.join(
            [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
        )
        options["runtime_env"] = {"env_vars": {"PYTHONPATH": path.rstrip(os.pathsep)}}
        return self._ray.remote(_Actor).options(**options).remote(setup)


def _cause(error: Any) -> Exception:
    """Return the user's mistake inside Ray's error, or the error itself."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, LoraevalError) else error
