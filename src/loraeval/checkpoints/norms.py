"""How far a LoRA moved its model: the norm of the update, by component and block.

The update of a layer is ``scale · up @ down``; its Frobenius norm needs only two small matrices,
``|| B A ||² = sum((Bᵀ B) ∘ (A Aᵀ))``, with A (rank, inputs) and B (outputs, rank). Tensors are read
one after the other, so that memory does not grow with the file. Where a file is large, every
``stride``-th input and output is taken and the sums are scaled up: an estimate, and said to be.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loraeval.checkpoints.dtypes import NUMPY
from loraeval.checkpoints.header import Header, TensorInfo, read_header, read_scalars
from loraeval.checkpoints.modules import Module, group_modules
from loraeval.checkpoints.scale import module_scale, peft_alphas

EXACT_BYTES = 16 << 20
"""Files up to this size are taken whole; of larger ones every ``STRIDE``-th channel."""

STRIDE = 4

MOST_BYTES = 128 << 20
"""Larger files are read for this only where somebody asks."""

MAX_BLOCKS = 2000

_BLOCK = re.compile(
    r"(down_blocks|up_blocks|input_blocks|output_blocks|double_blocks|single_blocks"
    r"|single_transformer_blocks|joint_blocks|transformer_blocks|blocks|layers)[._](\d+)"
    r"|(mid_block|middle_block)"
)
_FLOATS = {"F16", "BF16", "F32", "F64"}


@dataclass(frozen=True, slots=True)
class BlockNorm:
    """One block: ``norm`` is the Frobenius norm of the update over its ``modules`` layers, ``rms``
    the root mean square of the ``weights`` that it changes, by which blocks of different size
    compare.
    """

    component: str
    block: str
    modules: int
    norm: float
    weights: int

    @property
    def rms(self) -> float:
        """Root mean square change of a weight."""
        return self.norm / math.sqrt(self.weights) if self.weights else 0.0


@dataclass(frozen=True, slots=True)
class Norms:
    """Blocks in the file's order; ``exact`` is False for an estimate from every ``STRIDE``-th
    channel; ``left_out`` counts layers of kinds whose update is not computed here.
    """

    blocks: tuple[BlockNorm, ...]
    exact: bool
    left_out: int = 0

    @property
    def components(self) -> tuple[BlockNorm, ...]:
        """The same, summed over each component."""
        found: dict[str, list[BlockNorm]] = {}
        for block in self.blocks:
            found.setdefault(block.component, []).append(block)
        return tuple(
            BlockNorm(
                name, "", sum(b.modules for b in rows), math.hypot(*(b.norm for b in rows)),
                sum(b.weights for b in rows),
            )
            for name, rows in found.items()
        )  # fmt: skip


def block_norms(
    header: Header, *, exact: bool | None = None, names: Mapping[str, str] | None = None
) -> Norms:
    """Return the norms of a LoRA file's update. ``exact`` takes every channel; None decides by
    the file's size. ``names`` renames components (``te`` to ``te1``).

    A norm is NaN or infinite where the numbers are. Raises ``CheckpointError`` for a file that
    changed since its header was read.
    """
    exact = header.data_bytes <= EXACT_BYTES if exact is None else exact
    modules, _, _ = group_modules(header.tensors.values())
    alphas = read_scalars(
        header, [m.tensors["alpha"].name for m in modules.values() if _one(m.tensors.get("alpha"))]
    )
    of_adapter = peft_alphas(header.metadata)
    sums: dict[tuple[str, str], list[float]] = {}
    left_out = 0
    with header.path.open("rb") as file:
        for module in modules.values():
            square = _square(file.fileno(), header, module, 1 if exact else STRIDE)
            rank = module.rank
            if square is None or not rank:
                left_out += square is None
                continue
            alpha = module.tensors.get("alpha")
            scale = module_scale(
                module.name, rank, alphas.get(alpha.name) if alpha is not None else None, of_adapter
            )
            component = (names or {}).get(module.component, module.component)
            row = sums.setdefault((component, block_of(module.path or module.name)), [0, 0.0, 0])
            row[0] += 1
            row[1] += scale * scale * square
            row[2] += _weights(module)
    blocks = [
        BlockNorm(
            component, block, int(count), math.sqrt(total) if total >= 0 else total, int(size)
        )
        for (component, block), (count, total, size) in sums.items()
    ]
    return Norms(tuple(sorted(blocks, key=_order)), exact, left_out)


def block_of(module: str) -> str:
    """Return the block that a layer's name tells, ``other`` for a layer outside of blocks.

    >>> block_of("lora_unet_up_blocks_1_attentions_0_proj_in"), block_of("unet.mid_block.x")
    ('up_blocks 1', 'mid_block')
    """
    match = _BLOCK.search(module)
    if match is None:
        return "other"
    return match[3] or f"{match[1]} {match[2]}"


_PLACE = ("down", "input", "mid", "output", "up")


def _order(block: BlockNorm) -> tuple[bool, str, int, str, int]:
    kind, _, number = block.block.partition(" ")
    place = next((i for i, start in enumerate(_PLACE) if kind.startswith(start)), 9)
    return (
        block.component.startswith("te"), block.component, place, kind,
        int(number) if number.isdecimal() else 0,
    )  # fmt: skip


def _one(info: TensorInfo | None) -> bool:
    return info is not None and info.items == 1


def _weights(module: Module) -> int:
    down, up = module.down, module.up
    if down is None or up is None:
        return 0
    return up.shape[0] * math.prod(down.shape[1:])


def _square(handle: int, header: Header, module: Module, stride: int) -> float | None:
    """Return the squared norm of ``up @ down``, None for a kind that is not computed."""
    down, up = module.down, module.up
    plain = (
        down is not None and up is not None and module.first("mid") is None
        and down.dtype in _FLOATS and up.dtype in _FLOATS
        and len(down.shape) >= 2 and len(up.shape) >= 2
        and down.shape[0] == up.shape[1] and math.prod(up.shape[2:]) == 1
    )  # fmt: skip
    if not plain or down is None or up is None:
        return None
    import numpy as np

    a = _matrix(handle, header, down)
    b = _matrix(handle, header, up).reshape(up.shape[0], up.shape[1])
    a = a.reshape(down.shape[0], -1)
    factor = 1.0
    if stride > 1 and a.shape[1] >= 16 * stride and b.shape[0] >= 16 * stride:
        factor = a.shape[1] / len(range(0, a.shape[1], stride))
        factor *= b.shape[0] / len(range(0, b.shape[0], stride))
        a, b = a[:, ::stride], b[::stride]
    a, b = _floats(a, down.dtype), _floats(b, up.dtype)
    with np.errstate(all="ignore"):
        return factor * float(np.sum((a @ a.T) * (b.T @ b), dtype=np.float64))


def _matrix(handle: int, header: Header, info: TensorInfo):  # type: ignore[no-untyped-def]
    import numpy as np

    raw = os.pread(handle, info.end - info.start, header.header_bytes + info.start)
    if len(raw) != info.end - info.start:
        from loraeval.errors import CheckpointError
        from loraeval.outside.text import clean

        raise CheckpointError(f"{clean(header.path)}: truncated inside tensor {clean(info.name)}")
    return np.frombuffer(raw, dtype=NUMPY[info.dtype]).reshape(info.shape)


def _floats(values, dtype: str):  # type: ignore[no-untyped-def]
    import numpy as np

    if dtype == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)


def norms_json(norms: Norms) -> dict[str, Any]:
    """Return norms as a JSON object; what is not finite becomes null."""
    rows = [
        {
            "component": block.component, "block": block.block, "modules": block.modules,
            "weights": block.weights, "norm": block.norm if math.isfinite(block.norm) else None,
            "rms": block.rms if math.isfinite(block.rms) else None,
        }
        for block in norms.blocks
    ]  # fmt: skip
    return {"exact": norms.exact, "left_out": norms.left_out, "blocks": rows}


def norms_from_json(tree: Any) -> Norms | None:
    """Read what ``norms_json`` wrote; None for anything else. A null is a number not finite."""
    try:
        rows = [
            BlockNorm(
                str(row["component"]), str(row["block"]), int(row["modules"]),
                math.nan if row["norm"] is None else float(row["norm"]), int(row["weights"]),
            )
            for row in tree["blocks"][:MAX_BLOCKS]
        ]  # fmt: skip
        return Norms(tuple(rows), bool(tree["exact"]), int(tree["left_out"]))
    except (KeyError, TypeError, ValueError):
        return None


def moved(path: Path) -> dict[str, Any] | None:
    """Return the norms of a file for a run's folder; None for one too large, or that is none.

    Raises ``CheckpointError`` where the file can not be read.
    """
    header = read_header(path)
    if header.data_bytes > MOST_BYTES:
        return None
    found = block_norms(header)
    return norms_json(found) if found.blocks else None


def norm_lines(norms: Norms, most: int = 14) -> list[str]:
    """Return the norms as text: a line a component, then a bar a block, the largest ``most``."""
    if not norms.blocks:
        return []
    about = "" if norms.exact else f" (estimated from every {STRIDE}th channel)"
    lines = [f"moved{about}: norm of the update, and root mean square change of a weight"]
    for part in norms.components:
        rows = [b for b in norms.blocks if b.component == part.component]
        lines.append(f"  {part.component:<12} {part.norm:9.3g}  rms {part.rms:.2e}")
        largest = max((b.rms for b in rows if math.isfinite(b.rms)), default=0.0)
        kept = sorted(rows, key=lambda b: -b.rms if math.isfinite(b.rms) else -math.inf)[:most]
        for block in (b for b in rows if b in kept and len(rows) > 1):
            share = block.rms / largest if largest and math.isfinite(block.rms) else 0.0
            bar = "#" * round(20 * share)
            lines.append(f"    {block.block:<24} {block.norm:9.3g}  rms {block.rms:.2e}  {bar}")
        if len(rows) > most:
            lines.append(f"    {len(rows) - most} more blocks moved less")
    if norms.left_out:
        lines.append(f"  {norms.left_out} layers of other kinds are not in these sums")
    return lines
