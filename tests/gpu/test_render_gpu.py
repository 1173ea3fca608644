"""The renderer on CUDA: same images whatever the batch, swaps, compiling, faults, memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from loraeval.errors import RenderError
from loraeval.records import Prompt, Recipe
from loraeval.render.renderer import Renderer
from loraeval.render.store import Store

FAMILIES = ("sd15", "sdxl")


def recipe(base: Path, family: str, **changes: Any) -> Recipe:
    fields: dict[str, Any] = {"base_model": str(base), "family": family, "width": 128,
                              "height": 128, "steps": 6, **changes}  # fmt: skip
    return Recipe(**fields)


def pictures(renders: Any) -> dict[str, np.ndarray]:
    return {r.name: np.asarray(Image.open(r.image), dtype=int) for r in renders}


def worst(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> int:
    assert a.keys() == b.keys()
    return max(int(np.abs(a[name] - b[name]).max()) for name in a)


@pytest.mark.parametrize("family", FAMILIES)
def test_again_is_bit_equal_and_batches_move_little(
    bases: Any, series: Any, prompts: list[Prompt], tmp_path: Path, family: str
) -> None:
    made = []
    for name, size in (("a", 6), ("b", 6), ("c", 1)):
        with Renderer(
            recipe(bases[family], family), Store(tmp_path / name), batch_size=size, devices="cuda:0"
        ) as renderer:
            made.append(pictures(renderer.render(series[family][:2], prompts, [1])))
            assert renderer.health == {"ok": 12}
    assert worst(made[0], made[1]) == 0
    print(f"batch 6 against 1, {family}: {worst(made[0], made[2])} of 255")
    assert worst(made[0], made[2]) <= 8


@pytest.mark.parametrize("family", FAMILIES)
def test_swapped_equals_fresh(
    bases: Any, series: Any, prompts: list[Prompt], tmp_path: Path, family: str
) -> None:
    wanted = recipe(bases[family], family)
    with Renderer(wanted, Store(tmp_path / "a"), devices="cuda:0") as renderer:
        together = pictures(renderer.render([None, *series[family]], prompts, [1]))
    with Renderer(wanted, Store(tmp_path / "b"), devices="cuda:0") as renderer:
        alone = pictures(renderer.render([series[family][2]], prompts, [1]))
    assert worst({k: together[k] for k in alone}, alone) == 0
    with Renderer(wanted, Store(tmp_path / "c"), devices="cuda:0") as renderer:
        base = pictures(renderer.render([series[family][1], None], prompts[:1], [1]))
        renderer.close()
    assert worst({k: together[k] for k in base}, base) <= 8


def test_compiled_is_the_same_image_and_swaps_do_not_recompile(
    bases: Any, series: Any, prompts: list[Prompt], tmp_path: Path
) -> None:
    import torch

    wanted = recipe(bases["sd15"], "sd15")
    made = []
    for how in ("never", "always"):
        with Renderer(
            wanted, Store(tmp_path / how), devices="cuda:0", compile=how, batch_size=4
        ) as renderer:
            first = pictures(renderer.render(series["sd15"][:1], prompts[:4], [1]))
            torch._dynamo.utils.counters.clear()
            with torch.compiler.set_stance("fail_on_recompile" if how == "always" else "default"):
                rest = pictures(renderer.render(series["sd15"][1:], prompts[:4], [1]))
            assert renderer.facts()["compiled"] is (how == "always")
            made.append(first | rest)
    print(f"compiled against eager: {worst(*made)} of 255")
    assert worst(*made) <= 8


def test_vae_that_overflows_in_half_is_decoded_in_float32(
    bases: Any, prompts: list[Prompt], tmp_path: Path
) -> None:
    import torch

    wanted = recipe(bases["sd15"], "sd15", vae_dtype="float16")
    with Renderer(wanted, Store(tmp_path), devices="cuda:0") as renderer:
        list(renderer.render([None], prompts[:1], [1]))
        vae = renderer._team._engine.pipe.vae
        with torch.no_grad():
            vae.post_quant_conv.weight.mul_(3e4)
        list(renderer.render([None], prompts[1:3], [2]))
        assert renderer.health == {"ok": 1, "vae-float32": 2}
        assert vae.dtype == torch.float16


def test_unet_that_gives_nan_is_reported(bases: Any, prompts: list[Prompt], tmp_path: Path) -> None:
    import torch

    with Renderer(recipe(bases["sd15"], "sd15"), Store(tmp_path), devices="cuda:0") as renderer:
        list(renderer.render([None], prompts[:1], [1]))
        with torch.no_grad():
            renderer._team._engine.pipe.unet.conv_out.bias.fill_(float("nan"))
        list(renderer.render([None], prompts[1:2], [2]))
        assert renderer.health == {"ok": 1, "nan": 1}


def test_out_of_memory_halves_the_batch(bases: Any, prompts: list[Prompt], tmp_path: Path) -> None:
    import torch

    total = torch.cuda.get_device_properties(0).total_memory
    wanted = recipe(bases["sd15"], "sd15", width=512, height=512, steps=2)
    with Renderer(wanted, Store(tmp_path), devices="cuda:0", batch_size=96) as renderer:
        list(renderer.render([None], prompts[:1], [1]))
        engine = renderer._team._engine
        peaks = []
        for size, seeds in ((96, range(100, 148)), (24, range(200, 212))):
            engine.limit = size
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            list(renderer.render([None], prompts[:2], seeds))
            peaks.append(torch.cuda.max_memory_allocated())
        print(f"bytes at the peak of 96 and of 24 images: {peaks}")
        assert peaks[0] > 1.2 * peaks[1]
        engine.limit = 96
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(sum(peaks) / 2 / total)
        try:
            made = list(renderer.render([None], prompts[:2], range(300, 348)))
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        print(f"batch limit after running out of memory: {engine.limit}")
        assert len(made) == 96
        assert renderer.health == {"ok": 1 + 96 + 24 + 96}
        assert engine.limit < 96


def test_xformers_is_really_set(
    bases: Any, series: Any, prompts: list[Prompt], tmp_path: Path
) -> None:
    pytest.importorskip("xformers.ops")
    wanted = recipe(bases["sd15"], "sd15", attention="xformers")
    with Renderer(wanted, Store(tmp_path / "x"), devices="cuda:0") as renderer:
        try:
            made = pictures(renderer.render(series["sd15"][:1], prompts, [1]))
        except RenderError as error:
            if "xformers cannot run here" not in str(error):
                raise
            pytest.skip("xformers has no kernels for this torch, and the renderer says so")
        assert renderer.facts()["processor"] == "XFormersAttnProcessor"
    with Renderer(recipe(bases["sd15"], "sd15"), Store(tmp_path / "s"), devices="cuda:0") as other:
        plain = pictures(other.render(series["sd15"][:1], prompts, [1]))
    print(f"xformers against SDPA: {worst(made, plain)} of 255")
    assert worst(made, plain) <= 8


def test_float32_is_the_same_on_gpu_and_cpu(
    bases: Any, series: Any, prompts: list[Prompt], tmp_path: Path
) -> None:
    wanted = recipe(bases["sd15"], "sd15", dtype="float32", width=64, height=64)
    made = []
    for device in ("cuda:0", "cpu"):
        with Renderer(wanted, Store(tmp_path / device[:3]), devices=device) as renderer:
            made.append(pictures(renderer.render(series["sd15"][:1], prompts[:3], [1])))
    print(f"GPU against CPU in float32: {worst(*made)} of 255")
    assert worst(*made) <= 4


@pytest.mark.slow
def test_two_gpus_make_the_images_of_one(
    bases: Any, series: Any, prompts: list[Prompt], tmp_path: Path
) -> None:
    import torch

    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA GPUs")
    made = []
    for devices in ("cuda:0", "cuda:0,cuda:1"):
        store = Store(tmp_path / str(len(devices)))
        with Renderer(
            recipe(bases["sd15"], "sd15"), store, devices=devices, batch_size=2
        ) as renderer:
            made.append(pictures(renderer.render(series["sd15"], prompts, [1])))
    assert worst(*made) == 0
