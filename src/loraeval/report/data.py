"""What a report is made from: plain frozen records, so that a page can be made without a gate run.

Everything text in here may come from a checkpoint's metadata or a captions file: it is hostile
and is escaped where it is shown. The one exception is ``RunReport.parameters_html``, a fragment
that ``loraeval.checkpoints`` has escaped itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from loraeval.records import Checkpoint, ScoreRow, Verdict

METRIC_ORDER = ("palette", "grid", "style", "realism", "health")
"""The order in which people read the scorers; dotted metrics follow their scorer."""


class Selection(Protocol):
    """Which epoch to keep, as ``loraeval.gate.epochs.EpochSelection`` says it.

    ``epoch`` is the recommended one (None where nothing can be recommended), ``tied`` the other
    epochs that cannot be told from it, ``reason`` the sentence for people.
    """

    @property
    def epoch(self) -> int | None:
        """The recommended epoch."""

    @property
    def tied(self) -> Sequence[int]:
        """Epochs that cannot be told apart from the recommended one."""

    @property
    def reason(self) -> str:
        """Why this epoch, and whether it is distinguishable, in a sentence."""


@dataclass(frozen=True, slots=True)
class BaselineView:
    """A baseline as a report shows it: its images' rows, and per metric its mean and band.

    ``bands`` maps a metric to the interval (low, high) of its mean; ``images`` is the folder
    that ``ScoreRow.image`` of ``rows`` is relative to, None where only the scores were kept.
    ``image_files`` maps ``ScoreRow.image`` to a file instead, where the caller knows it.
    """

    name: str
    rows: tuple[ScoreRow, ...] = ()
    means: Mapping[str, float] = field(default_factory=dict)
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    images: Path | None = None
    image_files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything one HTML report shows.

    ``rows`` are the candidate's images in any order; ``images`` the folder that their ``image``
    is relative to, ``image_files`` maps ``image`` to the file instead, where the caller knows it
    (``GateRun.images``). ``prompts`` maps prompt id to the prompt's text where known. ``recipe``,
    ``versions``, ``hashes`` and ``provenance`` are shown as tables of text. ``differences`` maps a
    checkpoint that failed to its effective differences in training, a sentence each. ``notes``
    are said under the verdict.
    """

    title: str
    rows: tuple[ScoreRow, ...]
    verdicts: tuple[Verdict, ...] = ()
    baseline: BaselineView | None = None
    selection: Selection | None = None
    images: Path | None = None
    image_files: Mapping[str, Path] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)
    parameters_html: str | None = None
    differences: Mapping[Checkpoint, tuple[str, ...]] = field(default_factory=dict)
    recipe: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def ordered_metrics(rows: Sequence[ScoreRow]) -> tuple[str, ...]:
    """Return the metrics that ``rows`` name, scorers in reading order, dotted ones after theirs."""
    names = {name for row in rows for name in row.scores}
    rank = {name: index for index, name in enumerate(METRIC_ORDER)}
    return tuple(sorted(names, key=lambda name: (rank.get(name.split(".")[0], 99), name)))


def main_metrics(rows: Sequence[ScoreRow]) -> tuple[str, ...]:
    """Return the metrics without a dot: one for each scorer."""
    return tuple(name for name in ordered_metrics(rows) if "." not in name)
