"""The watch over a folder that a trainer saves into: what is whole, what changed, when to stop.

Content decides. A file counts once it is whole (``is_whole``) and has not changed since the last
look; one that is written anew after its gate is gated anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loraeval.checkpoints.header import Header, data_sha256, file_sha256, read_header
from loraeval.checkpoints.series_files import lora_paths
from loraeval.errors import CheckpointError
from loraeval.evaluation.gate_run import GateRun
from loraeval.gate.epochs import EpochSelection
from loraeval.outside.text import clean
from loraeval.records import Checkpoint, Verdict

Gate = Callable[[Path], GateRun]
Choose = Callable[[Sequence[GateRun]], EpochSelection | None]
State = tuple[int, int, int, int]
"""Size, times of content and of inode in ns, and inode: another one may be another content."""

SAMPLE_BYTES = 4096
"""Bytes looked at in three places of a tensor."""

EMPTY_IN_A_ROW = 3
"""Tensors of nothing but zeros, one after the other, that no trainer writes: an untrained LoRA has
zeros in every second one, beside down weights and alpha that are none.
"""


def is_whole(path: Path) -> bool:
    """Say whether a trainer has finished writing ``path``: its header fits the file's size, and
    its data are those that sd-scripts hashed, or no stretch of them is still empty.
    """
    try:
        header = read_header(path)
        recorded = header.metadata.get("sshs_model_hash")
        return recorded == data_sha256(header) or not _has_a_hole(header)
    except (CheckpointError, OSError):
        return False


def _has_a_hole(header: Header) -> bool:
    """Return whether tensors in a row, as they lie in the file, hold nothing but zeros: a file
    that was made at its full size and is still being filled.
    """
    empty = tensors = 0
    with header.path.open("rb") as file:
        for info in sorted(header.tensors.values(), key=lambda info: info.start):
            size = info.end - info.start
            if size == 0:
                continue
            tensors += 1
            places = {0, max(0, size // 2 - SAMPLE_BYTES // 2), max(0, size - SAMPLE_BYTES)}
            blank = True
            for place in sorted(places):
                file.seek(header.header_bytes + info.start + place)
                blank = blank and not any(file.read(min(SAMPLE_BYTES, size - place)))
            empty = empty + 1 if blank else 0
            if empty >= EMPTY_IN_A_ROW:
                return True
    return empty > 0 and empty == tensors


def stop_sentence(
    selection: EpochSelection | None, epochs: Sequence[int], patience: int
) -> str | None:
    """Return why training can stop, None where it should go on.

    It can stop where the series surely got worse after its best epoch, or where ``patience``
    epochs came after the recommended one and none of them was better.
    """
    if selection is None or selection.epoch is None:
        return None
    if selection.trend == "overtrained":
        return f"Stop, and keep epoch {selection.epoch}. {selection.trend_reason}"
    later = [epoch for epoch in epochs if epoch > selection.epoch]
    if selection.trend != "improving" and len(later) >= patience:
        return (
            f"Stop, and keep epoch {selection.epoch}: the {len(later)} epochs after it did no "
            "better."
        )
    return None


@dataclass
class Watch:
    """One watched folder. ``gate`` judges a checkpoint, ``choose`` names the epoch to keep among
    the runs of one training so far, ``report`` is called with all after each new one.
    ``left_out`` names the files that are damaged or were still being written at the last look.
    """

    folder: Path
    gate: Gate
    choose: Choose
    report: Callable[[Sequence[GateRun], Mapping[Checkpoint, Path]], None]
    patience: int = 2
    say: Callable[[str], None] = lambda text: print(text, flush=True)
    sleep: Callable[[float], None] = time.sleep
    runs: dict[Path, GateRun] = field(default_factory=dict)
    left_out: list[Path] = field(default_factory=list)
    _seen: dict[Path, State] = field(default_factory=dict)
    _gated: dict[Path, tuple[State, str]] = field(default_factory=dict)

    def until_stop(self, *, poll: float, once: bool = False) -> list[Verdict]:
        """Gate new epochs until they say stop, or with ``once`` those that are there; return the
        verdict of each training's epoch to keep, of its newest where none is recommended.
        """
        if not once:
            self.say(f"watching {self.folder}, a look every {poll:g} s; stop with Ctrl-C")
        while True:
            stop = self.look(settled=once)
            if once or stop:
                return self.kept()
            self.sleep(poll)

    def look(self, *, settled: bool = False) -> bool:
        """Gate what is new and whole; return whether training can stop. ``settled`` takes files
        at the first sight of them instead of the second.
        """
        stop = False
        for path, state, digest in self._new(settled):
            word = "written anew" if path in self.runs else "new"
            self.say(f"{clean(path.name)}: {word}, gating it")
            self.runs.pop(path, None)  # the newest comes last
            run = self.runs[path] = self.gate(path)
            self._gated[path] = (state, digest)
            verdict = run.verdict
            self.say(
                clean(f"{verdict.outcome.upper()} {verdict.checkpoint.label}: ", 500)
                + clean(verdict.reason, 4000)
            )
            self.report(list(self.runs.values()), {r.checkpoint: p for p, r in self.runs.items()})
            runs = self._of_training(run.checkpoint.run)
            selection = self.choose(runs)
            sentence = stop_sentence(selection, _epochs(runs), self.patience)
            stop = sentence is not None
            if sentence is not None:
                self.say(sentence)
            elif selection is not None:
                self.say(f"Go on. {selection.reason}")
        return stop

    def kept(self) -> list[Verdict]:
        """Return the verdict of each training's recommended epoch, else of its newest."""
        if not self.runs:
            self.say(f"{self.folder}: no whole .safetensors file is there yet")
        names = dict.fromkeys(run.checkpoint.run for run in self.runs.values())
        return [self._kept_of(self._of_training(name)) for name in names]

    def _kept_of(self, runs: Sequence[GateRun]) -> Verdict:
        selection = self.choose(runs)
        for run in runs:
            if selection is not None and any(row.epoch == selection.epoch for row in run.rows):
                return run.verdict
        return runs[-1].verdict

    def _of_training(self, name: str) -> list[GateRun]:
        return [run for run in self.runs.values() if run.checkpoint.run == name]

    def _new(self, settled: bool) -> list[tuple[Path, State, str]]:
        """Return the files to gate, oldest first, with their state and content before it."""
        found = {path: state for path, _ in lora_paths(self.folder) if (state := _state(path))}
        self.left_out = [
            path for path, _ in lora_paths(self.folder) if path.is_symlink() and not path.exists()
        ]
        ready = []
        for path, state in sorted(found.items(), key=lambda item: (item[1][1], item[0])):
            before, digest = self._gated.get(path, (None, ""))
            if state == before:
                continue
            if settled or self._seen.get(path) == state:
                if not is_whole(path):
                    self.left_out.append(path)
                elif (now := file_sha256(path)) == digest:
                    self._gated[path] = (state, digest)  # touched, or copied over itself
                else:
                    ready.append((path, state, now))
            self._seen[path] = state
        if settled:
            for path in self.left_out:
                self.say(f"{clean(path.name)}: left out, it is damaged or still being written")
        return ready


def _state(path: Path) -> State | None:
    """Return what tells one content of a file from another, None where it is gone."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino


def _epochs(runs: Sequence[GateRun]) -> list[int]:
    return sorted({row.epoch for run in runs for row in run.rows if row.epoch is not None})
