"""prompts/punks_24x24.toml: what it covers, that its words and codes agree, that it is our own."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path

import pytest

from loraeval.prompts.caption import parse_caption
from loraeval.prompts.colour_words import lab_of, region
from loraeval.prompts.sets import read_prompts
from loraeval.records import PromptSet


@pytest.fixture(scope="module")
def own(repo: Path) -> PromptSet:
    return read_prompts(repo / "prompts" / "punks_24x24.toml")


def test_size_and_grammar(own: PromptSet) -> None:
    assert len(own.prompts) >= 40
    for prompt in own.prompts:
        assert prompt.text.startswith("pixel art, 24x24, portrait of ")
        assert prompt.caption.colours
        assert prompt.caption.unassigned == ()
        assert prompt.negative
    coded = [p for p in own.prompts if any(colour.hex for colour in p.caption.colours)]
    assert len(coded) >= 40
    assert sum(bool(prompt.caption.palette) for prompt in own.prompts) >= 40
    assert sum(bool(prompt.caption.tail) for prompt in own.prompts) >= 5


def test_coverage(own: PromptSet) -> None:
    tags = {tag for prompt in own.prompts for tag in prompt.tags}
    assert tags >= {"skin", "hair", "eyes", "headwear", "eyewear", "jewellery", "words"}
    kinds = [prompt.caption.background_kind for prompt in own.prompts]
    for kind in ("solid", "split", "gradient", "checkered"):
        assert kinds.count(kind) >= 4, kind
    skins = " ".join(re.findall(r"(\w+) skin", " ".join(p.text for p in own.prompts)))
    for tone in ("pale", "light", "medium", "olive", "tan", "brown", "dark", "green", "blue"):
        assert tone in skins
    attributes = {colour.attribute for p in own.prompts for colour in p.caption.colours}
    assert attributes - {"other"} == {
        "background", "hair", "eyes", "lips", "skin", "clothing", "accessory"
    }  # fmt: skip


def test_words_and_codes_agree(own: PromptSet) -> None:
    """The word before each code, read without it, gives the code a half at least."""
    checked = 0
    for prompt in own.prompts:
        for colour in prompt.caption.colours:
            if colour.hex is None:
                assert region(colour.name or "") is not None
                continue
            words = parse_caption(re.sub(r"\(.*?\)", "", colour.text)).colours
            regions = [region(word.name) for word in words if word.attribute == colour.attribute]
            if regions:
                checked += 1
                near = min(float(found.distance(lab_of(colour.hex))) for found in regions)
                assert near <= 4, f"{prompt.id}: {colour.text}"
    assert checked > 200


def test_colours_of_a_prompt_are_told_apart(own: PromptSet) -> None:
    for prompt in own.prompts:
        codes = [colour.hex for colour in prompt.caption.colours if colour.hex]
        assert len(set(codes)) == len(codes), prompt.id
        assert set(prompt.caption.palette) == set(codes), prompt.id


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+|#[0-9a-f]+", text.lower())


def test_none_is_a_real_caption(own: PromptSet, punks: Path) -> None:
    """Word by word, no prompt of ours is nearly a caption or prompt of the real data."""
    real = [file.read_text(encoding="utf-8") for file in (punks / "training").glob("*.txt")]
    lines = (punks / "renders.jsonl").read_text(encoding="utf-8").splitlines()
    real += sorted({json.loads(line)["prompt"] for line in lines})
    real_words = [words_of(text) for text in real]
    worst = 0.0
    for prompt in own.prompts:
        assert "bespoke" not in prompt.text
        match = difflib.SequenceMatcher(autojunk=False)
        match.set_seq2(words_of(prompt.text))
        for words in real_words:
            match.set_seq1(words)
            if match.quick_ratio() > worst:
                worst = max(worst, match.ratio())
    assert 0 < worst < 0.75
