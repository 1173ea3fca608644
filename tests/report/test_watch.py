"""The watch: whole files only, a report after each epoch, and a reason to stop."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from loraeval.evaluation.watching import Watch, is_whole, stop_sentence
from loraeval.records import Checkpoint
from loraeval.testing.kohya_files import write_safetensors, write_series


@dataclass(frozen=True)
class Run:
    """What the watch reads of a gated checkpoint."""

    checkpoint: Checkpoint
    verdict: object
    rows: tuple


@dataclass(frozen=True)
class Choice:
    epoch: int | None
    trend: str = "unclear"
    trend_reason: str = "Overtrained: epoch 4 is surely worse than epoch 2."
    reason: str = "Epoch 2 scores highest."


@pytest.fixture
def trainer(tmp_path) -> list[Path]:
    """Four saved epochs outside of the watched folder, oldest first."""
    store = tmp_path / "store"
    store.mkdir()
    write_series(store, "STUDY", epochs=4)
    files = sorted(store.glob("STUDY-*.safetensors"))
    last = store / "STUDY.safetensors"
    return [*files, last] if last.exists() and len(files) < 4 else files[:4]


def make_watch(folder, study, choice, **more) -> tuple[Watch, list[str], list[int]]:
    said: list[str] = []
    reports: list[int] = []
    epochs = iter(range(1, 100))

    def gate(path: Path) -> Run:
        epoch = next(epochs)
        rows = tuple(replace(r, epoch=epoch) for r in study.rows if r.epoch == 1)
        run = path.name.partition("-")[0].partition(".")[0]
        return Run(Checkpoint(run, epoch, file=path.name), study.verdicts[(epoch - 1) % 4], rows)

    watch = Watch(
        folder, gate=gate, choose=lambda runs: choice(len(runs)),
        report=lambda runs, paths: reports.append(len(runs)), say=said.append, **more,
    )  # fmt: skip
    return watch, said, reports


def save(source: Path, folder: Path, age: int = 0) -> Path:
    target = folder / source.name
    target.write_bytes(source.read_bytes())
    os.utime(target, (1_700_000_000 + age, 1_700_000_000 + age))
    return target


def test_only_whole_and_settled_files_are_gated(tmp_path, trainer, study):
    folder = tmp_path / "output"
    folder.mkdir()
    watch, said, reports = make_watch(folder, study, lambda n: None)
    content = trainer[0].read_bytes()
    growing = folder / trainer[0].name
    for size in (4, 40, len(content) // 2, len(content) - 1):
        growing.write_bytes(content[:size])
        assert not is_whole(growing)
        assert watch.look() is False
        assert watch.look() is False
    growing.write_bytes(content)
    assert is_whole(growing)
    watch.look()
    assert watch.runs == {}  # whole, but seen for the first time
    watch.look()
    assert list(watch.runs) == [growing]
    watch.look()
    assert reports == [1]
    assert said[0] == f"{growing.name}: new, gating it"


def test_it_stops_when_patience_is_spent_and_keeps_the_best(tmp_path, trainer, study):
    folder = tmp_path / "output"
    folder.mkdir()
    naps: list[float] = []
    pending = list(trainer)

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) % 2 and pending:
            save(pending.pop(0), folder, len(naps))

    watch, said, reports = make_watch(
        folder, study, lambda n: Choice(min(n, 2), "plateau"), patience=2, sleep=nap
    )
    verdict = watch.until_stop(poll=7)
    assert len(watch.runs) == 4
    assert reports == [1, 2, 3, 4]
    assert set(naps) == {7}
    assert said[-1] == "Stop, and keep epoch 2: the 2 epochs after it did no better."
    assert verdict == [study.verdicts[1]]


def test_once_takes_what_is_there_oldest_first(tmp_path, trainer, study):
    folder = tmp_path / "output"
    folder.mkdir()
    for age, path in enumerate(reversed(trainer)):
        save(path, folder, age)
    watch, _, _ = make_watch(folder, study, lambda n: Choice(3))
    verdict = watch.until_stop(poll=1, once=True)
    assert [path.name for path in watch.runs] == [path.name for path in reversed(trainer)]
    assert verdict == [study.verdicts[2]]


def test_once_names_a_file_that_it_leaves_out(tmp_path, trainer, study):
    folder = tmp_path / "out"
    folder.mkdir()
    save(trainer[0], folder)
    torn = folder / "torn.safetensors"
    torn.write_bytes(trainer[1].read_bytes()[:-10])
    watch, said, _ = make_watch(folder, study, lambda _: Choice(1))
    watch.until_stop(poll=1, once=True)
    assert "torn.safetensors: left out, it is damaged or still being written" in said
    assert len(watch.runs) == 1


def test_a_file_written_anew_is_gated_anew_and_one_only_touched_is_not(tmp_path, trainer, study):
    folder = tmp_path / "out"
    folder.mkdir()
    saved = save(trainer[0], folder)
    watch, said, reports = make_watch(folder, study, lambda _: None)
    for _ in range(3):
        watch.look()
    assert reports == [1]
    os.utime(saved)
    for _ in range(3):
        watch.look()
    assert reports == [1]
    facts = saved.stat()
    content = trainer[1].read_bytes()
    saved.write_bytes(content)  # another epoch of the same size under the same name and time
    os.utime(saved, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    for _ in range(3):
        watch.look()
    assert reports == [1, 1]
    assert f"{saved.name}: written anew, gating it" in said
    saved.unlink()
    assert watch.look() is False, "a trainer removes old epochs"


def test_every_run_in_the_folder_counts(tmp_path, trainer, study):
    folder = tmp_path / "out"
    folder.mkdir()
    save(trainer[0], folder, 1)
    (folder / "OTHER-000001.safetensors").write_bytes(trainer[1].read_bytes())
    watch, _, _ = make_watch(folder, study, lambda _: None)
    kept = watch.until_stop(poll=1, once=True)
    assert kept == [study.verdicts[0], study.verdicts[1]]


def test_a_file_at_its_full_size_whose_data_are_still_zeros_is_not_whole(tmp_path, trainer):
    content = trainer[0].read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    size = len(content) - start
    path = tmp_path / "growing.safetensors"
    for filled in (0.0, 0.3, 0.6):
        at = start + int(size * filled)
        path.write_bytes(content[:at] + bytes(len(content) - at))
        assert not is_whole(path), filled
    hole = start + size // 3
    path.write_bytes(content[:hole] + bytes(size // 3) + content[hole + size // 3 :])
    assert not is_whole(path)
    path.write_bytes(content)
    assert is_whole(path)


def test_an_untrained_lora_is_whole(tmp_path):
    """Its up weights are zero, every one; its down weights and alpha are not."""
    tensors = {}
    for number in range(9):
        stem = f"lora_unet_down_blocks_0_attentions_0_transformer_blocks_{number}_attn1_to_q"
        tensors[f"{stem}.lora_down.weight"] = np.ones((2, 32), np.float16)
        tensors[f"{stem}.lora_up.weight"] = np.zeros((32, 2), np.float16)
        tensors[f"{stem}.alpha"] = np.array(1, np.float16)
    write_safetensors(tmp_path / "a.safetensors", tensors, {})
    assert is_whole(tmp_path / "a.safetensors")


@pytest.mark.parametrize("kind", ["torn", "dead"])
def test_a_file_left_out_at_night_is_no_green(tmp_path, trainer, study, monkeypatch, kind):
    folder = tmp_path / "out"
    folder.mkdir()
    save(trainer[0], folder)
    if kind == "torn":
        (folder / "new.safetensors").write_bytes(trainer[1].read_bytes()[:-10])
    else:
        (folder / "new.safetensors").symlink_to("nowhere.safetensors")
    watch, said, _ = make_watch(folder, study, lambda _: Choice(1))
    watch.until_stop(poll=1, once=True)
    assert [path.name for path in watch.left_out] == ["new.safetensors"]
    assert "new.safetensors: left out, it is damaged or still being written" in said


def test_an_empty_folder_has_no_verdict(tmp_path, study):
    watch, said, _ = make_watch(tmp_path, study, lambda n: None)
    assert watch.until_stop(poll=1, once=True) == []
    assert "no whole .safetensors" in said[-1]


def test_when_to_stop():
    assert stop_sentence(None, [1, 2], 2) is None
    assert stop_sentence(Choice(None), [1, 2], 2) is None
    assert stop_sentence(Choice(2), [1, 2, 3], 2) is None
    assert stop_sentence(Choice(2), [1, 2, 3, 4], 2).startswith("Stop, and keep epoch 2")
    assert stop_sentence(Choice(2, "improving"), [1, 2, 3, 4], 2) is None
    said = stop_sentence(Choice(2, "overtrained"), [1, 2, 3], 5)
    assert said == "Stop, and keep epoch 2. Overtrained: epoch 4 is surely worse than epoch 2."
