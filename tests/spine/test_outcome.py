"""One table of exit codes: what the doors end with, what the help and the pages say."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loraeval.cli import main
from loraeval.outcome import EXIT_CODES, ORDER, UNDECIDED, exit_code, exit_line, settled, worst
from loraeval.records import Checkpoint, Outcome, Verdict

CODES = {"pass": 0, "fail": 1, "stale": 2, "inconclusive": 3}


def verdict(outcome: Outcome) -> Verdict:
    return Verdict(Checkpoint("c"), "b", outcome, (), "why")


@pytest.mark.parametrize("outcomes", [*itertools.product(ORDER, repeat=2)])
def test_two_verdicts_end_with_the_code_of_the_graver(outcomes: tuple[Outcome, ...]) -> None:
    expected = min(outcomes, key=("stale", "fail", "inconclusive", "pass").index)
    assert worst(outcomes) == expected
    assert exit_code(map(verdict, outcomes)) == CODES[expected]


@pytest.mark.parametrize(("undecided", "code"), [(None, 3), ("pass", 0), ("fail", 1), ("skip", 3)])
def test_undecided_counts_as_what_the_user_says_and_nothing_else_does(undecided, code) -> None:
    assert exit_code([verdict("inconclusive")], undecided) == code
    for outcome in ("pass", "fail", "stale"):
        assert settled(outcome, undecided) == outcome
    assert exit_code([verdict("inconclusive"), verdict("fail")], undecided) == 1


def test_no_verdict_is_no_pass() -> None:
    assert exit_code([]) == 2
    with pytest.raises(ValueError, match="at least one"):
        worst([])


def test_a_bug_ends_with_its_traceback_and_70_never_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import loraeval.commands.doctor as command

    def broken(_: object) -> int:
        return 1 // 0

    monkeypatch.setattr(command, "run", broken)
    assert main(["doctor"]) == 70
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error
    assert "a bug in loraeval" in error.splitlines()[-2] + error.splitlines()[-1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_process_with_its_code_also_while_a_thread_computes(
    number: signal.Signals, code: int
) -> None:
    program = (
        "import sys, threading, time\n"
        "import loraeval.commands.doctor as command\n"
        "from loraeval.cli import entry\n"
        "def busy(_):\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "command.run = busy\n"
        "sys.argv = ['loraeval', 'doctor']\n"
        "entry()\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, number)
        _, error = process.communicate(timeout=50)
    assert process.returncode == code
    assert error.count("run the same command again") == 1


def test_the_pages_and_the_help_have_the_table(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(EXIT_CODES) == {0, 1, 2, 3, 70, 130, 143}
    for page in ("docs/design.md", "docs/gate.md", "docs/ci/README.md"):
        text = (repo / page).read_text(encoding="utf-8")
        for code, words in EXIT_CODES.items():
            assert f"| {code} | {words} |" in text, f"{page}: {code}"
    assert main(["gate", "--help"]) == 0
    assert exit_line() in " ".join(capsys.readouterr().out.split())
    assert set(UNDECIDED) == {"pass", "fail", "skip"}
