"""Workers in processes of this machine, one a device."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing import connection
from typing import Any

from loraeval.errors import LoraevalError, RenderError
from loraeval.render.dispatch import Event
from loraeval.render.plan import CheckpointRef, Job
from loraeval.render.worker import Setup, Worker

MAX_RESTARTS = 3
"""Workers started again in one crew before dead ones stay dead."""

NO_GUARD = 64
"""Exit status of a worker whose parent's script starts workers when it is imported."""


class ProcessCrew:
    """One process a device, each with its own pipeline. Processes are spawned, never forked: CUDA
    does not survive a fork.
    """

    def __init__(self, setups: list[Setup]) -> None:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            # A worker's process runs the script that started it, which starts workers: the parent
            # says what to do about it.
            os._exit(NO_GUARD)
        self._context = multiprocessing.get_context("spawn")
        self._setups = setups
        self.size = len(setups)
        self._pipes: list[connection.Connection] = []
        self._processes: list[Any] = []
        self._restarts = 0
        self._dead: set[int] = set()
        self._work: tuple[int, int] | None = None
        for setup in setups:
            pipe, process = self._start(setup)
            self._pipes.append(pipe)
            self._processes.append(process)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers, by worker."""
        return [process.pid for process in self._processes]

    def prepare(self, checkpoints: list[CheckpointRef], images: int, shapes: int) -> float:
        """Load every worker's pipeline and check the checkpoints; return the slowest estimate.

        Every worker has answered when an error is raised: none answers into the next call.
        """
        self._work = (images, shapes)
        for index, pipe in enumerate(self._pipes):
            # One worker checks the files; the others would find the same.
            pipe.send(("prepare", None, (checkpoints if index == 0 else [], images, shapes)))
        seconds = 0.0
        failed: Exception | None = None
        for worker, pipe in enumerate(self._pipes):
            try:
                seconds = max(seconds, _unwrap(pipe.recv())[1])
            except (EOFError, ConnectionResetError):
                failed = self._died(worker)
            except Exception as error:  # noqa: BLE001 - raised once all have answered
                failed = failed or error
        if failed is not None:
            raise failed
        return seconds

    def facts(self, worker: int) -> dict[str, Any]:
        """Return the ``Worker.facts`` of one worker that has no unit under way."""
        self._pipes[worker].send(("facts", None, None))
        return dict(_unwrap(self._pipes[worker].recv())[1])

    def _died(self, worker: int) -> RenderError:
        """Return the error for a worker that ended before it had loaded the model."""
        self._processes[worker].join(5)
        if self._processes[worker].exitcode == NO_GUARD:
            return RenderError(
                "rendering on several devices starts Python processes that import your script "
                "again, and it renders when imported; put what it does below if __name__ == "
                '"__main__":'
            )
        return RenderError(
            f"the worker on {self._setups[worker].device} died while it loaded the model; "
            "most often that is out of memory"
        )

    def send(self, worker: int, index: int, jobs: list[Job]) -> None:
        """Hand a unit to a worker; a dead one is noticed in ``wait``."""
        try:
            self._pipes[worker].send(("render", index, jobs))
        except (BrokenPipeError, ConnectionResetError, OSError):
            return

    def wait(self) -> Event:
        """Block until a unit is finished or a worker died."""
        alive = {self._pipes[i]: i for i in range(self.size) if i not in self._dead}
        ready = connection.wait(list(alive))
        worker = alive[ready[0]]  # type: ignore[index]
        try:
            index, made = _unwrap(self._pipes[worker].recv())
        except (EOFError, ConnectionResetError):
            self._dead.add(worker)
            return Event(worker, None, None)
        return Event(worker, index, tuple(made))

    def replace(self, worker: int) -> bool:
        """Start a new process in the place of a dead one, a few times at most."""
        self._processes[worker].join(5)
        if self._restarts >= MAX_RESTARTS:
            return False
        self._restarts += 1
        made = self._start(self._setups[worker], self._work)
        self._pipes[worker], self._processes[worker] = made
        self._dead.discard(worker)
        return True

    def close(self) -> None:
        """Ask the workers to stop, and end those that do not."""
        for pipe in self._pipes:
            try:
                pipe.send(("stop", None, None))
            except OSError:
                continue
        for process in self._processes:
            process.join(30)
            if process.is_alive():
                process.kill()
                process.join()

    def _start(
        self, setup: Setup, work: tuple[int, int] | None = None
    ) -> tuple[connection.Connection, Any]:
        ours, theirs = self._context.Pipe()
        # A spawned child imports the package afresh; daemon: it ends when this process does.
        process = self._context.Process(target=_serve, args=(theirs, setup, work), daemon=True)
        process.start()
        theirs.close()
        return ours, process


def _serve(pipe: connection.Connection, setup: Setup, work: tuple[int, int] | None = None) -> None:
    """Body of a worker process: take messages until ``stop`` or until the parent is gone. ``work``
    is what ``prepare`` was called with before the worker that this one replaces died: it compiles
    what that one had compiled.
    """
    if setup.device.startswith("cpu"):
        os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who says stop
    worker = Worker(setup)
    lock = threading.Lock()

    def reply(index: int | None, value: object) -> None:
        with lock:
            try:
                pipe.send((index, value))
            except (BrokenPipeError, ConnectionResetError):
                return

    def finished(index: int, future: Any) -> None:
        error = future.exception()
        reply(index, future.result() if error is None else _Failure.of(error))

    if work is not None and isinstance(
        failed := _answer(partial(worker.prepare, [], *work)), _Failure
    ):
        reply(None, failed)
    calls: dict[str, Callable[[Any], Any]] = {
        "prepare": lambda given: worker.prepare(*given), "facts": lambda _: worker.facts(),
    }  # fmt: skip
    while True:
        try:
            kind, index, payload = pipe.recv()
        except (EOFError, ConnectionResetError, KeyboardInterrupt):
            os._exit(1)  # the parent is gone: nobody waits for what is under way
        if kind == "stop":
            break
        if kind in calls:
            reply(None, _answer(partial(calls[kind], payload)))
        else:
            future = worker.submit(payload)
            future.add_done_callback(partial(finished, index))
    worker.close()


class _Failure:
    """An error on its way to the parent, as itself where it pickles, else as text."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    @classmethod
    def of(cls, error: BaseException) -> _Failure:
        if isinstance(error, LoraevalError):
            return cls(RenderError(str(error)) if len(error.args) != 1 else error)
        import traceback

        text = "".join(traceback.format_exception(error))
        return cls(RuntimeError(f"a render worker failed:\n{text}"))


def _answer(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - travels to the parent
        return _Failure.of(error)


def _unwrap(message: tuple[int | None, Any]) -> tuple[int | None, Any]:
    if isinstance(message[1], _Failure):
        raise message[1].error
    return message
