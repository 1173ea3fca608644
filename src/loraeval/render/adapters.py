"""Kinds of adapter: which tensors make a module, and the weight that they add up to.

Every kind is rebuilt as one difference of the weight's own shape, so it is merged like a plain
LoRA. Formulas and names of tensors are those of LyCORIS (arXiv 2309.14859): LoRA and LoCon with
or without a Tucker core, LoHa (arXiv 2108.06098), LoKr, each with or without DoRA
(arXiv 2402.09353).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

KINDS: dict[str, tuple[frozenset[str], ...]] = {
    "lora": (
        frozenset({"down", "up"}),
        frozenset({"down", "mid", "up"}),
    ),
    "loha": (
        frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}),
        frozenset({"hada_t1", "hada_w1_a", "hada_w1_b", "hada_t2", "hada_w2_a", "hada_w2_b"}),
    ),
    "lokr": tuple(
        frozenset(first) | frozenset(second)
        for first in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b"))
        for second in (
            ("lokr_w2",),
            ("lokr_w2_a", "lokr_w2_b"),
            ("lokr_t2", "lokr_w2_a", "lokr_w2_b"),
        )
    ),
}
"""The sets of tensors that make a module of each kind whole."""

RANKS = {
    "lora": ("down",), "loha": ("hada_w1_b",), "lokr": ("lokr_w1_b", "lokr_w2_b"),
}  # fmt: skip
"""The tensor whose first axis is the rank; a LoKr of two whole matrices has none."""

MAGNITUDES = ("dora_scale", "magnitude")
"""DoRA's learned lengths as LyCORIS and sd-scripts' forks name them, and as PEFT does."""

HALVES = {
    "lora": "both lora_down and lora_up", "loha": "all of hada_w1_a, w1_b, w2_a and w2_b",
    "lokr": "both factors of lokr_w1 and lokr_w2",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LoraModule:
    """The tensors of one trained layer: ``keys`` maps each role to its key in the file; ``part`` of
    the pipeline and ``path`` with underscores, as ``checkpoints.keys`` reads them.
    """

    name: str
    keys: Mapping[str, str]
    part: str = ""
    path: str = ""

    @property
    def alpha(self) -> str | None:
        """The key of alpha; None where the file has none."""
        return self.keys.get("alpha")

    @property
    def kind(self) -> str:
        """``lora``, ``loha`` or ``lokr``."""
        return kind_of(self.keys)

    @property
    def factors(self) -> list[str]:
        """The keys of the matrices whose product the difference is: zero if one of them is."""
        return [key for role, key in self.keys.items() if role not in ("alpha", *MAGNITUDES)]

    @property
    def magnitude(self) -> str | None:
        """The key of DoRA's lengths; None without DoRA."""
        return next((self.keys[role] for role in MAGNITUDES if role in self.keys), None)


def kind_of(roles: Mapping[str, str]) -> str:
    """Return the kind that the roles of a module's tensors betray."""
    if any(role.startswith("hada_") for role in roles):
        return "loha"
    return "lokr" if any(role.startswith("lokr_") for role in roles) else "lora"


def is_whole(roles: Mapping[str, str]) -> bool:
    """Return whether a module has all its matrices and none that do not belong together."""
    factors = frozenset(roles) - {"alpha", *MAGNITUDES}
    both = sum(role in roles for role in MAGNITUDES)
    return factors in KINDS[kind_of(roles)] and both < 2


def rank_of(module: LoraModule, tensors: Mapping[str, torch.Tensor]) -> int | None:
    """Return the rank that alpha is divided by; None where the kind has none (scale 1)."""
    for role in RANKS[module.kind]:
        if role in module.keys:
            return int(tensors[module.keys[role]].shape[0])
    return None


def difference(
    module: LoraModule, tensors: Mapping[str, torch.Tensor], kernel: int
) -> torch.Tensor:
    """Return the unscaled difference [outputs, inputs · kernel] of a module, kernel axes flattened.

    ``tensors`` are the file's by key; ``kernel`` is the number of taps of the layer's kernel (1 for
    a linear layer). Raises ``RuntimeError`` where the matrices do not fit each other.
    """
    import torch

    def get(role: str) -> torch.Tensor:
        return tensors[module.keys[role]]

    def tucker(core: torch.Tensor, outer: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
        """Core [p, q, …] with outer [p, out] and inner [q, in]: [out, in, taps]."""
        return torch.einsum("pqk,po,qi->oik", core.flatten(2), outer, inner)

    if module.kind == "lora":
        up, down = get("up").flatten(1), get("down").flatten(1)
        if "mid" in module.keys:
            return tucker(get("mid"), up.T, down).flatten(1)
        return up @ down
    if module.kind == "loha":
        parts = []
        for side in "12":
            a, b = get(f"hada_w{side}_a"), get(f"hada_w{side}_b")
            if "hada_t1" in module.keys:
                parts.append(tucker(get(f"hada_t{side}"), a, b).flatten(1))
            else:
                parts.append(a @ b.flatten(1))
        if parts[0].shape != parts[1].shape:
            raise RuntimeError("the two products of LoHa differ in shape")
        return parts[0] * parts[1]
    first = get("lokr_w1") if "lokr_w1" in module.keys else get("lokr_w1_a") @ get("lokr_w1_b")
    if "lokr_t2" in module.keys:
        second = tucker(get("lokr_t2"), get("lokr_w2_a"), get("lokr_w2_b"))
    elif "lokr_w2" in module.keys:
        second = get("lokr_w2").flatten(2) if get("lokr_w2").dim() > 2 else get("lokr_w2")
    else:
        second = get("lokr_w2_a") @ get("lokr_w2_b").flatten(1)
    second = second.reshape(second.shape[0], -1, kernel)
    return torch.kron(first[:, :, None].contiguous(), second.contiguous()).flatten(1)


def decompose(weight: torch.Tensor, lengths: torch.Tensor, *, peft: bool) -> torch.Tensor:
    """Return ``weight`` with DoRA's learned ``lengths``: direction by direction, rescaled.

    ``weight`` is [out, in] or [out, in, kh, kw], base and difference summed. ``lengths`` holds one
    number an output (PEFT's always; [out, 1, …] of LyCORIS) or, from LyCORIS without
    ``wd_on_out``, one an input ([1, in, …]). Raises ``RuntimeError`` for another shape.
    """
    import torch

    axis = 0 if peft or (lengths.dim() > 0 and lengths.shape[0] == weight.shape[0]) else 1
    if lengths.numel() != weight.shape[axis]:
        raise RuntimeError("DoRA's lengths fit neither the outputs nor the inputs")
    rest = [dim for dim in range(weight.dim()) if dim != axis]
    shape = [-1 if dim == axis else 1 for dim in range(weight.dim())]
    norms = torch.linalg.vector_norm(weight, dim=rest, keepdim=True)
    rescaled: torch.Tensor = weight * (
        lengths.reshape(shape) / (norms + torch.finfo(weight.dtype).eps)
    )
    return rescaled
