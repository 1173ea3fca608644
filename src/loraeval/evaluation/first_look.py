"""The first look at images of unknown make: what can be measured on them, and which to keep.

No baseline and no profile are needed. What a scorer means here is found from the images and the
reference: a lattice that most images lack is no fault of theirs but another style.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from loraeval.baselines import is_fault
from loraeval.gate.epochs import EpochSelection, metric_intervals, select_epoch
from loraeval.records import ScoreRow

Decision = Literal["keep", "none", "cannot be told"]

MEASURED = 0.5
"""A metric counts where it was measured on at least this share of the images."""

PIXEL_ART = 0.2
"""Mean ``grid`` of the best epoch from which the images are taken for pixel art: below it the
lattice and what separates pixel art from photographs say nothing about quality.
"""

IN_STYLE = 0.1
"""A best epoch whose mean ``style`` lies below this, its 95 % interval included, is hardly nearer
to the reference images than pictures in no style are (``style`` 0).
"""

COPIES = 0.35
"""Mean ``style.memorisation`` below which, its interval included, the images repeat the reference
(0 is an exact copy, unseen images of the same style stand at 1).
"""


@dataclass(frozen=True, slots=True)
class Sight:
    """Metrics that say something about these images, and why each other one does not."""

    metrics: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunAdvice:
    """What to do with one run: ``decision``, the sentence for people, and what it rests on.

    ``place`` is the epoch or step to keep (None unless ``decision`` is ``keep``), ``axis`` its
    word; ``rivals`` are the others that cannot be told from it.
    """

    run: str
    decision: Decision
    sentence: str
    axis: str = "epoch"
    place: int | None = None
    rivals: tuple[int, ...] = ()
    selection: EpochSelection | None = None


def measurable(rows: Sequence[ScoreRow]) -> Sight:
    """Return which undotted metrics say something about the images of ``rows``.

    >>> row = ScoreRow("a.png", "r", None, 1, "p", 1, {"palette": None, "health": 1.0},
    ...                details={"palette": {"reason": "the prompt names no colour"}})
    >>> measurable([row]).left_out
    {'palette': 'the prompt names no colour (1 of 1 images)'}
    """
    names = list(dict.fromkeys(n for row in rows for n in row.scores if "." not in n))
    healthy = [row for row in rows if not is_fault(row)] or list(rows)
    kept, left = [], {}
    for name in names:
        missing = [row for row in healthy if row.scores.get(name) is None]
        if len(healthy) - len(missing) >= MEASURED * len(healthy) and len(missing) < len(healthy):
            kept.append(name)
        else:
            left[name] = f"{_reason(missing[0], name)} ({len(missing)} of {len(healthy)} images)"
    if "grid" in kept and _best_mean(healthy, "grid") < PIXEL_ART:
        for name in ("grid", "realism"):
            if name in kept:
                kept.remove(name)
                left[name] = "these images are no pixel art: it says nothing about them"
    return Sight(tuple(kept), left)


def advise(rows: Sequence[ScoreRow], sight: Sight | None = None) -> list[RunAdvice]:
    """Return the advice on each run of ``rows``, runs in the order in which they come."""
    sight = sight or measurable(rows)
    runs = list(dict.fromkeys(row.run for row in rows))
    return [_of_run(run, [row for row in rows if row.run == run], sight) for run in runs]


def on_one_axis(rows: Sequence[ScoreRow]) -> tuple[list[ScoreRow], str]:
    """Return the rows with their epoch, or their step in its place where only steps are known,
    and the word for it.
    """
    if any(row.epoch is not None for row in rows):
        return list(rows), "epoch"
    if any(row.step is not None for row in rows):
        return [replace(row, epoch=row.step) for row in rows], "step"
    return list(rows), "epoch"


def _of_run(run: str, rows: Sequence[ScoreRow], sight: Sight) -> RunAdvice:
    placed, axis = on_one_axis(rows)
    count = len(placed)
    if all(is_fault(row) for row in placed):
        return RunAdvice(run, "none", f"Keep none of {run}: every image is broken.", axis)
    metrics = [name for name in sight.metrics if name != "health"]
    places = sorted({row.epoch for row in placed if row.epoch is not None})
    if not metrics:
        why = "; ".join(f"{name}: {reason}" for name, reason in sight.left_out.items())
        return RunAdvice(run, "cannot be told", f"{run}: nothing measures these images ({why}).")
    if len(places) < 2:
        found = f"one {axis}" if places else "no epoch or step in any name"
        text = f"{run}: nothing to choose from, the {count} images have {found}."
        return RunAdvice(run, "cannot be told", text, axis)
    counted = [replace(row, scores={**_only(row, metrics)}) for row in placed]
    selection = select_epoch(counted, metrics)
    if selection.epoch is None:
        return RunAdvice(run, "none", f"Keep none of {run}: {selection.reason}.", axis)
    best = [row for row in placed if row.epoch == selection.epoch]
    refusal = _not_good(best)
    if refusal:
        text = f"Keep none of {run}: even {axis} {selection.epoch}, the best of it, {refusal}."
        return RunAdvice(run, "none", text, axis, None, selection.tied, selection)
    if len(selection.tied) == len(places) - 1 - _broken(selection) and len(places) > 1:
        alike = _listed((selection.epoch, *selection.tied), axis)
        text = (
            f"{run}: it cannot be told which {axis} is best; {alike} do not differ beyond chance "
            f"in {count} images; more seeds of the same prompts would tell."
        )
        return RunAdvice(run, "cannot be told", text, axis, None, selection.tied, selection)
    rivals = ""
    if selection.tied:
        rivals = f" ({_listed(selection.tied, axis)} cannot be told from it)"
    text = f"Keep {axis} {selection.epoch} of {run}{rivals}."
    return RunAdvice(run, "keep", text, axis, selection.epoch, selection.tied, selection)


def _broken(selection: EpochSelection) -> int:
    return sum(why == "broken" for why in selection.excluded.values())


def _only(row: ScoreRow, metrics: Sequence[str]) -> dict[str, float | None]:
    return {name: row.scores.get(name) for name in (*metrics, "health") if name in row.scores}


def _not_good(rows: Sequence[ScoreRow]) -> str | None:
    """Say what rules out even the best images of a run; None where nothing does."""
    limits = metric_intervals(rows)
    if "style" in limits and limits["style"][2] < IN_STYLE:
        return f"is hardly in the reference's style (style {limits['style'][0]:.2f})"
    if "style.memorisation" in limits and limits["style.memorisation"][2] < COPIES:
        mean = limits["style.memorisation"][0]
        return f"repeats the reference images (style.memorisation {mean:.2f})"
    return None


def _best_mean(rows: Sequence[ScoreRow], metric: str) -> float:
    """Return the highest mean of ``metric`` that an epoch or step of any run reaches."""
    groups: dict[tuple[str, int | None, int | None], list[float]] = {}
    for row in rows:
        value = row.scores.get(metric)
        if value is not None:
            groups.setdefault((row.run, row.epoch, row.step), []).append(value)
    return max((math.fsum(g) / len(g) for g in groups.values()), default=0.0)


def _reason(row: ScoreRow, metric: str) -> str:
    details = row.details.get(metric)
    reason = details.get("reason") if isinstance(details, Mapping) else None
    return str(reason or "it was not measured")


def _listed(numbers: Sequence[int], axis: str) -> str:
    """Return ``epochs 6, 8 and 9`` for (6, 8, 9)."""
    words = [str(number) for number in sorted(numbers)]
    if len(words) == 1:
        return f"{axis} {words[0]}"
    return f"{axis}s {', '.join(words[:-1])} and {words[-1]}"
