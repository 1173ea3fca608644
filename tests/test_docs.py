"""Every command in the README and the guide runs, and every link leads somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_pages_name_only_commands_that_exist(page: Path) -> None:
    from loraeval.cli import COMMANDS

    named = re.findall(r"(?m)^(?:    |\$ )loraeval ([a-z]+)", page.read_text(encoding="utf-8"))
    assert set(named) - set(COMMANDS) == set()


@pytest.mark.slow
def test_every_command_of_the_guide_runs(tmp_path: Path) -> None:
    commands = console(ROOT / "docs" / "guide.md")
    assert len(commands) > 10
    for name in ("demo", "prompts", "recipes"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "baselines", tmp_path / "baselines")
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "CI": "1"}
    for command, code in commands:
        if command.startswith("make "):  # installs; this test runs in what it installed
            continue
        done = subprocess.run(
            shlex.split(command), cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == code, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
