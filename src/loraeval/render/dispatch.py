"""Work handed to several workers: by checkpoint, so that swaps stay rare, and again if one dies.

``Dispatcher`` is pure bookkeeping; ``run_units`` drives any ``Crew``: local processes
(``pool.py``) or Ray actors (``fleet.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from loraeval.errors import RenderError
from loraeval.render.plan import Job
from loraeval.render.worker import Made

AHEAD = 2
"""Units a worker holds at once, so that its device never waits for the next."""

MAX_TRIES = 3
"""A unit that killed its worker this often is given up."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a crew reports: ``made`` for a finished unit, or ``made`` None for a worker that died.

    ``unit`` is the index of the finished unit, None for a death.
    """

    worker: int
    unit: int | None
    made: tuple[Made, ...] | None


class Crew(Protocol):
    """Workers that take units. ``wait`` blocks for the next event; a user's mistake found by a
    worker (a ``LoraevalError``) is raised by it. ``replace`` starts a new worker in the place of a
    dead one and returns whether it could.
    """

    size: int

    def send(self, worker: int, index: int, jobs: list[Job]) -> None: ...  # noqa: D102
    def wait(self) -> Event: ...  # noqa: D102
    def replace(self, worker: int) -> bool: ...  # noqa: D102


@dataclass(slots=True)
class Dispatcher:
    """Which worker gets which unit next.

    A worker stays with its checkpoint while that has units left, then takes the checkpoint with
    the most left that nobody works on, then helps with the one that has the most left.
    """

    units: Sequence[list[Job]]
    _left: dict[str, deque[int]] = field(default_factory=dict)
    _at: dict[int, str] = field(default_factory=dict)
    _held: dict[int, list[int]] = field(default_factory=dict)
    _tries: dict[int, int] = field(default_factory=dict)
    swaps: int = 0

    def __post_init__(self) -> None:
        for index, jobs in enumerate(self.units):
            self._left.setdefault(jobs[0].checkpoint.sha256, deque()).append(index)

    @property
    def unfinished(self) -> int:
        """Number of units not handed out, or handed out and not done."""
        return sum(map(len, self._left.values())) + sum(map(len, self._held.values()))

    def holds(self, worker: int) -> int:
        """Return the number of units that ``worker`` has and has not done."""
        return len(self._held.get(worker, ()))

    def take(self, worker: int) -> int | None:
        """Return the index of the next unit for ``worker``, None where nothing is left."""
        open_ = {name: len(queue) for name, queue in self._left.items() if queue}
        if not open_:
            return None
        here = self._at.get(worker)
        if here not in open_:
            taken = {name for other, name in self._at.items() if other != worker}
            free = [name for name in open_ if name not in taken] or list(open_)
            here = max(free, key=open_.__getitem__)
            self.swaps += 1
        assert here is not None
        self._at[worker] = here
        index = self._left[here].popleft()
        self._held.setdefault(worker, []).append(index)
        return index

    def done(self, worker: int, index: int) -> None:
        """Note that ``worker`` finished a unit."""
        self._held[worker].remove(index)

    def lost(self, worker: int) -> None:
        """Note that ``worker`` died: its units go back to the front.

        Raises ``RenderError`` for a unit that was lost ``MAX_TRIES`` times.
        """
        for index in reversed(self._held.pop(worker, [])):
            self._tries[index] = self._tries.get(index, 0) + 1
            job = self.units[index][0]
            if self._tries[index] >= MAX_TRIES:
                raise RenderError(
                    f"{MAX_TRIES} workers died on the same images "
                    f"({job.checkpoint.name or 'base'}, "
                    f"prompt {job.prompt.id}); most often that is out of memory: set a smaller "
                    "batch size"
                )
            self._left[job.checkpoint.sha256].appendleft(index)
        self._at.pop(worker, None)


def run_units(crew: Crew, units: Sequence[list[Job]]) -> Iterator[tuple[Made, ...]]:
    """Yield the images of each unit as it is finished, in the order in which they come.

    Raises ``RenderError`` when all workers died and none could be started again.
    """
    board = Dispatcher(units)
    alive = set(range(crew.size))

    def feed(worker: int) -> None:
        while board.holds(worker) < AHEAD and (index := board.take(worker)) is not None:
            crew.send(worker, index, board.units[index])

    for worker in sorted(alive):
        feed(worker)
    while board.unfinished:
        event = crew.wait()
        if event.made is None or event.unit is None:
            board.lost(event.worker)
            if not crew.replace(event.worker):
                alive.discard(event.worker)
            if not alive:
                raise RenderError(
                    "all render workers died; the images made so far are in the store"
                )
            for worker in sorted(alive):
                feed(worker)
        else:
            board.done(event.worker, event.unit)
            feed(event.worker)
            yield event.made
