"""Look at the numbers in a LoRA file: not finite anywhere, all zero where training would show.

``scan_all`` reads the whole data section once (hash, zeros, NaN); ``scan_some`` reads a few tensors
within a byte budget, which is what makes a look at a 1.7 GB file take milliseconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from loraeval.checkpoints.header import Header, TensorInfo, iterate_data

SAMPLE_BYTES = 4 << 20
"""``scan_some`` reads at most about this much."""

# Per dtype: integer view, mask of the exponent, mask of everything but the sign.
_BITS: dict[str, tuple[str, int, int]] = {
    "F16": ("<u2", 0x7C00, 0x7FFF),
    "BF16": ("<u2", 0x7F80, 0x7FFF),
    "F32": ("<u4", 0x7F800000, 0x7FFFFFFF),
    "F64": ("<u8", 0x7FF0000000000000, 0x7FFFFFFFFFFFFFFF),
}


@dataclass(frozen=True, slots=True)
class Scan:
    """What the numbers say. ``seen`` names the tensors that were read, ``nonfinite`` those of them
    with NaN or an infinity, ``zero`` those that are zero throughout; ``sha256`` is that of the
    whole data section, None where only some was read.
    """

    seen: frozenset[str]
    nonfinite: tuple[str, ...]
    zero: frozenset[str]
    sha256: str | None = None


def scan_all(header: Header) -> Scan:
    """Read every tensor once, in file order."""
    return _scan(header, header.tensors.values(), whole=True)


def scan_some(header: Header, wanted: Sequence[TensorInfo]) -> Scan:
    """Read tensors of ``wanted`` in the order given until the budget is used up (at least one)."""
    chosen: list[TensorInfo] = []
    left = SAMPLE_BYTES
    for info in wanted:
        size = info.end - info.start
        if chosen and size > left:
            continue
        chosen.append(info)
        left -= size
    return _scan(header, chosen, whole=False)


def _scan(header: Header, infos: Iterable[TensorInfo], *, whole: bool) -> Scan:
    digest = hashlib.sha256() if whole else None
    seen, nonfinite, zero = set(), [], set()
    for info in infos:
        finite, nonzero = True, False
        for chunk in iterate_data(header, info):
            if digest is not None:
                digest.update(chunk)
            if info.dtype in _BITS:
                view, exponent, magnitude = _BITS[info.dtype]
                bits = np.frombuffer(chunk, dtype=view)
                finite = finite and not bool(((bits & exponent) == exponent).any())
                nonzero = nonzero or bool((bits & magnitude).any())
            else:
                nonzero = nonzero or any(chunk)
        seen.add(info.name)
        if not finite:
            nonfinite.append(info.name)
        if not nonzero:
            zero.add(info.name)
    return Scan(
        frozenset(seen), tuple(nonfinite), frozenset(zero), digest.hexdigest() if digest else None
    )
