"""What evaluation needs of whatever renders: the built-in renderer, a server, a stand-in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from loraeval.records import Checkpoint, Prompt, PromptSet, Recipe, Render


class Engine(Protocol):
    """Makes images of checkpoints; ``loraeval.render.renderer.Renderer`` is the built-in one.

    A render is what its prompt, seed, checkpoint and ``recipe`` say, so that the same call gives
    the same pixels; what was made before need not be made again. Every error made on purpose is a
    ``LoraevalError``.
    """

    @property
    def recipe(self) -> Recipe:
        """The recipe that images are made with, resolved: its digest decides comparability."""

    def describe(self, checkpoints: Iterable[Path]) -> list[Checkpoint]:
        """Return what is known of each file, read, hashed and placed in its series once however
        often it is rendered. Raises ``CheckpointError`` for the first that cannot be rendered.
        """

    def render(
        self,
        checkpoints: Iterable[Path | str | None],
        prompts: PromptSet | Iterable[Prompt],
        seeds: Iterable[int] | None = None,
    ) -> Iterator[Render]:
        """Yield the render of every checkpoint, prompt and seed, in any order. ``seeds`` None
        takes the recipe's; a checkpoint None is the base model without a LoRA.
        """

    def render_jobs(
        self, checkpoint: Path | str | None, jobs: Sequence[tuple[Prompt, int]]
    ) -> Iterator[Render]:
        """Yield the renders of ``checkpoint`` for pairs of prompt and seed, in any order."""

    def close(self) -> None:
        """Free what is held; the engine may be used again."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
