"""What a file is that is no safetensors file, told from its first bytes."""

from __future__ import annotations

_STARTS = (
    (b"PK\x03\x04", "a pickled checkpoint (zip), which can run code when it is loaded"),
    (b"\x80\x02", "a pickled checkpoint, which can run code when it is loaded"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with: git lfs pull"),
    (b"GGUF", "a GGUF file"),
    (b"<", "a web page or XML; the download was not the file itself"),
)


def stranger(head: bytes) -> str | None:
    """Return what a file is whose first 32 bytes are ``head``, None where nothing speaks for
    another format.

    >>> stranger(b"#!/bin/bash")
    'a text file'
    """
    for start, what in _STARTS:
        if head.startswith(start):
            return what
    # A header's length, read as eight letters, would be above 10**18 bytes.
    is_text = len(head) > 1 and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    return "a text file" if is_text else None
