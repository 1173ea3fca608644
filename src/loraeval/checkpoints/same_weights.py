"""Which files of a series hold the same weights as an earlier one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from loraeval.checkpoints.header import Header, data_sha256
from loraeval.outside.text import clean

SAMPLE_BYTES = 1 << 16
"""So much of the data's start, middle and end is compared before whole files are read."""


def same_weights(headers: Sequence[Header]) -> Iterator[tuple[Path, str]]:
    """Yield the path of each file whose weights are those of an earlier one, and a sentence.

    Sizes, recorded hashes and samples of the data are compared first; a file is called the same
    only after its whole data was hashed. A series of different files is hardly read at all.
    """
    seen: dict[tuple[int, str, str], list[Header]] = {}
    digests: dict[Path, str] = {}

    def digest(header: Header) -> str:
        if header.path not in digests:
            digests[header.path] = data_sha256(header)
        return digests[header.path]

    for header in headers:
        recorded = header.metadata.get("sshs_model_hash", "")
        alike = seen.setdefault((header.data_bytes, recorded, _sample(header)), [])
        for other in alike:
            if digest(header) == digest(other):
                yield (
                    header.path,
                    f"{clean(header.path.name)} holds the same weights as {clean(other.path.name)}",
                )
                break
        else:
            alike.append(header)


def _sample(header: Header) -> str:
    places = (0, header.data_bytes // 2, max(0, header.data_bytes - SAMPLE_BYTES))
    with header.path.open("rb") as file:
        parts = []
        for place in places:
            file.seek(header.header_bytes + place)
            parts.append(file.read(SAMPLE_BYTES))
    return hashlib.sha256(b"".join(parts)).hexdigest()
