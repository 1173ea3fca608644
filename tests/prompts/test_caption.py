"""The caption grammar: hand-made cases, the real captions, and any text at all."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loraeval.prompts.caption import normalise_hex, parse_caption
from loraeval.records import Caption

HEAD = "pixel art, 24x24, portrait of a baker, "


def named(text: str) -> list[tuple[str, str | None]]:
    """(attribute, hex or name) of every colour."""
    return [(colour.attribute, colour.hex or colour.name) for colour in parse_caption(text).colours]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hair (#C06148)", [("hair", "#c06148")]),
        ("hair (#abc)", [("hair", "#aabbcc")]),
        ("skin yellow #ebbd9a)", [("skin", "#ebbd9a")]),
        ("hair (#c06148, eyes (#112233)", [("hair", "#c06148"), ("eyes", "#112233")]),
        ("lips (#111111), skin (#111111)", [("lips", "#111111"), ("skin", "#111111")]),
        ("maroon hair (#29161c, #311926) in a low bun", [("hair", "#29161c"), ("hair", "#311926")]),
        (
            "hair from dark (#664c40) to light brown (#927c6c)",
            [("hair", "#664c40"), ("hair", "#927c6c")],
        ),
        ("red bow in hair (#cc2020)", [("accessory", "#cc2020")]),
        ("black hoodie with two cherries (#101010)", [("clothing", "#101010")]),
        ("hoodie with light background (#a0b0c0)", [("background", "#a0b0c0")]),
        ("glasses with light brown eyes (#553311)", [("eyes", "#553311")]),
        ("grey eyes and red shirt (#cc2020)", [("eyes", "grey"), ("clothing", "#cc2020")]),
        ("wearing something odd (#d69f66)", [("clothing", "#d69f66")]),
        ("something odd (#d69f66)", [("other", "#d69f66")]),
        ("blue solid background", [("background", "blue")]),
        (
            "brown and yellow checkered background",
            [("background", "brown"), ("background", "yellow")],
        ),
        ("light skin", [("skin", "light skin")]),
        ("dark brown skin", [("skin", "dark brown skin")]),
        ("green skin", [("skin", "green")]),
        ("red hair", [("hair", "red hair")]),
        ("blonde hair", [("hair", "blonde")]),
        ("dark hair", [("hair", "dark")]),
        ("GRAY EYES", [("eyes", "grey")]),
        ("wearing golden earrings", [("accessory", "gold")]),
        ("bluegreen eyes", [("eyes", "blue green")]),
        ("reddish brown hair", [("hair", "red brown")]),
        ("no red hat", []),
        ("hair", []),
        ("hard color borders", []),
    ],
)
def test_one_phrase(text: str, expected: list[tuple[str, str | None]]) -> None:
    assert named(text) == expected
    assert named(HEAD + text + ", sharp pixel edges") == expected


def test_palette_tail_and_background() -> None:
    caption = parse_caption(
        HEAD + "hair (#c06148), split background (#4eea6d), "
        "Palette: #C06148, #4eea6d, #c06148, sharp edges, #440a08, #440a08, #fff"
    )
    assert caption.palette == ("#c06148", "#4eea6d")
    assert caption.tail == ("#440a08", "#ffffff")
    assert caption.background_kind == "split"
    assert caption.unassigned == ()
    assert [colour.text for colour in caption.colours] == [
        "hair (#c06148)",
        "split background (#4eea6d)",
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("solid green background (#00ff00)", "solid"),
        ("gradient background", "gradient"),
        ("brown and yellow checkered pattern background", "checkered"),
        ("a checkered shirt, blue background", "unknown"),
        ("solid shirt", "unknown"),
    ],
)
def test_background_kind(text: str, kind: str) -> None:
    assert parse_caption(text).background_kind == kind


def test_what_is_no_code_is_kept() -> None:
    caption = parse_caption("hair (#12345), mauve glow, hat (#zzz), eyes (#123456)")
    assert caption.unassigned == ("hair (#12345)", "hat (#zzz)")
    assert [(c.attribute, c.noun, c.hex or c.name) for c in caption.colours] == [
        ("other", "glow", "mauve"),
        ("eyes", "eyes", "#123456"),
    ]


@pytest.mark.parametrize(
    ("code", "expected"),
    [("#FFF", "#ffffff"), ("abcd", "#aabbcc"), ("#11223380", "#112233"), ("#12345", None),
     ("", None), ("#", None), ("#gggggg", None), ("#１２３", None)],
)  # fmt: skip
def test_normalise_hex(code: str, expected: str | None) -> None:
    assert normalise_hex(code) == expected


def test_every_real_caption(punks: Path) -> None:
    """All hex codes of all 150 captions end up at an attribute, in the palette or in the tail."""
    files = sorted((punks / "training").glob("*.txt"))
    assert len(files) == 150
    codes = placed = told = 0
    for file in files:
        caption = parse_caption(file.read_text(encoding="utf-8"))
        found = re.findall(r"#[0-9A-Za-z]+", caption.text)
        at_attribute = {colour.hex for colour in caption.colours}
        anywhere = at_attribute | set(caption.palette) | set(caption.tail)
        codes += len(found)
        placed += sum(normalise_hex(code) in anywhere for code in found)
        told += sum(colour.attribute != "other" and bool(colour.hex) for colour in caption.colours)
        assert {colour.attribute for colour in caption.colours} >= {"background"}, file.name
        assert caption.palette, file.name
        # An independent reading: every code directly behind an opening bracket is at an attribute.
        head = caption.text.split("palette:")[0]
        behind = {normalise_hex(code) for code in re.findall(r"\((#[0-9a-fA-F]+)", head)}
        assert behind <= at_attribute, file.name
    assert placed == codes > 2000
    given = [c.hex for file in files for c in parse_caption(file.read_text()).colours if c.hex]
    assert told >= 0.99 * len(given) > 800  # the others stand at a misspelt noun


def test_every_rendered_prompt(punks: Path) -> None:
    """No colour of the 27 rendered prompts is dropped: all have a background and a skin colour."""
    import json

    lines = (punks / "renders.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = {json.loads(line)["prompt"] for line in lines}
    for prompt in prompts:
        caption = parse_caption(prompt)
        attributes = {colour.attribute for colour in caption.colours}
        assert {"background", "hair", "skin"} <= attributes or "cap" in prompt
        assert caption.background_kind != "unknown"
        assert not caption.unassigned


WORDS = st.sampled_from(
    ["hair", "eyes", "background", "skin", "red", "dark", "#fff", "#a1b2c3", "#12", "(", ")", ",",
     "palette:", "with", "in", "the", "top", "wearing", "and", "/", "checkered", "darkred", ";",
     "\n", "é", "İ", "no"]
)  # fmt: skip


@settings(deadline=None)
@given(st.one_of(st.text(max_size=300), st.lists(WORDS, max_size=60).map(" ".join)))
def test_any_text(text: str) -> None:
    caption = parse_caption(text)
    assert isinstance(caption, Caption)
    assert caption.text == text
    for colour in caption.colours:
        assert (colour.hex is None) != (colour.name is None)
        assert colour.hex is None or re.fullmatch(r"#[0-9a-f]{6}", colour.hex)
        assert colour.attribute in {
            "background", "hair", "eyes", "lips", "skin", "clothing", "accessory", "other"
        }  # fmt: skip
        assert colour.text in text
    for code in caption.palette + caption.tail:
        assert re.fullmatch(r"#[0-9a-f]{6}", code)
    valid = {normalise_hex(code) for code in re.findall(r"#([0-9A-Za-z]*)", text)} - {None}
    kept = {colour.hex for colour in caption.colours} | set(caption.palette) | set(caption.tail)
    for phrase in caption.unassigned:  # what is denied: "no #fff hat"
        kept |= {normalise_hex(code) for code in re.findall(r"#([0-9A-Za-z]*)", phrase)}
    assert valid <= kept, "a hex code was dropped"


@pytest.mark.parametrize(
    "piece", ["hair (#fff ", "(", "red hair ", "in the ", "a(,", "#", "palette:", "\n,", "#fff,"]
)
def test_time_is_linear(piece: str) -> None:
    """Repetitions of what could backtrack: 16 times the text takes some 16 times, not 256."""

    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        started = time.process_time()
        parse_caption(text)
        return time.process_time() - started

    small = min(seconds(3_000) for _ in range(3))
    assert min(seconds(48_000) for _ in range(2)) < 64 * small + 0.2


def test_needs_no_numpy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, loraeval.prompts.caption as p; p.parse_caption('red hair'); "
        "print('numpy' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False"


def test_a_text_of_megabytes_is_read_to_a_limit_that_is_said() -> None:
    caption = parse_caption("red hair, " + "blue hat, " * 100_000)
    assert caption.colours[0].attribute == "hair"
    assert any("first 50000 characters" in text for text in caption.unassigned)
