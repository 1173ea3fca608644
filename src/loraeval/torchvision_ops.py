"""Let torchvision import beside a CPU build of torch.

The registry carries torchvision only as a CUDA build. Beside a CPU torch its compiled operators
do not load, and ``import torchvision`` (so transformers, peft, timm and open_clip too) dies on
the first operator that it registers a shape rule for. Nothing here uses those operators.
``install`` puts a finder in front of ``torchvision._meta_registrations`` that declares the two
missing schemas first; calling one of them still raises torch's clear error. Where the operators
load (a CUDA machine) it declares nothing.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_TARGET = "torchvision._meta_registrations"
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_kept: list[object] = []
"""Torch forgets a library's schemas when the object that declared them is collected."""


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == _TARGET:
            declare_missing_operators()
        return None


def declare_missing_operators() -> list[str]:
    """Declare torchvision's operators that did not load; return their names, none twice."""
    import torch

    declared = []
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
            library.define(schema)
            _kept.append(library)
            declared.append(name)
    return declared


def install() -> None:
    """Install the finder once a process. Costs nothing until torchvision is imported."""
    if _TARGET not in sys.modules and not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
