"""Pictures that benchmarks/style.py measures on: real ones read, planted ones made."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from skimage import data

Rgb = np.ndarray

HELD_OUT = ("chelsea", "rocket", "retina", "coins", "grass", "cell", "clock")
"""scikit-image's photographs that neither the style bank nor the realism fit has seen."""


def read(path: Path) -> Rgb:
    """The image as uint8 (H, W, 3)."""
    return np.asarray(Image.open(path).convert("RGB"))


def training(folder: Path) -> list[tuple[str, Rgb]]:
    """(name, picture) of the training images, in name order."""
    return [(path.stem, read(path)) for path in sorted((folder / "training").glob("*.png"))]


def renders(folder: Path) -> list[tuple[str, str, Rgb]]:
    """(run, prompt id, picture) of the real renders; SD15_PERFECT by epoch."""
    lines = (folder / "renders.jsonl").read_text(encoding="utf-8").splitlines()
    found = []
    for row in map(json.loads, lines):
        run = row["run"] + (f" {row['epoch']:02d}" if row["run"] == "SD15_PERFECT" else "")
        found.append((run, row["prompt_id"], read(folder / row["image"])))
    return found


def photographs() -> list[Rgb]:
    """The held-out photographs, whole, and as squares of 96, 256 and 1024 pixels."""
    pictures = [getattr(data, name)() for name in HELD_OUT]
    pictures.append(data.stereo_motorcycle()[0])
    whole = [np.stack([p] * 3, -1) if p.ndim == 2 else p[..., :3] for p in pictures]
    squares = []
    for picture in whole:
        side = min(picture.shape[:2])
        part = Image.fromarray(np.ascontiguousarray(picture[:side, :side]))
        squares += [
            np.asarray(part.resize((size, size), Image.Resampling.BICUBIC))
            for size in (96, 256, 1024)
        ]
    return whole + squares


def upscaled(picture: Rgb) -> Rgb:
    """A 24×24 picture at 512 pixels, cells with hard edges."""
    index = np.arange(512) * len(picture) // 512
    return picture[index[:, None], index[None, :]]


def blurred(picture: Rgb, sigma: float) -> Rgb:
    """Gaussian blur, σ in pixels."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma)))


def noisy(picture: Rgb, sigma: float) -> Rgb:
    """Gaussian noise, σ in levels of 255; the same for the same picture."""
    rng = np.random.default_rng(int(picture.sum()) % 2**32)
    return np.clip(np.rint(picture + rng.normal(0, sigma, picture.shape)), 0, 255).astype(np.uint8)


def jpeg(picture: Rgb, quality: float) -> Rgb:
    """JPEG of this quality."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file))


def photo_blend(picture: Rgb, share: float) -> Rgb:
    """The picture with ``share`` of a photograph laid over it."""
    photo = np.asarray(Image.fromarray(data.chelsea()[:, 75:375]).resize(picture.shape[1::-1]))
    return np.rint((1 - share) * picture + share * photo).astype(np.uint8)


def as_rendered(picture: Rgb) -> Rgb:
    """The degradation of the targets: blur σ 1.5, noise σ 4, JPEG 75."""
    return jpeg(noisy(blurred(upscaled(picture), 1.5), 4), 75)


DOSES: dict[str, tuple[Callable[[Rgb, float], Rgb], tuple[float, ...]]] = {
    "blur, σ in px": (blurred, (1, 2, 4, 8, 16)),
    "noise, σ in levels": (noisy, (1, 2, 4, 8, 16)),
    "JPEG quality": (jpeg, (90, 75, 50, 25, 10)),
    "share of a photograph": (photo_blend, (0.1, 0.25, 0.5, 0.75, 1.0)),
}
