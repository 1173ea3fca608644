"""Images for a page that opens from disk anywhere: thumbnails and full views as data addresses.

Every image gets a thumbnail. The full views are embedded without loss where all of them fit the
page's budget. Where they do not, each is embedded as a view of full size with small losses, and
the exact pixels lie in a file beside the page, which the page shows as long as it is there.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from loraeval.errors import ImageError
from loraeval.images.reading import read_image
from loraeval.outside.files import write_bytes_atomically

BUDGET_BYTES = 24_000_000
"""Bytes of embedded images, as base64, that keep a page under 25 MB with its charts and text."""

THUMBNAIL_SIDE = 128
"""Longer side of a thumbnail in pixels; cells of the gallery are drawn at most that large."""

VIEW_QUALITIES = (95, 85, 60)
"""WebP qualities for full views with losses, the first that fits the budget is taken."""

_WORKERS = 2
_BATCH = 8


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """An image of the page. ``thumbnail`` and ``view`` are data addresses.

    ``exact`` says that ``view`` has the very pixels; ``file`` is the address of the exact pixels
    beside the page where it does not. ``problem`` tells why there is no image.
    """

    name: str
    width: int = 0
    height: int = 0
    thumbnail: str | None = None
    view: str | None = None
    exact: bool = False
    file: str | None = None
    problem: str | None = None

    @property
    def size(self) -> int:
        """Bytes that the image adds to the page."""
        return len(self.thumbnail or "") + len(self.view or "")


@dataclass(frozen=True, slots=True)
class _Decoded:
    image: Image.Image | None
    embedded: EmbeddedImage


def find_image(root: Path | None, name: str) -> Path | None:
    """Return where ``ScoreRow.image`` lies under ``root``; None where it is not there.

    A name that leads out of ``root`` is not followed: a scores file may come from a stranger.
    """
    if root is None or Path(name).is_absolute():
        return None
    try:
        base = root.resolve()
        path = (base / name).resolve()
        return path if path.is_relative_to(base) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # a name too long, links in a ring
        return None


def embed_images(
    paths: Sequence[Path | None],
    names: Sequence[str],
    folder: Path,
    *,
    budget: int = BUDGET_BYTES,
    done: Callable[[], object] = lambda: None,
) -> list[EmbeddedImage]:
    """Return the images at ``paths`` for a page in ``folder``, in order.

    ``names`` are what messages call them; ``budget`` bounds the sum of ``EmbeddedImage.size``;
    ``done`` is called after each image. Files for exact pixels go to ``folder/images``. An image
    that cannot be read safely has no thumbnail but a ``problem``.
    """
    jobs = list(zip(paths, names, strict=True))
    with ThreadPoolExecutor(_WORKERS) as pool:
        exact = _embed_exactly(pool, jobs, budget, done)
        return _embed_with_files(pool, jobs, folder, budget, done) if exact is None else exact


_Jobs = Sequence[tuple[Path | None, str]]


def _embed_exactly(
    pool: ThreadPoolExecutor, jobs: _Jobs, budget: int, done: Callable[[], object]
) -> list[EmbeddedImage] | None:
    """Return all images without loss; None as soon as they will plainly not fit."""
    found: list[EmbeddedImage] = []
    for start in range(0, len(jobs), _BATCH):
        found += pool.map(_exact, jobs[start : start + _BATCH])
        expected = sum(item.size for item in found) * len(jobs) / len(found)
        if expected > (budget if len(found) == len(jobs) else 1.3 * budget):
            return None
        for _ in found[start:]:
            done()
    return found


def _embed_with_files(
    pool: ThreadPoolExecutor,
    jobs: _Jobs,
    folder: Path,
    budget: int,
    done: Callable[[], object],
) -> list[EmbeddedImage]:
    found = []
    for item in pool.map(lambda job: _view_and_file(job, folder), jobs):
        found.append(item)
        done()
    for quality in VIEW_QUALITIES[1:]:
        if sum(item.size for item in found) <= budget:
            return found
        views = pool.map(lambda job, quality=quality: _view(job, quality), jobs)
        found = [replace(item, view=view) for item, view in zip(found, views, strict=True)]
    if sum(item.size for item in found) <= budget:
        return found
    return [replace(item, view=None) for item in found]


def _decode(path: Path | None, name: str) -> _Decoded:
    if path is None:
        return _Decoded(None, EmbeddedImage(name, problem="the image file is not at hand"))
    try:
        rgb, _ = read_image(path, name)
    except ImageError as error:
        return _Decoded(None, EmbeddedImage(name, problem=str(error)))
    image = Image.fromarray(rgb)
    small = image.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    thumbnail = "data:image/jpeg;base64," + _base64(_jpeg(small))
    return _Decoded(image, EmbeddedImage(name, image.width, image.height, thumbnail))


def _exact(job: tuple[Path | None, str]) -> EmbeddedImage:
    decoded = _decode(*job)
    if decoded.image is None:
        return decoded.embedded
    return replace(decoded.embedded, view=_address(_webp(decoded.image, lossless=True)), exact=True)


def _view(job: tuple[Path | None, str], quality: int) -> str | None:
    image = _decode(*job).image
    return None if image is None else _address(_webp(image, quality=quality))


def _view_and_file(job: tuple[Path | None, str], folder: Path) -> EmbeddedImage:
    decoded = _decode(*job)
    if decoded.image is None:
        return decoded.embedded
    view = _address(_webp(decoded.image, quality=VIEW_QUALITIES[0]))
    content = _webp(decoded.image, lossless=True)
    name = f"images/{hashlib.sha256(content).hexdigest()[:20]}.webp"
    if not (folder / name).exists():
        write_bytes_atomically(folder / name, content)
    return replace(decoded.embedded, view=view, file=name)


def _webp(image: Image.Image, *, quality: int = 20, lossless: bool = False) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, lossless=lossless, method=0 if lossless else 4)
    return buffer.getvalue()


def _jpeg(image: Image.Image) -> bytes:
    """Return a thumbnail as JPEG with full colour: WebP's halved colour smears single cells."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85, subsampling=0, optimize=True)
    return buffer.getvalue()


def _address(content: bytes) -> str:
    return "data:image/webp;base64," + _base64(content)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
