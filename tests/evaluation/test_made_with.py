"""What rendered images, from the store's row to the verdict's line."""

from __future__ import annotations

from pathlib import Path

from loraeval.evaluation.made_with import KEY, another_way, made_with
from loraeval.records import Caption, Prompt, Render, ScoreRow
from loraeval.scorers.panel import Panel
from loraeval.scorers.registry import load_scorers


def row(**facts: str) -> ScoreRow:
    return ScoreRow("a.png", "run", None, None, "p", 1, {}, {"render": facts} if facts else {})


def test_another_torch_is_a_line_and_the_same_is_none() -> None:
    ours = [row(torch="2.11", device="cpu"), row(torch="2.11", device="cpu")]
    assert made_with(ours) == "device cpu, torch 2.11"
    assert another_way(ours, {KEY: "device cpu, torch 2.11"}) is None
    assert another_way(ours, {}) is None
    assert another_way([row()], {KEY: "device cpu, torch 2.11"}) is None
    line = another_way(ours, {KEY: "device cpu, torch 2.10"})
    assert line is not None
    assert line.startswith("rendered with device cpu, torch 2.11, the baseline with device cpu")
    assert made_with([*ours, row(torch="2.10")]) == "device cpu, torch 2.11; torch 2.10"


def test_the_row_of_a_rendered_image_says_what_made_it(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (24, 24), "red").save(tmp_path / "a.png")
    facts = {"torch": "2.11", "device": "cpu"}
    prompt = Prompt("p", "a cat", Caption("a cat"))
    render = Render(tmp_path / "a.png", "a.png", "run", prompt, made_with=facts)
    panel = Panel(scorers=tuple(load_scorers(("health",), None)))
    (found,) = panel.score([render])
    assert found.details["render"] == facts
