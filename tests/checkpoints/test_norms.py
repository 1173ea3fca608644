"""Which blocks a LoRA moved: norms of the update, against the update itself."""

from __future__ import annotations

import json
import math
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loraeval.checkpoints.header import read_header
from loraeval.checkpoints.norms import (
    block_norms,
    block_of,
    moved,
    norm_lines,
    norms_from_json,
    norms_json,
)
from loraeval.cli import main
from loraeval.report.block_chart import block_chart
from loraeval.testing.kohya_files import write_lora, write_safetensors

A = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
B = "lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
T = "lora_te_text_model_encoder_layers_3_self_attn_q_proj"
CONV = "lora_unet_down_blocks_0_resnets_0_conv1"


def made(path: Path, **more: Any) -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    tensors: dict[str, np.ndarray] = {}
    for name, rank, inputs, outputs in ((A, 4, 320, 320), (B, 2, 768, 1280), (T, 3, 768, 768)):
        tensors[f"{name}.lora_down.weight"] = random.normal(size=(rank, inputs)).astype(np.float32)
        tensors[f"{name}.lora_up.weight"] = random.normal(size=(outputs, rank)).astype(np.float32)
        tensors[f"{name}.alpha"] = np.array(rank / 2, np.float32)
    tensors[f"{CONV}.lora_down.weight"] = random.normal(size=(2, 32, 3, 3)).astype(np.float32)
    tensors[f"{CONV}.lora_up.weight"] = random.normal(size=(64, 2, 1, 1)).astype(np.float32)
    write_safetensors(path, tensors, {}, **more)
    return tensors


def brute(tensors: dict[str, np.ndarray], name: str, scale: float) -> float:
    down = tensors[f"{name}.lora_down.weight"].astype(np.float64)
    up = tensors[f"{name}.lora_up.weight"].astype(np.float64)
    return float(np.linalg.norm(scale * up.reshape(len(up), -1) @ down.reshape(len(down), -1)))


@pytest.mark.parametrize(("dtype", "within"), [("F32", 1e-5), ("F16", 2e-3), ("BF16", 2e-2)])
def test_the_norm_is_that_of_the_update(tmp_path: Path, dtype: str, within: float) -> None:
    tensors = made(tmp_path / "a.safetensors", dtype=dtype)
    norms = block_norms(read_header(tmp_path / "a.safetensors"))
    assert norms.exact
    found = {(b.component, b.block): b for b in norms.blocks}
    expected = {
        ("unet", "down_blocks 0"): math.hypot(brute(tensors, A, 0.5), brute(tensors, CONV, 1.0)),
        ("unet", "up_blocks 1"): brute(tensors, B, 0.5),
        ("te", "layers 3"): brute(tensors, T, 0.5),
    }
    assert list(found) == list(expected)
    for place, norm in expected.items():
        assert found[place].norm == pytest.approx(norm, rel=within)
    assert found["unet", "down_blocks 0"].weights == 320 * 320 + 64 * 32 * 9
    assert norms.components[0].norm == pytest.approx(
        math.hypot(*(n for (c, _), n in expected.items() if c == "unet")), rel=within
    )


def test_the_estimate_is_near_the_norm(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors", rank=16, components=("te",))
    header = read_header(path)
    exact, about = block_norms(header, exact=True), block_norms(header, exact=False)
    assert not about.exact
    for true, guess in zip(exact.blocks, about.blocks, strict=True):
        assert guess.norm == pytest.approx(true.norm, rel=0.1)
    assert about.components[0].norm == pytest.approx(exact.components[0].norm, rel=0.03)


def test_an_untrained_block_is_seen_and_other_kinds_are_counted(tmp_path: Path) -> None:
    tensors = made(tmp_path / "a.safetensors")
    tensors[f"{B}.lora_up.weight"][:] = 0
    tensors["lora_unet_mid_block_attentions_0_proj_in.hada_w1_a"] = np.ones((4, 2), np.float32)
    path = write_safetensors(tmp_path / "b.safetensors", tensors, {})
    norms = block_norms(read_header(path))
    assert next(b for b in norms.blocks if b.block == "up_blocks 1").norm == 0
    assert norms.left_out == 1
    assert "1 layers of other kinds" in norm_lines(norms)[-1]


def test_nan_is_shown_and_breaks_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = made(tmp_path / "a.safetensors")
    tensors[f"{B}.lora_up.weight"][0, 0] = np.nan
    path = write_safetensors(tmp_path / "n.safetensors", tensors, {})
    assert main(["inspect", str(path)]) == 0
    assert "nan" in capsys.readouterr().out
    assert main(["inspect", str(path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["norms"]["blocks"]
    assert [row["norm"] is None for row in rows] == [False, True, False]
    assert "up_blocks 1" not in block_chart(block_norms(read_header(path)), "n")


def test_blocks_of_other_families() -> None:
    for name, block in (
        ("lora_unet_double_blocks_12_img_attn_qkv", "double_blocks 12"),
        ("transformer.single_transformer_blocks.7.attn.to_q", "single_transformer_blocks 7"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", "input_blocks 4"),
        ("diffusion_model.layers.3.attention.to_q", "layers 3"),
        ("lora_unet_conv_in", "other"),
    ):
        assert block_of(name) == block


def test_the_chart_is_escaped_and_says_that_it_is_an_estimate(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors", rank=2)
    norms = block_norms(read_header(path), exact=False)
    page = block_chart(norms, "<b>\x1b")
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert "estimated from every 4th channel" in page
    assert page.count("<rect") == 7 + 12
    assert page.count("<svg") == 2


def test_a_72_mb_file_is_inspected_in_little_time(tmp_path: Path) -> None:
    import subprocess
    import sys

    path = write_lora(tmp_path / "a.safetensors", rank=64)
    assert 70e6 < path.stat().st_size < 80e6
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "loraeval", "inspect", str(path)], capture_output=True, text=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0
        assert "moved (estimated" in done.stdout
    assert min(spent) < 0.6  # CPU seconds; about 0.3 on a machine that does nothing else


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    import tracemalloc

    path = write_lora(tmp_path / "a.safetensors", rank=64, components=("te",), dtype="F32")
    header = read_header(path)
    block_norms(header, exact=True)
    tracemalloc.start()
    block_norms(header, exact=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    largest = 3072 * 64 * 4  # bytes of one matrix
    assert header.data_bytes > 40 * largest
    assert peak < 6 * largest + (1 << 20)


def test_norms_come_back_from_json(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors", rank=2, components=("te",))
    norms = block_norms(read_header(path))
    again = norms_from_json(json.loads(json.dumps(norms_json(norms))))
    assert again == norms
    assert norms_from_json(moved(path)) == norms
    for broken in (None, 3, {}, {"blocks": 3}, {"blocks": [{}], "exact": 1, "left_out": 0}):
        assert norms_from_json(broken) is None
