# ruff: noqa: RUF043
"""The store: whole files, damage noticed, several writers, death at any moment."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loraeval.cli import main
from loraeval.errors import StoreError
from loraeval.records import Caption, Prompt, Recipe
from loraeval.render import known_files
from loraeval.render.plan import CheckpointRef, Job, make_job
from loraeval.render.store import Store

RECIPE = Recipe(base_model="x", base_model_hash="h", width=16, height=8)


def job(seed: int, run: str = "run") -> Job:
    ref = CheckpointRef(Path("a.safetensors"), f"sha-{run}", run, 3, "a.safetensors")
    return make_job(RECIPE, ref, Prompt("p", "a cat", Caption("a cat")), seed)


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 16, 3), dtype=np.uint8)


def test_what_is_written_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.find(job(1).key) is None
    path = store.write(job(1), pixels(1), "ok", {"device": "cpu"})
    assert store.find(job(1).key) == path
    assert np.array_equal(np.asarray(Image.open(path)), pixels(1))
    row = next(iter(store.rows()))
    assert (row.run, row.epoch, row.seed, row.health) == ("run", 3, 1, "ok")
    assert store.recipe_json(RECIPE.digest)["width"] == 16
    assert pickle.loads(pickle.dumps(store)).find(job(1).key) == path
    assert not list(tmp_path.glob("renders/*/.*"))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_a_damaged_file_counts_as_absent(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    path = store.write(job(1), pixels(1), "ok", {})
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            "cut": data[:middle],
            "flip": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "empty": b"",
            "other": store.write(job(2), pixels(2), "ok", {}).read_bytes(),
        }[damage]
    )
    assert store.find(job(1).key) is None
    assert not path.exists()
    store.write(job(1), pixels(1), "ok", {})
    assert store.find(job(1).key) == path


def test_a_file_without_a_row_is_adopted_only_if_it_is_the_right_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.write(job(1), pixels(1), "ok", {})
    other = store.write(job(2), pixels(2), "ok", {})
    data = path.read_bytes()
    store.forget([job(1).key])
    path.write_bytes(data)
    assert store.find(job(1).key) == path
    assert {row.seed for row in store.rows()} == {1, 2}
    store.forget([job(1).key])
    path.write_bytes(other.read_bytes())
    assert store.find(job(1).key) is None
    path.write_bytes(data[:-20])
    assert store.find(job(1).key) is None


def test_digests_of_a_settled_file_are_computed_once_until_its_content_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, file = Store(tmp_path / "s"), tmp_path / "f"
    computed: list[bytes] = []

    def digest() -> str:
        def compute(path: Path) -> str:
            computed.append(path.read_bytes())
            return computed[-1].hex()

        return store.file_digest(file, "hex", compute)

    file.write_bytes(b"one")
    assert digest() == digest() == b"one".hex()
    assert len(computed) == 2  # written this very moment: it may change within a clock's tick
    monkeypatch.setattr(known_files, "SETTLED_SECONDS", -1.0)
    assert digest() == digest() == b"one".hex()
    assert len(computed) == 3
    before = file.stat()
    file.write_bytes(b"two")  # of the same size, in the same inode, its time set back
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert digest() == b"two".hex()
    assert store.file_sha256(file) == hashlib.sha256(b"two").hexdigest()


def test_a_look_sees_a_changed_block_where_every_time_and_number_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f"
    file.write_bytes(bytes(1 << 20))
    facts = file.stat()
    first = known_files.look(file)[0]
    with file.open("r+b") as opened:
        opened.seek(-1, 2)
        opened.write(b"x")
    monkeypatch.setattr(Path, "stat", lambda self, **_: facts)
    assert known_files.look(file)[0] != first


def test_a_folder_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite3").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="cannot use this folder as a store|cannot be used"):
        Store(tmp_path)


WRITER = """
import sys, pathlib
sys.path.insert(0, {here!r})
import importlib.util
spec = importlib.util.spec_from_file_location("cases", {file!r})
cases = importlib.util.module_from_spec(spec); spec.loader.exec_module(cases)
store = cases.Store({folder!r})
print("ready", flush=True)
for seed in range({start}, {stop}):
    store.write(cases.job(seed), cases.pixels(seed), "ok", {{}})
    print(seed, flush=True)
"""


def writer(folder: Path, start: int, stop: int) -> subprocess.Popen[str]:
    code = WRITER.format(
        here=str(Path(__file__).parent), file=__file__, folder=str(folder), start=start, stop=stop
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    writers = [writer(tmp_path, 0, 60), writer(tmp_path, 30, 90)]
    for process in writers:
        process.communicate(timeout=120)
    assert [process.returncode for process in writers] == [0, 0]
    store = Store(tmp_path)
    assert {row.seed for row in store.rows()} == set(range(90))
    assert all(store.find(job(seed).key) for seed in range(90))


def test_kill_9_leaves_whole_files_only(tmp_path: Path) -> None:
    written: list[int] = []
    for round_ in range(3):
        process = writer(tmp_path, 1000 * round_, 1000 * round_ + 900)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 0.15 + 0.07 * round_
        while time.monotonic() < deadline and (line := process.stdout.readline()):
            written.append(int(line))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL
    store = Store(tmp_path)
    assert written
    assert all(store.find(job(seed).key) for seed in written)
    for path in tmp_path.glob("renders/*/*.png"):
        Image.open(path).load()
        assert store.find(path.stem) == path
    store.write(job(5000), pixels(1), "ok", {})


def test_cache_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    for seed in range(4):
        store.write(job(seed), pixels(seed), "ok", {})
    store.write(job(9, "other"), pixels(9), "black", {})
    assert main(["cache", "--store", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "5 renders" in shown
    assert "other" in shown
    assert main(["cache", "--store", str(tmp_path), "--prune"]) == 2
    assert main(["cache", "--store", str(tmp_path), "--prune", "--run", "other", "--dry-run"]) == 0
    assert len(list(store.rows())) == 5
    assert main(["cache", "--store", str(tmp_path), "--prune", "--run", "other"]) == 0
    assert {row.run for row in store.rows()} == {"run"}
    store.path(job(1).key).write_bytes(b"x")
    assert main(["cache", "--store", str(tmp_path), "--check"]) == 0
    assert "1 damaged" in capsys.readouterr().out
    assert main(["cache", "--store", str(tmp_path), "--prune", "--max-gb", "0"]) == 0
    assert not list(store.rows())
    assert main(["cache", "--store", str(tmp_path / "none")]) == 2
    assert "no store of renders here" in capsys.readouterr().err
