"""What rendering costs: batch sizes, the break-even of compiling, estimates and progress. Pure,
but for ``Progress``, which writes to standard error.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from loraeval.families import rendering_of
from loraeval.families.record import Part
from loraeval.records import FamilyName, Recipe

DECODE_AT_512 = 20
"""Images of 512×512 that the VAE decodes at once on a GPU with memory to spare; half as many with
less than ``DECODE_MEMORY``."""

DECODE_MEMORY = 40 * 2**30
"""Bytes of GPU memory from which ``DECODE_AT_512`` images are decoded at once."""


def default_limit(recipe: Recipe, device: str) -> int:
    """Return the batch size to try first: by image size on a GPU, 8 on a CPU."""
    if not device.startswith("cuda"):
        return 8
    most = rendering_of(recipe.family).images_at_512
    return max(1, most * 512 * 512 // (recipe.width * recipe.height))


def decode_limit(recipe: Recipe, memory: int) -> int:
    """Return how many images the VAE decodes at once: by image size and ``memory``, the bytes of
    the GPU's memory; on a CPU, where that is 0, 10 of 512×512.
    """
    count = DECODE_AT_512 if memory >= DECODE_MEMORY else DECODE_AT_512 // 2
    return max(1, count * 512 * 512 // (recipe.width * recipe.height))


def unit_limit(images: int, limit: int, workers: int) -> int:
    """Return the size of the units of work: full batches for one worker; for several, small enough
    that each gets about four, but not under 8, where batches lose speed.
    """
    if workers < 2:
        return limit
    return min(limit, max(min(8, limit), -(-images // (4 * workers))))


def compile_pays(
    images: int, seconds_per_image: float, compile_seconds: float, share: float
) -> bool:
    """Return whether the time that compiling saves over ``images`` exceeds its cost:
    ``images · seconds_per_image · (1 - share) > compile_seconds``.
    """
    return images * seconds_per_image * (1.0 - share) > compile_seconds


def parts_to_compile(
    family: FamilyName,
    images: int,
    shapes: int,
    seconds: Mapping[Part, float],
    cached: Container[Part],
) -> tuple[Part, ...]:
    """Return the parts for which compiling pays over ``images`` images of ``shapes`` sizes.

    ``seconds`` is what each part takes an image uncompiled; ``cached`` holds the parts that were
    compiled before for this recipe on this device. What each costs and brings is the family's, as
    measured on H200s (benchmarks/render.md: first calls, and steps without a pause of compiled code
    over those of channels first with cuDNN's attention).
    """
    chosen: list[Part] = []
    for part, known in rendering_of(family).compiling.items():
        cost = shapes * (known.warm if part in cached else known.cold)
        if compile_pays(images, seconds[part], cost, known.share):
            chosen.append(part)
    return tuple(chosen)


def break_even(seconds_per_image: float, compile_seconds: float, share: float) -> int:
    """Return the number of images from which compiling pays.

    >>> break_even(0.2, 60.0, 0.7)
    1001
    """
    return int(round(compile_seconds / (seconds_per_image * (1.0 - share)), 6)) + 1


def say_seconds(seconds: float) -> str:
    """Return a time for people: ``40 s``, ``12 min``, ``3.5 h``.

    >>> say_seconds(40), say_seconds(720), say_seconds(12600)
    ('40 s', '12 min', '3.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def estimate_text(images: int, seconds_per_image: float, devices: list[str]) -> str:
    """Return the line printed before a run: images, time, and GPU-hours or a CPU warning."""
    seconds = images * seconds_per_image / len(devices)
    if devices[0].startswith("cuda"):
        hours = seconds * len(devices) / 3600
        where = f"{len(devices)} GPU{'s' if len(devices) > 1 else ''}, {hours:.2f} GPU-hours"
        return f"rendering {images} images: about {say_seconds(seconds)} ({where})"
    return (
        f"rendering {images} images on the CPU, no GPU found or asked for: "
        f"expect about {say_seconds(seconds)}"
    )


def wants_progress(asked: bool | None) -> bool:
    """Return whether to show a bar: as asked, else on a terminal that is not a CI job's."""
    if asked is not None:
        return asked and sys.stderr.isatty()
    return sys.stderr.isatty() and not os.environ.get("CI")


@dataclass(slots=True)
class Pace:
    """Seconds an image over units of work that may overlap: each counts from its start, or from the
    end of the unit before it where that came later. The first unit, which carries compiling and
    first touches of memory, counts only while it is alone.
    """

    units: int = 0
    images: int = 0
    seconds: float = 0.0
    _end: float = float("-inf")

    def add(self, started: float, ended: float, images: int) -> None:
        """Count a unit of ``images`` images; times in seconds on one clock, in order of ending."""
        if self.units == 1:
            self.images, self.seconds = 0, 0.0
        self.units += 1
        self.images += images
        self.seconds += max(0.0, ended - max(started, self._end))
        self._end = ended


@dataclass(slots=True)
class Progress:
    """A bar over the images of one call, with images/s and the time left; silent where ``shown``
    is False.
    """

    total: int
    shown: bool
    done: int = 0
    started: float = 0.0
    _bar: Any = None

    def __post_init__(self) -> None:
        self.started = time.perf_counter()
        if self.shown:
            from tqdm import tqdm

            self._bar = tqdm(total=self.total, unit="image", desc="rendering", smoothing=0.05)

    def step(self) -> None:
        """Count one image."""
        self.done += 1
        if self._bar is not None:
            self._bar.update()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
