"""torchvision imports beside a CPU torch, in a fresh process, and only when it is wanted."""

from __future__ import annotations

import subprocess
import sys

import pytest


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_install_imports_nothing_by_itself() -> None:
    code = "import sys; from loraeval import torchvision_ops as t; t.install(); t.install(); "
    code += (
        "print('torch' in sys.modules, sum(type(f).__name__ == '_Finder' for f in sys.meta_path))"
    )
    assert python(code) == "False 1"


@pytest.mark.slow
def test_everything_that_needs_torchvision_imports() -> None:
    code = "from loraeval import torchvision_ops as t; t.install(); "
    code += "import torchvision; from transformers import CLIPTextModel; import open_clip; "
    code += "print(t.declare_missing_operators())"
    assert python(code) == "[]"  # a second call finds nothing left to declare


@pytest.mark.slow
def test_a_declared_operator_still_refuses_to_run() -> None:
    code = """
from loraeval import torchvision_ops as t
t.install()
import torch, torchvision
try:
    torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
except (NotImplementedError, RuntimeError) as error:
    print("refused")
else:
    print("works")
"""
    assert python(code) == ("works" if "nms works" in python(_PROBE) else "refused")


_PROBE = """
import torch
try:
    import torchvision
    print("nms works")
except RuntimeError:
    print("nms missing")
"""
