"""Full, locked, foreign, huge, shared places, and signals: a run goes on or says one sentence."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))
import fake_runs

from loraeval import cli
from loraeval.errors import PromptError, StoreError
from loraeval.evaluation import setup
from loraeval.evaluation.request import Request
from loraeval.outside import files
from loraeval.prompts.sets import read_prompts
from loraeval.render.store import Store
from loraeval.sources import find_renders
from loraeval.testing.fake_renderer import FakeRenderer, fake_recipe, portrait_prompts


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    fake_runs.prepare(folder)
    return folder


@pytest.fixture(scope="module")
def expected(prepared: Path) -> dict[str, str]:
    fake_runs.run(prepared, prepared / "expected")
    return comparable(prepared / "expected")


def comparable(work: Path) -> dict[str, str]:
    found = fake_runs.result_of(work)
    text = (work / "gated" / "verdict.json").read_text("utf-8").replace(str(work), "WORK")
    return {**found, "gated/verdict.json": text}


@pytest.fixture
def words(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words of a small ``loraeval run`` with a renderer and prompts that need no model."""

    def renderer(choice: Request, recipe: Any) -> FakeRenderer:
        return FakeRenderer(recipe, Store(choice.store_folder))

    monkeypatch.setattr(setup, "make_renderer", renderer)
    monkeypatch.setattr(setup, "choose_recipe", lambda *_: fake_recipe(48))
    monkeypatch.setattr(setup, "choose_prompts", lambda *_: portrait_prompts(2))
    monkeypatch.setattr(setup, "check_complete", lambda *_: None)
    run = ["run", str(min((prepared / "checkpoints").iterdir())), "--encoder", "none"]
    run += ["--scorers", "grid,health", "--out", str(tmp_path / "out")]
    return [*run, "--store", str(tmp_path / "store")]


def mistakes(capsys: pytest.CaptureFixture[str]) -> list[str]:
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return [line for line in text.splitlines() if "cannot" in line or "No space" in line]


class FullDisk:
    """Files that say that there is no space, from the n-th write on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes, self.last = 0, 10**9
        real = files._new_file

        def new_file(folder: Path) -> Any:
            self.writes += 1
            if self.writes > self.last:
                raise OSError(errno.ENOSPC, "No space left on device", str(folder))
            return real(folder)

        real_sync = os.fsync

        def fsync(handle: int) -> None:
            self.writes += 1
            if self.writes > self.last:
                raise OSError(errno.ENOSPC, "No space left on device")
            real_sync(handle)

        monkeypatch.setattr(files, "_new_file", new_file)
        monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.nightly
def test_no_space_at_any_write(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Every write of a run in turn: exit 2 and one line; with space again the same command ends."""
    disk = FullDisk(monkeypatch)
    assert cli.main(words) == 0
    writes = disk.writes
    assert writes >= 8
    whole = (tmp_path / "out" / "scores.jsonl").read_bytes()
    for last in range(writes):
        for name in ("out", "store"):
            shutil.rmtree(tmp_path / name)
        capsys.readouterr()
        disk.writes, disk.last = 0, last
        assert cli.main(words) == 2, last
        assert len(mistakes(capsys)) == 1, last
        assert not list(tmp_path.rglob("*.part")), last
        disk.last = 10**9
        assert cli.main(words) == 0, last
        assert (tmp_path / "out" / "scores.jsonl").read_bytes() == whole


def test_a_store_of_somebody_else_is_one_sentence(prepared: Path) -> None:
    """As a user who is not root: a store that may be read only, and one that may not be read."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    place = Path(tempfile.mkdtemp(prefix="loraeval-test-"))
    try:
        place.chmod(0o755)
        first = FakeRenderer(fake_recipe(48), Store(place / "store"))
        list(first.render([None], portrait_prompts(1)))
        for mode in (0o555, 0o000):
            (place / "store").chmod(mode)
            child = os.fork()
            if child == 0:
                code = 9
                try:
                    os.setgid(65534)
                    os.setuid(65534)
                    store = Store(place / "store")
                    list(FakeRenderer(fake_recipe(48), store).render([None], portrait_prompts(2)))
                except StoreError as error:
                    code = 0 if "store" in str(error) and "\n" not in str(error) else 8
                except OSError as error:
                    code = 0 if error.errno in cli.NO_PLACE else 7
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, oct(mode)
    finally:
        (place / "store").chmod(0o755)
        shutil.rmtree(place)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[threading.Event]:
    """Somebody holds the store's index until the event is set."""
    Store(tmp_path / "store").close()
    free, held = threading.Event(), threading.Event()

    def hold() -> None:
        other = sqlite3.connect(tmp_path / "store" / "index.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        held.set()
        free.wait(120)
        other.execute("COMMIT")
        other.close()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    yield free
    free.set()
    thread.join()


def test_a_lock_on_the_index_is_waited_for(locked: threading.Event, words: list[str]) -> None:
    threading.Timer(1.5, locked.set).start()
    assert cli.main(words) == 0


@pytest.mark.nightly
def test_a_lock_for_more_than_a_minute_is_one_sentence(
    locked: threading.Event, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    (line,) = mistakes(capsys)
    assert "the index of this store cannot be used" in line
    locked.set()
    time.sleep(0.2)
    assert cli.main(words) == 0


@pytest.mark.nightly
def test_ten_thousand_files_in_a_folder(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    for number in range(10_000):
        (tmp_path / f"my_e{number % 20:06d}_{number:05d}_20250101123456_42.png").write_bytes(
            content
        )
    before = time.process_time()
    assert len(find_renders(tmp_path)) == 10_001
    assert time.process_time() - before < 60


def test_a_prompt_set_of_100_mb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    for name in ("huge.txt", "huge.toml", "huge.jsonl"):
        if name != "huge.txt":
            path = path.rename(tmp_path / name)
        before = time.process_time()
        with pytest.raises(PromptError, match=r"larger than (8|64) MB; split the file"):
            read_prompts(str(path))
        assert time.process_time() - before < 2


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_loses_nothing(
    prepared: Path, expected: dict[str, str], tmp_path: Path, sign: signal.Signals
) -> None:
    """As SIGKILL in test_crashes.py: the index opens, images are whole, the rest is made."""
    child = fake_runs.in_fork(prepared, tmp_path)
    while len(list((tmp_path / "store").rglob("*.png"))) < 5:
        time.sleep(0.001)
    os.kill(child, sign)
    assert os.waitpid(child, 0)[1] != 0
    fake_runs.check_folder(tmp_path)
    fake_runs.run(prepared, tmp_path)
    assert comparable(tmp_path) == expected


def test_a_disk_without_second_names_renames_onto_files_and_locks(
    prepared: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some network disks: no hard links, no rename onto an existing file, no file locks."""
    real, lost = os.replace, []

    def replace(source: Any, target: Any, **more: Any) -> None:
        if Path(target).exists():
            lost.append(target)
            raise FileExistsError(errno.EEXIST, "File exists", str(target))
        real(source, target, **more)

    def refused(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOTSUP, "not supported here")

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr(files.fcntl, "flock", refused)
    for _ in range(2):
        fake_runs.run(prepared, tmp_path)
        assert comparable(tmp_path) == expected
    assert lost, "the second run wrote onto the first one's files"


def test_two_hosts_on_one_store(
    prepared: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes the other's unfinished files for those of another machine: alive for a day."""
    children = []
    for host in ("aaaaaaaa", "bbbbbbbb"):
        monkeypatch.setattr(files, "_HOST", host)
        children.append(fake_runs.in_fork(prepared, tmp_path / "work"))
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0]
    fake_runs.check_folder(tmp_path / "work")
    assert comparable(tmp_path / "work") == expected
