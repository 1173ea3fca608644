"""Whole files, company, and what killed writers leave: removed once they are dead, never before."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loraeval.outside import files as atomic_files
from loraeval.outside.files import (
    DAY,
    remove_unfinished,
    show_file,
    write_bytes_atomically,
    write_text_atomically,
)

HOLDER = """
import sys, time
from pathlib import Path
from loraeval.outside.files import whole_file
with whole_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _fresh() -> None:
    atomic_files._tidy.cache_clear()


def unfinished(folder: Path) -> list[Path]:
    return sorted(folder.rglob(".loraeval-*.part"))


def writer(path: Path) -> subprocess.Popen[str]:
    """A process in the middle of writing ``path``."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "writing\n"
    return child


def kill(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert child.stdout is not None
    child.stdout.close()


def test_text_and_bytes_and_pieces(tmp_path: Path) -> None:
    write_text_atomically(tmp_path / "new" / "a", "ä\r\n")
    write_text_atomically(tmp_path / "b", (f"{n}\n" for n in range(3)))
    write_bytes_atomically(tmp_path / ("c" * 250), b"\0\xff")
    assert (tmp_path / "new" / "a").read_bytes() == b"\xc3\xa4\r\n"
    assert (tmp_path / "b").read_bytes() == b"0\n1\n2\n"
    assert (tmp_path / ("c" * 250)).read_bytes() == b"\0\xff", "a name as long as may be"
    assert not unfinished(tmp_path)


def test_the_users_mask_is_honoured(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_bytes_atomically(tmp_path / "a", b"")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_killed_writer_is_tidied_up_by_the_next(tmp_path: Path) -> None:
    write_bytes_atomically(tmp_path / "a", b"old")
    child = writer(tmp_path / "a")
    assert len(unfinished(tmp_path)) == 1
    kill(child)
    assert len(unfinished(tmp_path)) == 1
    assert (tmp_path / "a").read_bytes() == b"old"
    atomic_files._tidy.cache_clear()  # as in the process of the next run
    write_bytes_atomically(tmp_path / "b", b"new")
    assert not unfinished(tmp_path)


def test_a_living_writer_is_left_alone_however_old_its_file(tmp_path: Path) -> None:
    child = writer(tmp_path / "a")
    (file,) = unfinished(tmp_path)
    os.utime(file, (0, 0))
    assert remove_unfinished(tmp_path) == []
    assert file.exists()
    kill(child)
    assert remove_unfinished(tmp_path, deep=True) == [file]


@pytest.mark.parametrize(("age", "goes"), [(0.5 * DAY, False), (1.5 * DAY, True)])
def test_another_machines_file_and_a_disk_without_locks_wait_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float, goes: bool
) -> None:
    other = tmp_path / f".loraeval-{'0' * 8}-{'a' * 16}.part"
    own = tmp_path / atomic_files._unfinished_name()
    moment = time.time() - age
    other.write_bytes(b"half")
    os.utime(other, (moment, moment))
    assert bool(remove_unfinished(tmp_path)) == goes

    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(atomic_files.fcntl, "flock", none)
    own.write_bytes(b"half")
    os.utime(own, (moment, moment))
    assert bool(remove_unfinished(tmp_path)) == goes
    write_bytes_atomically(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    inside = tmp_path / "in"
    inside.mkdir()
    names = [".a.part", ".loraeval-x.part", "loraeval-00000000-0000000000000000.part", ".hidden"]
    for name in names:
        (inside / name).write_bytes(b"")
        os.utime(inside / name, (0, 0))
    (inside / atomic_files._unfinished_name()).symlink_to(victim)
    (inside / atomic_files._unfinished_name()).mkdir()
    os.mkfifo(inside / atomic_files._unfinished_name())
    before = sorted(inside.iterdir())
    assert remove_unfinished(tmp_path, deep=True) == []
    assert sorted(inside.iterdir()) == before
    assert remove_unfinished(tmp_path / "absent") == []


def test_writers_survive_others_that_tidy_up(tmp_path: Path) -> None:
    """Threads write, link and remove what is unfinished all the time: every write arrives."""
    source = tmp_path / "source"
    source.write_bytes(b"x" * 1000)
    stop, wrong = threading.Event(), []

    def tidy() -> None:
        while not stop.is_set():
            remove_unfinished(tmp_path)

    def write(number: int) -> None:
        try:
            for turn in range(150):
                write_bytes_atomically(tmp_path / f"{number}", bytes([turn]) * 1000)
                (tmp_path / f"link{number}").unlink(missing_ok=True)
                show_file(source, tmp_path / f"link{number}")
        except OSError as error:
            wrong.append(error)

    tidying = [threading.Thread(target=tidy) for _ in range(2)]
    writing = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in (*tidying, *writing):
        thread.start()
    for thread in writing:
        thread.join()
    stop.set()
    for thread in tidying:
        thread.join()
    assert wrong == []
    assert not unfinished(tmp_path)
    assert (tmp_path / "0").read_bytes() == bytes([149]) * 1000


def test_a_file_shown_twice_leaves_no_second_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    for _ in range(2):  # the second rename is one onto itself, which does nothing
        show_file(tmp_path / "a", tmp_path / "out" / "a")
    assert (tmp_path / "out" / "a").samefile(tmp_path / "a")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


def test_a_file_is_copied_where_it_cannot_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    show_file(tmp_path / "a", tmp_path / "out" / "a")
    assert (tmp_path / "out" / "a").read_bytes() == b"x" * 100_000
    assert not unfinished(tmp_path)


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    """``--out /dev/null`` as root once put a file in the place of the device."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_text_atomically(pipe, ["a", "b"])
    reader.join()
    assert got == [b"ab"]
    assert pipe.is_fifo()
    for name in ("/dev/null", "/dev/stdout", "/proc/self/fd/1"):
        assert atomic_files._is_stream(Path(name))
    assert not atomic_files._is_stream(tmp_path / "a")
    assert not atomic_files._is_stream(tmp_path)
