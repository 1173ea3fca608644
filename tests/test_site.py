"""The documentation site has no broken link, and its API page names all that is public."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import loraeval


@pytest.mark.slow
def test_the_site_builds_and_the_api_page_names_every_public_object(repo: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    tool = [sys.executable, "tools/build_docs.py"]
    built = subprocess.run(tool, cwd=repo, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    page = (repo / "build/docs/docs/api.html").read_text(encoding="utf-8")
    rooms = ("api", "records", "errors", "outcome")
    missing = [
        name
        for name in loraeval.__all__
        if name != "__version__"
        and not any(f'id="loraeval.{room}.{name}"' in page for room in rooms)
    ]
    assert missing == []
