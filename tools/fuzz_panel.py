"""Targets of tools/fuzz.py that go through the whole panel, and through the text in a PNG.

The first bytes of an input choose an image's width, height, mode, file format and content, the rest
is its caption: every scorer that needs no weights scores it. A score outside [0, 1], one that is no
number, or one that is missing without a reason is a failure like a traceback.
"""

from __future__ import annotations

import functools
import io
import math
import random
from pathlib import Path
from typing import Any

SIDES = (1, 2, 3, 5, 8, 16, 24, 31, 48, 64, 96, 100, 128, 192, 256)
MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK", "RGB", "RGBA")
FORMATS = {"CMYK": "JPEG"}
CONTENTS = ("noise", "cells", "flat", "stripes", "gradient", "half", "checks")
HEAD = 8
"""Bytes of an input that choose the image."""


class ScoreProblemError(AssertionError):
    """A score that must not be."""


@functools.cache
def _panel() -> Any:
    from loraeval.scorers.panel import Panel
    from loraeval.scorers.registry import load_scorers

    return Panel(
        tuple(load_scorers(["palette", "grid", "style", "realism", "health"])),
        lattice=(24, 24),
        lattice_from_caption=True,
    )


def draw(head: bytes) -> tuple[bytes, str]:
    """Return an image file and its format, as ``HEAD`` bytes choose them."""
    import numpy as np
    from PIL import Image

    head = head.ljust(HEAD, b"\0")
    width, height = SIDES[head[0] % len(SIDES)], SIDES[head[1] % len(SIDES)]
    mode, content = MODES[head[2] % len(MODES)], CONTENTS[head[3] % len(CONTENTS)]
    rng = np.random.default_rng(list(head))
    colours = rng.integers(0, 256, (1 + head[4] % 12, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:height, :width]
    cell = 1 + head[5] % 17
    pixels = {
        "noise": lambda: rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        "cells": lambda: colours[
            rng.integers(0, len(colours), (height // cell + 1, width // cell + 1))[
                rows // cell, columns // cell
            ]
        ],
        "flat": lambda: np.broadcast_to(colours[0], (height, width, 3)),
        "stripes": lambda: colours[columns // cell % len(colours)],
        "gradient": lambda: np.stack([rows * 255 // max(height - 1, 1)] * 3, -1).astype(np.uint8),
        "half": lambda: colours[(columns < width // 2).astype(int) % len(colours)],
        "checks": lambda: colours[(rows // cell + columns // cell) % len(colours)],
    }[content]()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode in ("RGBA", "LA"):
        image = image.convert(mode)
        image.putalpha(Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8)))
    else:
        image = image.convert(mode)
    buffer = io.BytesIO()
    kind = FORMATS.get(mode) or (
        "PNG" if head[6] % 4 or mode in ("I;16", "P", "1", "LA") else "WEBP"
    )
    image.save(buffer, kind)
    return buffer.getvalue(), kind


def score(path: Path) -> object:
    """Score the image and the caption that the input names, by the whole panel."""
    from loraeval.prompts.caption import parse_caption
    from loraeval.records import Prompt, Render

    data = path.read_bytes()
    content, kind = draw(data[:HEAD])
    text = data[HEAD : HEAD + 4000].decode("utf-8", "replace")
    image = path.with_name(f"shown.{kind.lower()}")
    image.write_bytes(content)
    prompt = Prompt("p", text, caption=parse_caption(text))
    shown = Render(
        image=image, name=image.name, run="r", checkpoint=None, epoch=1, prompt=prompt, seed=1
    )
    (row,) = _panel().score([shown])
    check_row(row)
    return row


def check_row(row: Any) -> None:
    """Raise where a score of ``row`` is no number in [0, 1] and not missing with a reason."""
    for metric, value in row.scores.items():
        if value is None:
            reason = str(row.details.get(metric, {}).get("reason", "")).strip()
            if "." not in metric and not reason:
                raise ScoreProblemError(f"{metric} is missing without a reason")
        elif not (isinstance(value, float) and math.isfinite(value) and 0 <= value <= 1):
            raise ScoreProblemError(f"{metric} is {value!r}")


def panel_seeds() -> list[bytes]:
    """Return an input of every mode and content."""
    rng = random.Random(3)
    caption = b"pixel art, 24x24, red hair (#c06148), brown eyes, blue background, palette: #fff"
    return [
        bytes([rng.randrange(256), rng.randrange(256), mode, content, 5, 3, mode, 0]) + caption
        for mode in range(len(MODES))
        for content in range(len(CONTENTS))
    ]


def text_in_image(path: Path) -> object:
    """Read a PNG whose text chunks, as image generators write them, hold the input."""
    import zlib

    from loraeval.sources import find_renders

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        )

    data = path.read_bytes()
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"\0\0\0\1\0\0\0\1\x08\2\0\0\0")
    texts = {0: b"tEXt", 1: b"iTXt", 2: b"zTXt"}
    kind = texts[len(data) % 3]
    body = {b"tEXt": data, b"iTXt": b"\0\0\0\0" + data, b"zTXt": b"\0" + zlib.compress(data)}[kind]
    whole = start + b"".join(
        chunk(kind, key + b"\0" + body) for key in (b"parameters", b"prompt", b"workflow")
    )
    whole += chunk(b"IDAT", zlib.compress(b"\0\1\2\3")) + chunk(b"IEND", b"")
    folder = path.parent / "generated"
    folder.mkdir(exist_ok=True)
    (folder / "00000-42.png").write_bytes(whole)
    return list(find_renders(folder))


def text_seeds() -> list[bytes]:
    """Return what A1111 and ComfyUI write into their PNGs."""
    import json

    nodes = {
        "3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 20, "positive": ["6", 0]}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a baker, red hair"}},
        "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "my-000003.safetensors",
                                                      "strength_model": 1.0}},
    }  # fmt: skip
    lines = (
        b"a baker, red hair <lora:my-000003:0.8>\nNegative prompt: blurry\n"
        b"Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 512x512, Model: base"
    )
    return [lines, json.dumps(nodes).encode(), lines + b"\n" + json.dumps(nodes).encode()]
