"""The table of benchmarks/render.py in benchmarks/README.md (filled in below)."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_table(results: dict[str, Any], readme: Path) -> None:
    """Replace the text between the markers of ``render`` in ``readme``."""
    raise NotImplementedError
