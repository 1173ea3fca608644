"""A against B, without a baseline: which is better, by metric and by prompt, or cannot be told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from loraeval.baselines import is_fault
from loraeval.baselines.margins import prompt_key
from loraeval.baselines.spread import SPREAD_FLOOR
from loraeval.errors import ScoresError, StaleError
from loraeval.gate.estimate import cluster_mean
from loraeval.gate.sentences import images
from loraeval.records import ScoreRow

Answer = Literal["better", "worse", "cannot be told"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A minus B on one metric, over all prompts (``prompt`` None) or on one.

    ``low`` to ``high`` hold the difference with probability ``confidence`` together with those of
    all other metrics (or, on prompts, all other prompts of the metric). ``pairs`` of images of the
    same prompt and seed count; where ``seeds`` is False no seeds are known or shared, and the means
    of a prompt are compared.
    """

    metric: str
    prompt: str | None
    estimate: float
    low: float
    high: float
    pairs: int
    prompts: int
    seeds: bool
    confidence: float
    first: float
    second: float

    @property
    def answer(self) -> Answer:
        """Whether A is better."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "cannot be told"


def compare_rows(
    first: Sequence[ScoreRow], second: Sequence[ScoreRow], alpha: float = 0.05
) -> list[Difference]:
    """Return A minus B a metric, each followed by its prompts, A being ``first``.

    Only prompts that both have count, paired by seed where both know it. Prompts are clusters. The
    intervals are for this one look: they hold for a number of images fixed beforehand. Raises
    ``ScoresError`` where the two share no prompt or no metric, ``StaleError`` where their scores
    were made another way.
    """
    ours = [row for row in first if not is_fault(row)]
    theirs = [row for row in second if not is_fault(row)]
    _check(ours, theirs)
    metrics = [
        metric
        for metric in dict.fromkeys(name for row in ours for name in row.scores)
        if metric != "health" and _pairs(ours, theirs, metric)[0]
    ]
    if not metrics:
        raise ScoresError(
            "expected two runs with scores of the same prompts, found no prompt that both have"
        )
    found = []
    for metric in metrics:
        pairs, seeds = _pairs(ours, theirs, metric)
        found.append(_over_prompts(metric, pairs, seeds, alpha / len(metrics), 1 - alpha))
        found += _by_prompt(metric, pairs, seeds, alpha)
    return found


Pairs = dict[str, list[tuple[float, float]]]


def _check(first: Sequence[ScoreRow], second: Sequence[ScoreRow]) -> None:
    if not first or not second:
        raise ScoresError("expected healthy images of both, found none of one")
    encoders = {row.encoder for row in (*first, *second) if row.encoder is not None}
    recipes = {row.recipe for row in (*first, *second) if row.recipe is not None}
    for what, values in (("encoder", encoders), ("recipe", recipes)):
        if len(values) > 1:
            raise StaleError(
                f"the two were made with more than one {what} ({', '.join(sorted(values))}); "
                "render and score both alike"
            )
    versions: dict[str, str] = {}
    for row in (*first, *second):
        for metric, version in row.versions.items():
            if versions.setdefault(metric, version) != version:
                raise StaleError(f"{metric} was scored with two versions; score both alike")


def _pairs(
    first: Sequence[ScoreRow], second: Sequence[ScoreRow], metric: str
) -> tuple[Pairs, bool]:
    """Return (A, B) scores by prompt, and whether they are paired by seed."""
    sides: list[dict[tuple[str, int | None], list[float]]] = [{}, {}]
    for rows, side in ((first, sides[0]), (second, sides[1])):
        for row in rows:
            value = row.scores.get(metric)
            if value is not None:
                side.setdefault((prompt_key(row), row.seed), []).append(value)
    shared = [key for key in sides[0] if key in sides[1] and key[1] is not None]
    found: Pairs = {}
    if shared:
        for key in shared:
            pair = (_mean(sides[0][key]), _mean(sides[1][key]))
            found.setdefault(key[0], []).append(pair)
        return found, True
    prompts = [{prompt for prompt, _ in side} for side in sides]
    for prompt in sorted(prompts[0] & prompts[1]):
        ours, theirs = (
            [value for (name, _), values in side.items() if name == prompt for value in values]
            for side in sides
        )
        found[prompt] = [(_mean(ours), _mean(theirs))]
    return found, False


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _over_prompts(
    metric: str, pairs: Pairs, seeds: bool, alpha: float, confidence: float
) -> Difference:
    numbers = np.array([a - b for found in pairs.values() for a, b in found])
    clusters = np.repeat(np.arange(len(pairs)), [len(found) for found in pairs.values()])
    mean = cluster_mean(numbers, clusters)
    reach = math.inf
    if mean.df > 0:
        floor = SPREAD_FLOOR**2 / len(numbers)
        reach = float(stdtrit(mean.df, 1 - alpha / 2)) * math.sqrt(max(float(mean.variance), floor))
    return _difference(metric, None, pairs, seeds, float(mean.mean), reach, confidence)


def _by_prompt(metric: str, pairs: Pairs, seeds: bool, alpha: float) -> list[Difference]:
    """Return one difference a prompt, the spread of pairs taken from all prompts together."""
    gaps = [np.array([a - b for a, b in found]) for found in pairs.values()]
    df = sum(len(gap) - 1 for gap in gaps)
    if df < 1 or len(pairs) < 2:
        return []
    squares = sum(float(((gap - gap.mean()) ** 2).sum()) for gap in gaps)
    spread = max(math.sqrt(squares / df), SPREAD_FLOOR)
    limit = float(stdtrit(df, 1 - alpha / len(pairs) / 2))
    return [
        _difference(
            metric, prompt, {prompt: pairs[prompt]}, seeds, float(gap.mean()),
            limit * spread / math.sqrt(len(gap)), 1 - alpha,
        )
        for prompt, gap in zip(pairs, gaps, strict=True)
    ]  # fmt: skip


def _difference(
    metric: str, prompt: str | None, pairs: Pairs, seeds: bool, estimate: float, reach: float,
    confidence: float,
) -> Difference:  # fmt: skip
    both = [pair for found in pairs.values() for pair in found]
    return Difference(
        metric=metric,
        prompt=None if prompt is None else prompt.split("\x1f")[0],
        estimate=estimate,
        low=max(-1.0, estimate - reach),
        high=min(1.0, estimate + reach),
        pairs=len(both),
        prompts=len(pairs),
        seeds=seeds,
        confidence=confidence,
        first=_mean([a for a, _ in both]),
        second=_mean([b for _, b in both]),
    )


def sentence(item: Difference, first: str, second: str) -> str:
    """Return the one sentence of a difference."""
    where = "" if item.prompt is None else f" on prompt {item.prompt}"
    basis = f"{images(item.pairs)} each, {'paired by seed' if item.seeds else 'paired by prompt'}"
    facts = (
        f"{item.first:.2f} against {item.second:.2f}, a difference of {item.estimate:+.3f}, "
        f"somewhere from {item.low:+.3f} to {item.high:+.3f}; {basis}"
    )
    if item.answer == "cannot be told":
        return f"{item.metric}{where}: it cannot be told which is better ({facts})"
    return f"{item.metric}{where}: {first} is {item.answer} than {second} ({facts})"
