"""Build the documentation site into build/docs, strictly: a broken link or anchor is an error.

    python tools/build_docs.py        # make docs

The pages are the repository's own (README, docs/, benchmarks/, …), staged under their paths with
what they link to, so that a link that works on the repository's page works on the site. The API
page is made from the docstrings. Nothing is fetched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAGE = ROOT / "build" / "docs-source"
LEFT_OUT = ("src/", "tests/", ".github/ISSUE_TEMPLATE/", ".github/PULL_REQUEST_TEMPLATE")
LARGEST = 4 << 20
"""Bytes: weights are linked to by nobody."""


def tracked() -> list[str]:
    """Return the repository's files, committed or new, that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [name for name in listed.stdout.split("\0") if name]


def stage() -> None:
    """Copy pages and what they show into ``STAGE``; README.md becomes index.md."""
    shutil.rmtree(STAGE, ignore_errors=True)
    for name in tracked():
        source = ROOT / name
        if name.startswith(LEFT_OUT) or not source.is_file() or source.stat().st_size > LARGEST:
            continue
        target = STAGE / ("index.md" if name == "README.md" else name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".md"):
            text = source.read_text(encoding="utf-8")
            target.write_text(text.replace("../README.md", "../index.md"), encoding="utf-8")
        else:
            shutil.copyfile(source, target)


def main() -> int:
    """Stage and build; return mkdocs' exit code."""
    stage()
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--clean"]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, check=False, env=quiet).returncode


if __name__ == "__main__":
    sys.exit(main())
