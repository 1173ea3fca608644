"""What a prompt file from outside may hold at most, and the checks that keep to it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from loraeval.errors import PromptError
from loraeval.outside.text import clean, nearest

MAX_MANIFEST_BYTES = 64 << 20
"""A renders manifest of 50,000 images."""
MAX_LINE_BYTES = 256 << 10
MAX_CAPTION_BYTES = 256 << 10
"""A caption file; only its first line counts."""
MAX_PROMPTS = 10_000
MAX_TEXT = 10_000
"""Characters of a prompt; 225 tokens, the most that trainers use, are about 1,500."""
MAX_ID = 200
MAX_TAGS = 50

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

OVERRIDES: dict[str, tuple[type, float, float]] = {
    "seed": (int, 0, 2**63 - 1),
    "width": (int, 64, 4096),
    "height": (int, 64, 4096),
    "steps": (int, 1, 1000),
    "guidance_scale": (float, 0, 100),
    "lora_scale": (float, -10, 10),
}
"""Recipe fields that a prompt may set for itself: type, lowest, highest."""


def check_text(value: object, where: str, what: str = "text", *, empty: bool = False) -> str:
    """Return ``value`` if it is text of at most ``MAX_TEXT`` characters without control codes."""
    if not isinstance(value, str):
        raise PromptError(f"{where}: {what} must be text in quotes, found {clean(repr(value))}")
    if len(value) > MAX_TEXT:
        raise PromptError(f"{where}: {what} has {len(value)} characters, at most {MAX_TEXT} may be")
    if _CONTROL.search(value):
        raise PromptError(f"{where}: {what} holds control characters; remove them")
    if not empty and not value.strip():
        raise PromptError(f"{where}: {what} is empty")
    return value


def check_id(value: object, where: str) -> str:
    """Return ``value`` if it can name a prompt: one line, and no way out of a folder."""
    name = check_text(value, where, "id")
    if len(name) > MAX_ID or not name.isprintable() or "\\" in name or name != name.strip():
        raise PromptError(
            f"{where}: {clean(repr(name))} is no id; use up to {MAX_ID} printable characters on "
            "one line, without a backslash or spaces at the ends"
        )
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        raise PromptError(f"{where}: {clean(repr(name))} is no id, it reads like a path upwards")
    return name


def check_override(key: str, value: object, where: str) -> float | int:
    """Return a recipe field of a prompt if it has the right type and range."""
    kind, low, high = OVERRIDES[key]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        number = number and isinstance(value, int)
    if not number or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type,operator]
        raise PromptError(
            f"{where}: {key} must be {'a whole number' if kind is int else 'a number'} "
            f"from {low} to {high}, found {clean(repr(value))}"
        )
    if key in ("width", "height") and value % 8:  # type: ignore[operator]
        raise PromptError(f"{where}: {key} must be a multiple of 8, found {value}")
    return kind(value)  # type: ignore[no-any-return]


def check_keys(keys: Iterable[object], valid: Iterable[str], where: str) -> None:
    """Raise ``PromptError`` for the first key that is not ``valid``, naming the nearest one."""
    known = list(valid)
    for key in keys:
        if key not in known:
            raise PromptError(
                f"{where}: unknown key {clean(repr(key), 60)}; {nearest(str(key), known)}"
            )
