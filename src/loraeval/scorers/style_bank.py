"""Pictures that are in no one's style: what a style score of 0 looks like.

Photographs that ship with scikit-image, and drawn pictures: flat colours, gradients, noise, soft
and flat illustrations, shaded bodies, text-like stripes, meaningless mosaics. The same pixels on
every call: only their features' summary enters a reference (``loraeval.scorers.reference``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Image = npt.NDArray[np.uint8]

SIDE = 256
"""Side of the drawn pictures in pixels."""

PHOTOGRAPHS = (
    *("astronaut", "coffee", "hubble_deep_field", "immunohistochemistry"),
    *("camera", "brick", "moon", "gravel"),
)
"""scikit-image's photographs in the bank; the benchmark tests on the others."""

_SEEDS = 4


def bank_images() -> list[tuple[str, Image]]:
    """Return (name, uint8 (H, W, 3)) of every picture of the bank, in a fixed order."""
    from skimage import data

    pictures = []
    for name in PHOTOGRAPHS:
        whole = _rgb(getattr(data, name)())
        pictures.append((f"photo/{name}", whole))
        height, width = whole.shape[:2]
        side = min(height, width) // 2
        top, left = (height - side) // 2, (width - side) // 2
        pictures.append((f"photo/{name}/centre", whole[top : top + side, left : left + side]))
    pictures += [
        (f"{kind}/{seed}", draw(np.random.default_rng([7, seed])))
        for kind, draw in _DRAWN.items()
        for seed in range(_SEEDS)
    ]
    pictures += [
        (f"grey/{shade}", np.full((SIDE, SIDE, 3), shade, np.uint8)) for shade in (0, 128, 255)
    ]
    return pictures


def _rgb(image: npt.NDArray[np.uint8]) -> Image:
    return np.stack([image] * 3, axis=-1) if image.ndim == 2 else image[..., :3]


def _grid() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    return rows, columns


def _bytes(values: npt.NDArray[np.float64]) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _flat(rng: np.random.Generator) -> Image:
    return np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), (SIDE, SIDE, 3)).copy()


def _gradient(rng: np.random.Generator) -> Image:
    rows, columns = _grid()
    first, second = rng.uniform(0, 255, (2, 3))
    angle = rng.uniform(0, 2 * np.pi)
    share = (np.cos(angle) * (rows - 0.5) + np.sin(angle) * (columns - 0.5) + 0.71) / 1.42
    return _bytes(first + share[..., None] * (second - first))


def _noise(rng: np.random.Generator) -> Image:
    return rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def _clouds(rng: np.random.Generator) -> Image:
    """Noise whose amplitude falls as 1/f, as a photograph's does."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None, :])
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(rng.normal(size=(3, SIDE, SIDE))) / frequency
    planes = np.moveaxis(np.fft.ifft2(spectrum).real, 0, -1)
    planes = (planes - planes.mean((0, 1))) / planes.std((0, 1))
    return _bytes(rng.uniform(60, 190, 3) + 45 * planes)


def _mosaic(rng: np.random.Generator) -> Image:
    """Cells of random colours from a small palette: a lattice without a picture."""
    cells = int(rng.choice([12, 24, 48, 96]))
    palette = rng.integers(0, 256, (int(rng.integers(4, 24)), 3), dtype=np.uint8)
    picture = palette[rng.integers(0, len(palette), (cells, cells))]
    at = np.arange(SIDE) * cells // SIDE
    return picture[at][:, at]


def _shapes(rng: np.random.Generator) -> Image:
    """Flat ellipses over each other, antialiased: a vector illustration."""
    rows, columns = _grid()
    picture = np.broadcast_to(rng.uniform(0, 255, 3), (SIDE, SIDE, 3)).copy()
    for _ in range(14):
        inside = _ellipse(rng, rows, columns)
        cover = np.clip((1 - inside) * SIDE / 8, 0, 1)[..., None]
        picture += cover * (rng.uniform(0, 255, 3) - picture)
    return _bytes(picture)


def _soft(rng: np.random.Generator) -> Image:
    """Soft blobs of colour: a smooth illustration."""
    blurred = [ndimage.gaussian_filter(_shapes(rng)[..., c].astype(float), 6) for c in range(3)]
    return _bytes(np.stack(blurred, axis=-1))


def _bodies(rng: np.random.Generator) -> Image:
    """Shaded balls with highlights before a gradient: a 3-D render."""
    rows, columns = _grid()
    picture = _gradient(rng).astype(float)
    for _ in range(6):
        y, x = rng.uniform(0.1, 0.9, 2)
        radius = rng.uniform(0.08, 0.25)
        across, down = (columns - x) / radius, (rows - y) / radius
        inside = across**2 + down**2
        height = np.sqrt(np.clip(1 - inside, 0, None))
        light = np.clip(0.6 * height - 0.5 * across - 0.6 * down, 0, 1)
        colour = rng.uniform(30, 255, 3)
        shaded = colour * (0.15 + 0.85 * light[..., None]) + 160 * light[..., None] ** 20
        picture = np.where((inside < 1)[..., None], shaded, picture)
    return _bytes(picture)


def _stripes(rng: np.random.Generator) -> Image:
    rows, columns = _grid()
    angle, count = rng.uniform(0, np.pi), rng.uniform(5, 40)
    wave = np.sin(2 * np.pi * count * (np.cos(angle) * rows + np.sin(angle) * columns)) > 0
    first, second = rng.uniform(0, 255, (2, 3))
    return _bytes(np.where(wave[..., None], first, second))


def _ellipse(
    rng: np.random.Generator, rows: npt.NDArray[np.float64], columns: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the squared elliptic radius about a random centre: under 1 is inside."""
    y, x = rng.uniform(0, 1, 2)
    high, wide = rng.uniform(0.05, 0.35, 2)
    turn = rng.uniform(0, np.pi)
    along = (columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)
    across = (rows - y) * np.cos(turn) - (columns - x) * np.sin(turn)
    squared: npt.NDArray[np.float64] = (along / wide) ** 2 + (across / high) ** 2
    return squared


_DRAWN: dict[str, Callable[[np.random.Generator], Image]] = {
    "flat": _flat,
    "gradient": _gradient,
    "noise": _noise,
    "clouds": _clouds,
    "mosaic": _mosaic,
    "shapes": _shapes,
    "soft": _soft,
    "bodies": _bodies,
    "stripes": _stripes,
}
"""How each kind is drawn, ``_SEEDS`` pictures a kind."""
