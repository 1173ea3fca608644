"""The module rules against the lists read from sd-scripts' own networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loraeval.checkpoints.layout import component_of, lora_modules, parameters_per_rank

KERNELS = {"linear": 0, "conv1x1": 1, "conv3x3": 3}


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_modules_equal_the_list_read_from_the_networks(kohya: Path, family: str) -> None:
    listed = json.loads((kohya / "modules.json").read_text())
    for locon in (False, True):
        expected = dict(listed[family]) | (listed[f"{family}_locon_extra"] if locon else {})
        ours = lora_modules(family, locon=locon)  # type: ignore[arg-type]
        assert {
            name: (shape.inputs, shape.outputs, shape.kernel) for name, shape in ours.items()
        } == {name: (row["in"], row["out"], KERNELS[row["kind"]]) for name, row in expected.items()}


@pytest.mark.parametrize(
    ("family", "component", "modules", "per_rank"),
    [
        ("sd15", "unet", 192, 423_936),
        ("sd15", "te", 72, 165_888),
        ("sdxl", "unet", 722, 2_659_840),
        ("sdxl", "te1", 72, 165_888),
        ("sdxl", "te2", 192, 737_280),
    ],
)
def test_counts_and_parameters_per_rank(
    family: str, component: str, modules: int, per_rank: int
) -> None:
    names = [n for n in lora_modules(family) if component_of(n) == component]  # type: ignore[arg-type]
    assert len(names) == modules
    assert parameters_per_rank(family, component) == per_rank  # type: ignore[arg-type]
