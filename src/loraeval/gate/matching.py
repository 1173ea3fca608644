"""Match candidate images to the baseline's: by prompt and seed, by prompt, or not at all."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from loraeval.baselines import Baseline
from loraeval.baselines.margins import prompt_key, seed_spread, values_by_prompt
from loraeval.baselines.spread import Spread
from loraeval.outside.text import clean
from loraeval.records import Pairing, ScoreRow

MAX_REASON = 1000
"""Characters of a reason from a scores file that a verdict repeats."""


@dataclass(frozen=True, slots=True)
class Missing:
    """An image on which a gated metric was not measured although the baseline has it."""

    image: str
    reason: str


@dataclass(frozen=True, slots=True)
class Matched:
    """One metric's numbers, candidate beside baseline, one entry an image in every tuple.

    ``same_seed`` and ``prompt_mean`` are the baseline's score for the same prompt and seed and its
    mean for the prompt (both the overall mean where unpaired), ``per_prompt`` how many baseline
    images that mean rests on; ``prompts`` the prompt of each image. ``golden`` are the scores of
    all the baseline's images.
    """

    metric: str
    pairing: Pairing
    scores: tuple[float, ...]
    same_seed: tuple[float, ...]
    prompt_mean: tuple[float, ...]
    per_prompt: tuple[int, ...]
    prompts: tuple[str, ...]
    spread: Spread
    golden: tuple[float, ...] = ()
    missing: tuple[Missing, ...] = ()


class BaselineIndex:
    """The baseline's scores, looked up by prompt and seed."""

    def __init__(self, baseline: Baseline) -> None:
        self.baseline = baseline
        self.by_id: dict[str, dict[str, list[ScoreRow]]] = defaultdict(lambda: defaultdict(list))
        for row in baseline.rows:
            self.by_id[row.prompt_id][row.prompt_digest or ""].append(row)

    def rows_of(self, row: ScoreRow) -> list[ScoreRow]:
        """Return the baseline's rows of the same prompt: same id, and same text where known."""
        versions = self.by_id.get(row.prompt_id)
        if not versions:
            return []
        if row.prompt_digest is None:
            return next(iter(versions.values())) if len(versions) == 1 else []
        return versions.get(row.prompt_digest) or versions.get("") or []

    def pairing(self, rows: Sequence[ScoreRow]) -> Pairing:
        """Return the strongest pairing that every row allows: none is ever left out for it."""
        matches = [self.rows_of(row) for row in rows]
        if not all(matches):
            return "unpaired"
        for row, found in zip(rows, matches, strict=True):
            if row.seed is None or all(other.seed != row.seed for other in found):
                return "prompt"
        return "prompt+seed"

    def match(self, rows: Sequence[ScoreRow], metric: str, pairing: Pairing) -> Matched:
        """Return the numbers of ``metric``; rows without one are listed as missing.

        A prompt for which the baseline has no number either (its caption names no colour, say) is
        left out on both sides and is not missing.
        """
        values = values_by_prompt(self.baseline.rows, metric)
        spread = seed_spread(self.baseline.rows, metric)
        columns: list[tuple[float, float, float, int, str]] = []
        missing = []
        for row in rows:
            found = self.rows_of(row) if pairing != "unpaired" else list(self.baseline.rows)
            numbers = [v for other in found if (v := other.scores.get(metric)) is not None]
            score = row.scores.get(metric)
            if not numbers:
                continue
            if score is None:
                missing.append(Missing(row.image, unscored_reason(row, metric)))
                continue
            mean = spread.mean if pairing == "unpaired" else math.fsum(numbers) / len(numbers)
            same = mean
            if pairing == "prompt+seed":
                twins = [
                    v
                    for other in found
                    if other.seed == row.seed and (v := other.scores.get(metric)) is not None
                ]
                same = math.fsum(twins) / len(twins) if twins else mean
            columns.append((score, same, mean, len(numbers), prompt_key(row)))
        return Matched(
            metric=metric,
            pairing=pairing,
            scores=tuple(column[0] for column in columns),
            same_seed=tuple(column[1] for column in columns),
            prompt_mean=tuple(column[2] for column in columns),
            per_prompt=tuple(column[3] for column in columns),
            prompts=tuple(column[4] for column in columns),
            spread=spread,
            golden=tuple(value for numbers in values.values() for value in numbers),
            missing=tuple(missing),
        )


def unscored_reason(row: ScoreRow, metric: str) -> str:
    """Return why ``metric`` has no number in ``row``, as its scorer said it."""
    for name in (metric, metric.split(".")[0]):
        facts = row.details.get(name)
        if isinstance(facts, dict) and isinstance(facts.get("reason"), str):
            return clean(facts["reason"], MAX_REASON)
    return "it was not scored"
