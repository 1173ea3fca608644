"""The LoRA of a checkpoint put into a pipeline's weights, in place, and taken out again.

A weight becomes ``W + scale · alpha/rank · difference``, summed in float32 and rounded once to the
weight's dtype (``rests`` keeps what rounding takes where that is much); the difference is
``up @ down`` for a LoRA, and what ``adapters`` says for LyCORIS kinds. With DoRA it becomes
``W + scale · (rescaled - W)``, rescaled being DoRA's weight at scale 1.
``W`` is always the base model's own value, kept aside when a module is first touched, so nothing
drifts: what stands in a module follows from the checkpoint alone, never from what was loaded
before. The tensors stay where they are, so compiled code stays valid, no wrapper layer costs time
in every step, and a swap takes milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.checkpoints.scale import module_scale, peft_alphas
from loraeval.errors import CheckpointError
from loraeval.outside.text import clean
from loraeval.render.adapters import LoraModule, decompose, difference, rank_of
from loraeval.render.lora_names import Placed, group_keys, match, module_names
from loraeval.render.rests import LARGEST, Rests, split

if TYPE_CHECKING:
    import torch

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA as read from its file. ``factors`` maps each module to alpha/rank; tensors are in the
    file's dtype; ``sha256`` is that of the bytes they were made of.
    """

    path: Path
    modules: Mapping[str, LoraModule]
    tensors: Mapping[str, torch.Tensor]
    factors: Mapping[str, float]
    trains_text: bool = False
    sha256: str = ""


def read_lora(path: Path, device: str = "cpu", sha256: str | None = None) -> Lora:
    """Read a LoRA file: kohya, diffusers or PEFT naming, ``.safetensors``; the file is read once,
    and hashed as it is read.

    Raises ``CheckpointError`` where the bytes are not those that ``sha256`` names, and for another
    format, an unsupported kind of adapter, modules with missing parts, and tensors with NaN or
    infinity in them (they would render as black images).
    """
    import torch
    from safetensors.torch import load

    from loraeval.checkpoints.header import read_whole

    header, data, found = read_whole(path)
    if sha256 is not None and found != sha256:
        raise CheckpointError(
            f"{clean(path)}: this file changed while it was being rendered (its SHA-256 was "
            f"{sha256[:12]}… and is {found[:12]}…); wait until it is written, and run the same "
            "command again"
        )
    modules = group_keys(header.tensors, str(path))
    tensors = {name: tensor.to(device) for name, tensor in load(data).items()}
    del data
    finite = torch.stack([_is_finite(tensor) for tensor in tensors.values()]).tolist()
    broken = [name for name, good in zip(tensors, finite, strict=True) if not good]
    if broken:
        raise CheckpointError(
            f"{path}: {len(broken)} of its {len(tensors)} tensors hold NaN or infinity, "
            f"{broken[0]} for one; this checkpoint is broken, take an earlier epoch"
        )
    factors = _factors(path, modules, tensors, peft_alphas(header.metadata))
    trained = any(
        module.magnitude is not None
        or all(torch.stack([tensors[key].any() for key in module.factors]).tolist())
        for module in modules.values()
        if module.part.startswith("te")
    )
    return Lora(path, modules, tensors, factors, trained, found)


class WeightSwapper:
    """Puts one checkpoint after the other into the weights of a pipeline.

    ``components`` maps ``unet``, ``text_encoder`` and ``text_encoder_2`` to modules. The base
    values of touched weights are kept on ``keep_on`` (their own device by default).
    """

    def __init__(
        self,
        components: Mapping[str, torch.nn.Module],
        family: str,
        keep_on: torch.device | None = None,
    ) -> None:
        import torch

        self._weights: dict[Place, torch.Tensor] = {}
        self._layers: dict[Place, torch.nn.Module] = {}
        for component, root in components.items():
            for path, module in root.named_modules():
                if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
                    self._weights[component, path] = module.weight
                    self._layers[component, path] = module
        paths: dict[str, list[str]] = {component: [] for component in components}
        for component, path in self._weights:
            paths[component].append(path)
        self._table = module_names(paths, family)
        self._keep_on = keep_on
        self._base: dict[Place, torch.Tensor] = {}
        self._touched: set[Place] = set()
        self.rests = Rests()
        """What rounding takes from layers of the current LoRA, where that is much."""
        self._errors: dict[tuple[str, float], float] = {}
        self.applied = 0
        """Number of modules that the current LoRA changed."""

    def place(self, lora: Lora) -> dict[Place, Placed]:
        """Return what each layer gets of ``lora``, shapes checked.

        Raises ``CheckpointError`` where one has no place or another shape than its layer.
        """
        placed = match(lora.modules, self._table, str(lora.path))
        for place, spot in placed.items():
            module, weight = spot.module, self._weights[place]
            found = _shape(lora, spot, weight)
            if found is None:
                raise CheckpointError(
                    f"{lora.path}: the tensors of {module.name} do not fit each other; "
                    "the file is damaged or of a kind that loraeval does not know"
                )
            rows = self._rows(spot)[2]
            if found != (rows, weight[0].numel()):
                raise CheckpointError(
                    f"{lora.path}: {module.name} was trained for a layer of {found[1]} inputs "
                    f"and {found[0]} outputs, the base model's has {weight[0].numel()} and "
                    f"{rows}; the LoRA belongs to another family of base models"
                )
        return placed

    def rounding_error(self, lora: Lora, scale: float) -> float:
        """Return the length of what rounding takes from the differences that ``lora`` makes at
        ``scale``, over the length of the differences; 0 in float32. Computed once a LoRA.
        """
        import torch

        key = (lora.sha256 or str(lora.path), scale)
        if key in self._errors:
            return self._errors[key]
        placed = self.place(lora)
        taken, whole = [], []
        with torch.no_grad():
            for place, spot in placed.items():
                weight = self._weights[place]
                if weight.dtype == torch.float32:
                    continue
                base = self._base.get(place, weight).to(weight.device)
                merged = _merged(lora, spot, self._rows(spot), scale, base)
                taken.append((merged - merged.to(weight.dtype).float()).square().sum())
                whole.append((merged - base.float()).square().sum())
        found = 0.0
        if whole and (length := float(torch.stack(whole).sum())) > 0:
            found = (float(torch.stack(taken).sum()) / length) ** 0.5
        self._errors[key] = found
        return found

    def _rows(self, spot: Placed) -> tuple[int, int, int]:
        """Return first and last but one row of the file's matrix that a layer gets, and how many
        rows that matrix must have.
        """
        sizes = [len(self._weights[one.component, one.path]) for one in spot.beside]
        index = spot.beside.index(spot.target)
        start = sum(sizes[:index])
        return start, start + sizes[index], sum(sizes)

    def apply(self, lora: Lora | None, scale: float = 1.0) -> None:
        """Make the weights those of ``lora`` at ``scale``; None, or scale 0, is the base model.

        All is checked before the first weight changes.
        """
        import torch

        placed = {} if lora is None or scale == 0 else self.place(lora)
        self.applied = 0
        exact = bool(placed) and lora is not None and self.rounding_error(lora, scale) > LARGEST
        with torch.no_grad():
            for place in self._touched - placed.keys():
                self._weights[place].copy_(self._base[place])
                self.rests.drop(self._layers[place])
            self._touched &= placed.keys()
            for place, spot in placed.items():
                assert lora is not None
                weight = self._weights[place]
                if place not in self._base:
                    base = weight.detach().clone(memory_format=torch.preserve_format)
                    self._base[place] = base if self._keep_on is None else base.to(self._keep_on)
                self._touched.add(place)
                base = self._base[place].to(weight.device)
                merged = _merged(lora, spot, self._rows(spot), scale, base)
                if exact:
                    rounded, rest = split(merged, weight.dtype)
                    weight.copy_(rounded)
                    self.rests.set(self._layers[place], rest)
                else:
                    weight.copy_(merged)
                    self.rests.drop(self._layers[place])
        self.applied = len({spot.name for spot in placed.values()})


def _merged(
    lora: Lora, spot: Placed, rows: tuple[int, int, int], scale: float, base: torch.Tensor
) -> torch.Tensor:
    """Return ``base`` with its ``rows`` of a module at ``scale`` in float32, in its own shape."""
    import torch

    module = spot.module
    tensors = {
        key: lora.tensors[key].to(base.device, torch.float32)
        for key in (*module.factors, *filter(None, [module.magnitude]))
    }
    delta = _own_rows(difference(module, tensors, base[0, 0].numel()), spot, rows).view(base.shape)
    factor = lora.factors[module.name]
    if module.magnitude is None:
        return delta.mul_(scale * factor).add_(base)
    whole = base.float()
    decomposed = decompose(
        delta.mul_(factor).add_(base),
        _own_rows(tensors[module.magnitude], spot, rows),
        peft="magnitude" in module.keys,
    )
    return whole + scale * (decomposed - whole)


def _own_rows(matrix: torch.Tensor, spot: Placed, rows: tuple[int, int, int]) -> torch.Tensor:
    """Return the rows of a file's matrix that a layer gets, in the layer's order."""
    import torch

    start, stop, every = rows
    if len(spot.beside) > 1 and len(matrix) == every:
        matrix = matrix[start:stop].clone()
    if spot.target.swapped and len(matrix) == stop - start:
        first, second = matrix.chunk(2)
        matrix = torch.cat([second, first])
    return matrix


def _shape(lora: Lora, spot: Placed, weight: torch.Tensor) -> tuple[int, int] | None:
    """Return (outputs, inputs · kernel) of a module's difference by shapes alone; None where its
    tensors do not fit each other.
    """
    import torch

    module = spot.module
    empty = {
        key: torch.empty_like(lora.tensors[key], dtype=torch.float32, device="meta")
        for key in (*module.factors, *filter(None, [module.magnitude]))
    }
    try:
        found = difference(module, empty, weight[0, 0].numel())
        shape = (int(found.shape[0]), int(found.shape[1]))
        if module.magnitude is not None and len(spot.beside) > 1:
            if len(empty[module.magnitude]) != shape[0]:
                return None  # lengths by input need the rows of all layers at once
        elif module.magnitude is not None and found.numel() == weight.numel():
            lengths = empty[module.magnitude]
            decompose(found.view(weight.shape), lengths, peft="magnitude" in module.keys)
    except (RuntimeError, IndexError, ValueError):
        return None
    return shape


def _is_finite(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_floating_point() and tensor.element_size() == 1:  # not known for every float8
        tensor = tensor.float()
    return tensor.isfinite().all()


def _factors(
    path: Path,
    modules: Mapping[str, LoraModule],
    tensors: Mapping[str, torch.Tensor],
    alphas: Mapping[str, Any],
) -> dict[str, float]:
    """Return alpha/rank of each module. Raises ``CheckpointError`` where it is no finite number:
    an alpha that is none, a rank of 0.
    """
    import torch

    keys = [module.alpha for module in modules.values() if module.alpha is not None]
    empty = [key for key in keys if not tensors[key].numel()]
    if empty:
        raise CheckpointError(f"{path}: {clean(empty[0])} is empty; the file is damaged")
    values = [tensors[key].reshape(-1)[0].double() for key in keys]
    scales = dict(zip(keys, torch.stack(values).tolist() if values else [], strict=True))
    factors = {}
    for name, module in modules.items():
        try:
            rank = rank_of(module, tensors)
            if rank is None:
                factors[name] = 1.0
            else:
                alpha = None if module.alpha is None else scales[module.alpha]
                factors[name] = module_scale(name, rank, alpha, alphas)
        except (IndexError, ZeroDivisionError, OverflowError):
            factors[name] = math.nan
        if not math.isfinite(factors[name]):
            raise CheckpointError(
                f"{path}: the alpha or the rank of {clean(name)} is no number to scale with; the "
                "file is damaged"
            )
    return factors
