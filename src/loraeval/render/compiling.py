"""What torch.compile makes of UNet and VAE decoder, and whether it is still the same model.

Both are compiled whole. The blocks that repeat in them are marked, so that torch compiles a block
of one shape once and takes the same code for every other block of that shape.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

from loraeval.families import rendering_of
from loraeval.records import FamilyName

if TYPE_CHECKING:
    import torch

SHAPES_AT_MOST = 256
"""Shapes that one class may be compiled for; torch's own limit is 8."""

TOLERANCE = {"float16": 0.02, "bfloat16": 0.1, "float32": 0.01}
"""Largest difference of compiled from plain output that is rounding, as a part of the output's
length. Code that takes other blocks' weights gives about 1, that of a single block as little as
0.01: what is in regions is kept right by what is marked, not by this."""

_unmarked: dict[type, Callable[..., Any]] = {}


def compile_module(module: Any, family: FamilyName) -> None:
    """Compile ``module`` from its next call on, channels last, its repeating blocks marked."""
    import torch

    mark = getattr(torch.compiler, "nested_compile_region", None)  # torch 2.8 and later
    if mark is not None:
        known = "max_reuse_entries" in inspect.signature(mark).parameters
        options = {"max_reuse_entries": SHAPES_AT_MOST} if known else {}
        # By class: torch reuses code by the function's arguments, of which ``self`` must be one.
        for kind in {type(part) for part in module.modules()}:
            if kind.__name__ in rendering_of(family).blocks and kind not in _unmarked:
                _unmarked[kind] = kind.forward
                kind.forward = mark(kind.forward, **options)
    module.to(memory_format=torch.channels_last)
    module.compile(fullgraph=True, dynamic=False)


def unmarked(module: Any) -> Callable[..., Any]:
    """Return the forward of ``module``'s class as it was before it was marked, to be called with
    ``module``. Marks stay for as long as the process lives.
    """
    kind = type(module)
    forward: Callable[..., Any] = _unmarked.get(kind, kind.forward)
    return forward


def decompile(module: Any) -> None:
    """Take the compiled code of ``module`` away again."""
    module._compiled_call_impl = None  # noqa: SLF001 - what ``compile`` sets


def disagreement(call: Callable[[], torch.Tensor]) -> float:
    """Return how far the compiled output of ``call`` is from the plain one: the length of the
    difference over that of the plain output. 0 where the plain output is not finite, NaN where
    only the compiled one is not. Compiles where that is still to do.
    """
    import torch

    return _compiler().submit(_disagreement, call, torch.get_num_threads()).result()


@cache
def _compiler() -> ThreadPoolExecutor:
    """Return the one thread of this process that compiles: torch 2.11 ends with a segmentation
    fault where a second thread compiles marked blocks.
    """
    return ThreadPoolExecutor(1, thread_name_prefix="compile")


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_compiler.cache_clear)


def _disagreement(call: Callable[[], torch.Tensor], threads: int) -> float:
    import torch

    if torch.get_num_threads() != threads:  # code is compiled for a number of threads
        torch.set_num_threads(threads)
    with torch.no_grad():
        found = call().float()
        with torch.compiler.set_stance("force_eager"):
            wanted = call().float()
    if not wanted.isfinite().all():
        return 0.0
    return float((found - wanted).norm() / wanted.norm().clamp(min=1e-12))
