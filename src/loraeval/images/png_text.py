"""The text chunks of a PNG file, read without decoding the picture, within bounds."""

from __future__ import annotations

import os
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"

MAX_CHUNKS = 20_000
"""A file with more chunks is read no further."""

MAX_TEXT = 4 << 20
"""Bytes of one text, unpacked, at most: a workflow of ComfyUI has a tenth of it."""


@dataclass(frozen=True, slots=True)
class PngText:
    """Width and height in pixels as the header says, and texts by their keyword."""

    width: int
    height: int
    texts: dict[str, str] = field(default_factory=dict)


def png_text(path: Path, wanted: Collection[str]) -> PngText | None:
    """Return size and the ``wanted`` texts of a PNG file, None for any other file.

    Chunks ``tEXt``, ``zTXt`` and ``iTXt`` are read, the pixels are skipped; a text that is too
    long, broken or repeated is passed over (the first of a name counts). Never raises for what is
    in the file.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return _read(file, size, frozenset(wanted))
    except (OSError, ValueError):
        return None


def _read(file: BinaryIO, size: int, wanted: frozenset[str]) -> PngText | None:
    if file.read(8) != SIGNATURE:
        return None
    found: PngText | None = None
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if length > size - file.tell():
            break
        if found is None:
            data = file.read(length)
            if kind != b"IHDR" or length < 8:
                return None
            found = PngText(int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big"))
        elif kind in (b"tEXt", b"zTXt", b"iTXt") and length <= MAX_TEXT:
            pair = _text(kind, file.read(length), wanted)
            if pair is not None:
                found.texts.setdefault(*pair)
        elif kind == b"IEND":
            break
        else:
            file.seek(length, 1)
        file.seek(4, 1)  # the checksum
    return found


def _text(kind: bytes, data: bytes, wanted: frozenset[str]) -> tuple[str, str] | None:
    keyword, end, rest = data.partition(b"\0")
    name = keyword.decode("latin-1")
    if not end or name not in wanted:
        return None
    packed, encoding = False, "latin-1"
    if kind == b"zTXt":
        packed, rest = True, rest[1:]
    elif kind == b"iTXt":
        packed, encoding = rest[:1] == b"\1", "utf-8"
        for _ in range(2):  # language, translated keyword
            rest = rest[2:] if _ == 0 else rest
            _, end, rest = rest.partition(b"\0")
            if not end:
                return None
    if packed:
        try:
            unpack = zlib.decompressobj()
            rest = unpack.decompress(rest, MAX_TEXT)
        except zlib.error:
            return None
        if unpack.unconsumed_tail:
            return None
    text = rest.decode("utf-8" if encoding == "utf-8" else encoding, "replace")
    if encoding == "latin-1":  # many programs put UTF-8 where Latin-1 belongs
        try:
            text = rest.decode("utf-8")
        except UnicodeDecodeError:
            text = rest.decode("latin-1")
    return name, text
