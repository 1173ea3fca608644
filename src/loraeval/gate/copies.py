"""Are the pictures different pictures? A LoRA that draws one for every prompt is no good LoRA.

Content is decoded pixels (``details["pixels"]`` of a row), not file names. Pictures of different
prompts that lie nearer to each other than two seeds of one prompt in the baseline ever do count as
one. The distance is the root mean square of the difference of the block means, in levels of 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loraeval.baselines import Baseline
from loraeval.baselines.margins import prompt_key
from loraeval.gate.betting import log_capital_worse
from loraeval.gate.options import GateOptions
from loraeval.gate.sentences import images
from loraeval.images.signature import read_signature
from loraeval.records import Comparison, Outcome, ScoreRow

METRIC = "distinct"
"""How the comparison is called in tables."""

FEWEST_EXACT = 2
"""Pictures that repeat another pixel by pixel from which no chance is weighed any more."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """Pictures in order: which repeat an earlier one, and which do so pixel by pixel."""

    repeats: tuple[bool, ...]
    exact: tuple[bool, ...]

    @property
    def distinct(self) -> float:
        """The share of pictures that repeat none."""
        return 1 - sum(self.repeats) / len(self.repeats)


def pixel_digest(row: ScoreRow) -> str | None:
    """Return the digest of the row's decoded pixels, None where the scores do not say."""
    facts = row.details.get("pixels")
    digest = facts.get("digest") if isinstance(facts, dict) else None
    return digest if isinstance(digest, str) else None


def nearest_seeds(rows: Sequence[ScoreRow]) -> float | None:
    """Return the smallest distance between two seeds of one prompt of one checkpoint.

    None where no prompt has two pictures with a signature.
    """
    groups: dict[tuple[object, ...], list[NDArray[np.float64]]] = {}
    for row in rows:
        signature = _signature(row)
        if signature is not None:
            groups.setdefault((row.run, row.epoch, prompt_key(row)), []).append(signature)
    smallest = None
    for found in groups.values():
        for place, one in enumerate(found):
            for other in found[:place]:
                gap = float(np.sqrt(np.mean((one - other) ** 2)))
                smallest = gap if smallest is None else min(smallest, gap)
    return smallest


def find_repeats(rows: Sequence[ScoreRow], near: float | None) -> Repeats:
    """Return which pictures repeat an earlier one among ``rows``, all with a digest.

    The same pixels repeat whatever the prompts; pictures of different prompts that lie nearer
    than ``near`` repeat as well.
    """
    seen: dict[str | None, int] = {}
    prompts = np.array([prompt_key(row) for row in rows])
    signatures = [_signature(row) for row in rows]
    known = np.array([signature is not None for signature in signatures])
    blank = np.zeros(192)
    stacked = np.array([blank if one is None else one for one in signatures])
    exact, repeats = [], []
    for place, row in enumerate(rows):
        digest = pixel_digest(row)
        same = digest in seen
        seen.setdefault(digest, place)
        alike = False
        if near is not None and known[place] and not same:
            others = known[:place] & (prompts[:place] != prompts[place])
            gaps = np.mean((stacked[:place][others] - stacked[place]) ** 2, axis=1)
            alike = bool((gaps < near**2).any())
        exact.append(same)
        repeats.append(same or alike)
    return Repeats(tuple(repeats), tuple(exact))


def distinct_comparison(
    baseline: Baseline, rows: Sequence[ScoreRow], options: GateOptions, alpha: float
) -> Comparison | None:
    """Return whether the pictures are as distinct as the baseline's, None without any digest.

    FAIL where the share of distinct pictures is lower by more than ``options.bad_share``: at once
    where ``FEWEST_EXACT`` or more are the same pixel by pixel, as that is no chance, and for alike
    ones where a bet at ``alpha`` says so. PASS needs the share as seen to be no lower than that.
    """
    known = [row for row in rows if pixel_digest(row) is not None]
    if not known:
        return None
    golden = [row for row in baseline.rows if pixel_digest(row) is not None]
    near = nearest_seeds(golden)
    ours = find_repeats(known, near)
    by_run: dict[tuple[str, int | None], list[ScoreRow]] = {}
    for row in golden:
        by_run.setdefault((row.run, row.epoch), []).append(row)
    theirs = [find_repeats(found, near) for found in by_run.values()]
    count = sum(len(found.repeats) for found in theirs)
    level = 1 - sum(sum(found.repeats) for found in theirs) / count if count else 1.0
    tolerance = options.bad_share
    fallen = level - ours.distinct
    outcome: Outcome = "pass"
    if fallen > tolerance:
        outcome = "inconclusive"
        exact = sum(ours.exact)
        bet = log_capital_worse(
            np.array([level]), 1.0 - np.array(ours.repeats, dtype=np.float64), tolerance
        )
        chance = exact >= FEWEST_EXACT and exact / len(known) > 1 - level + tolerance
        if chance or bool((bet >= np.log(1 / alpha)).any()):
            outcome = "fail"
    return Comparison(
        metric=METRIC,
        outcome=outcome,
        reason=_reason(ours, known, level, outcome, near),
        margin=tolerance,
        n=len(known),
        estimate=-fallen,
        baseline_mean=level,
        candidate_mean=ours.distinct,
    )


def _reason(
    found: Repeats,
    rows: Sequence[ScoreRow],
    level: float,
    outcome: Outcome,
    near: float | None,
) -> str:
    count = sum(found.repeats)
    if not count:
        return f"{METRIC}: all {images(len(rows))} are different pictures"
    first = rows[found.repeats.index(True)].image
    how = (
        "the same pixel by pixel"
        if all(e for e, r in zip(found.exact, found.repeats, strict=True) if r)
        else f"nearer than two seeds of one prompt ({near or 0:.1f} levels)"
    )
    told = (
        f"{count} of {images(len(rows))} repeat another picture (first: {first}; {how}), "
        f"{found.distinct:.0%} are distinct against {level:.0%} of the baseline's"
    )
    if outcome == "inconclusive":
        return f"{METRIC} is undecided: {told}; further images would tell"
    return f"{METRIC}: {told}"


def _signature(row: ScoreRow) -> NDArray[np.float64] | None:
    facts = row.details.get("pixels")
    text = facts.get("signature") if isinstance(facts, dict) else None
    return read_signature(text) if isinstance(text, str) else None
