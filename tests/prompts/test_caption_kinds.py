"""Kinds of captions that people write, each with who owns which colour."""

from __future__ import annotations

import json

import pytest

from loraeval.cli import main
from loraeval.prompts.caption import parse_caption
from loraeval.prompts.caption_json import caption_json


def read(text: str) -> set[tuple[str, str]]:
    """(attribute, or noun for other, colour) of every claim."""
    rows = caption_json(parse_caption(text))["attributes"]
    return {
        (
            row["noun"] if row["attribute"] == "other" else row["attribute"],
            row["hex"] or row["name"],
        )
        for row in rows
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # a colour directly before a noun is that noun's adjective
        ("#cc2020 hair", {("hair", "#cc2020")}),
        (
            "a girl with #2040ff eyes wearing a #20a040 shirt",
            {("eyes", "#2040ff"), ("clothing", "#20a040")},
        ),
        ("hair #cc2020 eyes #2040ff", {("hair", "#cc2020"), ("eyes", "#2040ff")}),
        ("amber (#e8a045) hair", {("hair", "#e8a045")}),
        # the last noun of a run is the head
        ("red_hair_ribbon, black_hair", {("accessory", "red"), ("hair", "black")}),
        ("green eye shadow, blue eyes", {("eye shadow", "green"), ("eyes", "blue")}),
        ("blue hair girl", {("hair", "blue")}),
        # words that carry their attribute
        ("a red-haired, green-eyed, pale-skinned elf",
         {("hair", "red"), ("eyes", "green"), ("skin", "pale")}),
        # behind the noun
        ("her eyes are blue and her hair is red", {("eyes", "blue"), ("hair", "red")}),
        ("background: teal; hair: short, brown", {("background", "teal"), ("hair", "brown")}),
        ("hair is a striking shade of purple", {("hair", "purple")}),
        ("the background is a red brick wall", {("background", "red")}),
        ("a hat colored #123456", {("accessory", "#123456")}),
        # a full stop, a verb, a preposition end the reach
        ("red hair. She holds a lamp", {("hair", "red")}),
        ("a blue hat on a wooden table", {("accessory", "blue")}),
        # a noun that is not known keeps its colour
        ("a girl in front of a yellow wall", {("wall", "yellow")}),
        ("brown chest with a yellow lock", {("chest", "brown"), ("lock", "yellow")}),
        ("a black cap with a white logo", {("accessory", "black"), ("accessory", "white")}),
        ("a wine glass, chocolate cake, black hair", {("hair", "black")}),
        # whose code it is
        ("black hair with a red bow (#cc2020)", {("hair", "black"), ("accessory", "#cc2020")}),
        ("hoodie with a gold chain (#282735)", {("clothing", "#282735"), ("accessory", "gold")}),
        # what is denied is not asked for
        ("red hat, no green background", {("accessory", "red")}),
        ("hair is not red but blue", {("hair", "blue")}),
        ("without a red or blue hat", set()),
        # what is meant for the generator
        ("(red hair, blue eyes:1.3) BREAK ((green hat))",
         {("hair", "red"), ("eyes", "blue"), ("accessory", "green")}),
        ("<lora:blue_hair:0.8>, embedding:green_eyes, __color__ skin, red hair",
         {("hair", "red")}),
        (r"black_rock_shooter_\(character\), blue_eyes", {("eyes", "blue")}),
        ("red hair\nNegative prompt: blue hair", {("hair", "red")}),
        ("🔴 hat, blue eyes 💙", {("eyes", "blue")}),
        # notations
        ("hair rgb(192, 97, 72), eyes hsl(0, 100%, 50%)",
         {("hair", "#c06148"), ("eyes", "#ff0000")}),
        ("hair 0xc06148, eyes hex:1e1e1e, lips (c23b22), hat (＃00ff00)",
         {("hair", "#c06148"), ("eyes", "#1e1e1e"), ("lips", "#c23b22"), ("accessory", "#00ff00")}),
        ("rebeccapurple hat, burnt sienna coat",
         {("accessory", "rebeccapurple"), ("clothing", "burnt sienna")}),
        ("one blue and one green eye", {("eyes", "blue"), ("eyes", "green")}),
        ("blue, green, and white striped shirt",
         {("clothing", "blue"), ("clothing", "green"), ("clothing", "white")}),
        ("gradient from #ff0000 to #0000ff",
         {("background", "#ff0000"), ("background", "#0000ff")}),
    ],
)  # fmt: skip
def test_kinds(text: str, expected: set[tuple[str, str]]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    "text",
    ["colors: #ff0000, #00ff00", "color scheme: #ff0000 #00ff00", "palette of #f00 and #0f0"],
)
def test_lists_of_colours(text: str) -> None:
    caption = parse_caption(text)
    assert caption.palette == ("#ff0000", "#00ff00")
    assert not caption.colours


@pytest.mark.parametrize(
    "text", ["color scheme: teal and orange", "hsl(10, 500%, 3%) hat", "mauve"]
)
def test_what_is_not_understood_is_reported(text: str) -> None:
    caption = parse_caption(text)
    assert caption.unassigned == (text,)
    assert not caption.colours


def test_alternatives_share_a_choice() -> None:
    caption = parse_caption("{red|blue} hair, {green hat|black hat}, white shirt")
    choices = [(colour.name, colour.choice) for colour in caption.colours]
    assert choices == [("red hair", 1), ("blue", 1), ("green", 2), ("black", 2), ("white", 0)]


def test_command_prints_a_line_a_caption(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["caption", "red hat", "no colour here", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["attributes"] == [
        {"attribute": "accessory", "noun": "hat", "hex": None, "name": "red"}
    ]
    assert [set(line) >= {"text", "attributes", "palette", "unassigned"} for line in lines] == [
        True,
        True,
    ]
    assert main(["caption", "red hat"]) == 0
    assert "accessory" in capsys.readouterr().out


def test_committed_answers(repo: object) -> None:
    """No false claim in the committed captions, at least 95 % wholly right."""
    import subprocess
    import sys
    from pathlib import Path

    root = Path(str(repo))
    done = subprocess.run(
        [sys.executable, "-P", root / "benchmarks" / "captions.py",
         root / "benchmarks" / "captions.jsonl"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    count, false, right = (int(word) for word in done.stdout.split() if word.isdigit())
    assert count >= 100
    assert false == 0
    assert right >= 0.95 * count
