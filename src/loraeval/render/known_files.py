"""When a file is the one that was hashed before: what a cheap look at it shows."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from loraeval.records import digest_of

BLOCK = 4096
BLOCKS = 32
"""Blocks that a look reads, evenly spread from the first to the last byte."""

SETTLED_SECONDS = 2.0
"""A file changed less long ago may change again within the tick of its file system's clock; what is
known of it is not kept. The coarsest clock in use, FAT's, ticks every two seconds."""


def look(path: Path) -> tuple[str, bool]:
    """Return what a cheap look at the file shows, and whether it has settled.

    The look covers device, inode, size, the times of the last write and of the last change of the
    inode, and 32 blocks of 4 KiB. A copy that keeps the time of the last write still has an inode
    of its own or a later change of it; the blocks are for file systems that keep neither.
    """
    facts = path.stat()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for index in range(BLOCKS):
            file.seek(index * max(0, facts.st_size - BLOCK) // (BLOCKS - 1))
            digest.update(file.read(BLOCK))
    seen = [facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]
    newest = max(facts.st_mtime_ns, facts.st_ctime_ns) / 1e9
    return digest_of([*seen, digest.hexdigest()]), abs(time.time() - newest) > SETTLED_SECONDS
