"""Kills, full disks, read-only folders, jumping clocks, company: a run survives or says so."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import fake_runs

from loraeval import cli
from loraeval.errors import StoreError
from loraeval.evaluation import setup
from loraeval.evaluation.request import Request
from loraeval.outside.files import remove_unfinished
from loraeval.render.store import Store
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
    """The results of a run in any folder; the gate's verdict names absolute paths."""
    found = fake_runs.result_of(work)
    text = (work / "gated" / "verdict.json").read_text("utf-8").replace(str(work), "WORK")
    return {**found, "gated/verdict.json": text}


def killed(repo: Path, folder: Path, kills: int) -> dict[str, int]:
    """What came of a run that was killed ``kills`` times, in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(repo / "tests/reliability/fake_runs.py"), str(folder),
         "--kills", str(kills)],
        capture_output=True, text=True, timeout=1500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    counts: dict[str, int] = json.loads(done.stdout)
    assert counts["kills"] == kills
    return counts


@pytest.mark.slow
def test_eight_kills_lose_nothing(repo: Path, tmp_path: Path) -> None:
    counts = killed(repo, tmp_path, 8)
    assert counts["finished"] >= 1
    assert counts["with images"] >= 2, "most kills came before there was anything to lose"


@pytest.mark.nightly
def test_fifty_kills_lose_nothing(repo: Path, tmp_path: Path) -> None:
    counts = killed(repo, tmp_path, 50)
    assert counts["finished"] >= 5
    assert counts["with images"] >= 20, "most kills came before there was anything to lose"
    assert counts["unfinished writes"] >= 1, "no kill landed inside a write"


def test_a_killed_run_goes_on_where_it_was(prepared: Path, expected: dict[str, str],
                                           tmp_path: Path) -> None:  # fmt: skip
    """What is stored is not rendered again, and the results are the same bytes."""
    recipe, prompts = fake_recipe(fake_runs.SIZE), portrait_prompts(fake_runs.PROMPTS)
    checkpoints = sorted((prepared / "checkpoints").glob("*.safetensors"))
    store = Store(tmp_path / "store")
    first = FakeRenderer(recipe, store)
    stream = first.render(checkpoints, prompts)
    for _ in range(7):
        next(stream)
    stream.close()
    second = FakeRenderer(recipe, store)
    total = len(list(second.render(checkpoints, prompts)))
    assert second.made == total - 7
    fake_runs.run(prepared, tmp_path)
    assert comparable(tmp_path) == expected


def test_pruning_removes_what_a_killed_run_left_unfinished(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs are killed in the middle of a write; beside a living one, nothing of its is removed."""
    for _ in range(60):
        child = fake_runs.in_fork(prepared, tmp_path / "dead")
        while not list((tmp_path / "dead").rglob("store/**/.loraeval-*.part")):
            time.sleep(0.0005)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if list((tmp_path / "dead").rglob("store/**/.loraeval-*.part")):
            break
    assert list((tmp_path / "dead").rglob("store/**/.loraeval-*.part"))
    words = ["cache", "--store", str(tmp_path / "dead" / "store"), "--prune", "--older-than", "9"]
    assert cli.main([*words, "--dry-run"]) == 0
    assert "unfinished" not in capsys.readouterr().out
    assert cli.main(words) == 0
    assert "unfinished files of killed runs removed" in capsys.readouterr().out
    assert not list((tmp_path / "dead").rglob("store/**/.loraeval-*.part"))
    living = fake_runs.in_fork(prepared, tmp_path / "living")
    while os.waitpid(living, os.WNOHANG)[0] == 0:
        remove_unfinished(tmp_path / "living", deep=True)
    assert fake_runs.result_of(tmp_path / "living")
    fake_runs.check_folder(tmp_path / "living")


def test_two_runs_in_one_folder(prepared: Path, expected: dict[str, str], tmp_path: Path) -> None:
    children = [fake_runs.in_fork(prepared, tmp_path / "work") for _ in range(3)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0, 0] or sorted(codes)[:1] == [0]
    fake_runs.check_folder(tmp_path / "work")
    assert comparable(tmp_path / "work") == expected


def test_an_image_renamed_but_not_entered_is_not_taken_for_damage(tmp_path: Path) -> None:
    """Between another run's rename and its row the file fits neither: it is kept and entered."""
    recipe, prompts = fake_recipe(48), portrait_prompts(1)
    store = Store(tmp_path / "store")
    (render,) = FakeRenderer(recipe, store).render([None], prompts)
    old = render.image.read_bytes()
    store.forget([render.image.stem])
    time.sleep(0.01)
    (again,) = FakeRenderer(recipe, store).render([None], prompts)
    assert again.image.read_bytes() != old, "the time of making is in the file"
    again.image.write_bytes(old)  # the other run's file under this run's row
    assert store.find(again.image.stem) == again.image
    assert again.image.read_bytes() == old
    damaged = bytearray(old)
    damaged[len(old) // 2] ^= 255
    again.image.write_bytes(damaged)
    assert store.find(again.image.stem) is None
    assert not again.image.exists()


def test_a_clock_that_jumps(prepared: Path, expected: dict[str, str], tmp_path: Path,
                            monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    rng = random.Random(4)
    moments = [0.0, -1.0, 1.0, 4_102_444_800.0, 1_700_000_000.5]
    monkeypatch.setattr(time, "time", lambda: rng.choice(moments))
    fake_runs.run(prepared, tmp_path)
    assert comparable(tmp_path) == expected
    fake_runs.run(prepared, tmp_path)
    assert comparable(tmp_path) == expected


def test_a_slow_disk(prepared: Path, expected: dict[str, str], tmp_path: Path,
                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    real: Callable[[int], None] = os.fsync
    slept = []

    def fsync(handle: int) -> None:
        slept.append(time.sleep(0.05))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    fake_runs.run(prepared, tmp_path)
    assert len(slept) > 18
    assert comparable(tmp_path) == expected


def test_readers_and_writers_of_one_store(tmp_path: Path) -> None:
    """Threads that look a render up while others write it always find it whole or not yet."""
    recipe, prompts = fake_recipe(48), portrait_prompts(4)
    keys = [r.image.stem for r in FakeRenderer(recipe, Store(tmp_path)).render([None], prompts)]
    stop, wrong = threading.Event(), []

    def read() -> None:
        store = Store(tmp_path)
        while not stop.is_set():
            for key in keys:
                path = store.find(key)
                if path is None:
                    wrong.append(key)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        writer = FakeRenderer(recipe, Store(tmp_path))
        jobs = [writer._job(writer._describe([None])[0], p, 42) for p in prompts.prompts]
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            list(writer._run(jobs))
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert wrong == []


# Where a run cannot write: one line, exit 2, and the run goes on once it can.


@pytest.fixture
def run_words(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words of a ``loraeval run`` whose renderer and prompts are fakes."""

    def renderer(choice: Request, recipe: Any) -> FakeRenderer:
        return FakeRenderer(recipe, Store(choice.store_folder))

    monkeypatch.setattr(setup, "make_renderer", renderer)
    monkeypatch.setattr(setup, "choose_recipe", lambda *_: fake_recipe(fake_runs.SIZE))
    monkeypatch.setattr(setup, "choose_prompts", lambda *_: portrait_prompts(3))
    monkeypatch.setattr(setup, "check_complete", lambda *_: None)
    return [
        "run",
        str(prepared / "checkpoints"),
        "--encoder",
        "none",
        "--scorers",
        "palette,health",
    ]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of the error; remarks on the series (``loraeval: FAKE: …``) may come before."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("loraeval:")]
    lines = [line for line in lines if not line.startswith("loraeval: FAKE: ")]
    assert len(lines) == 1, lines
    return lines[0]


def test_a_limit_on_file_size(run_words: list[str], tmp_path: Path,
                              capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """A file that cannot grow (here: RLIMIT_FSIZE) is reported, removed, and made in the end."""
    words = [*run_words, "--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    Store(tmp_path / "store").close()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        assert cli.main(words) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "store" in one_line(capsys)
    assert not list(tmp_path.rglob("*.part")), "the unfinished file is removed"
    assert cli.main(words) == 0
    assert len(fake_runs.read_scores(tmp_path / "out" / "scores.jsonl")) == 9


def test_a_full_disk(run_words: list[str], tmp_path: Path,
                     capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small tmpfs; RLIMIT_FSIZE stands in for it above")
    try:
        filler = disk / "filler"
        store, out = disk / "store", tmp_path / "out"
        words = [*run_words, "--out", str(out), "--store", str(store)]
        Store(store).close()
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()
        assert cli.main(words) == 2
        assert "store" in one_line(capsys)
        filler.unlink()
        assert cli.main(words) == 0
        assert len(fake_runs.read_scores(out / "scores.jsonl")) == 9
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_read_only_place(run_words: list[str], tmp_path: Path,
                           capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    (tmp_path / "file").write_text("not a folder")
    words = [
        *run_words,
        "--out",
        str(tmp_path / "file" / "out"),
        "--store",
        str(tmp_path / "store"),
    ]
    assert cli.main(words) == 2
    assert "cannot write here" in one_line(capsys)
    words = [
        *run_words,
        "--out",
        str(tmp_path / "out"),
        "--store",
        str(tmp_path / "file" / "store"),
    ]
    assert cli.main(words) == 2
    assert "cannot use this folder as a store" in one_line(capsys)


def test_a_read_only_disk(run_words: list[str], tmp_path: Path,
                          capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a read-only tmpfs")
    try:
        for name, other in (("--out", "--store"), ("--store", "--out")):
            words = [*run_words, name, str(disk / "x"), other, str(tmp_path / "other")]
            assert cli.main(words) == 2
            one_line(capsys)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_an_index_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite3").write_bytes(b"\x1b[2Jnot a database" * 200)
    with pytest.raises(StoreError) as caught:
        Store(tmp_path)
    assert "\x1b" not in str(caught.value)
