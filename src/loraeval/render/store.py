"""The store of renders: PNG files named by what made them, and an index in SQLite.

Layout of a store folder::

    index.sqlite3            what is known of each render; WAL, several processes may write
    renders/ab/abcd….png     one file a render, named by its key
    compile/                 torch.compile's own cache, so that a second run starts warm

A file is whole or absent: it is written beside its place, synced, and renamed. Every read checks
the SHA-256 of the index; a file that differs is dropped and counts as absent, so it is rendered
again. A file whose row was lost (killed between rename and commit) is taken up if it decodes and
carries its own key.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.errors import StoreError
from loraeval.outside.files import write_bytes_atomically
from loraeval.records import Recipe, canonical_json
from loraeval.render.known_files import look
from loraeval.render.plan import Job
from loraeval.render.store_file import (
    StoreRow,
    embedded_row,
    encode_png,
    facts_of,
)

if TYPE_CHECKING:
    import numpy as np

DEFAULT_FOLDER = Path(".loraeval") / "store"
"""Where renders go when nobody says otherwise, below the working directory."""

MADE_WITH = ("loraeval", "torch", "diffusers", "device", "processor")
"""What a row of scores says of how its image was made."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS renders (
    key TEXT PRIMARY KEY, recipe TEXT NOT NULL, checkpoint TEXT NOT NULL, run TEXT, epoch INTEGER,
    prompt_id TEXT, prompt TEXT NOT NULL, seed INTEGER NOT NULL, bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL, health TEXT NOT NULL, made REAL NOT NULL, used REAL NOT NULL,
    details TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_checkpoint ON renders (checkpoint);
CREATE TABLE IF NOT EXISTS recipes (digest TEXT PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS known_files (
    path TEXT NOT NULL, what TEXT NOT NULL, look TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (path, what));
CREATE TABLE IF NOT EXISTS speeds (
    what TEXT PRIMARY KEY, images REAL NOT NULL, seconds REAL NOT NULL, made REAL NOT NULL);
"""
_COLUMNS = (
    "key, recipe, checkpoint, run, epoch, prompt_id, prompt, seed, bytes, sha256, health, made,"
    " used, details"
)


class Store:
    """A folder of renders. Safe to use from threads and from several processes at once.

    Pickles as its folder, so that workers open their own connection. Raises ``StoreError`` where
    the folder cannot be written or the index is not one of this package.
    """

    def __init__(self, folder: str | Path = DEFAULT_FOLDER) -> None:
        self.folder = Path(folder)
        self._local = threading.local()
        try:
            (self.folder / "renders").mkdir(parents=True, exist_ok=True)
            with self._connection() as connection:
                connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"{self.folder}: cannot use this folder as a store ({error})"
            ) from error

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return type(self), (self.folder,)

    def path(self, key: str) -> Path:
        """Return where the render called ``key`` lies or would lie."""
        return self.folder / "renders" / key[:2] / f"{key}.png"

    def find(self, key: str) -> Path | None:
        """Return the file of ``key`` if it is there and whole, else None.

        A file that is damaged is removed, with its row. A whole file without a row is adopted.
        """
        path = self.path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path}: cannot read this render ({error.strerror})") from error
        with self._connection() as connection:
            row = connection.execute(
                "SELECT sha256, made FROM renders WHERE key = ?", (key,)
            ).fetchone()
        if row is not None and row[0] == hashlib.sha256(data).hexdigest():
            return path
        text = embedded_row(data)
        # Another process may have renamed its file into place and not entered its row yet: then
        # the file tells of another writing than the row, and is whole.
        own = text is not None and text.get("key") == key
        if text is not None and own and (row is None or text.get("made") != row[1]):
            self._insert(StoreRow(**{**text, "used": time.time(), **facts_of(data)}))
            return path
        self.forget([key])
        return None

    def write(self, job: Job, pixels: np.ndarray, health: str, details: dict[str, Any]) -> Path:
        """Encode ``pixels`` (uint8, H×W×3, sRGB) as PNG and store it as the render of ``job``.

        ``details`` (device, batch size, attention processor …) travel in the file and the index.
        """
        row = StoreRow(
            key=job.key, recipe=job.recipe.digest, checkpoint=job.checkpoint.sha256,
            run=job.checkpoint.run, epoch=job.checkpoint.epoch, prompt_id=job.prompt.id,
            prompt=job.prompt.digest, seed=job.seed, bytes=0, sha256="", health=health,
            made=time.time(), used=time.time(), details=canonical_json(details),
        )  # fmt: skip
        data = encode_png(pixels, canonical_json(asdict(row)))
        path = self.path(job.key)
        try:
            write_bytes_atomically(path, data)
        except OSError as error:
            raise StoreError(
                f"{self.folder}: cannot store a render ({error.strerror}); the images made so far "
                "are kept: make room, or choose another store, and run the same command again"
            ) from error
        self._insert(StoreRow(**{**asdict(row), **facts_of(data)}), job.recipe)
        return path

    def made_with(self, key: str) -> dict[str, str]:
        """Return the versions, device and processor that made the render ``key``, as its row tells;
        empty where there is no row.
        """
        with self._connection() as connection:
            row = connection.execute("SELECT details FROM renders WHERE key = ?", (key,)).fetchone()
        told = {} if row is None else json.loads(row[0])
        return {name: str(told[name]) for name in MADE_WITH if name in told}

    def forget(self, keys: Iterable[str]) -> None:
        """Remove renders and their rows; what is not there is passed over."""
        keys = list(keys)
        for key in keys:
            self.path(key).unlink(missing_ok=True)
        with self._connection() as connection:
            connection.executemany("DELETE FROM renders WHERE key = ?", [(key,) for key in keys])

    def touch(self, keys: Iterable[str]) -> None:
        """Note that renders were used now; pruning by age goes by that."""
        with self._connection() as connection:
            connection.executemany(
                "UPDATE renders SET used = ? WHERE key = ?", [(time.time(), key) for key in keys]
            )

    def rows(self) -> Iterator[StoreRow]:
        """Yield every row of the index, the longest unused first."""
        with self._connection() as connection:
            query = f"SELECT {_COLUMNS} FROM renders ORDER BY used, key"  # noqa: S608 - constant
            rows = connection.execute(query).fetchall()
        return (StoreRow(*row) for row in rows)

    def recipe_json(self, digest: str) -> dict[str, Any] | None:
        """Return the recipe behind a digest as plain values, None where it is not known."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT json FROM recipes WHERE digest = ?", (digest,)
            ).fetchone()
        return None if row is None else json.loads(row[0])

    def file_sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file, computed once for as long as a look at it (``look``) shows
        no change.
        """
        from loraeval.checkpoints.header import file_sha256

        return self.file_digest(path, "sha256", file_sha256)

    def file_digest(self, path: Path, what: str, compute: Callable[[Path], str]) -> str:
        """Return ``compute(path)``, kept under the name ``what`` as ``file_sha256`` is."""
        name = str(path.resolve())
        seen, settled = look(path)
        with self._connection() as connection:
            row = connection.execute(
                "SELECT digest FROM known_files WHERE path = ? AND what = ? AND look = ?",
                (name, what, seen),
            ).fetchone()
        if row is not None:
            return str(row[0])
        digest = compute(path)
        if settled and look(path)[0] == seen:
            with self._connection() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO known_files VALUES (?, ?, ?, ?)",
                    (name, what, seen, digest),
                )
        return digest

    def note_speed(self, what: str, images: int, seconds: float) -> None:
        """Remember how long ``images`` took on a device with a recipe, for the next estimate."""
        with self._connection() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO speeds VALUES (?, ?, ?, ?)",
                (what, images, seconds, time.time()),
            )

    def known_speed(self, what: str) -> float | None:
        """Return seconds an image as noted last for ``what``, None where nothing is known."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT seconds / images FROM speeds WHERE what = ?", (what,)
            ).fetchone()
        return None if row is None else float(row[0])

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            del self._local.connection

    def _insert(self, row: StoreRow, recipe: Recipe | None = None) -> None:
        with self._connection() as connection:
            marks = ", ".join("?" * len(_COLUMNS.split(",")))
            connection.execute(
                f"INSERT OR REPLACE INTO renders ({_COLUMNS}) VALUES ({marks})",  # noqa: S608
                tuple(asdict(row).values()),
            )
            if recipe is not None:
                connection.execute(
                    "INSERT OR IGNORE INTO recipes VALUES (?, ?)",
                    (recipe.digest, canonical_json(asdict(recipe))),
                )

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = getattr(self._local, "connection", None)
        if connection is None or self._local.pid != os.getpid():
            # Autocommit: each statement is its own transaction unless BEGIN says otherwise.
            connection = sqlite3.connect(
                self.folder / "index.sqlite3", timeout=60, isolation_level=None
            )
            connection.execute("PRAGMA busy_timeout = 60000")
            _set_wal(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            self._local.connection, self._local.pid = connection, os.getpid()
        try:
            yield connection
        except sqlite3.Error as error:
            raise StoreError(
                f"{self.folder}: the index of this store cannot be used ({error})"
            ) from error


def _set_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. The switch does not wait for a busy file, so it is tried again."""
    for attempt in range(50):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if attempt == 49:
                raise
            time.sleep(0.05)
