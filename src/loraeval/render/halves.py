"""What both halves of a guided batch share, computed once.

With guidance in the same batch the UNet gets every latent twice, once for each text. Up to its
first cross attention no text has come in, and both halves are equal, row by row. In SD 1.5 that
stretch holds a ResNet block and one of the five self-attentions over all positions. SDXL adds its
pooled texts to the moment, so that its halves differ from the first block on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any

from loraeval.render.compiling import unmarked

if TYPE_CHECKING:
    import torch

NAME = "loraeval_halves"


@dataclass(slots=True)
class Halves:
    """Whether the rows that a UNet gets next are of two equal halves."""

    equal: bool = False


def share_halves(unet: Any) -> bool:
    """Let ``unet`` compute once what equal halves share; return whether there is such a stretch."""
    config, first = unet.config, unet.down_blocks[0]
    asked = (config.addition_embed_type, config.class_embed_type, config.time_cond_proj_dim)
    if any(asked) or not getattr(first, "has_cross_attention", False):
        return False
    transformer = first.attentions[0]
    block = getattr(transformer, "transformer_blocks", [None])[0]
    if getattr(block, "norm_type", None) != "layer_norm" or block.only_cross_attention:
        return False
    halves = Halves()
    setattr(unet, NAME, halves)
    for module in (first.resnets[0], block.attn1):
        module.forward = _on_one_half(module, halves)
    # What holds such a module is unlike the other blocks of its shape: no region is made of it.
    for module in (transformer, block):
        module.forward = MethodType(unmarked(module), module)
    return True


@contextmanager
def equal_halves(unet: Any, *, equal: bool) -> Iterator[None]:
    """Within it, say whether the rows that ``unet`` gets are two equal halves."""
    halves: Halves = getattr(unet, NAME, Halves())
    halves.equal = equal
    try:
        yield
    finally:
        halves.equal = False


def _on_one_half(module: Any, halves: Halves) -> Callable[..., torch.Tensor]:
    """Return a forward of ``module`` that computes the first half of equal ones, and gives it back
    twice. All tensors among the arguments have the batch in their first dimension.
    """
    import torch

    whole = unmarked(module)

    def forward(rows: torch.Tensor, *given: Any, **named: Any) -> torch.Tensor:
        if not halves.equal:
            every: torch.Tensor = whole(module, rows, *given, **named)
            return every
        half = rows.shape[0] // 2
        firsts = [item[:half] if isinstance(item, torch.Tensor) else item for item in given]
        out: torch.Tensor = whole(module, rows[:half], *firsts, **named)
        return torch.cat([out, out])

    return forward
