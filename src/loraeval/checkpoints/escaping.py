"""Strangers' text made safe to print: metadata and file names never reach a terminal raw."""

from __future__ import annotations

_SHOWN = 120


def plain(value: object, limit: int = _SHOWN) -> str:
    r"""Return ``value`` as one printable line of at most ``limit`` characters.

    Control, format, surrogate and line-separating characters (terminal escapes, right-to-left
    overrides, line breaks) and spaces other than the plain one become ``\xNN`` or
    ``\uNNNN``; a longer text is cut in the middle.
    """
    text = str(value)
    if len(text) > limit:
        half = (limit - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
