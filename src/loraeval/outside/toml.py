"""TOML from strangers, parsed within bounds of time and memory."""

from __future__ import annotations

import re
import tomllib
from typing import Any

MAX_DOTS = 16
"""Parts of a dotted key at most: the parser's time and memory grow with the square of them."""

_KEY = re.compile(r"""[\s\[{,]*[\w"'-]+[\s\]]*""")


def loads(text: str) -> dict[str, Any]:
    """Return the table that ``text`` holds.

    Raises ``ValueError`` in one line for what is not TOML, a key of more than ``MAX_DOTS`` parts,
    nesting too deep for the parser, and numbers too long to be read.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > MAX_DOTS and _longest_key(line) > MAX_DOTS:
            raise ValueError(f"line {number} has a key of more than {MAX_DOTS} parts")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _longest_key(line: str) -> int:
    """Return the largest number of parts, joined by dots, that could be one key of ``line``."""
    longest = run = 0
    for part in line.split("."):
        run = run + 1 if len(part) < 1000 and _KEY.fullmatch(part) else 0
        longest = max(longest, run)
    return longest
