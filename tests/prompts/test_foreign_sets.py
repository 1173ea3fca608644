"""Prompt files of trainers, web UIs and data sets; what is refused says what to write instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loraeval.errors import LoraevalError, PromptError
from loraeval.prompts.sets import read_prompts
from loraeval.records import PromptSet

SHARED_FOLDER = [HealthCheck.function_scoped_fixture]
CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "scripts"


def read(folder: Path, name: str, text: str) -> PromptSet:
    (folder / name).write_text(text, encoding="utf-8")
    return read_prompts(folder / name)


def told(found: PromptSet) -> list[tuple[str, str, str, dict[str, Any]]]:
    return [(p.id, p.text, p.negative, dict(p.overrides)) for p in found.prompts]


def test_sd_scripts_toml_and_json(tmp_path: Path) -> None:
    toml = """
        [prompt]
        width = 512
        scale = 7.5
        negative_prompt = "blurry"
        [[prompt.subset]]
        prompt = "a cat"
        seed = 1
        sample_steps = 24
        [[prompt.subset]]
        prompt = "a dog"
        negative_prompt = "cat"
        sample_sampler = "euler_a"
    """
    found = read(tmp_path, "samples.toml", toml)
    assert told(found) == [
        ("sample_00", "a cat", "blurry",
         {"width": 512, "guidance_scale": 7.5, "seed": 1, "steps": 24}),
        ("sample_01", "a dog", "cat", {"width": 512, "guidance_scale": 7.5}),
    ]  # fmt: skip
    assert found.notes == (
        "sample_sampler is not the prompt's: what it sets is taken from the recipe instead",
    )
    found = read(tmp_path, "samples.json", json.dumps([
        {"prompt": "a cat", "seed": 3, "height": 768, "enabled": True, "cfg_scale": 6.0},
        {"prompt": "not this", "enabled": False},
        {"prompt": "a dog", "seed": -1, "diffusion_steps": 20, "random_seed": True},
    ]))  # fmt: skip
    assert told(found) == [
        ("sample_00", "a cat", "", {"seed": 3, "height": 768, "guidance_scale": 6.0}),
        ("sample_01", "a dog", "", {"steps": 20}),
    ]
    library = read(tmp_path, "library.json", '{"hero": "a hero", "cat": "a cat"}')
    assert [(p.id, p.text) for p in library.prompts] == [("hero", "a hero"), ("cat", "a cat")]


def test_a1111_lines(tmp_path: Path) -> None:
    found = read(tmp_path, "a.txt", (
        '--prompt "a castle, \\"blue\\" sky" --negative_prompt "trees" --steps 20 --cfg_scale 7 '
        "--seed 5 --width 512 --height 768 --sampler_name 'Euler a'\n"
        "--prompt 'a dog' --seed -1\n"))  # fmt: skip
    assert told(found) == [
        ("sample_00", 'a castle, "blue" sky', "trees",
         {"steps": 20, "guidance_scale": 7.0, "seed": 5, "width": 512, "height": 768}),
        ("sample_01", "a dog", "", {}),
    ]  # fmt: skip
    assert "--sampler_name is not the prompt's" in found.notes[0]


def test_image_folders_metadata(tmp_path: Path) -> None:
    rows = [{"file_name": "train/1.png", "text": "a cat", "extra": 1},
            {"file_name": "2.final.webp", "caption": "a dog"}]  # fmt: skip
    found = read(tmp_path, "metadata.jsonl", "\n".join(map(json.dumps, rows)))
    assert [(p.id, p.text) for p in found.prompts] == [("1", "a cat"), ("2.final", "a dog")]
    found = read(tmp_path, "metadata.csv", 'file_name,text\n1.png,"a cat, red"\n2.png,a dog\n')
    assert [(p.id, p.text) for p in found.prompts] == [("1", "a cat, red"), ("2", "a dog")]
    found = read(tmp_path, "meta_lat.json", json.dumps({
        "/x/1.png": {"caption": "a man", "tags": "1boy, red hair", "train_resolution": [512, 512]},
        "2": {"tags": "1girl"}, "3": {"train_resolution": [64, 64]},
    }))  # fmt: skip
    assert [(p.id, p.text) for p in found.prompts] == [
        ("1", "a man, 1boy, red hair"), ("2", "1girl")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", '--prompt "a cat', "write --prompt"),
        ("a.txt", "--prompt cat --steps", "write each option"),
        ("a.txt", "--prompt cat --stepz 3", "did you mean steps"),
        ("a.csv", "name,label\n1,2\n", "write that line"),
        ("a.csv", "file_name,label\n1.png,2\n", "name its column one of"),
        ("a.json", '{"x": 3}', "write a list of tables"),
        ("a.json", "[3]", 'write {"prompt"'),
        ("a.json", '[{"text": "a"}]', "give each table a prompt"),
        ("a.json", '{"1": {"train_resolution": [1, 2]}}', "caption file beside each image"),
        ("a.json", "{", "not valid JSON"),
        ("a.jsonl", '{"file_name": "1.png", "label": 3}', "name its column one of"),
        ("a.toml", "[prompt]\nsubset = [3]\n", "expected tables with a prompt"),
    ],
)
def test_what_is_refused_says_what_to_write(
    name: str, text: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(PromptError) as caught:
        read(tmp_path, name, text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


FIELD = {
    "s01_kohya.txt": 3, "s02_flux.txt": 1, "s03_sampler.txt": 1, "s06_a1111.txt": 2,
    "s07_metadata.jsonl": 2, "s08_meta_lat.json": 2,
}  # fmt: skip


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases from the field are not beside it")
@pytest.mark.parametrize("name", FIELD)
def test_prompt_files_from_the_field(name: str) -> None:
    found = read_prompts(CASES / name)
    assert len(found.prompts) == FIELD[name]
    named = {"s02_flux.txt": "--g ", "s03_sampler.txt": "--ss "}
    assert [note.startswith(named[name]) for note in found.notes] == (
        [True] if name in named else []
    )
    if name == "s01_kohya.txt":
        first = found.prompts[0]
        assert first.text.startswith("(masterpiece, best quality:1.2), 1girl")
        assert first.negative == "(low quality, worst quality:1.4), bad anatomy,"
        assert dict(first.overrides) == {
            "width": 512, "height": 768, "seed": 1234, "guidance_scale": 7.5, "steps": 24
        }  # fmt: skip


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.txt", "a.jsonl", "a.toml"])
@given(text=st.text(st.sampled_from('{}[]":,\n-prompt file_name=text1 \x00\ud800'), max_size=120))
@settings(max_examples=40, deadline=None, suppress_health_check=SHARED_FOLDER)
def test_any_text_is_a_set_or_one_sentence(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    said = ""
    try:
        read_prompts(tmp_path / name)
    except LoraevalError as error:
        said = str(error)
    assert "\n" not in said
