"""Workers on Ray: one actor a GPU, on this host or on a cluster.

Past one host the store's folder must be on a file system that all hosts see, at the same path.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from loraeval.errors import LoraevalError, MissingExtraError, RenderError
from loraeval.render.dispatch import Event
from loraeval.render.plan import CheckpointRef, Job
from loraeval.render.worker import Made, Setup

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_RESTARTS = 3
"""Actors started again in one crew before dead ones stay dead."""
LOOPBACK = "127.0.0.1"
ANSWER_SECONDS = 5.0
"""How long a cluster's address may take to answer."""


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
    """Actors on Ray. ``address`` None starts Ray on this host alone, without a dashboard and with
    every port on 127.0.0.1; else it joins the cluster there (``auto``, ``host:port``,
    ``ray://host:port``).

    Raises ``MissingExtraError`` where Ray is not installed, ``RenderError`` where no cluster
    answers at the address.
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
        if self._ours and address is None:
            _start_here(ray, len(setups))
        elif self._ours:
            _join(ray, str(address))
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


def _start_here(ray: Any, workers: int) -> None:
    """Start Ray on this host alone, or refuse where it would listen beyond it.

    A Ray that may form a cluster replaces 127.0.0.1 by the host's outer address and then listens
    on all of them. Its switch for that (``RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER``) is read once, when
    Ray is imported; so the constant behind it is held down while Ray starts.
    """
    from ray._private import ray_constants

    before = getattr(ray_constants, "ENABLE_RAY_CLUSTER", None)
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        ray.init(
            num_cpus=workers, _node_ip_address=LOOPBACK,
            include_dashboard=False, log_to_driver=False, configure_logging=False,
        )  # fmt: skip
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
    found = ray.util.get_node_ip_address()
    if found != LOOPBACK:
        ray.shutdown()
        raise RenderError(
            f"expected Ray {ray.__version__} to listen on {LOOPBACK} alone, it took {found}: "
            "leave ray out (several GPUs of one machine need none), or start a cluster yourself"
        )


def _join(ray: Any, address: str) -> None:
    """Join a running cluster; ``RenderError`` where none answers within ``ANSWER_SECONDS``."""
    wanted = (
        f"expected a running Ray cluster at {address!r} (auto, HOST:PORT or ray://HOST:PORT), "
        "{}: start one with 'ray start --head', or use --ray local"
    )
    if address != "auto":
        # Ray itself waits for a minute or more, and then ends the process.
        parts = urlsplit(address if "://" in address else f"ray://{address}")
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or not port:
            raise RenderError(wanted.format("found no host and port in it"))
        try:
            socket.create_connection((host, port), ANSWER_SECONDS).close()
        except OSError as error:
            raise RenderError(wanted.format(f"nothing answers there ({error})")) from error
    try:
        ray.init(
            address=address, include_dashboard=False, log_to_driver=False, configure_logging=False
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RenderError(wanted.format(f"Ray says: {first.rstrip('.')}")) from error


def _cause(error: Any) -> Exception:
    """Return the user's mistake inside Ray's error, or the error itself."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, LoraevalError) else error
