"""Safe reading of image files from strangers.

A file is looked at before it is decoded: its size on disk, its format by content, its pixel
count from the header. Decoding happens once, of the first frame only, and whatever the decoder
says about broken data becomes one ``UnreadableImageError`` with a named defect.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from loraeval.errors import ImageError

MAX_FILE_BYTES = 128 << 20
"""A larger file is refused unread: a 4096x4096 PNG of pure noise has 50 MB."""

MAX_PIXELS = 4096 * 4096
"""A picture with more pixels is refused before it is decoded; Stable Diffusion renders 0.3 to 4
million."""

MAX_SIDE = 16384
"""A longer side is refused before decoding, whatever the number of pixels."""

MIN_SIDE = 8
"""A shorter side holds nothing that a scorer could measure."""

FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
}
"""Formats that are read, by content, with the extensions that they may carry."""

IMAGE_EXTENSIONS = frozenset(extension for group in FORMATS.values() for extension in group)
"""File extensions, in lower case with the dot, that a folder of images is searched for."""


class UnreadableImageError(ImageError):
    """An image file that is refused; ``defect`` names the kind in one or two words."""

    def __init__(self, defect: str, sentence: str) -> None:
        super().__init__(sentence)
        self.defect = defect


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the file was before it became sRGB bytes.

    ``mode`` is Pillow's name of the pixel layout in the file, ``bits`` the bits per channel,
    ``see_through`` the share of pixels that were not fully opaque (they are laid on white, on grey
    where what is opaque is nearly white), ``clear_border`` the share of the outermost pixels that
    are at least half see-through, ``profile`` the embedded colour profile: ``none``, ``sRGB``,
    ``converted`` or ``unreadable``. ``turned``: the EXIF orientation was followed.
    """

    format: str
    mode: str
    bits: int
    has_alpha: bool
    see_through: float
    profile: str
    clear_border: float = 0.0
    turned: bool = False

    @property
    def transparent_background(self) -> bool:
        """Whether the picture is a cut-out: most of its border is see-through."""
        return self.clear_border > 0.5

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as plain Python for ``Score.details``."""
        return asdict(self)


def read_image(path: Path, name: str | None = None) -> tuple[npt.NDArray[np.uint8], ImageFacts]:
    """Decode the file at ``path`` to sRGB, uint8, (H, W, 3), and say what it was.

    Memory stays below some 20 bytes for each of at most ``MAX_PIXELS`` pixels. Raises
    ``UnreadableImageError`` for a file that is missing, empty, not an image, of another format than
    its extension says, animated, too large, too small, or truncated or broken in its data.
    """
    called = name or str(path)
    data = _bytes_of(path, called)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _decode(data, path.suffix.lower(), called)


def _bytes_of(path: Path, called: str) -> bytes:
    try:
        # A pipe without a writer would be waited for, so it is looked at before it is read.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise UnreadableImageError(
                    "not a file",
                    f"{called}: expected an image file, found something else",
                )
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", None) or "no such name"
        raise UnreadableImageError(
            "unreadable", f"{called}: cannot read the image ({why}); check the path"
        ) from error
    if not data:
        raise UnreadableImageError("empty file", f"{called}: expected an image, found no bytes")
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableImageError(
            "huge file",
            f"{called}: the file has more than {MAX_FILE_BYTES >> 20} MB; save it smaller",
        )
    return data


def _decode(data: bytes, extension: str, called: str) -> tuple[npt.NDArray[np.uint8], ImageFacts]:
    try:
        with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
            _check_header(image, extension, called)
            image.load()
            return _to_srgb(image, _bits(image, data))
    except ImageError:
        raise
    except MemoryError as error:
        raise UnreadableImageError(
            "out of memory", f"{called}: not enough memory is free to decode it; scale it down"
        ) from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError("huge dimensions", f"{called}: {error}") from error
    except UnidentifiedImageError as error:
        kinds = ", ".join(FORMATS)
        raise UnreadableImageError(
            "not an image", f"{called}: expected an image ({kinds}), found something else"
        ) from error
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        truncated = "truncat" in text.lower() or isinstance(error, (EOFError, struct.error))
        raise UnreadableImageError(
            "truncated" if truncated else "broken data",
            f"{called}: the image data is {'cut off' if truncated else 'broken'} ({text}); "
            "render or copy it again",
        ) from error


def _check_header(image: Image.Image, extension: str, called: str) -> None:
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    if extension and extension not in FORMATS[kind]:
        raise UnreadableImageError(
            "wrong extension",
            f"{called}: the file holds {kind} data; name it {FORMATS[kind][0]} or save it again",
        )
    width, height = image.size
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise UnreadableImageError(
            "huge dimensions",
            f"{called}: {width}x{height} pixels are more than the {MAX_PIXELS:,} that are read; "
            "scale the image down",
        )
    if min(width, height) < MIN_SIDE:
        raise UnreadableImageError(
            "tiny dimensions",
            f"{called}: {width}x{height} pixels are too few; at least {MIN_SIDE} a side are needed",
        )
    if getattr(image, "is_animated", False):
        raise UnreadableImageError(
            "animated", f"{called}: expected one still picture, found several frames"
        )


def _bits(image: Image.Image, data: bytes) -> int:
    """Return the bits per channel of the file; Pillow hides 16-bit colour PNG behind RGB."""
    if image.format == "PNG" and len(data) > 24 and data[12:16] == b"IHDR":
        return int(data[24])
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(258, 8)
        return int(max(bits)) if isinstance(bits, tuple) else int(bits)
    return {"1": 1, "I": 32, "F": 32}.get(image.mode, 16 if image.mode.startswith("I;") else 8)


def _to_srgb(image: Image.Image, bits: int) -> tuple[npt.NDArray[np.uint8], ImageFacts]:
    mode, kind = image.mode, str(image.format)
    has_alpha = "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info
    image, profile = _apply_profile(image)
    image, turned = _upright(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        rgb = _deep_grey(image)
        return rgb, ImageFacts(kind, mode, bits, has_alpha, 0.0, profile, turned=turned)
    if not has_alpha:
        rgb = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
        return rgb, ImageFacts(kind, mode, bits, False, 0.0, profile, turned=turned)
    straight = image.convert("RGBA")
    alpha = np.asarray(straight.getchannel("A"))
    see_through = float(np.mean(alpha < 255))
    clear = _border(alpha) < 128
    if see_through:
        backdrop = Image.new("RGBA", straight.size, _backdrop(straight, alpha))
        straight = Image.alpha_composite(backdrop, straight)
    rgb = np.asarray(straight.convert("RGB"))
    return rgb, ImageFacts(
        kind, mode, bits, True, see_through, profile, round(float(clear.mean()), 4), turned
    )


ORIENTATION = 274
"""EXIF tag that says how the camera was held."""


def _upright(image: Image.Image) -> tuple[Image.Image, bool]:
    """Return the image as its EXIF orientation wants it shown, and whether that moved it."""
    if "exif" not in image.info and image.format != "TIFF":
        return image, False
    try:
        if image.getexif().get(ORIENTATION, 1) == 1:
            return image, False
        return ImageOps.exif_transpose(image), True
    except (OSError, ValueError, SyntaxError, struct.error):  # EXIF of no known form
        return image, False


def _border(plane: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the outermost pixels of (H, W) in one row."""
    return np.concatenate([plane[0], plane[-1], plane[1:-1, 0], plane[1:-1, -1]])


NEARLY_WHITE = 232
"""A channel from which a pixel does not stand out from white."""


def _backdrop(image: Image.Image, alpha: npt.NDArray[np.uint8]) -> str:
    """Return the colour that see-through parts are laid on: white, or grey under white art."""
    opaque = alpha >= 128
    if not opaque.any():
        return "white"
    smallest = np.asarray(image.convert("RGB")).min(axis=2)
    return "grey" if float(np.mean(smallest[opaque] >= NEARLY_WHITE)) > 0.5 else "white"


def _deep_grey(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return a 16- or 32-bit grey image as sRGB bytes; 65535 (or 1.0 for floats) is white."""
    values = np.asarray(image, dtype=np.float32)
    if not np.isfinite(values).all():
        raise ValueError("the pixel values hold NaN or infinity")
    white = 1.0 if image.mode == "F" and float(values.max(initial=0.0)) <= 1.0 else 65535.0
    grey = np.clip(values * (255.0 / white) + 0.5, 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _apply_profile(image: Image.Image) -> tuple[Image.Image, str]:
    """Convert ``image`` to sRGB by its embedded profile, where it has one that says otherwise."""
    raw = image.info.get("icc_profile")
    if not raw:
        return image, "none"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(raw))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return image, "sRGB"
        target = ImageCms.createProfile("sRGB")
        if image.mode == "RGBA":
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGBA")
        elif image.mode in ("RGB", "CMYK", "L"):
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
        else:
            return image, "unreadable"
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image, "unreadable"
    return (image, "unreadable") if converted is None else (converted, "converted")
