"""A style's reference: its images as features, and what their numbers are worth.

Every image is seen twice by the encoder: in detail (the whole picture at the encoder's input
size), which carries the style, and coarse (the picture averaged to 64 pixels first), which
carries who is where in which colours and does not see noise, blur or JPEG.

In each view features are centred and scaled per dimension by the mean and spread of a bank of
pictures in no style (``loraeval.scorers.style_bank``), so that what all pictures share cancels
out, and are compared by cosine. A picture's similarity is its mean cosine to its k nearest
reference images. Two anchors calibrate it: 0 is the 95th percentile of the bank, 1 the median of
the reference images against each other, each left out once.

A reference travels as text (``to_json``), features as int8, largest component 127; whoever gates
needs no reference images.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from loraeval.errors import BaselineError, InputError, StaleError
from loraeval.images.picture import open_picture
from loraeval.images.reading import IMAGE_EXTENSIONS

if TYPE_CHECKING:
    from loraeval.scorers.encoders import Encoder

FORMAT = "loraeval-reference/1"

NEIGHBOURS = 5
"""Nearest reference images that a similarity is the mean over."""

MINIMUM = NEIGHBOURS + 1
"""Fewer images give no leave-one-out neighbours."""

BANK_SHARE = 0.95
"""Share of the bank that lies below similarity 0 on the calibrated scale."""

NEAR_SHARE = 0.05
"""Share of reference images whose nearest other one is nearer than ``View.near``."""

COARSE_SIDE = 64
"""Shorter side, in pixels, that the coarse view is averaged to."""

_SPREAD_FLOOR = 0.01
"""Added in quadrature to the bank's spread (of unit vectors), so that no dead dimension counts."""

_BATCH = 16

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class View:
    """One view of a reference: features float32 (n, d), rows of length 1, and the bank's summary.

    ``mean`` and ``spread`` (d,) are the bank's per dimension; ``bank_level`` is the similarity
    that ``BANK_SHARE`` of the bank stays under.
    """

    features: Array
    mean: Array
    spread: Array
    bank_level: float

    def standardise(self, features: Array) -> Array:
        """Return features (m, d) centred and scaled by the bank, rows of length 1 again."""
        scaled = (features - self.mean) / np.sqrt(self.spread**2 + _SPREAD_FLOOR**2)
        length = np.linalg.norm(scaled, axis=1, keepdims=True)
        result: Array = (scaled / np.maximum(length, 1e-12)).astype(np.float32)
        return result

    @cached_property
    def standardised(self) -> Array:
        """The reference's own features, standardised."""
        return self.standardise(self.features)

    @cached_property
    def among(self) -> Array:
        """Cosines among the reference images (n, n), -1 on the diagonal: each left out once."""
        cosines: Array = self.standardised @ self.standardised.T
        np.fill_diagonal(cosines, -1.0)
        return cosines

    @cached_property
    def own_level(self) -> float:
        """Median leave-one-out similarity of the reference images."""
        return float(np.median(nearest_mean(self.among)))

    @cached_property
    def near(self) -> float:
        """Distance (1 - cosine) to the nearest other image that ``NEAR_SHARE`` lie under."""
        return float(np.quantile(1.0 - self.among.max(axis=1), NEAR_SHARE))

    def cosines(self, features: Array) -> Array:
        """Return the cosines (m, n) of features (m, d) to each reference image."""
        result: Array = self.standardise(features) @ self.standardised.T
        return result

    def similarity(self, features: Array) -> Array:
        """Return the mean cosine to the nearest reference images, (m,)."""
        return nearest_mean(self.cosines(features))

    def calibrated(self, similarity: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map similarities to [0, 1]: the bank's level to 0, the reference's own level to 1."""
        share = (np.asarray(similarity, float) - self.bank_level) / (
            self.own_level - self.bank_level
        )
        return np.clip(share, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class ReferenceSet:
    """A style's reference images as two views of features by the encoder ``encoder`` (an id)."""

    encoder: str
    names: tuple[str, ...]
    detail: View
    coarse: View

    @property
    def features(self) -> Array:
        """Features of the images in detail, float32 (n, d), rows of length 1."""
        return self.detail.features

    @property
    def calibration(self) -> dict[str, float]:
        """The two anchors of the style scale, as mean cosines: ``bank`` is 0, ``own`` is 1."""
        return {"bank": self.detail.bank_level, "own": self.detail.own_level}

    @property
    def tells_apart(self) -> bool:
        """Whether the encoder sees the reference images as more alike than the bank."""
        return self.detail.own_level > self.detail.bank_level + 1e-3

    def check_encoder(self, encoder_id: str) -> None:
        """Raise ``StaleError`` unless features of ``encoder_id`` may be compared with these."""
        if encoder_id != self.encoder:
            raise StaleError(
                f"the reference was made with the encoder {self.encoder}, the pictures with "
                f"{encoder_id}: their features do not compare; use --encoder auto, or build "
                f"the reference again"
            )

    @classmethod
    def from_folder(
        cls, folder: Path, encoder: Encoder, progress: bool | Callable[[int, int], None] = False
    ) -> ReferenceSet:
        """Build a reference from the images in ``folder`` (not below it), in name order.

        ``progress`` true shows a bar on a terminal; a function gets (done, total). Raises
        ``InputError`` for fewer than ``MINIMUM`` images, ``ImageError`` for an unreadable one.
        """
        if not folder.is_dir():
            raise InputError(f"{folder}: expected a folder of reference images, found none")
        paths = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_EXTENSIONS and not path.name.startswith(".")
        )
        if len(paths) < MINIMUM:
            raise InputError(
                f"{folder}: expected at least {MINIMUM} reference images, found {len(paths)}"
            )
        images = ((path.stem, open_picture(path, path.name).rgb) for path in paths)
        return cls.from_images(images, encoder, progress, total=len(paths))

    @classmethod
    def from_images(
        cls,
        images: Iterable[tuple[str, npt.NDArray[np.uint8]]],
        encoder: Encoder,
        progress: bool | Callable[[int, int], None] = False,
        total: int | None = None,
    ) -> ReferenceSet:
        """Build a reference from (name, uint8 (H, W, 3)) pairs; see ``from_folder``."""
        from loraeval.scorers.style_bank import bank_images

        bank = bank_images()
        steps = None if total is None else total + len(bank)
        bar = tqdm(
            total=steps, desc="reference", unit="img", disable=None if progress is True else True
        )
        done = 0

        def seen(count: int) -> None:
            nonlocal done
            done += count
            bar.update(count)
            if callable(progress):
                progress(done, steps or done)

        with bar:
            of_bank = _embed_both(encoder, bank, seen)
            of_style = _embed_both(encoder, images, seen)
        names = of_style[0]
        if len(names) < MINIMUM:
            raise InputError(f"expected at least {MINIMUM} reference images, found {len(names)}")
        views = [_view(own, other) for own, other in zip(of_style[1], of_bank[1], strict=True)]
        return cls(encoder.id, names, views[0], views[1])

    def to_json(self) -> str:
        """Return the reference as JSON, one line an image; ``from_json`` gives the same back."""
        head = {"format": FORMAT, "encoder": self.encoder, "neighbours": NEIGHBOURS}
        views = {
            name: {
                "mean": _text(view.mean),
                "spread": _text(view.spread),
                "bank_level": view.bank_level,
            }
            for name, view in (("detail", self.detail), ("coarse", self.coarse))
        }
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
        lines += [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in views.items()]
        rows = (
            json.dumps([name, _packed(detail), _packed(coarse)], ensure_ascii=False)
            for name, detail, coarse in zip(
                self.names, self.detail.features, self.coarse.features, strict=True
            )
        )
        lines.append('"images": [\n' + ",\n".join(rows) + "\n]")
        return "{" + ",\n".join(lines) + "}\n"

    @classmethod
    def from_json(cls, text: str) -> ReferenceSet:
        """Read what ``to_json`` wrote; raises ``BaselineError`` for anything else."""
        try:
            held = json.loads(text)
            if held["format"] != FORMAT:
                raise ValueError(f"its format is {held['format']!r}, not {FORMAT!r}")
            names = tuple(str(row[0]) for row in held["images"])
            detail = _read_view(held["detail"], [row[1] for row in held["images"]])
            coarse = _read_view(held["coarse"], [row[2] for row in held["images"]])
            encoder = str(held["encoder"])
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise BaselineError(
                f"expected a reference written by loraeval, found something else ({error}); "
                f"freeze the baseline again"
            ) from error
        if len(names) < MINIMUM:
            raise BaselineError(f"the reference holds {len(names)} images, fewer than {MINIMUM}")
        return cls(encoder, names, detail, coarse)


def nearest_mean(cosines: Array) -> Array:
    """Return the mean of the ``NEIGHBOURS`` largest cosines of each row, (m,)."""
    result: Array = np.sort(cosines, axis=1)[:, -NEIGHBOURS:].mean(axis=1)
    return result


def coarse_image(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the picture averaged to a shorter side of ``COARSE_SIDE``, then enlarged smoothly.

    A picture that is smaller first grows by a whole factor with hard cell edges.
    """
    height, width = rgb.shape[:2]
    if min(height, width) < COARSE_SIDE:
        factor = -(-4 * COARSE_SIDE // min(height, width))
        rgb = rgb.repeat(factor, axis=0).repeat(factor, axis=1)
        height, width = rgb.shape[:2]
    scale = COARSE_SIDE / min(height, width)
    size = (max(COARSE_SIDE, round(width * scale)), max(COARSE_SIDE, round(height * scale)))
    small = Image.fromarray(rgb).resize(size, Image.Resampling.BOX)
    large = small.resize((size[0] * 4, size[1] * 4), Image.Resampling.BICUBIC)
    return np.asarray(large)


def _embed_both(
    encoder: Encoder,
    images: Iterable[tuple[str, npt.NDArray[np.uint8]]],
    seen: Callable[[int], None],
) -> tuple[tuple[str, ...], tuple[Array, Array]]:
    names: list[str] = []
    detail: list[Array] = []
    coarse: list[Array] = []
    batch: list[npt.NDArray[np.uint8]] = []

    def flush() -> None:
        if batch:
            detail.append(encoder.embed_images(batch))
            coarse.append(encoder.embed_images([coarse_image(image) for image in batch]))
            seen(len(batch))
            batch.clear()

    for name, image in images:
        names.append(name)
        batch.append(image)
        if len(batch) == _BATCH:
            flush()
    flush()
    if not names:
        return (), (np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))
    return tuple(names), (np.concatenate(detail), np.concatenate(coarse))


def _view(own: Array, bank: Array) -> View:
    """Return a view of exactly the numbers that ``to_json`` keeps."""
    kept = np.stack([_unpacked(_packed(row)) for row in own])
    mean, spread = (
        stat.astype(np.float16).astype(np.float32) for stat in (bank.mean(0), bank.std(0))
    )
    view = View(kept, mean, spread, 0.0)
    level = float(np.quantile(view.similarity(bank), BANK_SHARE))
    return View(kept, mean, spread, round(level, 6))


def _packed(feature: Array) -> str:
    """Return the feature as base64 of int8, its largest component being 127 steps."""
    steps = np.rint(feature * (127.0 / max(float(np.abs(feature).max()), 1e-12))).astype(np.int8)
    return base64.b64encode(steps.tobytes()).decode("ascii")


def _unpacked(text: str) -> Array:
    """Return the feature that ``_packed`` wrote, of length 1 again."""
    steps = np.frombuffer(base64.b64decode(text, validate=True), np.int8).astype(np.float32)
    length = float(np.linalg.norm(steps))
    if not length > 0:
        raise ValueError("a feature of length 0")
    result: Array = steps / np.float32(length)
    return result


def _text(values: Array) -> str:
    return base64.b64encode(values.astype("<f2").tobytes()).decode("ascii")


def _floats(text: str) -> Array:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32)


def _read_view(held: Mapping[str, Any], rows: Sequence[str]) -> View:
    features = np.stack([_unpacked(text) for text in rows])
    view = View(features, _floats(held["mean"]), _floats(held["spread"]), float(held["bank_level"]))
    if not view.mean.shape == view.spread.shape == features.shape[1:]:
        raise ValueError("views of different lengths")
    if not (np.isfinite(view.mean).all() and np.isfinite(view.spread).all()):
        raise ValueError("numbers that are not finite")
    return view
