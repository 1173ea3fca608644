"""One render as a file: a PNG with its own row of the index in it."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

PNG_LEVEL = 1
"""zlib's level: the fastest that still compresses."""

_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


@dataclass(frozen=True, slots=True)
class StoreRow:
    """One render of the index. ``made`` and ``used`` are seconds since 1970; ``health`` is ``ok``,
    ``vae-float32`` (good after the retry), ``black`` or ``nan``; ``details`` is JSON.
    """

    key: str
    recipe: str
    checkpoint: str
    run: str | None
    epoch: int | None
    prompt_id: str | None
    prompt: str
    seed: int
    bytes: int
    sha256: str
    health: str
    made: float
    used: float
    details: str


def encode_png(pixels: np.ndarray, text: str) -> bytes:
    """Return ``pixels`` (uint8, H×W×3) as PNG with ``text`` in a text chunk called ``loraeval``."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("loraeval", text)
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGB" if pixels.ndim == 3 else "L").save(
        buffer, "PNG", compress_level=PNG_LEVEL, pnginfo=info
    )
    return buffer.getvalue()


def facts_of(data: bytes) -> dict[str, Any]:
    """Return the size and the SHA-256 of a file's bytes, as its row names them."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def embedded_row(data: bytes) -> dict[str, Any] | None:
    """Return what a whole PNG of this store says of itself, None for anything else."""
    from PIL import Image

    if not data.endswith(_END):  # Pillow reads a file that was cut inside its last bytes
        return None
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.load()
            row = json.loads(image.info["loraeval"])
        StoreRow(**row)
    except (OSError, ValueError, KeyError, TypeError, SyntaxError, Image.DecompressionBombError):
        return None
    return row if isinstance(row, dict) else None
