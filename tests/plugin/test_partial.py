"""A session that judged a part of the gate prints no pass and ends with 1, unless told it may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

GOOD, PHOTO = "good-000002.safetensors", "photo-000001.safetensors"
PARTIAL = "not judged: 1 of 3 selected"


def table_of(result: pytest.RunResult) -> str:
    """The gate's part of the output, without the summary of failures."""
    return result.stdout.str().split(" LoRA gate ")[-1].split(" short test summary ")[0]


@pytest.mark.parametrize(
    "words",
    [
        ("-k", "health"),
        ("--deselect", f"{GOOD}::palette", "--deselect", f"{GOOD}::grid"),
        ("-m", "not other", "-k", "health"),
    ],
    ids=["-k", "--deselect", "-m"],
)
def test_a_part_of_the_items_is_no_pass(session: pytest.Pytester, words: tuple[str, ...]) -> None:
    result = session.runpytest("--checkpoint", GOOD, *words)
    result.assert_outcomes(passed=1, deselected=2)
    assert result.ret == 1
    table = table_of(result)
    assert f"{PARTIAL}  {GOOD}  against golden" in table
    assert f"pass  {GOOD}" not in table
    assert "--lora-partial" in table


def test_what_failed_in_a_part_is_a_fail(session: pytest.Pytester) -> None:
    result = session.runpytest("--checkpoint", PHOTO, "-k", "grid")
    assert result.ret == 1
    assert f"FAIL (1 of 3 selected)  {PHOTO}" in table_of(result)


def test_a_part_may_end_with_0_where_the_user_said_so(session: pytest.Pytester) -> None:
    result = session.runpytest("--checkpoint", GOOD, "-k", "health", "--lora-partial")
    assert result.ret == 0
    assert PARTIAL in table_of(result)
    assert f"pass  {GOOD}" not in table_of(result)
    failing = session.runpytest("--checkpoint", PHOTO, "-k", "grid", "--lora-partial")
    assert failing.ret == 1


def test_one_of_two_checkpoints_left_out_is_named(session: pytest.Pytester) -> None:
    result = session.runpytest("--checkpoint", GOOD, "--checkpoint", PHOTO, "-k", "good")
    assert result.ret == 1
    table = table_of(result)
    assert f"pass  {GOOD}" in table
    assert f"not judged: 0 of 3 selected  {PHOTO}" in table


def test_a_gate_of_which_no_item_ran_ends_with_1(session: pytest.Pytester) -> None:
    session.makepyfile(test_other="def test_other(): pass")
    result = session.runpytest("test_other.py", "--checkpoint", GOOD, "-k", "test_other")
    result.assert_outcomes(passed=1, deselected=3)
    assert result.ret == 1
    assert f"not judged: 0 of 3 selected  {GOOD}" in table_of(result)
    assert session.runpytest("--checkpoint", GOOD, "-k", "nothing").ret == 1


def test_only_what_failed_last_is_no_pass_either(session: pytest.Pytester) -> None:
    assert session.runpytest("--checkpoint", PHOTO).ret == 1
    again = session.runpytest("--checkpoint", PHOTO, "--checkpoint", GOOD, "--lf")
    assert again.ret == 1
    assert f"not judged: 0 of 3 selected  {GOOD}" in table_of(again)


def test_a_part_is_seen_by_the_controller_of_workers(session: pytest.Pytester) -> None:
    result = session.runpytest_subprocess("--checkpoint", GOOD, "-n", "2", "-k", "health")
    assert result.ret == 1
    assert PARTIAL in table_of(result)


def test_collecting_alone_and_sessions_on_other_paths_are_exempt_with_a_line(
    session: pytest.Pytester, world: Any
) -> None:
    collected = session.runpytest("--checkpoint", GOOD, "--collect-only", "-q")
    assert collected.ret == 0
    collected.stdout.fnmatch_lines(["LoRA gate: nothing is judged with --collect-only"])
    session.makeini(
        f"[pytest]\nlora_baseline = {world.baselines / 'golden'}\nlora_encoder = none\n"
        f"lora_renders = {world.manifest}\naddopts = --checkpoint={GOOD}\n"
    )
    session.makepyfile(test_other="def test_other(): pass")
    other = session.runpytest("test_other.py", "-k", "test_other")
    other.assert_outcomes(passed=1, deselected=3)
    assert other.ret == 0
    table = table_of(other)
    assert f"not judged: 0 of 3 selected  {GOOD}" in table
    assert "named by the configuration" in table
    assert session.runpytest("-k", "health").ret == 1, "the session that is the gate's own"


def test_an_asked_for_gate_without_any_checkpoint_stops(session: pytest.Pytester) -> None:
    empty = session.mkdir("out")
    (empty / "notes.txt").write_text("none yet")
    session.makepyfile(test_other="def test_other(): pass")
    for argument, says in (("out", "*found none in*out"), ("", "*--checkpoint*empty*")):
        result = session.runpytest("test_other.py", "--checkpoint", argument)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([says])


def test_a_report_that_was_asked_for_and_is_not_there_is_red(session: pytest.Pytester) -> None:
    result = session.runpytest("--checkpoint", GOOD, "--lora-report", "/proc/loraeval")
    result.assert_outcomes(passed=3)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["report: not written, /proc/loraeval: *--lora-report"])


def test_a_report_of_a_part_gates_nothing_that_was_not_selected(
    session: pytest.Pytester, tmp_path: Path
) -> None:
    result = session.runpytest(
        "--checkpoint", GOOD, "--checkpoint", PHOTO, "-k", "good", "--lora-report", str(tmp_path)
    )
    assert result.ret == 1
    assert "photo" not in (tmp_path / "verdicts.json").read_text()
