"""A style's reference: its images as features, and what their numbers are worth.

Every image is kept twice: as features of the encoder, which carry the style, and as a thumbnail,
by which copies are found (``loraeval.scorers.copies``).

How pictures are compared within a view, and on which scale: ``loraeval.scorers.reference_view``.

A reference travels as text (``to_json``), features as int8, largest component 127; whoever gates
needs no reference images.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from loraeval.errors import BaselineError, ImageError, InputError, StaleError
from loraeval.images.picture import open_picture, picture_from_array
from loraeval.outside import json as strict_json
from loraeval.outside.text import clean, read_text
from loraeval.prompts.limits import MAX_ID
from loraeval.scorers.copies import SIDE, CopyFinder, pack, thumbnail, unpack
from loraeval.scorers.palette import colours_in
from loraeval.scorers.reference_folder import reference_images
from loraeval.scorers.reference_view import (
    NEIGHBOURS,
    Array,
    View,
    pack_feature,
    pack_statistic,
    read_view,
    view_of,
)

if TYPE_CHECKING:
    from loraeval.scorers.encoders import Encoder

FORMAT = "loraeval-reference/4"


MINIMUM = NEIGHBOURS + 1
"""Fewer images give no leave-one-out neighbours."""


MAX_REFERENCE_BYTES = 256 << 20
"""A reference of 100,000 images by a large encoder; one of 100 has half a megabyte."""


_BATCH = 16
_BATCH_BYTES = 48 << 20
"""Bytes of pixels at which a batch is full: few pictures where they are very large."""


@dataclass(frozen=True, eq=False)
class ReferenceSet:
    """A style's reference images: features by the encoder ``encoder`` (an id), and thumbnails.

    ``colour_counts`` holds each image's number of distinct colours
    (``loraeval.scorers.palette.colours_in``); empty where nobody counted them.
    """

    encoder: str
    names: tuple[str, ...]
    detail: View
    thumbnails: npt.NDArray[np.uint8]
    colour_counts: tuple[int, ...] = ()

    @cached_property
    def copies(self) -> CopyFinder:
        """What finds copies of these images."""
        return CopyFinder(self.thumbnails)

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
        cls,
        folder: Path | Sequence[Path],
        encoder: Encoder,
        progress: bool | Callable[[int, int], None] = False,
        lattice: tuple[int, int] | None = None,
        unreadable: Callable[[ImageError], object] | None = None,
    ) -> ReferenceSet:
        """Build a reference from the images of ``folder``, in name order: those right in it and
        those of a training folder's ``10_name`` folders (``reference_folder``); of several folders
        one after the other.

        ``lattice`` = (columns, rows) is the style's pixel grid, on which colours are counted as
        in the renders; without one each image's own is estimated.
        ``progress`` true shows a bar on a terminal; a function gets (done, total). An image that
        cannot be read is told to ``unreadable`` and left out; without that function it raises its
        ``ImageError``. Raises ``InputError`` for fewer than ``MINIMUM`` images.
        """
        folders = [folder] if isinstance(folder, Path) else list(folder)
        paths: list[Path] = []
        lines: list[str] = []
        for place in folders:
            if not place.is_dir():
                raise InputError(f"{place}: expected a folder of reference images, found none")
            found, left = reference_images(place)
            paths += found
            lines += left
        if len(paths) < MINIMUM:
            more = f" ({'; '.join(lines)})" if lines else ""
            raise InputError(
                f"{folders[0]}: expected at least {MINIMUM} reference images in the folder or its "
                f"10_name folders, found {len(paths)}{more}"
            )
        images = _readable(paths, unreadable)
        return cls.from_images(images, encoder, progress, len(paths), lattice)

    @classmethod
    def from_images(
        cls,
        images: Iterable[tuple[str, npt.NDArray[np.uint8]]],
        encoder: Encoder,
        progress: bool | Callable[[int, int], None] = False,
        total: int | None = None,
        lattice: tuple[int, int] | None = None,
    ) -> ReferenceSet:
        """Build a reference from (name, uint8 (H, W, 3)) pairs; see ``from_folder``."""
        from loraeval.scorers.style_bank import bank_images

        bank = bank_images()
        steps = None if total is None else total + len(bank)
        bar = tqdm(
            total=steps, desc="reference", unit="img", disable=None if progress is True else True
        )
        done = 0
        counts: list[int] = []

        def counted() -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
            for name, rgb in images:
                counts.append(colours_in(picture_from_array(rgb, name), lattice))
                yield name, rgb

        def seen(count: int) -> None:
            nonlocal done
            done += count
            bar.update(count)
            if callable(progress):
                progress(done, steps or done)

        with bar:
            # The style first: a broken image ends it early.
            names, own, thumbnails = _embed(encoder, counted(), seen)
            _, of_bank, _ = _embed(encoder, bank, seen)
        if len(names) < MINIMUM:
            raise InputError(f"expected at least {MINIMUM} reference images, found {len(names)}")
        return cls(encoder.id, names, view_of(own, of_bank), thumbnails, tuple(counts))

    def to_json(self) -> str:
        """Return the reference as JSON, one line an image; ``from_json`` gives the same back."""
        head = {"format": FORMAT, "encoder": self.encoder, "neighbours": NEIGHBOURS}
        view = {
            "mean": pack_statistic(self.detail.mean),
            "spread": pack_statistic(self.detail.spread),
            "bank_level": self.detail.bank_level,
        }
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
        lines.append(f'"detail": {json.dumps(view)}')
        lines.append(f'"colours": {json.dumps(self.colour_counts)}')
        rows = (
            json.dumps([name, pack_feature(feature), pack(small)], ensure_ascii=False)
            for name, feature, small in zip(
                self.names, self.detail.features, self.thumbnails, strict=True
            )
        )
        lines.append('"images": [\n' + ",\n".join(rows) + "\n]")
        return "{" + ",\n".join(lines) + "}\n"

    @classmethod
    def from_file(cls, path: Path) -> ReferenceSet:
        """Read a file that holds ``to_json``; raises ``BaselineError`` for anything else."""
        text = read_text(path, BaselineError, MAX_REFERENCE_BYTES)
        try:
            return cls.from_json(text)
        except BaselineError as error:
            raise BaselineError(f"{clean(path)}: {error}") from error

    @classmethod
    def from_json(cls, text: str) -> ReferenceSet:
        """Read what ``to_json`` wrote; raises ``BaselineError`` for anything else."""
        try:
            held = strict_json.loads(text)
            if held["format"] != FORMAT:
                raise ValueError(f"its format is {held['format']!r}, not {FORMAT!r}")
            names = tuple(str(row[0]) for row in held["images"])
            detail = read_view(held["detail"], [row[1] for row in held["images"]])
            thumbnails = np.stack([unpack(row[2]) for row in held["images"]])
            encoder = str(held["encoder"])
            counts = _colour_counts(held["colours"], len(names))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise BaselineError(
                f"expected a reference written by loraeval, found something else ({clean(error)}); "
                f"freeze the baseline again"
            ) from error
        if len(names) < MINIMUM:
            raise BaselineError(f"the reference holds {len(names)} images, fewer than {MINIMUM}")
        return cls(encoder, names, detail, thumbnails, counts)


def _readable(
    paths: Iterable[Path], unreadable: Callable[[ImageError], object] | None
) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    for path in paths:
        try:
            yield clean(path.stem, MAX_ID), open_picture(path, clean(path.name)).rgb
        except ImageError as error:
            if unreadable is None:
                raise
            unreadable(error)


def _colour_counts(held: object, images: int) -> tuple[int, ...]:
    """Return the counts as read: none, or one of at least 1 for each image."""
    if not isinstance(held, list) or len(held) not in (0, images):
        raise ValueError("colour counts that do not fit the images")
    if not all(type(count) is int and 1 <= count < 2**31 for count in held):
        raise ValueError("colour counts that are not whole numbers from 1")
    return tuple(held)


def _embed(
    encoder: Encoder,
    images: Iterable[tuple[str, npt.NDArray[np.uint8]]],
    seen: Callable[[int], None],
) -> tuple[tuple[str, ...], Array, npt.NDArray[np.uint8]]:
    """Return names, features (n, d) and thumbnails of ``images``."""
    names: list[str] = []
    features: list[Array] = []
    thumbnails: list[npt.NDArray[np.uint8]] = []
    batch: list[npt.NDArray[np.uint8]] = []

    def flush() -> None:
        if batch:
            features.append(encoder.embed_images(batch))
            thumbnails.extend(map(thumbnail, batch))
            seen(len(batch))
            batch.clear()

    for name, image in images:
        names.append(name)
        batch.append(image)
        if len(batch) == _BATCH or sum(held.nbytes for held in batch) >= _BATCH_BYTES:
            flush()
    flush()
    if not names:
        return (), np.zeros((0, 0), np.float32), np.zeros((0, SIDE, SIDE, 3), np.uint8)
    return tuple(names), np.concatenate(features), np.stack(thumbnails)
