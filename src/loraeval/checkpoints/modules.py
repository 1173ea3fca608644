"""The tensors of a LoRA file put together: one record a trained layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from loraeval.checkpoints.header import TensorInfo
from loraeval.checkpoints.keys import split_key


@dataclass(slots=True)
class Module:
    """The tensors of one trained layer by their role in it (``down``, ``up``, ``alpha``, …):
    ``name`` as the file writes it, ``path`` with underscores and without its prefix.
    """

    name: str
    component: str
    path: str
    tensors: dict[str, TensorInfo] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)

    def first(self, *roles: str) -> TensorInfo | None:
        """Return the first tensor that is there, None where none is."""
        return next((self.tensors[name] for name in roles if name in self.tensors), None)

    @property
    def down(self) -> TensorInfo | None:
        """The matrix that takes the input down to the rank: shape (rank, inputs, …)."""
        return self.first("down")

    @property
    def up(self) -> TensorInfo | None:
        """The matrix that starts at zero in training: shape (outputs, rank, …)."""
        return self.first("up")

    @property
    def rank(self) -> int | None:
        """Rank of the update, None where the kind has none (full, OFT, norms, IA3)."""
        for tensor, axis in ((self.down, 0), (self.first("hada_w1_b"), 0),
                             (self.first("lokr_w2_b", "lokr_w1_b"), 0)):  # fmt: skip
            if tensor is not None and tensor.shape:
                return tensor.shape[axis]
        return None

    @property
    def inputs(self) -> int | None:
        """Input channels of the layer, None where the tensors do not tell."""
        for tensor in (self.down, self.first("hada_w1_b")):
            if tensor is not None and len(tensor.shape) > 1:
                return tensor.shape[1]
        return self._lokr(1) or self._whole(1)

    @property
    def outputs(self) -> int | None:
        """Output channels of the layer, None where the tensors do not tell."""
        for tensor in (self.up, self.first("hada_w1_a")):
            if tensor is not None and tensor.shape:
                return tensor.shape[0]
        return self._lokr(0) or self._whole(0)

    @property
    def kernel(self) -> int:
        """Width of the convolution kernel, 0 for a linear layer."""
        tensor = self.first("down", "diff")
        return tensor.shape[2] if tensor is not None and len(tensor.shape) == 4 else 0

    def _lokr(self, axis: int) -> int | None:
        letter = "b" if axis else "a"
        one = self.first("lokr_w1", f"lokr_w1_{letter}")
        two = self.first("lokr_w2", f"lokr_w2_{letter}")
        if one is None or two is None or min(len(one.shape), len(two.shape)) < 2:
            return None
        return one.shape[axis] * two.shape[axis]

    def _whole(self, axis: int) -> int | None:
        diff = self.first("diff")
        return diff.shape[axis] if diff is not None and len(diff.shape) > 1 else None


def group_modules(
    tensors: Iterable[TensorInfo],
) -> tuple[dict[str, Module], dict[str, int], list[str]]:
    """Return modules by name, how many keys betray each kind, and the names that fit nothing."""
    modules: dict[str, Module] = {}
    kinds: dict[str, int] = {}
    unknown: list[str] = []
    for info in tensors:
        key = split_key(info.name)
        if key is None:
            unknown.append(info.name)
            continue
        kinds[key.kind] = kinds.get(key.kind, 0) + 1
        module = modules.setdefault(key.module, Module(key.module, key.component, key.path))
        module.tensors[key.role] = info
        module.kinds[key.role] = key.kind
    return modules, kinds, unknown
