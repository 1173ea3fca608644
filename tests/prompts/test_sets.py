"""Prompt sets in their four forms, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from loraeval.errors import PromptError
from loraeval.outside.text import MAX_FILE_BYTES
from loraeval.prompts.json_lines import parse_json_lines
from loraeval.prompts.limits import MAX_PROMPTS
from loraeval.prompts.sample_lines import parse_sample_lines
from loraeval.prompts.sets import read_prompts
from loraeval.prompts.toml_file import parse_toml
from loraeval.records import PromptSet

SMALL = """
[set]
name = "small"
negative = "blurry"
[[prompt]]
id = "one"
text = "a baker, red hair"
tags = ["hair"]
[[prompt]]
id = "two"
text = "a smith (#102030)"
negative = ""
seed = 7
guidance_scale = 5
"""


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_toml(tmp_path: Path) -> None:
    found = read_prompts(write(tmp_path / "file.toml", SMALL))
    one, two = found.prompts
    assert (found.name, one.id, one.text, one.negative) == (
        "small",
        "one",
        "a baker, red hair",
        "blurry",
    )
    assert one.tags == ("hair",)
    assert one.overrides == {}
    assert one.caption.colours[0].name == "red hair"
    assert two.negative == ""
    assert two.overrides == {"seed": 7, "guidance_scale": 5.0}
    assert read_prompts(str(tmp_path / "file.toml")) == found


def test_name_of_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_prompts("punks_24x24").name == "punks_24x24"  # loraeval's own
    (tmp_path / "prompts").mkdir()
    write(tmp_path / "prompts" / "mine.toml", SMALL)
    assert len(read_prompts("mine").prompts) == 2
    with pytest.raises(PromptError, match="did you mean punks_24x24"):
        read_prompts("punks24x24")


def test_bom_and_windows_line_ends(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode()
    assert len(read_prompts(write(tmp_path / "a.toml", text)).prompts) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[prompt]]\nid='a'\ntxt='b'", "did you mean text"),
        ("[[prompts]]\nid='a'\ntext='b'", "did you mean prompt"),
        ("[set]\nnegativ='a'", "did you mean negative"),
        ("[[prompt]]\nid='a'", "text is missing"),
        (
            "[[prompt]]\nid='a'\ntext='b'\n[[prompt]]\nid='a'\ntext='c'",
            "two prompts have the id 'a'",
        ),
        ("", "at least one prompt"),
        ("[set", "not valid TOML"),
        ("prompt = 3", r"\[\[prompt\]\]"),
        ("[[prompt]]\nid='a'\ntext=' '", "text is empty"),
        ("[[prompt]]\nid='../a'\ntext='b'", "path upwards"),
        ("[[prompt]]\nid='/a'\ntext='b'", "path upwards"),
        ("[[prompt]]\nid=1\ntext='b'", "must be text"),
        ("[[prompt]]\nid='a'\ntext='b'\nseed=-1", "from 0"),
        ("[[prompt]]\nid='a'\ntext='b'\nseed=true", "whole number"),
        ("[[prompt]]\nid='a'\ntext='b'\nsteps=1.5", "whole number"),
        ("[[prompt]]\nid='a'\ntext='b'\nguidance_scale=nan", "a number"),
        ("[[prompt]]\nid='a'\ntext='b'\nwidth=100", "multiple of 8"),
        ("[[prompt]]\nid='a'\ntext='b'\nwidth=100000", "to 4096"),
        ("[[prompt]]\nid='a'\ntext='b'\ntags='c'", "tags must be a list"),
        ('[[prompt]]\nid="a"\ntext="b\\u001b[2J"', "control characters"),
        ("[[prompt]]\nid='a'\ntext='" + "x" * 20_000 + "'", "20000 characters"),
        ("a=" + "[" * 100_000, "nested too deeply"),
        ("a=" + "[\n" * 100_000, "nested too deeply"),
        ("a." * 100_000 + "b=1", "nested too deeply"),
        ("a=" + "9" * 10_000, "not valid TOML"),
    ],
)
def test_broken_toml(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(PromptError, match=words) as caught:
        read_prompts(write(tmp_path / "bad.toml", text))
    assert "bad.toml" in str(caught.value)
    assert str(caught.value).isprintable()


def test_sample_lines() -> None:
    found = parse_sample_lines(
        "# comment\n\na baker, red hat --n blurry, soft --w 512 --h 640 --d 42 --s 30 --l 7.5\n"
        "a baker, red hat --d 43\na smith\n",
        "lines",
        "lines.txt",
    )
    first, second, third = found.prompts
    assert [prompt.id for prompt in found.prompts] == ["sample_00", "sample_01", "sample_02"]
    assert first.text == second.text == "a baker, red hat"
    assert first.negative == "blurry, soft"
    assert first.overrides == {
        "width": 512, "height": 640, "seed": 42, "steps": 30, "guidance_scale": 7.5,
    }  # fmt: skip
    assert second.overrides == {"seed": 43}
    assert third.overrides == {}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a --q 3", "unknown option --q"),
        ("a --w x", "--w needs a number"),
        ("a --w 9999999", "width must be"),
        ("a --d 1 --d 2", "--d stands twice"),
        ("--w 512", "text is empty"),
        ("a --l 1e999", "--l needs a number"),
        ("# only a comment", "at least one prompt"),
    ],
)
def test_broken_sample_lines(line: str, words: str) -> None:
    with pytest.raises(PromptError, match=words):
        parse_sample_lines(line, "x", "x.txt")


def test_caption_folder(tmp_path: Path) -> None:
    for place, stem, caption in [
        ("", "b", "a smith, grey hair\nsecond line"),
        ("", "a", "a baker"),
        ("10_punk", "c", "a cook"),
    ]:
        folder = tmp_path / place
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (24, 24)).save(folder / f"{stem}.png")
        (folder / f"{stem}.txt").write_text(caption)
    Image.new("RGB", (24, 24)).save(tmp_path / "without.png")
    found = read_prompts(tmp_path)
    assert [(prompt.id, prompt.text) for prompt in found.prompts] == [
        ("a", "a baker"),
        ("b", "a smith, grey hair"),
        ("10_punk/c", "a cook"),
    ]


def test_real_caption_folder(punks: Path) -> None:
    found = read_prompts(punks / "training")
    assert len(found.prompts) == 150
    assert all(prompt.caption.colours for prompt in found.prompts)


def test_real_manifest_as_prompts(punks: Path) -> None:
    found = read_prompts(punks / "renders.jsonl")
    rows = [json.loads(line) for line in (punks / "renders.jsonl").read_text().splitlines()]
    texts = {(row["prompt"], row["negative_prompt"] or "") for row in rows}
    assert {(prompt.text, prompt.negative) for prompt in found.prompts} == texts
    ids = [prompt.id for prompt in found.prompts]
    assert "brown_eyes_lad" in ids
    assert "broken_black/prompt1" in ids  # the same id, another text, in another run


def test_json_lines() -> None:
    rows = [
        {"id": "a", "text": "a baker", "tags": ["x"], "seed": 1},
        {"prompt_id": "b", "prompt": "a smith", "negative_prompt": None},
    ]
    text = "\n".join(json.dumps(row) for row in rows) + "\n\n"
    found = parse_json_lines(text, "set", "set.jsonl")
    assert [prompt.id for prompt in found.prompts] == ["a", "b"]
    assert found.prompts[0].overrides == {"seed": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "x.jsonl:1: expected one JSON object"),
        ('\n{"id":"a"}', "x.jsonl:2: text is missing"),
        ('{"id":"a","text":"b","sed":1}', "did you mean seed"),
        ('{"id":"a","text":"b"}\n{"id":"a","text":"c"}', "two prompts"),
        ("[1]", "expected a JSON object, found list"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 20_000, "nested too deeply"),
        ('{"id":"a","text":"b","seed":NaN}', "NaN is no number"),
        ('{"id":"a","text":"b","seed":' + "9" * 5000 + "}", "expected one JSON object"),
        ('{"id":"a","text":"\\ud800"}', "control characters"),
        ('{"image":"a.png"}', "prompt_id is missing"),
        ('{"id":"' + "a" * 300_000 + '"}', "256 KB"),
    ],
)  # fmt: skip
def test_broken_json_lines(text: str, words: str) -> None:
    with pytest.raises(PromptError, match=words) as caught:
        parse_json_lines(text, "x", "x.jsonl")
    assert str(caught.value).isprintable()


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="no such prompt set"):
        read_prompts(tmp_path / "absent.toml")
    with pytest.raises(PromptError, match="UTF-8"):
        read_prompts(write(tmp_path / "latin.toml", b"\xff\xfe"))
    with pytest.raises(PromptError, match="larger than"):
        read_prompts(write(tmp_path / "big.toml", b"#" * (MAX_FILE_BYTES + 1)))
    with pytest.raises(PromptError, match="expected a prompt set"):
        read_prompts(write(tmp_path / "a.png", b""))
    with pytest.raises(PromptError, match="found none"):
        read_prompts(tmp_path)
    os.mkfifo(tmp_path / "pipe.toml")  # reading it would wait for ever
    with pytest.raises(PromptError, match="found something else"):
        read_prompts(tmp_path / "pipe.toml")


def test_a_caption_that_links_out_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    Image.new("RGB", (24, 24)).save(folder / "a.png")
    write(tmp_path / "secret.txt", "a secret")
    (folder / "a.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(PromptError, match="links out"):
        read_prompts(folder)


def test_too_many_prompts() -> None:
    with pytest.raises(PromptError, match="more than"):
        parse_sample_lines("a\n" * (MAX_PROMPTS + 1), "x", "x.txt")
    assert len(parse_sample_lines("a\n" * MAX_PROMPTS, "x", "x.txt").prompts) == MAX_PROMPTS


def test_digest_sees_what_changes_a_pixel() -> None:
    base = parse_toml(SMALL, "x", "x")
    assert parse_toml(SMALL.replace("small", "other"), "x", "x").digest == base.digest
    for old, new in [("seed = 7", "seed = 8"), ("red hair", "grey hair"), ("blurry", "soft")]:
        assert parse_toml(SMALL.replace(old, new), "x", "x").digest != base.digest


PIECES = st.sampled_from(
    ["[set]", "[[prompt]]", "id", "text", "=", "'a'", '"b"', "\n", " ", "seed", "[", "{", "}", "]",
     "1", "nan", '{"id":"a",', '"text":"b"}', "null", ":", ",", " --d 1", " --w 512", "#", "\\",
     "\x00", "é"]
)  # fmt: skip


@pytest.mark.parametrize("parse", [parse_toml, parse_sample_lines, parse_json_lines])
def test_any_text_gives_a_set_or_one_sentence(parse) -> None:  # type: ignore[no-untyped-def]
    @settings(deadline=None, max_examples=300)
    @given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=40).map("".join)))
    def check(text: str) -> None:
        try:
            found = parse(text, "x", "x")
        except PromptError as error:
            message = str(error)
        else:
            assert isinstance(found, PromptSet)
            assert found.prompts
            return
        assert message.startswith("x")
        assert "\n" not in message

    check()


def test_a_set_called_as_a_folder_beside_it_is_still_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "demo").mkdir()
    (tmp_path / "prompts" / "demo.toml").write_text('[[prompt]]\nid = "a"\ntext = "blue"\n')
    monkeypatch.chdir(tmp_path)
    assert [prompt.id for prompt in read_prompts("demo").prompts] == ["a"]
