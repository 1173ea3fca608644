"""A run that was saved by steps: its table, chart, choice and report count steps."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loraeval.cli import main
from loraeval.evaluation.reporting import selection_of
from loraeval.records import ScoreRow
from loraeval.report.series import axis_words, epoch_points, in_epoch_order, on_axis
from loraeval.report.summary import summary_table
from loraeval.scores_file import write_scores


def rows(steps: tuple[int, ...] = (500, 1000, 10000)) -> list[ScoreRow]:
    found = []
    for step in steps:
        dice = random.Random(step)
        for prompt in range(8):
            found.append(ScoreRow(  # noqa: PERF401
                image=f"{step}/{prompt}.png", run="hero", checkpoint=f"hero-step{step:08d}",
                epoch=None, step=step, prompt_id=f"p{prompt}", seed=1,
                scores={"style": min(1.0, 0.3 + step / 20000 + dice.random() / 50), "health": 1.0},
            ))  # fmt: skip
    return found


def test_the_table_counts_steps_in_order() -> None:
    lines = summary_table(rows()).splitlines()
    assert lines[0].split() == ["run", "step", "n", "style", "health"]
    assert [line.split()[1] for line in lines[1:]] == ["500", "1000", "10000"]
    mixed = summary_table([*rows((500,)), replace(rows((500,))[0], run="other", epoch=3)])
    assert mixed.splitlines()[0].split()[1] == "epoch"
    assert "step 500" in mixed


def test_points_and_choice_are_by_step() -> None:
    points = epoch_points(rows(), ["style"])
    assert [(p.epoch, p.axis) for p in points] == [(500, "step"), (1000, "step"), (10000, "step")]
    chosen = selection_of(rows(), None)
    assert chosen is not None
    assert chosen.epoch == 10000
    assert "Step 10000" in chosen.reason
    assert "epoch" not in chosen.reason
    assert in_epoch_order(rows((1000, 500)))[0].step == 500
    with_epochs = [replace(row, epoch=2) for row in rows()]
    assert on_axis(with_epochs) == (with_epochs, "epoch")
    assert axis_words("Epochs 1 and epoch 2, an epochal one", "step") == (
        "Steps 1 and step 2, an epochal one"
    )


def test_the_chart_of_a_run_by_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    from loraeval.report.charts import epoch_chart

    chart = json.loads(epoch_chart(rows(), title="hero by step").to_json())
    titles: list[Any] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("field") == "epoch" and "title" in node:
                titles.append(node["title"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(chart)
    assert titles
    assert set(titles) == {"step"}
    write_scores(tmp_path / "s.jsonl", rows())
    assert (
        main(["chart", "--scores", str(tmp_path / "s.jsonl"), "--out", str(tmp_path / "out")]) == 0
    )
    out = capsys.readouterr().out
    assert "Step 10000" in out
    assert list((tmp_path / "out").glob("*.png"))
