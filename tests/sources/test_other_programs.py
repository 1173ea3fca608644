"""Images of A1111, ComfyUI and every trainer: prompt, seed, LoRA, epoch or step, as each has it."""

from __future__ import annotations

import json
import re
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from loraeval.errors import ImageError
from loraeval.images.png_text import MAX_TEXT, png_text
from loraeval.records import Render
from loraeval.sources import find_renders, problem_words
from loraeval.sources.comfyui import graph_of
from loraeval.sources.generation import a1111, generation_of
from loraeval.sources.sample_names import is_sheet_name, is_sheet_size, sample_name

SHARED_FOLDER = [HealthCheck.function_scoped_fixture]
CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "names.txt"

A1111 = """pixel art, red hair, <lora:hero-000003:0.8>
blue background, (masterpiece:1.2)
Negative prompt: blurry, <lora:other:1>, dark
Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 1234567890, Size: 512x768, \
Model hash: abc123, Model: base_v1, Lora hashes: "hero-000003: 1a2b, x: 3", Version: 1.9"""

GRAPH: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": {
        "seed": 42, "steps": 25, "cfg": 6.5, "sampler_name": "euler", "model": ["11", 0],
        "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd/base.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 640}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a hero,\n red hair"}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
    "11": {"class_type": "LoraLoader", "inputs": {
        "lora_name": "mine\\hero-step00000500.safetensors", "strength_model": 0.7,
        "model": ["4", 0], "clip": ["4", 1]}},
}  # fmt: skip


def png(path: Path, texts: dict[str, str] | None = None, size: tuple[int, int] = (64, 64)) -> Path:
    info = PngImagePlugin.PngInfo()
    for key, text in (texts or {}).items():
        info.add_itxt(key, text, zip=len(text) > 500)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path, pnginfo=info)
    return path


def test_a1111_text_is_read() -> None:
    made = a1111(A1111)
    assert made is not None
    assert made.prompt == "pixel art, red hair, blue background, (masterpiece:1.2)"
    assert made.negative == "blurry, dark"
    assert (made.seed, made.steps, made.sampler) == (1234567890, 20, "DPM++ 2M Karras")
    assert (made.guidance_scale, made.width, made.height) == (7.5, 512, 768)
    assert (made.model, made.loras) == ("base_v1", (("hero-000003", 0.8),))
    assert a1111("a prompt and nothing else") is None
    bare = a1111("Steps: 1, Seed: -1")
    assert bare is not None
    assert (bare.prompt, bare.seed) == ("", None)


def test_a_graph_of_comfyui_is_read() -> None:
    found = graph_of(json.dumps(GRAPH))
    assert found == {
        "prompt": "a hero, red hair", "negative": "blurry", "seed": 42, "steps": 25,
        "sampler": "euler", "guidance_scale": 6.5, "width": 512, "height": 640, "model": "base",
        "loras": (("hero-step00000500", 0.7),),
    }  # fmt: skip


def test_a_graph_with_links_guider_and_two_samplers() -> None:
    graph = json.loads(json.dumps(GRAPH))
    graph["2"] = {"class_type": "KSampler", "inputs": {  # refines: no empty picture
        "seed": 1, "positive": ["6", 0], "latent_image": ["3", 0]}}  # fmt: skip
    graph["3"]["inputs"]["seed"] = ["20", 0]
    graph["20"] = {"class_type": "Seed Generator", "inputs": {"seed": 77}}
    graph["6"]["inputs"]["text"] = ["21", 0]
    graph["21"] = {"class_type": "Text", "inputs": {"value": "from afar"}}
    found = graph_of(json.dumps(graph))
    assert found is not None
    assert (found["seed"], found["prompt"]) == (77, "from afar")
    flux = {
        "1": {"class_type": "SamplerCustomAdvanced", "inputs": {
            "noise": ["2", 0], "guider": ["3", 0], "sigmas": ["4", 0], "latent_image": ["5", 0]}},
        "2": {"class_type": "RandomNoise", "inputs": {"noise_seed": 9}},
        "3": {"class_type": "BasicGuider", "inputs": {"model": ["8", 0], "conditioning": ["6", 0]}},
        "4": {"class_type": "BasicScheduler", "inputs": {"steps": 20}},
        "5": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 1024, "height": 1024}},
        "6": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["7", 0]}},
        "7": {"class_type": "CLIPTextEncodeFlux", "inputs": {"t5xxl": "a cat", "clip_l": "cat"}},
        "8": {"class_type": "LoraLoaderModelOnly", "inputs": {
            "lora_name": "cat_000000250.safetensors", "strength_model": 1.0, "model": ["9", 0]}},
        "9": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1-dev.safetensors"}},
    }  # fmt: skip
    found = graph_of(json.dumps(flux))
    assert found is not None
    assert (found["seed"], found["prompt"], found["steps"]) == (9, "a cat", 20)
    assert (found["loras"], found["model"]) == ((("cat_000000250", 1.0),), "flux1-dev")


def test_a_folder_of_a1111_images_is_a_series(tmp_path: Path) -> None:
    for epoch in (3, 10):
        png(tmp_path / f"{epoch:05d}-1234567890.png",
            {"parameters": A1111.replace("000003", f"{epoch:06d}")}, (512, 768))  # fmt: skip
    png(tmp_path / "xyz_grid-0000-1.png", {"parameters": A1111}, (2048, 1536))
    png(tmp_path / "00099-1.png", {"parameters": A1111}, (1536, 768))  # three side by side
    renders = find_renders(tmp_path)
    assert [(r.run, r.epoch, r.step, r.seed) for r in renders] == [
        ("hero", 3, None, 1234567890), ("hero", 10, None, 1234567890)
    ]  # fmt: skip
    assert len({r.prompt.id for r in renders}) == 1
    assert renders[0].prompt.text.startswith("pixel art, red hair")
    assert renders[0].prompt.negative == "blurry, dark"
    assert (renders[0].checkpoint, renders[0].strength) == ("hero-000003", 0.8)
    assert problem_words(renders) == ["2 sheets of many pictures are left out (first: 00099-1.png)"]


def test_comfyui_images_tell_the_step_of_their_lora(tmp_path: Path) -> None:
    png(tmp_path / "ComfyUI_00001_.png", {"prompt": json.dumps(GRAPH), "workflow": "{}"})
    (render,) = find_renders(tmp_path)
    assert (render.run, render.step, render.epoch, render.seed) == ("hero", 500, None, 42)
    assert render.prompt.text == "a hero, red hair"
    again = generation_of(tmp_path / "ComfyUI_00001_.png")[0]
    assert again is not None
    assert again.tool == "ComfyUI"


def test_two_loras_name_no_epoch_and_an_enlarged_image_is_no_sheet(tmp_path: Path) -> None:
    two = A1111.replace("<lora:hero-000003:0.8>", "<lora:hero-000003:1> <lora:style-000002:1>")
    png(tmp_path / "a.png", {"parameters": two})
    png(tmp_path / "b.png", {"parameters": A1111 + ", Hires upscale: 2"}, (1024, 1536))
    renders = find_renders(tmp_path)
    assert [r.epoch for r in renders] == [None, 3]
    assert is_sheet_size((1024, 512), (512, 512))
    assert not is_sheet_size((1024, 1024), (512, 512))
    assert not is_sheet_size((513, 1024), (512, 512))


@pytest.mark.parametrize(
    ("name", "folder", "sheet"),
    [("xyz_grid-0001-5", "", True), ("grid-0003", "", True), ("my_contact_sheet", "", True),
     ("00001-5", "txt2img-grids", True), ("a_xy_plot_2", "", True), ("gridiron", "", False),
     ("hero_agrid", "", False), ("lattice", "", False), ("00001-5", "txt2img-images", False)],
)  # fmt: skip
def test_sheets_are_known_by_name(name: str, folder: str, sheet: bool) -> None:
    assert is_sheet_name(name, folder) is sheet


def test_only_sheets_is_one_sentence(tmp_path: Path) -> None:
    png(tmp_path / "grid-0001.png")
    with pytest.raises(ImageError, match="only sheets"):
        find_renders(tmp_path)


def cases() -> list[tuple[str, str]]:
    if not CASES.is_file():
        return []
    rows = CASES.read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"## images, (.*?): (.*?) => .*", row) for row in rows]
    return [(m[1], m[2]) for m in found if m and "A1111" not in m[1] and "ComfyUI" not in m[1]]


EXPECTED: dict[str, list[tuple[int | None, int | None, str, int | None]]] = {
    "kohya": [(1, None, "sample_00", 42), (10, None, "sample_01", 42)],
    "kohya steps": [(None, 500, "sample_00", 42)],
    "ai-toolkit": [(None, 250, "sample_00", None), (None, 500, "sample_00", None)],
    "OneTrainer": [(1, 100, "sample_00", None)],
    "SimpleTuner": [(None, 1000, "sample_00", None), (None, 500, "sample_00", None)],
    "invoke-training": [(50, 200, "sample_00", None)],
    "folders": [(2, None, "sample_00", None), (None, 500, "sample_00", None),
                (1, None, "sample_00", None), (10, None, "sample_00", None)],
}  # fmt: skip


@pytest.mark.skipif(not CASES.is_file(), reason="the cases from the field are not beside it")
@pytest.mark.parametrize("case", cases(), ids=lambda case: case[0])
def test_sample_images_from_the_field(case: tuple[str, str], tmp_path: Path) -> None:
    program, files = case
    names = [files.strip('"')] if files.startswith('"') else files.split()
    for name in names:
        path = tmp_path / "my" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(path)
    renders: list[Render] = find_renders(tmp_path / "my")
    told = sorted((r.name, r.epoch, r.step, r.prompt.id, r.seed) for r in renders)
    assert [row[1:] for row in told] == EXPECTED[program]
    assert {r.run for r in renders} == {"my"}
    if program == "OneTrainer":
        assert renders[0].prompt.text == "red hair"


def test_simpletuners_short_names_are_prompts() -> None:
    found = sample_name("step_500_red_hair_0_1024x1024")
    assert found is not None
    assert (found.step, found.label) == (500, "red_hair")


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


HEAD = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", (64).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0")


@pytest.mark.parametrize(
    "tail",
    [b"", chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"x" * (MAX_TEXT + 9))),
     chunk(b"zTXt", b"parameters\0\0broken"), chunk(b"iTXt", b"parameters\0\1\0"),
     chunk(b"tEXt", b"parameters"), b"\xff\xff\xff\xfftEXtparameters\0x",
     chunk(b"tEXt", b"") * 30_000, chunk(b"iTXt", b"\0" * 40)],
)  # fmt: skip
def test_hostile_chunks_are_passed_over(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(HEAD + tail + chunk(b"IEND", b""))
    begun = time.process_time()
    found = png_text(path, ("parameters", "prompt"))
    assert time.process_time() - begun < 2
    assert found is not None
    assert (found.width, found.texts) == (64, {})


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", "null", '{"1": {"inputs": 3}}', "[" * 9000, '{"a":' * 9000,
     json.dumps({"1": {"class_type": "KSampler", "inputs": {"positive": ["1", 0], "model": ["1", 0],
                                                           "latent_image": ["1", 0]}}}),
     json.dumps({str(i): {"class_type": "KSampler", "inputs": {}} for i in range(3000)})],
)  # fmt: skip
def test_hostile_graphs_cost_little(text: str) -> None:
    begun = time.process_time()
    graph_of(text)
    assert time.process_time() - begun < 2


@given(text=st.text(st.sampled_from('aS:t,e ps<lora:>\n"\\Negative prompt: 0x5'), max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_or_passed_over(text: str) -> None:
    for made in (a1111(text), a1111(f"{text}\nSteps: {text}")):
        assert made is None or "\n" not in made.prompt


@given(data=st.binary(max_size=120))
@settings(max_examples=60, deadline=None, suppress_health_check=SHARED_FOLDER)
def test_any_bytes_after_the_header(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.png").write_bytes(HEAD + data)
    png_text(tmp_path / "a.png", ("parameters",))


@pytest.mark.parametrize("text", [" " * 80_000, "<" * 80_000, "a " * 40_000, "<lora:" * 9000])
def test_hostile_a1111_texts_cost_little(text: str) -> None:
    begun = time.process_time()
    a1111(f"{text}\nNegative prompt: {text}\nSteps: 1{text}")
    a1111(f"x\nSteps: 1{text}")
    assert time.process_time() - begun < 1
