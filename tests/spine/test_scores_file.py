"""Scores files: what is written comes back, and nothing else is let in."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loraeval.errors import ScoresError
from loraeval.outside.files import write_text_atomically
from loraeval.records import ScoreRow
from loraeval.scores_file import read_scores, row_to_json, write_scores

ROW = ScoreRow(
    image="a/b.png", run="r", checkpoint=None, epoch=7, prompt_id="p", seed=42,
    scores={"palette": 0.5, "style": None}, details={"style": {"reason": "no encoder"}},
    versions={"palette": "1"}, encoder=None, prompt_digest="d", recipe=None,
)  # fmt: skip


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "scores.jsonl"
    write_scores(path, [ROW, ROW])
    assert read_scores(path) == [ROW, ROW]


def test_a_row_by_other_hands_needs_only_the_pinned_fields(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    line = {"image": "x.png", "run": "r", "prompt_id": "p", "scores": {"grid": 1}, "mine": [1]}
    path.write_text(json.dumps(line) + "\n\n")
    (row,) = read_scores(path)
    assert row.scores == {"grid": 1.0}
    assert row.seed is None


def test_step_and_strength_come_back_and_files_of_before_have_neither(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    row = replace(ROW, step=1400, strength=0.8)
    write_scores(path, [row, ROW])
    assert read_scores(path) == [row, ROW]
    assert "step" not in json.loads(path.read_text().splitlines()[1])
    for wrong in ({"step": 1.5}, {"step": True}, {"strength": "1"}, {"strength": 1e9}):
        path.write_text(json.dumps({**json.loads(row_to_json(ROW)), **wrong}) + "\n")
        with pytest.raises(ScoresError):
            read_scores(path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "one JSON object a line"),
        ("[1]", "expected a JSON object"),
        ('{"image": "x"}', "run, prompt_id, scores missing"),
        ('{"image":"x","run":"r","prompt_id":"p","scores":{"grid":NaN}}', "NaN is no number"),
        ('{"image":"x","run":"r","prompt_id":"p","scores":{"grid":1.5}}', "grid=1.5"),
        ('{"image":"x","run":"r","prompt_id":"p","scores":{"grid":true}}', "grid=True"),
        ('{"image":"x","run":"r","prompt_id":"p","scores":{},"epoch":"7"}', "epoch='7'"),
        ("[" * 100_000, "one JSON object a line"),
        ("", "found none"),
    ],
)
def test_what_is_not_a_row_is_refused_with_its_place(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ScoresError) as caught:
        read_scores(path)
    assert says in str(caught.value)
    assert "scores.jsonl" in str(caught.value)


def test_a_missing_file_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ScoresError, match="loraeval score"):
        read_scores(tmp_path / "absent.jsonl")


def test_an_interrupted_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scores.jsonl"
    write_text_atomically(path, "old")

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="No space"):
        write_text_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_bytes(data)
    with contextlib.suppress(ScoresError):
        read_scores(path)


@given(
    st.dictionaries(st.text(max_size=8), st.none() | st.floats(0, 1), max_size=4),
    st.text(max_size=20),
)
def test_rows_survive_json(scores: dict[str, float | None], text: str) -> None:
    row = ScoreRow(text, text, text, 1, text, 2, scores)
    assert ScoreRow(**json.loads(row_to_json(row))) == row
