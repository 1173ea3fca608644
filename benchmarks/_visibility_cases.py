"""Pictures that ``benchmarks/visibility.py`` measures on, and the changes that it makes to them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from loraeval.images.reading import read_image
from loraeval.prompts.building import caption_of
from loraeval.records import Prompt
from loraeval.testing.portraits import render_pixel_art, scene
from loraeval.testing.portraits_degrade import add_noise, blur, jpeg

Rgb = npt.NDArray[np.uint8]

REAL_RUNS = ("SD15_PERFECT", "SD15_runpod_v1")
"""Runs of FOLDER whose renders are the real set: SD 1.5 at 512 pixels, 61 images, 12 prompts."""

GOLDEN_EPOCHS = (7, 8, 9)
"""Epochs of SD15_PERFECT that are gold; they are shown apart."""

PORTRAITS = 64
FIRST = 8000
SIDE = 512
CELL = SIDE / 24


@dataclass(frozen=True)
class Shown:
    """One picture of a set: its pixels, its prompt, and the group that it is a repetition in."""

    name: str
    rgb: Rgb
    prompt: Prompt
    golden: bool = False


def real_set(folder: Path) -> list[Shown]:
    """Return the renders of ``REAL_RUNS`` in ``folder``."""
    lines = (folder / "renders.jsonl").read_text(encoding="utf-8").splitlines()
    found = []
    for row in map(json.loads, lines):
        if row["run"] in REAL_RUNS:
            prompt = Prompt(row["prompt_id"], row["prompt"], caption_of(row["prompt"]))
            golden = row["run"] == REAL_RUNS[0] and row["epoch"] in GOLDEN_EPOCHS
            rgb, _ = read_image(folder / row["image"])
            found.append(Shown(row["image"], rgb, prompt, golden))
    return found


def own_set(count: int = PORTRAITS) -> list[Shown]:
    """Return portraits of our own at 512 pixels: every second with the softness of a decoder."""
    found = []
    for seed in range(FIRST, FIRST + count):
        portrait = scene(seed)
        text = portrait.long_caption
        rgb = render_pixel_art(portrait, SIDE)
        if seed % 2:
            rgb = add_noise(blur(rgb, 1.0), 1.0, seed)
        found.append(Shown(f"portrait {seed}", rgb, Prompt(f"p{seed}", text, caption_of(text))))
    return found


@dataclass(frozen=True)
class Change:
    """A change to a picture; ``visible`` says what people see: nothing, or surely something."""

    name: str
    visible: bool
    apply: Callable[[Rgb, int], Rgb]


def webp(rgb: Rgb, quality: int) -> Rgb:
    """Save as lossy WebP of this quality and read back."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "WEBP", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def moved(rgb: Rgb, pixels: float, order: int) -> Rgb:
    """Shift right and down by a part of a pixel: linear (order 1) or cubic (order 3)."""
    planes = [
        ndimage.shift(rgb[..., c].astype(np.float64), pixels, order=order, mode="nearest")
        for c in range(3)
    ]
    return np.clip(np.rint(np.stack(planes, axis=-1)), 0, 255).astype(np.uint8)


def half_rounded(rgb: Rgb) -> Rgb:
    """Round as float16 does on the way from [-1, 1] to bytes, and down instead of to nearest."""
    values = (rgb.astype(np.float32) / 127.5 - 1).astype(np.float16).astype(np.float32)
    return np.clip((values * 0.5 + 0.5) * 255, 0, 255).astype(np.uint8)


def even_levels(rgb: Rgb) -> Rgb:
    """Keep the upper seven bits of every value."""
    return (rgb & 0xFE).astype(np.uint8)


def other_card(rgb: Rgb, seed: int) -> Rgb:
    """Move the picture as another card or dtype does: smooth differences of up to two levels."""
    rng = np.random.default_rng([seed, 77])
    field = ndimage.gaussian_filter(rng.standard_normal(rgb.shape), (3, 3, 0))
    return np.clip(np.rint(rgb + field * (1.0 / field.std())), 0, 255).astype(np.uint8)


CHANGES = (
    Change("noise, 1 level", False, lambda r, k: add_noise(r, 1, k)),
    Change("noise, 2 levels", False, lambda r, k: add_noise(r, 2, k)),
    Change("JPEG 90", False, lambda r, _: jpeg(r, 90)),
    Change("WebP 90", False, lambda r, _: webp(r, 90)),
    Change("rounding as float16, down", False, lambda r, _: half_rounded(r)),
    Change("seven bits", False, lambda r, _: even_levels(r)),
    Change("another card, smooth noise of 1 level", False, other_card),
    Change("shift by 0.25 pixel, linear", False, lambda r, _: moved(r, 0.25, 1)),
    Change("shift by 0.5 pixel, linear", False, lambda r, _: moved(r, 0.5, 1)),
    Change("shift by 0.5 pixel, cubic", False, lambda r, _: moved(r, 0.5, 3)),
    Change("noise, 16 levels", True, lambda r, k: add_noise(r, 16, k)),
    Change("JPEG 10", True, lambda r, _: jpeg(r, 10)),
    Change("blur of a quarter cell", True, lambda r, _: blur(r, CELL / 4)),
)
