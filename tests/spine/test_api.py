"""The public functions: light to import, callable whatever was imported, gone when promised."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import loraeval
from loraeval.deprecation import deprecated


def test_functions_stay_functions_whichever_room_was_imported_and_when() -> None:
    code = (
        "import loraeval\n"
        "first = loraeval.gate, loraeval.render\n"
        "import loraeval.gate.epochs, loraeval.render.plan\n"
        "from loraeval import gate\n"
        "from loraeval.gate import GateOptions\n"
        "for call in (loraeval.gate, gate, first[0]):\n"
        "    try:\n"
        "        call([], None)\n"
        "    except AttributeError as error:\n"
        "        print('called')\n"
        "assert callable(loraeval.render) and loraeval.gate.GateOptions is GateOptions\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["called"] * 3, done.stderr


def test_every_public_name_is_there_and_says_what_it_does() -> None:
    for name in loraeval.__all__:
        found = getattr(loraeval, name)
        assert name.startswith("__") or found.__doc__, name


def test_a_name_that_is_due_raises_and_one_that_is_not_warns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loraeval, "__version__", "0.9.0")
    with pytest.warns(DeprecationWarning, match="old is removed in loraeval 0.10; use new"):
        deprecated("old", removed_in="0.10", instead="new")
    monkeypatch.setattr(loraeval, "__version__", "0.10.0")
    with pytest.raises(RuntimeError, match="remove it"):
        deprecated("old", removed_in="0.10", instead="new")


def test_the_version_stands_in_one_place(repo: Path) -> None:
    assert 'dynamic = ["version"]' in (repo / "pyproject.toml").read_text()
    assert "version:" not in (repo / "CITATION.cff").read_text().replace("cff-version:", "")
