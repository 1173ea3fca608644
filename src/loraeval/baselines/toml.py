"""TOML from outside, for baselines and profiles: bounded, and refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loraeval.errors import BaselineError
from loraeval.outside import toml
from loraeval.outside.text import clean, read_text

MAX_BYTES = 1 << 20
"""A baseline's TOML has some kilobytes; a longer file is refused unread."""


def load_toml(path: Path, what: str) -> dict[str, Any]:
    """Return the table in ``path``; ``what`` it should be is named in messages.

    Raises ``BaselineError`` in one line for a file that is missing, larger than ``MAX_BYTES``, not
    UTF-8, not TOML, nested too deeply, or that holds a number too long to be read.
    """
    try:
        return toml.loads(read_text(path, BaselineError, MAX_BYTES))
    except ValueError as error:
        raise BaselineError(f"{clean(path)}: expected {what} as TOML ({clean(error)})") from error
