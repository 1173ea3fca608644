"""alpha / rank as PEFT takes it: patterns as regular expressions, the first that fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from loraeval.checkpoints.header import read_header, read_whole
from loraeval.checkpoints.scale import module_scale, peft_alphas
from loraeval.errors import CheckpointError

PATHS = ("down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
         "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q",
         "mid_block.attentions.0.transformer_blocks.0.attn2.to_k", "conv_in")  # fmt: skip
PATTERNS: tuple[dict[str, int], ...] = (
    {"to_q": 2}, {r".*attn2\.to_q": 1, "to_q": 3}, {"to_q": 3, r".*attn2\.to_q": 1},
    {r"down_blocks\.\d\..*to_[qk]": 5}, {"attn2.to_k|conv_in": 7}, {"q": 9}, {"_q": 9},
    {r"^mid_block.*": 4},
)  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("flat", [True, False])
def test_the_alpha_of_each_module_is_that_of_peft(pattern: dict[str, int], flat: bool) -> None:
    from loraeval import torchvision_ops

    torchvision_ops.install()
    peft = pytest.importorskip("peft.utils.other")
    start = "" if flat else "unet."
    alphas = {f"{start}r": 4, f"{start}lora_alpha": 6, f"{start}alpha_pattern": pattern}
    for path in PATHS:
        key = peft.get_pattern_key(list(pattern), path)
        wanted = pattern.get(key, 6) / 4
        name = f"base_model.model.{path}" if flat else f"unet.{path}"
        assert module_scale(name, 4, None, alphas) == wanted


@pytest.mark.parametrize("pattern", ["(a+)+b", "a" * 300, "(", ".*.*.*.*x"])
def test_a_pattern_that_could_run_for_hours_is_refused(pattern: str) -> None:
    with pytest.raises(CheckpointError, match="alpha_pattern"):
        module_scale("unet.conv_in", 4, None, {"unet.r": 4, "unet.alpha_pattern": {pattern: 1}})


def test_what_peft_wrote_beside_its_file_is_part_of_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "adapter_model.safetensors"
    save_file({"base_model.model.x.lora_A.weight": np.zeros((4, 8), np.float32)}, path)
    bare = read_whole(path)[2]
    config: dict[str, Any] = {"r": 4, "lora_alpha": 8, "use_rslora": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    header, _, sha256 = read_whole(path)
    assert sha256 != bare
    assert peft_alphas(header.metadata) == peft_alphas(read_header(path).metadata) == config
    assert module_scale("base_model.model.x", 4, None, config) == 4.0
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 2}))
    assert read_whole(path)[2] not in (bare, sha256)
