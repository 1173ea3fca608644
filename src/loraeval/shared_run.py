"""One gate run shared by every item, fixture and xdist worker of a test session.

The first process that needs a checkpoint's verdict computes it under a file lock and writes it
into a private folder that all processes of the session know; the others wait and read. Nothing is
made before that: collection reads names only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loraeval.errors import LoraevalError, UsageError
from loraeval.evaluation.stored_run import checkpoint_from_json, checkpoint_to_json
from loraeval.outcome import outcome_of, settled
from loraeval.outside.files import write_text_atomically
from loraeval.outside.runner import unspoken
from loraeval.records import Checkpoint, Comparison, Verdict

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.evaluation.gate_run import GateRun, GateSetup
    from loraeval.evaluation.request import Request


CHOICE = "the chosen epoch"
"""Names the file that holds which epochs are passed over."""

LEFT_AFTER = 2 * 24 * 3600
"""Seconds after which the folder of a session that is not gating is taken for left behind."""


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What one test item reports: its kind, the sentence, and properties for JUnit."""

    kind: Literal["pass", "fail", "skip"]
    sentence: str
    properties: tuple[tuple[str, str | int | float], ...]


@dataclass
class SharedRun:
    """The gate of one test session as ``request`` asks for it; see the module's docstring."""

    request: Request
    run_id: str | None = None
    _runs: dict[str, GateRun] = field(default_factory=dict)
    _setup: GateSetup | None = None
    _paths: dict[str, Path] | None = None
    _refused: dict[Path, str] = field(default_factory=dict)

    def own_id(self) -> str:
        """Return the id of this session's folder: drawn at random, so that none is met again."""
        if self.run_id is None:
            self.run_id = uuid.uuid4().hex
        return self.run_id

    def checkpoint_names(self) -> list[str]:
        """Return the names of the checkpoints under test, sorted within each argument."""
        return list(self._checkpoint_paths())

    def items_of(self, checkpoint: str) -> tuple[str, ...]:
        """Return the items of a checkpoint: its metrics, or one that says why it is not gated."""
        return self.gated_scorers() if self._why_not(checkpoint) is None else ("file",)

    def not_looked_at(self) -> list[str]:
        """Return a line for each folder under test in which no gate will look at something."""
        from loraeval.evaluation.checkpoints import not_looked_at

        return not_looked_at(self.request.checkpoints, self.request.here)

    def gated_scorers(self) -> tuple[str, ...]:
        """Return the metrics that become items; without a usable baseline one item says why."""
        try:
            return tuple(self.baseline().profile.gated)
        except LoraevalError:
            return ("baseline",)

    def expected(self) -> dict[str, tuple[str, ...]]:
        """Return the items of the whole gate: the gated metrics of each checkpoint, by name.

        Where an epoch was chosen, the others are no part of it.
        """
        names = self.checkpoint_names()
        if self.request.choose_epoch and self._place(CHOICE).is_file():
            names = [name for name in names if self.passed_over(name) is None]
        return {name: self.items_of(name) for name in names}

    def baseline(self) -> Baseline:
        """Return the baseline; raise ``UsageError`` where none is named."""
        from loraeval.evaluation.setup import baseline_of

        found = baseline_of(self.request)
        if found is None:
            raise UsageError(
                "expected a baseline to gate against, found none: give --lora-baseline NAME or set "
                "lora_baseline in the pytest configuration; make one with: loraeval baseline freeze"
            )
        return found

    def run(self, checkpoint: str) -> GateRun:
        """Return the gated run of ``checkpoint``, computed once a session."""
        from loraeval.evaluation.stored_run import is_stored, read_run, write_run

        why_not = self._why_not(checkpoint)
        if why_not is not None:
            raise UsageError(f"not gated: {why_not}")
        if checkpoint not in self._runs:
            folder = self._place(checkpoint)
            with self._once(folder):
                if not is_stored(folder):
                    write_run(folder, self._compute(checkpoint))
            self._runs[checkpoint] = read_run(folder)
        return self._runs[checkpoint]

    def gated(self) -> list[GateRun]:
        """Return the runs that this session has gated by now, computing none."""
        from loraeval.evaluation.stored_run import is_stored

        if self.run_id is None:
            return []
        names = self.checkpoint_names()
        return [self.run(name) for name in names if is_stored(self._place(name))]

    def passed_over(self, checkpoint: str) -> str | None:
        """Return why ``checkpoint`` is not gated where an epoch is chosen first, None if it is."""
        if not self.request.choose_epoch or self._why_not(checkpoint) is not None:
            return None
        place = self._place(CHOICE)
        with self._once(place):
            if not place.is_file():
                write_text_atomically(place, json.dumps(self._choose()))
        chosen: dict[str, str] = json.loads(place.read_text(encoding="utf-8"))
        return chosen.get(checkpoint)

    def outcome(self, checkpoint: str, metric: str) -> ItemOutcome:
        """Return what the item of this checkpoint and metric reports."""
        if metric == "baseline":
            self.baseline()  # raises the sentence that the item fails with
        why = self.passed_over(checkpoint)
        if why is not None:
            return ItemOutcome("skip", why, ())
        verdict = self.run(checkpoint).verdict
        found = next((c for c in verdict.comparisons if c.metric == metric), None)
        if found is None:
            raise UsageError(f"{metric} was not compared: {verdict.reason}")
        kind = self._kind(found)
        place = verdict.comparisons.index(found)
        return ItemOutcome(kind, found.reason, _properties(verdict, found, place))

    def write_report(self, folder: Path, names: Sequence[str]) -> Path:
        """Write the HTML report of the checkpoints ``names``, gated in this session; return the
        page.
        """
        from loraeval.evaluation.reporting import report_folder
        from loraeval.evaluation.run_folder import write_runs
        from loraeval.evaluation.setup import gate_options

        runs = [self.run(name) for name in names]
        paths = [self._checkpoint_paths()[name] for name in names]
        files = {r.checkpoint: p for r, p in zip(runs, paths, strict=True) if p.is_file()}
        options = gate_options(self.request)
        write_runs(
            folder, runs, self.baseline(), request=self.request, options=options, files=files
        )
        return report_folder(folder)

    def trained_otherwise(self, verdicts: Sequence[Verdict]) -> list[str]:
        """Return a line for each parameter in which a failed checkpoint was trained otherwise than
        the baseline's run, where both are known.
        """
        from loraeval.evaluation.reporting import training_differences

        failed = [v.checkpoint for v in verdicts if v.outcome == "fail"]
        found = []
        with contextlib.suppress(LoraevalError):  # the items said it; a summary adds no second one
            paths, baseline = self._checkpoint_paths(), self.baseline()
            for checkpoint in failed:
                file = paths.get(checkpoint.file or "")
                told = training_differences(baseline, file) if file is not None else ()
                found += [f"{checkpoint.label} trained otherwise: {words}" for words in told]
        return found

    def close(self) -> None:
        """Free the renderer and remove the session's folder."""
        if self._setup is not None:
            self._setup.close()
        if self.run_id is not None:
            shutil.rmtree(_folder_of(self.run_id), ignore_errors=True)

    def _kind(self, comparison: Comparison) -> Literal["pass", "fail", "skip"]:
        outcome = settled(comparison.outcome, self.request.inconclusive or "fail")
        if outcome == "inconclusive":
            return "skip"
        return "pass" if outcome == "pass" else "fail"

    def _folder(self) -> Path:
        folder = _folder_of(self.own_id())
        if not folder.exists():
            remove_left()
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
            raise UsageError(f"{folder}: the session's folder belongs to somebody else")
        os.utime(folder)  # in use: see remove_left
        return folder

    def _place(self, name: str) -> Path:
        return self._folder() / uuid.uuid5(uuid.NAMESPACE_URL, name).hex

    @contextlib.contextmanager
    def _once(self, place: Path) -> Iterator[None]:
        """Hold the lock of ``place``; what was refused there once is refused again at once."""
        refusal = place.with_suffix(".refused")
        with _locked(place.with_suffix(".lock")):
            if refusal.exists():
                raise UsageError(refusal.read_text(encoding="utf-8"))
            try:
                yield
            except LoraevalError as error:
                # The other items and workers need not come to it again.
                refusal.write_text(str(error), encoding="utf-8")
                raise

    def _compute(self, checkpoint: str) -> GateRun:
        from loraeval.evaluation.gate_run import gate_checkpoint

        path = self._checkpoint_paths()[checkpoint]
        return gate_checkpoint(path, self._make_setup(), checkpoint)

    def _choose(self) -> dict[str, str]:
        """Choose an epoch; return by checkpoint why it is passed over."""
        from loraeval.evaluation.choose_epoch import choose_epoch, epochs_of

        paths = {n: p for n, p in self._checkpoint_paths().items() if self._why_not(n) is None}
        epochs = epochs_of(paths)
        series = choose_epoch(epochs, self._make_setup())
        if series.selection.epoch is None:
            return {}
        kept = epochs[series.selection.epoch].resolve()
        why = f"not the chosen epoch: {series.selection.reason}"
        return {name: why for name, path in paths.items() if path.resolve() != kept}

    def _make_setup(self) -> GateSetup:
        if self._setup is None:
            from loraeval.evaluation.setup import gate_setup

            self._setup = gate_setup(self.request, self.baseline(), quiet=True)
        return self._setup

    def _checkpoint_paths(self) -> dict[str, Path]:
        if self._paths is None:
            from loraeval.evaluation.checkpoints import expand_all

            found = self.request.renders is not None
            found_paths = expand_all(
                self.request.checkpoints, self.request.here, found=found, refused=self._refused
            )
            self._paths = {}
            for name, path in found_paths.items():  # no name starts a command of a CI runner
                spoken = unspoken(name)
                self._paths[name if spoken in self._paths else spoken] = path
        return self._paths

    def _why_not(self, checkpoint: str) -> str | None:
        """Return why a file of a folder cannot be gated, None where it can."""
        return self._refused.get(self._checkpoint_paths()[checkpoint])


def _folder_of(run_id: str) -> Path:
    return Path(tempfile.gettempdir()) / f"loraeval-{uuid.uuid5(uuid.NAMESPACE_URL, run_id).hex}"


def remove_left() -> None:
    """Remove the folders that sessions of this user left when they were killed: two days old, and
    no checkpoint in them being gated.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"loraeval-{'[0-9a-f]' * 32}"):
        with contextlib.suppress(OSError):
            facts = folder.lstat()
            old = facts.st_mtime < time.time() - LEFT_AFTER
            if old and stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid():
                with contextlib.ExitStack() as held:
                    for lock in folder.glob("*.lock"):
                        file = held.enter_context(lock.open())
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError where it is held
                    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _properties(
    verdict: Verdict, comparison: Comparison, place: int
) -> tuple[tuple[str, str | int | float], ...]:
    """Return the item's numbers as plain types: JUnit properties, and JSON for the summary."""
    facts: dict[str, Any] = asdict(comparison)
    numbers = ("estimate", "low", "high", "margin", "n", "baseline_mean", "candidate_mean")
    facts |= {
        "checkpoint": checkpoint_to_json(verdict.checkpoint),
        "baseline": verdict.baseline,
        "place": place,
        "notes": verdict.notes,
        "advice": verdict.advice,
    }
    pairs = [(f"loraeval.{key}", facts[key]) for key in numbers if facts[key] is not None]
    return (
        ("loraeval", json.dumps(facts, allow_nan=False)),
        ("loraeval.outcome", str(comparison.outcome)),
        *(("loraeval.note", note) for note in verdict.notes),
        *(("loraeval.advice", advice) for advice in verdict.advice),
        *((name, value if isinstance(value, int) else float(value)) for name, value in pairs),
    )


def read_verdicts(texts: Sequence[str]) -> list[Verdict]:
    """Return the verdicts that the items' JSON texts add up to, one a checkpoint, sorted."""
    grouped: dict[tuple[Checkpoint, str], list[Comparison]] = {}
    said: dict[tuple[Checkpoint, str], tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for facts in sorted(map(json.loads, texts), key=lambda facts: facts["place"]):
        key = (checkpoint_from_json(facts.pop("checkpoint")), facts.pop("baseline"))
        del facts["place"]
        said[key] = (tuple(facts.pop("notes")), tuple(facts.pop("advice")))
        grouped.setdefault(key, []).append(Comparison(**facts))
    return [
        Verdict(
            checkpoint,
            baseline,
            outcome_of(comparisons),
            tuple(comparisons),
            "",
            notes=said[checkpoint, baseline][0],
            advice=said[checkpoint, baseline][1],
        )
        for (checkpoint, baseline), comparisons in sorted(
            grouped.items(), key=lambda item: item[0][0].label
        )
    ]
