"""What rounding takes from a merged weight, kept beside it.

A half-precision weight with a small difference added loses much of the difference to rounding:
of a LoRA a three-hundredth of the weights' size bfloat16 loses half, float16 a fourteenth. Where
it would lose more than ``LARGEST``, the weight is kept as two tensors of its dtype, the rounded sum
and what rounding took; a layer then adds what both give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LARGEST = 0.01
"""Largest error of the applied difference, as a part of its length, that rounding may leave."""


class Rests:
    """The rests of layers, linear or convolutions, by layer; hooks add them to what layers give."""

    def __init__(self) -> None:
        self._hooks: dict[Any, Any] = {}
        self.changed = False
        """Whether layers gained or lost a rest since this was last set to False."""

    def set(self, layer: Any, rest: torch.Tensor) -> None:
        """Let ``layer`` add what ``rest``, of its weight's shape and dtype, gives."""
        if layer in self._hooks:
            layer.loraeval_rest.copy_(rest)
            return
        layer.loraeval_rest = rest
        self._hooks[layer] = layer.register_forward_hook(_add)
        self.changed = True

    def drop(self, layer: Any) -> None:
        """Let ``layer`` be its weight alone."""
        hook = self._hooks.pop(layer, None)
        if hook is not None:
            hook.remove()
            del layer.loraeval_rest
            self.changed = True


def split(whole: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32 ``whole`` as its rounding to ``dtype`` and the rest in ``dtype``."""
    rounded = whole.to(dtype)
    return rounded, (whole - rounded.float()).to(dtype)


def _add(layer: Any, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
    import torch

    rest = layer.loraeval_rest
    if isinstance(layer, torch.nn.Linear):
        return out + torch.nn.functional.linear(given[0], rest)
    more: torch.Tensor = layer._conv_forward(given[0], rest, None)  # noqa: SLF001 - its padding
    return out + more
