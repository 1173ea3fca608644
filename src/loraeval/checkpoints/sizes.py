"""What the size of a LoRA file can prove, and what it can not.

data = bytes per number * (rank * parameters per rank + alphas), so rank r in 32 bit has the size of
rank 2r in 16 bit: the size alone never tells the rank.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from loraeval.checkpoints.layout import lora_modules, parameters_per_rank
from loraeval.families import layout_of
from loraeval.records import FamilyName

RANKS = (4, 8, 16, 32, 64, 128, 256)

_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_SIZE = re.compile(r"\s*(\d+(?:\.(\d+))?)\s*([KMG]?)I?B?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SizeCandidate:
    """One explanation of a size: ``bits`` 16 or 32 a number, all components trained."""

    family: FamilyName
    rank: int
    bits: int
    data_bytes: int


def data_bytes(family: FamilyName, rank: int, bits: int) -> int:
    """Return the bytes of tensor data of a ``networks.lora`` file with all components."""
    weights = sum(rank * parameters_per_rank(family, part) for part in layout_of(family).components)
    return bits // 8 * (weights + len(lora_modules(family)))


def size_candidates(text: str, family: FamilyName) -> list[SizeCandidate]:
    """Return the ranks and precisions whose file would be listed as ``text`` ("72 MB", "1.7 GB").

    Units are binary, as ``ls -h`` prints them; the size is known to half a unit of the last digit.
    A header of 0.1 to 0.6 MB is allowed for. Empty where nothing fits or the text is no size.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        return []
    unit = _UNITS[f"{match[3].upper()}B"]
    half = unit * 0.5 / 10 ** len(match[2] or "")
    low, high = float(match[1]) * unit - half - 0.6 * (1 << 20), float(match[1]) * unit + half
    found = [
        SizeCandidate(family, rank, bits, data_bytes(family, rank, bits))
        for rank in RANKS
        for bits in (16, 32)
    ]
    return [item for item in found if low <= item.data_bytes <= high]
