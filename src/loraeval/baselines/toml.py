"""TOML from outside, for baselines and profiles: bounded, and refused in one line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from loraeval.errors import BaselineError
from loraeval.prompts.limits import clean, read_text

MAX_BYTES = 4 << 20
"""A baseline's TOML has some kilobytes; a longer file is refused unread."""

_MAX_DOTS = 200
"""A dotted key costs the square of its dots."""


def load_toml(path: Path, what: str) -> dict[str, Any]:
    """Return the table in ``path``; ``what`` it should be is named in messages.

    Raises ``BaselineError`` in one line for a file that is missing, larger than ``MAX_BYTES``, not
    UTF-8, not TOML, nested too deeply, or that holds a number too long to be read.
    """
    text = read_text(path, BaselineError, MAX_BYTES)
    if any(line.partition("=")[0].count(".") > _MAX_DOTS for line in text.splitlines()):
        raise BaselineError(f"{clean(path)}: expected {what} as TOML (a key with too many dots)")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BaselineError(f"{clean(path)}: expected {what} as TOML ({clean(error)})") from error
