"""The command line answers at once, and a user's mistake costs one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from loraeval import __version__
from loraeval.cli import COMMANDS, main


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loraeval", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def processor_seconds(*words: str) -> float:
    """Processor time of a run: wall time says more about the neighbours than about us."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run(*words).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


@pytest.mark.parametrize("words", [("--help",), ("score", "--help")])
def test_help_answers_in_under_300_ms(words: tuple[str, ...]) -> None:
    assert min(processor_seconds(*words) for _ in range(3)) < 0.3


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert [name for name in COMMANDS if f"  {name} " not in text] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_a_sentence_and_the_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: loraeval {name}" in text
    assert "exit codes: 0 pass" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"loraeval {__version__}\n"


def test_no_words_show_the_help_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nonsense"], "invalid choice"),
        (["score"], "SOURCE"),
        (["score", "absent.jsonl"], "absent.jsonl"),
        (["score", ".", "--lattice", "big"], "COLUMNSxROWS"),
        (["gate", "--baseline", "absent", "--scores", "absent.jsonl"], "absent"),
        (["inspect", "absent.safetensors"], "absent.safetensors"),
        (["chart", "--scores", "absent.jsonl", "--out", "x"], "absent.jsonl"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_2(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
    assert len([line for line in error.splitlines() if line.startswith("loraeval: ")]) <= 1


def test_interrupt_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import loraeval.commands.doctor as command

    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", interrupted)
    assert main(["doctor"]) == 130
    assert "run the same command again" in capsys.readouterr().err
