"""The one table of names: which run, epoch and step a file, a folder or a sample image tells.

Each trainer numbers its files in its own way, and many people rename them. A row of ``PATTERNS`` is
one way; the first that fits the whole name counts. A lone letter "e" or "ep" needs a sign before it
that ends the name (``my_e3``), since ``style1``, ``face10`` and ``blade2`` are names, not epochs. A
bare number (``my-01``) tells nothing by itself: ``PLAIN_NUMBER`` is a guess that only a series of
alike files may use, and that has to be said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name puts a file: ``run`` is empty where the name tells none, ``trainer`` names who
    writes such names. ``step`` counts optimizer steps, ``epoch`` from 1.
    """

    run: str
    epoch: int | None
    step: int | None
    trainer: str

    @property
    def words(self) -> str:
        """``epoch 3``, ``step 500`` or ``step 500, epoch 1``."""
        parts = [] if self.step is None else [f"step {self.step}"]
        return ", ".join(parts + ([] if self.epoch is None else [f"epoch {self.epoch}"]))


_WHEN = r"[0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{2}-[0-9]{2}-[0-9]{2}"
_GAP = r"[-_ .]?"
_EPOCH_WORD = r"(?:epochs?|(?:(?<=[-_ .])|^)(?:ep|e))"
_STEP_WORD = r"(?:(?<=[-_ .])|^)(?:steps?|iter(?:ations?)?)"

_EPOCH = rf"(?P<run>.*?){_GAP}{_EPOCH_WORD}{_GAP}(?P<epoch>[0-9]{{1,6}})"
_SAVED = rf"(?P<run>.*?)[-_ ]?{_WHEN}(?:-save|-training-sample)?"
_NUMBERED = r"(?:checkpoint-)?epoch_(?P<epoch>[0-9]{8})-step_(?P<step>[0-9]{8})"
_FOLDER = r"(?:checkpoint|global_step)[-_]?(?P<step>[0-9]{1,9})"

PATTERNS: tuple[tuple[str, str], ...] = (
    ("sd-scripts or musubi-tuner", r"(?P<run>.*?)-step(?P<step>[0-9]{8})"),
    ("sd-scripts or musubi-tuner", r"(?P<run>.*?)-(?P<epoch>0[0-9]{5})"),
    ("ai-toolkit", r"(?P<run>.+)_(?P<step>0[0-9]{8})"),
    ("OneTrainer", rf"{_SAVED}-(?P<step>[0-9]{{1,9}})-(?P<epoch>[0-9]{{1,6}})-[0-9]{{1,9}}"),
    ("invoke-training", rf"(?:(?P<run>.*?)[-_])??{_NUMBERED}"),
    ("diffusers, PEFT or SimpleTuner", rf"(?P<run>){_FOLDER}"),
    ("a person", rf"{_EPOCH}[-_ .]{_STEP_WORD}{_GAP}(?P<step>[0-9]{{1,9}})"),
    ("a person", _EPOCH),
    ("a person", rf"(?P<run>.*?){_GAP}{_STEP_WORD}{_GAP}(?P<step>[0-9]{{1,9}})"),
    ("a person", r"(?:(?P<run>.*?)[-_ .])?(?P<epoch>[0-9]{1,6})[-_ ]?(?:epochs?|ep)"),
    ("a person", r"(?:(?P<run>.*?)[-_ .])?(?P<step>[0-9]{1,9})[-_ ]?steps?"),
)
"""Who writes such names, and the pattern of the whole name, without its ending."""

_COMPILED = [(who, re.compile(pattern, re.IGNORECASE | re.ASCII)) for who, pattern in PATTERNS]

PLAIN_NUMBER = re.compile(r"(?P<run>.*[^-_ .0-9])[-_ .](?P<number>[0-9]{1,9})", re.ASCII)
"""A number behind a sign: an epoch or a step if the whole series is numbered so, said to be a
guess."""

GENERIC = frozenset({
    "pytorch_lora_weights", "adapter_model", "pytorch_model", "diffusion_pytorch_model", "model",
    "lora", "lora_weights", "adapter", "unet_lora", "weights",
})  # fmt: skip
"""File names that every checkpoint folder repeats: the folder tells which one it is."""

MAX_NAME = 300
"""Longer names are not matched: they are no trainer's, and patterns cost time."""


def place_of(name: str) -> Place | None:
    """Return where ``name``, a file's without its ending or a folder's, puts a checkpoint.

    >>> place_of("my-000010"), place_of("style1")
    (Place(run='my', epoch=10, step=None, trainer='sd-scripts or musubi-tuner'), None)
    """
    if len(name) > MAX_NAME:
        return None
    for who, pattern in _COMPILED:
        match = pattern.fullmatch(name)
        if match is not None:
            found = match.groupdict()
            epoch, step = found.get("epoch"), found.get("step")
            return Place(
                (found["run"] or "").rstrip("-_ ."),
                int(epoch) if epoch else None,
                int(step) if step else None,
                who,
            )
    return None


def plain_number(name: str) -> tuple[str, int] | None:
    """Return name and number of ``my-01``, None where no sign parts them.

    >>> plain_number("my-400"), plain_number("style_v1")
    (('my', 400), None)
    """
    match = PLAIN_NUMBER.fullmatch(name) if len(name) <= MAX_NAME else None
    return (match["run"], int(match["number"])) if match else None


def guessed_axis(numbers: list[int]) -> str:
    """Return ``step`` or ``epoch`` for the bare numbers of a series: steps are saved at round
    hundreds or fifties, epochs seldom reach them.

    >>> guessed_axis([400, 800, 1200]), guessed_axis([1, 2, 10])
    ('step', 'epoch')
    """
    return "step" if numbers and all(n >= 50 and n % 50 == 0 for n in numbers) else "epoch"
