"""sd-scripts' own functions, imported from a checkout of its repository beside newer libraries."""

from __future__ import annotations

import importlib
import importlib.machinery
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import torch


class _Absent(types.ModuleType):
    """Stands for a package that sd-scripts imports and that nothing here calls (cv2, …)."""

    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


class SdScripts:
    """A checkout of sd-scripts: its modules, with what is not installed here left empty."""

    def __init__(self, folder: Path) -> None:
        from loraeval import torchvision_ops

        torchvision_ops.install()
        # Pipelines of sd-scripts want what newer libraries dropped; nothing here calls them.
        for name in ("library.lpw_stable_diffusion", "library.sdxl_lpw_stable_diffusion"):
            sys.modules[name] = _Absent(name)
        sys.path.insert(0, str(folder))
        asked = subprocess.run(
            ["git", "-C", str(folder), "log", "-1", "--format=%h"], capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        self.commit = asked.stdout.strip() or "without its history"

    def module(self, name: str) -> Any:
        """Return a module of sd-scripts by its dotted name."""
        for _ in range(20):
            try:
                return importlib.import_module(name)
            except ModuleNotFoundError as error:
                missing = str(error.name)
                if missing.split(".")[0] in ("library", "networks"):
                    raise
                stand_in = _Absent(missing)
                stand_in.__spec__ = importlib.machinery.ModuleSpec(missing, None)
                sys.modules[missing] = stand_in
        raise RuntimeError(f"{name} needs too many packages that are not here")


class WithTextModel(torch.nn.Module):
    """A text encoder with the level ``text_model`` that transformers 5 dropped."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.text_model = encoder

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return torch.device("cpu")

    def forward(self, *given: Any, **named: Any) -> Any:
        """Return what the encoder gives."""
        return self.text_model(*given, **named)
