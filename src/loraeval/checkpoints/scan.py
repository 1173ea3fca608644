"""Look at the numbers in a LoRA file: not finite anywhere, all zero where training would show.

``scan_all`` reads the whole data section once (hash, zeros, NaN); ``scan_some`` reads a few tensors
within a byte budget, which is what makes a look at a 1.7 GB file take milliseconds.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loraeval.checkpoints.header import Header, TensorInfo, iterate_data

SAMPLE_BYTES = 4 << 20
"""``scan_some`` reads at most about this much."""

# Per dtype: bytes an item, and the mask of the exponent in the second highest and highest byte. A
# number is not finite where its exponent is all ones.
_EXPONENT: dict[str, tuple[int, int, int]] = {
    "F16": (2, 0x00, 0x7C),
    "BF16": (2, 0x80, 0x7F),
    "F32": (4, 0x80, 0x7F),
    "F64": (8, 0xF0, 0x7F),
}
_WORDS: dict[str, tuple[str, int, int, int]] = {
    "F16": ("<u2", 2, 0x7C00, 0x8000),
    "BF16": ("<u2", 2, 0x7F80, 0x8000),
    "F32": ("<u4", 4, 0x7F800000, 0x80000000),
}
"""The same for numpy: type of a number's bits, its bytes, the exponent, the sign."""
_OTHER_BYTES = {
    mask: bytes(b for b in range(256) if b & mask != mask) for _, _, mask in _EXPONENT.values()
}


def has_nonfinite(chunk: bytes, dtype: str) -> bool:
    """Tell whether little-endian numbers hold NaN or an infinity; False for integer dtypes.

    Looks at every highest byte at once and at single numbers only where one is suspect, which
    needs no numpy: importing it takes longer than everything else here.
    """
    if dtype not in _EXPONENT:
        return False
    size, second, highest = _EXPONENT[dtype]
    tops = chunk[size - 1 :: size]
    if not tops.translate(None, _OTHER_BYTES[highest]):
        return False
    return any(
        top & highest == highest and below & second == second
        for top, below in zip(tops, chunk[size - 2 :: size], strict=False)
    )


def is_zero(chunk: bytes, dtype: str) -> bool:
    """Tell whether all numbers are zero; -0.0 is zero too."""
    if chunk.count(0) == len(chunk):
        return True
    if dtype not in _EXPONENT or chunk.translate(None, b"\0\x80"):
        return False
    size = _EXPONENT[dtype][0]
    return all(not any(chunk[place::size]) for place in range(size - 1))


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


def _looks(chunk: bytes, dtype: str, *, nonzero: bool) -> tuple[bool, bool]:
    """Return whether a chunk is finite and whether a number in it is not zero.

    With numpy where it is loaded already, which is faster than without; the same answers.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None or dtype not in _WORDS or len(chunk) % _WORDS[dtype][1]:
        return not has_nonfinite(chunk, dtype), nonzero or not is_zero(chunk, dtype)
    kind, _, exponent, sign = _WORDS[dtype]
    words = numpy.frombuffer(chunk, dtype=kind)
    found = nonzero or bool((words & ~words.dtype.type(sign)).any())
    return not len(words) or int((words & exponent).max()) != exponent, found


def _scan(header: Header, infos: Iterable[TensorInfo], *, whole: bool) -> Scan:
    digest = hashlib.sha256() if whole else None
    seen, nonfinite, zero = set(), [], set()
    for info in infos:
        finite, nonzero = True, False
        for chunk in iterate_data(header, info):
            if digest is not None:
                digest.update(chunk)
            good, nonzero = _looks(chunk, info.dtype, nonzero=nonzero)
            finite = finite and good
        seen.add(info.name)
        if not finite:
            nonfinite.append(info.name)
        if not nonzero:
            zero.add(info.name)
    return Scan(
        frozenset(seen), tuple(nonfinite), frozenset(zero), digest.hexdigest() if digest else None
    )
