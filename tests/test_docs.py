"""Every command in README and docs is one that exists, the guide's run, links lead somewhere."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from loraeval.cli import COMMANDS, main

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")])


def console(page: Path) -> list[tuple[str, int]]:
    """The commands of a page's ``console`` blocks with the exit code that they must have."""
    found: list[tuple[str, int]] = []
    for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], 0))
            elif match := re.fullmatch(r"exit (\d)", line):
                found[-1] = (found[-1][0], int(match[1]))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    targets = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [t for t in targets if not (page.parent / t).exists()] == []


SOURCES = [*PAGES, ROOT / "Makefile", *sorted((ROOT / "src/loraeval/commands").glob("*.py"))]
SOURCES += sorted((ROOT / "docs" / "ci").glob("*.yml"))
BLOCK = re.compile(r"```[^\n]*\n(.*?)```", re.DOTALL)
CALL = re.compile(
    r"^\s*(?:-\s)?(?:run:\s)?(?:\$ )?\"?(?:\S+/)?(?P<program>loraeval|pytest)\"? (?P<rest>.+)$"
)
INLINE = re.compile(r"`(loraeval [a-z]+[^`\n]*|pytest --checkpoint[^`\n]*)`")
AFTER = {"&&", "||", "|", ";", ">", ">>", "2>&1"}


class Strict(argparse.ArgumentParser):
    """A parser that raises what it would print."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def whole_lines(path: Path) -> Iterator[str]:
    """The lines of a file that may be commands, continued lines joined: of a page its blocks."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        indented = re.findall(r"(?m)^ {4}(?:\$ )?(?:loraeval|pytest) .*(?:\\\n.*)*", text)
        text = "\n".join([*BLOCK.findall(text), *indented])
    text = re.sub(r"\\\n\s*", " ", text)
    text = re.sub(r"- >\n((?: {6}.+\n)+)", lambda m: " ".join(m[1].split()) + "\n", text)  # YAML
    yield from text.splitlines()


def calls(path: Path) -> list[list[str]]:
    """The words of each call of ``loraeval`` or ``pytest`` that stands on a line of its own."""
    found = []
    for line in whole_lines(path):
        match = CALL.match(line)
        if match is None or (
            path.suffix == ".py" and not line.startswith(("    loraeval", "loraeval"))
        ):
            continue
        rest = re.split(r" {3,}", match["rest"])[0]  # a column of explanations follows
        words = shlex.split(rest, comments=True)
        ends = [i for i, word in enumerate(words) if word in AFTER]
        found.append([match["program"], *words[: ends[0] if ends else None]])
    return found


def parser_of(command: str) -> Strict:
    parser = Strict(prog=command)
    importlib.import_module(COMMANDS[command][0]).add_arguments(parser)
    return parser


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Every option of a parser and of its verbs."""
    found: set[str] = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found |= {name for verb in action.choices.values() for name in options_of(verb)}
    return found


def all_calls() -> list[tuple[str, list[str]]]:
    return [(str(path.relative_to(ROOT)), words) for path in SOURCES for words in calls(path)]


@pytest.mark.parametrize(
    ("page", "words"), all_calls(), ids=[f"{p}:{' '.join(w)[:60]}" for p, w in all_calls()]
)
def test_every_command_is_understood_as_it_stands(
    page: str, words: list[str], pytestconfig: pytest.Config
) -> None:
    program, *rest = words
    if program == "pytest":
        _, unknown = pytestconfig._parser.parse_known_and_unknown_args(rest)
        assert unknown == []
        return
    assert rest[0] in COMMANDS
    parser_of(rest[0]).parse_args(rest[1:])


def test_commands_are_found_where_they_stand() -> None:
    found = {page for page, _ in all_calls()}
    assert {"README.md", "Makefile", "docs/guide.md", "docs/reports.md", "docs/baselines.md",
            "docs/training-parameters.md", "docs/write-a-scorer.md",
            "docs/ci/github-cpu-scoring.yml", "docs/ci/github-nightly-watch.yml",
            "docs/ci/gitlab.yml", "src/loraeval/commands/watch.py",
            "src/loraeval/commands/cache.py"} <= found  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_in_sentences_have_the_options_that_exist(
    page: Path, pytestconfig: pytest.Config
) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for call in INLINE.findall(text):
        program, *words = call.split()
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        if program == "pytest":
            known = options_of(pytestconfig._parser.optparser)
        else:
            assert words[0] in COMMANDS, call
            known = options_of(parser_of(words[0]))
        assert given <= known, call


@pytest.mark.slow
def test_every_command_of_the_guide_runs(
    tmp_path: Path,
    demo_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """``loraeval`` lines in this process, warm; the first of them and pytest's in a real shell."""
    commands = console(ROOT / "docs" / "guide.md")
    assert len(commands) > 10
    for name in ("demo", "recipes"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("baselines", "prompts"):  # written to
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / ".loraeval").mkdir()
    (tmp_path / ".loraeval" / "store").symlink_to(demo_store)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "1")
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}
    in_a_shell = 0
    for command, code in commands:
        program, *words = shlex.split(command)
        if program == "make":  # installs; this test runs in what it installed
            continue
        if program == "loraeval" and in_a_shell:
            came = main(words)
            said = "\n".join(capsys.readouterr())
        else:
            in_a_shell += 1
            done = subprocess.run(
                [program, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            came, said = done.returncode, done.stdout + done.stderr
        assert came == code, f"{command}\n{said[-6000:]}"
