"""Text from outside: read within bounds, and made safe to print."""

from __future__ import annotations

import difflib
import re
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from loraeval.errors import LoraevalError

MAX_FILE_BYTES = 8 << 20
"""A prompt file of 10,000 long prompts has about half of this."""

_RAW = re.compile(r"[\udc80-\udcff]")


def read_text(
    path: Path,
    error: type[LoraevalError],
    most: int = MAX_FILE_BYTES,
    *,
    raw: bool = False,
) -> str:
    """Return the text of a regular file of at most ``most`` bytes, UTF-8, with or without BOM.

    Raises ``error`` naming the file for anything else: missing, a folder or device, too big, not
    UTF-8. With ``raw`` bytes that are not UTF-8 come through, to be found by ``has_raw_bytes``.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise error(f"{clean(path)}: expected a file, found something else")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as cause:
        raise error(f"{clean(path)}: cannot read the file ({_why(cause)})") from cause
    if len(data) > most:
        size = f"{most >> 20} MB" if most >> 20 else f"{most >> 10} KB"
        raise error(f"{clean(path)}: larger than {size}; split the file")
    try:
        return data.decode("utf-8-sig", "surrogateescape" if raw else "strict")
    except UnicodeDecodeError as cause:
        raise error(
            f"{clean(path)}: expected UTF-8 text, byte {cause.start} is none; save it as UTF-8"
        ) from cause


def has_raw_bytes(text: str) -> bool:
    """Say whether ``text`` holds what was not UTF-8 in its file; see ``read_text``."""
    return _RAW.search(text) is not None


def _why(cause: Exception) -> str:
    return (cause.strerror if isinstance(cause, OSError) else None) or clean(cause)


def distinct_tails(paths: Sequence[str]) -> list[str]:
    """Return of each path as many of its last parts as tell it from the others; equal paths stay
    equal.

    >>> distinct_tails(["a/x/n.png", "b/x/n.png", "b/x/m.png"])
    ['a/x/n.png', 'b/x/n.png', 'm.png']
    """
    parts = [tuple(path.replace("\\", "/").strip("/").split("/")) for path in paths]
    tails = ["/".join(path) for path in parts]
    left = set(range(len(parts)))
    for length in range(1, max(map(len, parts), default=0) + 1):
        shared = Counter(path[-length:] for path in set(parts))
        for index in sorted(left):
            if shared[parts[index][-length:]] == 1:
                tails[index] = "/".join(parts[index][-length:])
                left.discard(index)
    return tails


def clean(value: object, longest: int | None = 120) -> str:
    r"""Return ``value`` as one printable line of at most ``longest`` characters, None for any.

    Control, format, surrogate and line-separating characters (terminal escapes, right-to-left
    overrides, line breaks) and spaces other than the plain one become ``\xNN`` or ``\uNNNN``;
    a longer text is cut in the middle, since both ends of a path tell something.
    """
    text = str(value)
    if longest is not None and len(text) > longest:
        half = (longest - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def nearest(word: str, known: list[str]) -> str:
    """Return "did you mean X?" or, where nothing is near, the list of what is known."""
    close = difflib.get_close_matches(word[:60], known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
