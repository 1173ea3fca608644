"""Files written whole or not at all, and what killed processes left of theirs.

A file is written beside its place under a hidden name (``.loraeval-HOST-RANDOM.part``), synced and
renamed. Until then its writer holds a lock on it, which the system frees when the process ends, in
whatever way. So an unfinished file that nobody holds is a dead writer's: the next writer into the
same folder removes it, and ``loraeval cache --prune`` those of a whole store. Several processes
may write into one folder at once.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # a system without these locks: age alone decides
    fcntl = None  # type: ignore[assignment]

DAY = 86400.0
"""Seconds after which an unfinished file counts as left behind where locks cannot tell: made on
another machine (a network disk may keep locks to itself), or on a disk without locks."""

_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_UNFINISHED = re.compile(r"\.loraeval-([0-9a-f]{8})-[0-9a-f]{16}\.part")
_ATTEMPTS = 100
_STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")


def write_text_atomically(path: Path, text: str | Iterable[str]) -> None:
    """Write ``text``, whole or in pieces, to ``path`` as UTF-8; see ``whole_file``. Pieces are
    written as they come and never held together.
    """
    with whole_file(path) as file:
        for piece in [text] if isinstance(text, str) else text:
            file.write(piece.encode())


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``; see ``whole_file``."""
    with whole_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def whole_file(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Give a file to write, which appears at ``path`` when the block ends without an error.

    Its folder is made where absent, and what dead writers left there is removed. ``sync`` waits
    until the disk has the bytes. A device or a pipe (``/dev/stdout``) takes the bytes as they come
    and is never replaced by a file. Raises ``OSError`` as the file system does, and what the
    block raises; the unfinished file is removed.
    """
    if _is_stream(path):
        with path.open("wb") as stream:
            yield stream
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy(path.parent.absolute())
    file, beside = _new_file(path.parent)
    with file:
        try:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
            _put(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def show_file(source: Path, place: Path) -> None:
    """Make the bytes of ``source`` appear at ``place``, whole or not at all: as a second name of
    the same file where the disk allows that, else as a copy.

    Raises ``OSError`` as the file system does.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    _tidy(place.parent.absolute())
    with source.open("rb") as file:
        beside = place.parent / _unfinished_name()
        linked = False
        if _lock_shared(file.fileno()):  # on the file, so under its new name as well
            with contextlib.suppress(OSError):  # another disk, or one without second names
                os.link(source, beside)
                linked = True
        if not linked:
            with whole_file(place, sync=False) as copy:  # made anew from its source if lost
                shutil.copyfileobj(file, copy)
            return
        try:
            _put(beside, place)
        finally:
            beside.unlink(missing_ok=True)  # a rename onto itself does nothing


def remove_unfinished(folder: Path, *, deep: bool = False) -> list[Path]:
    """Remove the unfinished files of dead writers in ``folder``, ``deep`` below it as well.

    Returns what was removed. A file that a living process writes stays; so does one that cannot be
    removed.
    """
    places = [Path(place) for place, _, _ in os.walk(folder)] if deep else [folder]
    gone = []
    for place in places:
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            found = [entry.name for entry in entries if _UNFINISHED.fullmatch(entry.name)]
            gone += [place / name for name in found if _remove(place / name)]
    return gone


@lru_cache(maxsize=4096)
def _tidy(folder: Path) -> None:
    """Remove what dead writers left in ``folder``: once a process, before it writes there."""
    remove_unfinished(folder)


def _remove(path: Path) -> bool:
    """Remove one unfinished file if its writer is dead; say whether it is gone."""
    flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(path, flags)
    except OSError:  # renamed or removed meanwhile, a link, not ours
        return False
    try:
        facts = os.fstat(handle)
        locked = _lock(handle)
        match = _UNFINISHED.fullmatch(path.name)
        known = bool(locked) and match is not None and match[1] == _HOST
        old = locked is not False and time.time() - facts.st_mtime > DAY
        if not stat.S_ISREG(facts.st_mode) or not (known or old):
            return False
        path.unlink()  # under the lock: a writer that comes now sees that its file is gone
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _new_file(folder: Path) -> tuple[BinaryIO, Path]:
    """Make a locked file in ``folder`` under a name for unfinished ones."""
    for _ in range(_ATTEMPTS):
        path = folder / _unfinished_name()
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        # Between these two lines another process may have taken it for a dead writer's.
        if _lock(handle) is not False and os.fstat(handle).st_nlink:
            return os.fdopen(handle, "wb"), path
        os.close(handle)
        path.unlink(missing_ok=True)
    raise OSError(f"cannot lock a new file in {folder}")


def _put(beside: Path, path: Path) -> None:
    """Give a finished file its name, in the place of one that has it.

    A disk that renames onto no existing file (some network disks) loses the old one first: for a
    moment there is none, and a reader meets no file instead of a torn one.
    """
    try:
        beside.replace(path)
    except FileExistsError:
        path.unlink(missing_ok=True)
        beside.replace(path)


def _unfinished_name() -> str:
    return f".loraeval-{_HOST}-{secrets.token_hex(8)}.part"


def _lock(handle: int, *, shared: bool = False) -> bool | None:
    """Lock an open file until it is closed; False where another process has it, None where the
    disk knows no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _lock_shared(handle: int) -> bool:
    """Lock an open file together with other readers; False where that cannot be had.

    A cleaner that looks at another name of the same file has it for a moment: wait for that.
    """
    for _ in range(_ATTEMPTS):
        locked = _lock(handle, shared=True)
        if locked is not False:
            return bool(locked)
        time.sleep(0.01)
    return False


def _is_stream(path: Path) -> bool:
    """Say whether ``path`` takes bytes but must not be replaced: a device, a pipe."""
    if str(path.absolute()).startswith(_STREAMS):  # whatever the shell has put behind them
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
