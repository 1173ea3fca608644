"""Fit the weights of the weight-free realism score on generated pictures; no real case is used.

    python benchmarks/realism_fit.py

Draws pixel art (1), flat illustrations, detailed pixel art of far finer cells and photographs
shrunk to 24 cells (in between) and photograph-like pictures, shaded bodies and photographs that
ship with scikit-image (0), at 96 to 1024 pixels, as a VAE, a resize and JPEG leave them. Fits a
logistic model whose weights can not be negative, so that no statistic ever counts against what it
stands for, and whose weight for colour noise is 0, since nobody sees that. Writes
``src/loraeval/scorers/realism.json``.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from scipy.ndimage import uniform_filter1d
from scipy.optimize import minimize

from loraeval.scorers.realism_statistics import realism_statistics
from loraeval.scorers.style_bank import bank_images
from loraeval.testing.portraits import (
    render_illustration,
    render_photo,
    render_pixel_art,
    scene,
)

TARGETS = {
    "pixel art": 1.0,
    "illustration": 0.3,
    "detailed": 0.3,
    "photograph in cells": 0.4,
    "photograph": 0.0,
}
SCENES = 120
SIZES = (96, 192, 256, 512, 768, 1024)
PENALTY = 0.005
OUT = Path(__file__).parent.parent / "src/loraeval/scorers/realism.json"


def degraded(picture: Image.Image, cell: float, rng: np.random.Generator) -> np.ndarray:
    """Blur, noise and JPEG of random strength, as renders have them; ``cell`` in pixels."""
    if rng.random() < 0.7:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.1) * cell))
    values = np.asarray(picture).astype(float)
    if rng.random() < 0.7:
        values += rng.normal(0, rng.uniform(0, 6) * min(1.0, len(values) / 512), values.shape)
    rgb = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, "JPEG", quality=int(rng.integers(60, 96)))
        rgb = np.asarray(Image.open(file))
    return rgb


def off_lattice(cells: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Pixel art whose cells are up to a fifth larger or smaller than expected, at any phase."""
    index = np.arange(size) * len(cells) / size / rng.uniform(0.85, 1.2) + rng.uniform(0, 1)
    index = np.clip(index.astype(int), 0, len(cells) - 1)
    return cells[index[:, None], index[None, :]]


def shaken(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A photograph blurred along rows or columns by a moved camera."""
    values = np.asarray(photo).astype(float)
    length = max(3, int(min(photo.size) * rng.uniform(0.02, 0.08)))
    smeared = uniform_filter1d(values, length, axis=int(rng.integers(2)), mode="nearest")
    return Image.fromarray(np.clip(np.rint(smeared), 0, 255).astype(np.uint8))


def detailed(photo: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A picture as pixel art of 96 to 200 cells with few colours."""
    side = int(rng.integers(96, 200))
    small = Image.fromarray(photo).resize((side, side), Image.Resampling.BOX)
    few = small.quantize(int(rng.integers(8, 48))).convert("RGB")
    return np.asarray(few.resize((size, size), Image.Resampling.NEAREST))


def samples() -> list[tuple[str, np.ndarray]]:
    """(class, picture): the generated pictures, the same on every call."""
    rng = np.random.default_rng(20)
    bank = [
        (name, image) for name, image in bank_images() if name.split("/")[0] in ("photo", "bodies")
    ]
    found = []
    for seed in range(SCENES):
        portrait = scene(seed)
        size = int(rng.choice(SIZES))
        on_grid = render_pixel_art(portrait, size)
        art = on_grid if rng.random() < 0.6 else off_lattice(portrait.cells, size, rng)
        found.append(("pixel art", degraded(Image.fromarray(art), size / 24, rng)))
        size = int(rng.choice(SIZES[:4]))
        picture = render_photo(portrait, size, seed)
        found.append(("photograph", degraded(Image.fromarray(picture), size / 48, rng)))
        flat = render_illustration(portrait, size)
        found.append(("illustration", degraded(Image.fromarray(flat), size / 48, rng)))
        _, image = bank[int(rng.integers(len(bank)))]
        side = int(min(image.shape[:2]) * rng.uniform(0.5, 1))
        top, left = (int(rng.integers(0, extent - side + 1)) for extent in image.shape[:2])
        part = Image.fromarray(image[top : top + side, left : left + side])
        size = int(rng.choice(SIZES))
        scaled = part.resize((size, size), Image.Resampling.BICUBIC)
        if rng.random() < 0.15:
            scaled = shaken(scaled, rng)
        found.append(("photograph", degraded(scaled, size / 48, rng)))
        size = int(rng.choice(SIZES[1:]))
        small = np.asarray(part.resize((24, 24), Image.Resampling.BOX))
        at = np.arange(size) * 24 // size
        found.append(
            ("photograph in cells", degraded(Image.fromarray(small[at][:, at]), size / 24, rng))
        )
        source = picture if seed % 2 else np.asarray(part)
        fine = detailed(source, 1024 if rng.random() < 0.5 else 512, rng)
        found.append(("detailed", degraded(Image.fromarray(fine), 2, rng)))
    return found


UNSEEN = ("chroma",)
"""Statistics that move with noise of one level; they are kept for people and weigh nothing."""


def fit(values: np.ndarray, targets: np.ndarray, free: list[bool]) -> tuple[np.ndarray, float]:
    """Weights (≥ 0, 0 where not free) and intercept of a logistic model on standardised values."""

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        logit = values @ theta[:-1] + theta[-1]
        error = np.mean(np.logaddexp(0, logit) - targets * logit)
        slope = (1 / (1 + np.exp(-logit)) - targets) / len(targets)
        gradient = np.append(values.T @ slope + 2 * PENALTY * theta[:-1], slope.sum())
        return error + PENALTY * float((theta[:-1] ** 2).sum()), gradient

    count = values.shape[1]
    start = np.zeros(count + 1)
    bounds = [(0, None if one else 0) for one in free] + [(None, None)]
    result = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return result.x[:-1], float(result.x[-1])


def main() -> None:
    """Fit, print how the classes come out, and write the file."""
    pictures = samples()
    rows = [(kind, realism_statistics(picture)) for kind, picture in pictures]
    kept = [(kind, found.as_dict()) for kind, found in rows if found is not None]
    names = list(kept[0][1])
    raw = np.array([[found[name] for name in names] for _, found in kept])
    targets = np.array([TARGETS[kind] for kind, _ in kept])
    mean, scale = raw.mean(axis=0), raw.std(axis=0)
    weights, intercept = fit((raw - mean) / scale, targets, [n not in UNSEEN for n in names])
    value = 1 / (1 + np.exp(-((raw - mean) / scale @ weights + intercept)))
    for kind in TARGETS:
        of_kind = value[[other == kind for other, _ in kept]]
        print(
            kind,
            len(of_kind),
            "5 %, median, 95 %:",
            np.quantile(of_kind, [0.05, 0.5, 0.95]).round(3),
        )
    model = {
        "made_by": "python benchmarks/realism_fit.py",
        "pictures": len(kept),
        "intercept": round(intercept, 4),
        "statistics": {
            name: {"mean": round(m, 4), "scale": round(s, 4), "weight": round(w, 4)}
            for name, m, s, w in zip(
                names, mean.tolist(), scale.tolist(), weights.tolist(), strict=True
            )
        },
    }
    OUT.write_text(json.dumps(model, indent=1) + "\n", encoding="utf-8")
    print(OUT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
