"""What is to be rendered: jobs with their keys, the batches they go in. Pure; imports no torch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loraeval.records import Prompt, Recipe, canonical_json

BASE = "base"
"""Stands where a checkpoint's SHA-256 would: the base model without a LoRA."""

_OVERRIDES: dict[str, type[int | float]] = {
    "width": int, "height": int, "steps": int, "guidance_scale": float, "lora_scale": float,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """A checkpoint as renders name it: ``path`` None and ``sha256`` ``"base"`` for the base model,
    ``run`` its series, ``epoch`` and ``step`` its place there, ``name`` its file name.
    """

    path: Path | None
    sha256: str
    run: str
    epoch: int | None
    name: str | None
    step: int | None = None


BASE_MODEL = CheckpointRef(None, BASE, BASE, None, None)


@dataclass(frozen=True, slots=True)
class Job:
    """One image to render. ``recipe`` has the prompt's overrides applied; ``recipe_digest`` is
    that of the recipe as given, which scores are compared by; ``key`` names the image in the
    store; ``chunks`` is the number of 75-token chunks that the prompt takes.
    """

    checkpoint: CheckpointRef
    prompt: Prompt
    seed: int
    recipe: Recipe
    recipe_digest: str
    key: str
    chunks: int = 1

    @property
    def group(self) -> tuple[str, str, int]:
        """Jobs of one group can share a batch: same weights, sizes, steps and prompt length."""
        return self.checkpoint.sha256, self.recipe.digest, self.chunks


def render_key(recipe: Recipe, checkpoint_sha256: str, prompt: Prompt, seed: int) -> str:
    """Return the 64 hex digits that name one image: they follow from recipe, checkpoint, prompt
    and seed alone. The base model is keyed at LoRA scale 0 whatever the recipe's scale, and a
    checkpoint at scale 0 is the base model.
    """
    if checkpoint_sha256 == BASE or recipe.lora_scale == 0:
        recipe, checkpoint_sha256 = replace(recipe, lora_scale=0.0), BASE
    parts = [recipe.digest, checkpoint_sha256, prompt.digest, seed]
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def make_job(
    recipe: Recipe, checkpoint: CheckpointRef, prompt: Prompt, seed: int, chunks: int = 1
) -> Job:
    """Return the job of one image, the prompt's overrides applied to ``recipe``."""
    given = {
        name: kind(prompt.overrides[name])
        for name, kind in _OVERRIDES.items()
        if name in prompt.overrides
    }
    effective = replace(recipe, **given) if given else recipe  # type: ignore[arg-type]
    if "seed" in prompt.overrides:
        seed = int(prompt.overrides["seed"])
    key = render_key(effective, checkpoint.sha256, prompt, seed)
    if effective.lora_scale == 0:
        checkpoint = replace(checkpoint, path=None, sha256=BASE)
    return Job(checkpoint, prompt, seed, effective, recipe.digest, key, chunks)


def batches(jobs: Iterable[Job], limit: int) -> Iterator[list[Job]]:
    """Split ``jobs`` into batches of at most ``limit`` that share a group, in the order in which
    the groups first appear; sizes inside a group differ by at most one.
    """
    groups: dict[tuple[str, str, int], list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.group, []).append(job)
    for members in groups.values():
        start = 0
        for size in balanced(len(members), limit):
            yield members[start : start + size]
            start += size


def balanced(count: int, limit: int) -> list[int]:
    """Return the fewest sizes of at most ``limit`` that sum to ``count``, as equal as they can be.

    >>> balanced(40, 32), balanced(7, 3), balanced(0, 4)
    ([20, 20], [3, 2, 2], [])
    """
    pieces = math.ceil(count / limit)
    return [count // pieces + (index < count % pieces) for index in range(pieces)]


def unique(jobs: Sequence[Job]) -> list[Job]:
    """Return ``jobs`` without those whose key came before."""
    return list({job.key: job for job in reversed(jobs)}.values())[::-1]
