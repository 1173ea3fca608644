"""torchvision imports beside a CPU torch, in a fresh process, and only when it is wanted."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_install_imports_nothing_by_itself() -> None:
    code = "import sys; from loraeval import torchvision_ops as t; t.install(); t.install(); "
    code += (
        "print('torch' in sys.modules, sum(type(f).__name__ == '_Finder' for f in sys.meta_path))"
    )
    assert python(code) == "False 1"


_FACTS = """
import json
from loraeval import torchvision_ops as t
t.install()
import torch
import torchvision
from transformers import CLIPTextModel
import open_clip
try:
    torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    nms = "works"
except (NotImplementedError, RuntimeError):
    nms = "refused"
kernel = torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::nms", "CPU")
print(json.dumps({"left": t.declare_missing_operators(), "nms": nms, "kernel": kernel}))
"""


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    """What one fresh interpreter finds: importing torch and torchvision costs seconds each time."""
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    return dict(json.loads(python(_FACTS)))


@pytest.mark.slow
def test_everything_that_needs_torchvision_imports(facts: dict[str, Any]) -> None:
    assert facts["left"] == []  # a second call finds nothing left to declare


@pytest.mark.slow
def test_a_declared_operator_still_refuses_to_run(facts: dict[str, Any]) -> None:
    assert facts["nms"] == ("works" if facts["kernel"] else "refused")
