"""Markdown, GitHub's commands, CSV and Parquet."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from loraeval.records import Checkpoint
from loraeval.report.github import SUMMARY_LIMIT_BYTES, annotation_lines, announce
from loraeval.report.markdown import escape, summary_markdown
from loraeval.report.tables import scores_csv, write_parquet

EVIL = "a|b\n::error::x [l](javascript:1) <img> @team #12 https://evil.example `c`"


def test_escaped_text_is_one_harmless_cell():
    text = escape(EVIL)
    assert "\n" not in text
    for part in ("\\|", "\\[l\\]", "\\<img\\>", "@\u200bteam", "\\#12", "https\\://", "\\`c\\`"):
        assert part in text


def test_summary_has_the_table_the_chart_and_every_verdict(study):
    text = summary_markdown(
        study.verdicts, rows=study.rows, selection=study.selection, title="T",
        images={"epochs.png": "Scores by epoch"},
    )  # fmt: skip
    assert text.startswith("## T\n\n**Epoch 3")
    assert "![Scores by epoch](epochs.png)" in text
    assert text.count("<details>") == 4
    assert "| STUDY-000003.safetensors | ✓ **pass** | ✓ +0.010 |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
    epochs = [line for line in tables if line.startswith("| 2 |")]
    assert len(epochs) == 1


def test_summary_of_one_verdict_and_diagrams(study):
    text = summary_markdown(study.verdicts[:1], rows=study.rows, diagrams=True)
    assert "✕ **fail** STUDY-000001.safetensors fails against GOLD." in text
    assert text.count("```mermaid") == 5
    assert '  x-axis "epoch" [1, 2, 3, 4]' in text
    assert "−0.090 [−0.120, −0.060]" in text


def test_annotations_blame_what_did_not_pass(study):
    lines = annotation_lines(study.verdicts)
    assert len(lines) == 3 * 4  # three checkpoints that did not pass, four metrics each
    assert lines[0] == (
        "::error title=STUDY-000001.safetensors%3A palette fail::"
        "palette is 0.10 below the baseline, 0.04 is accepted"
    )
    assert sum(line.startswith("::warning ") for line in lines) == 8


def test_a_hostile_name_cannot_start_a_command(study):
    verdict = replace(
        study.verdicts[0], checkpoint=Checkpoint(EVIL, file=EVIL), comparisons=(), reason=EVIL
    )
    (line,) = annotation_lines([verdict])
    assert "\n" not in line
    assert "%0A%3A%3Aerror" in line.split("::")[1]


def test_announce_only_in_github(tmp_path, study):
    place = tmp_path / "summary"
    assert announce(study.verdicts, "text", {"GITHUB_STEP_SUMMARY": str(place)}) == []
    assert not place.exists()
    there = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(place)}
    assert announce(study.verdicts, "text\n", there)
    announce(study.verdicts, "more\n" * 400_000, there)
    content = place.read_text()
    assert content.startswith("text\nmore\n")
    assert content.endswith("(cut: the report's summary.md has all of it)\n")
    assert len(content) < SUMMARY_LIMIT_BYTES + 200


def test_csv_reads_back_with_reasons_and_without_formulas(study):
    rows = [replace(study.rows[0], prompt_id="=cmd()", seed=None), *study.rows[1:]]
    table = list(csv.DictReader(io.StringIO(scores_csv(rows))))
    assert len(table) == 20
    assert table[0]["prompt_id"] == "'=cmd()"
    assert table[0]["seed"] == ""
    for line, row in zip(table, rows, strict=True):
        for metric, value in row.scores.items():
            assert line[metric] == ("" if value is None else repr(value))
    assert {line["palette.reason"] for line in table} == {"", "the caption names no colour"}


def test_parquet_reads_back(tmp_path, study):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")
    write_parquet(tmp_path / "scores.parquet", study.rows)
    table = parquet.read_table(tmp_path / "scores.parquet").to_pylist()
    assert [line["epoch"] for line in table] == [row.epoch for row in study.rows]
    assert [line["palette"] for line in table] == [row.scores["palette"] for row in study.rows]
    assert table[0]["checkpoint"] == study.rows[0].checkpoint
