"""Which prompts carry a loss: advice on where to look, never a verdict.

A gate on the mean does not see one concept of forty that was destroyed. Each prompt's loss is held
against how far the baseline's own images fall below the others of their prompt. All prompts and
scorers together name a sound prompt by chance with probability ``alpha`` at most (Bonferroni); the
law of the baseline's falls is followed beyond what was seen by an exponential tail fitted to the
largest of them (excesses over a threshold: Pickands 1975), since scores fall far and rise little,
and well beyond the largest of them, as skewed scores fall farther still.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from loraeval.baselines import Baseline, is_fault
from loraeval.baselines.margins import prompt_key, values_by_run
from loraeval.baselines.shares import SHARES
from loraeval.gate.matching import BaselineIndex, Matched
from loraeval.gate.parts import scorers_tested
from loraeval.gate.sentences import images
from loraeval.records import ScoreRow

FEWEST_FALLS = 40
"""Golden images with another of their prompt below which nothing is known of single falls."""

TAIL = 0.1
"""Share of the golden falls that the tail is fitted to."""

BEYOND = 1.5
"""How much farther than the largest golden fall a loss must go: another image that scores 0, as one
golden image does, is no news.
"""

MANY = 8
"""Images of a tag from which on their mean is near enough to normal."""

NAMED = 5
"""Prompts named for one scorer."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Falls:
    """How far golden images fall below the others of their prompt: ``falls`` (n,), positive down;
    ``others`` how many others a prompt has; ``spread`` from seed to seed with ``df``.
    """

    falls: Floats
    others: float
    spread: float
    df: int

    def limit(self, chance: float, count: Floats, golden: Floats) -> Floats:
        """Return the loss (…) of the mean of ``count`` images against ``golden`` baseline images
        that a sound prompt exceeds with probability ``chance``, by either law the larger.
        """
        scale = np.sqrt(1 / count + 1 / golden)
        normal = -stdtrit(self.df, chance) * self.spread * scale
        ordered = np.sort(self.falls)[::-1]
        top = max(8, round(TAIL * len(ordered)))
        start = max(float(ordered[top]), 1e-3)
        excess = float((ordered[:top] - start).mean())
        reach = start + excess * math.log(top / len(ordered) / chance)
        reach = max(BEYOND * float(ordered[0]), reach)
        tail = reach * scale / math.sqrt(1 + 1 / self.others)
        return np.asarray(np.maximum(normal, tail))


def golden_falls(rows: Sequence[ScoreRow], metric: str) -> Falls | None:
    """Return the baseline's falls, None where too few images have another of their prompt."""
    groups = [np.array(v) for v in values_by_run(rows, metric).values() if len(v) > 1]
    count = sum(map(len, groups))
    if count < FEWEST_FALLS:
        return None
    falls = np.concatenate([(v.sum() - v) / (len(v) - 1) - v for v in groups])
    squares = sum(float(((v - v.mean()) ** 2).sum()) for v in groups)
    df = count - len(groups)
    others = count / len(groups) - 1
    return Falls(falls, others, max(math.sqrt(squares / df), 0.01), df)


def prompt_advice(
    baseline: Baseline,
    rows: Sequence[ScoreRow],
    alpha: float,
    tags: Mapping[str, Sequence[str]] | None = None,
) -> tuple[str, ...]:
    """Return sentences naming prompts and tags that carry a loss, the worst first.

    ``tags`` maps prompt ids to their tags. Nothing is said where the prompts are not the
    baseline's, or where the baseline has one image a prompt.
    """
    index = BaselineIndex(baseline)
    healthy = [row for row in rows if not is_fault(row)]
    if not healthy or index.pairing(healthy) == "unpaired":
        return ()
    level = alpha / scorers_tested(baseline)
    sentences = []
    for metric in baseline.profile.gated:
        if metric == "health" or metric in SHARES:
            continue
        falls = golden_falls(baseline.rows, metric)
        matched = index.match(healthy, metric, "prompt")
        if falls is None or not matched.scores:
            continue
        found = lost_prompts(matched, falls, level, baseline.margins.get(metric, 0.0))
        sentences += [_sentence(metric, *one, healthy) for one in found[:NAMED]]
        margin = baseline.margins.get(metric, 0.0)
        sentences += _tagged(metric, matched, falls, level, margin, tags or {})
    return tuple(sentences)


def lost_prompts(
    matched: Matched, falls: Falls, alpha: float, margin: float
) -> list[tuple[str, float, float, int]]:
    """Return (prompt key, candidate's mean, baseline's mean, images), the largest loss first."""
    names, place = np.unique(np.array(matched.prompts), return_inverse=True)
    count = np.bincount(place).astype(np.float64)
    ours = np.bincount(place, weights=np.array(matched.scores)) / count
    theirs = np.bincount(place, weights=np.array(matched.prompt_mean)) / count
    golden = np.bincount(place, weights=np.array(matched.per_prompt, dtype=np.float64)) / count
    loss = theirs - ours
    limit = np.maximum(falls.limit(alpha / len(names), count, golden), margin)
    order = [int(at) for at in np.argsort(-loss) if loss[at] > limit[at]]
    return [(str(names[at]), float(ours[at]), float(theirs[at]), int(count[at])) for at in order]


def _sentence(
    metric: str, key: str, ours: float, theirs: float, count: int, rows: Sequence[ScoreRow]
) -> str:
    prompt = key.split("\x1f")[0]
    wrong = _attributes([row for row in rows if prompt_key(row) == key], metric)
    told = f"; wrong there: {', '.join(wrong)}" if wrong else ""
    change = f"{ours:.2f} against {theirs:.2f}"
    return f"look at prompt {prompt}: {metric} {change} ({images(count)}{told})"


def _attributes(rows: Sequence[ScoreRow], metric: str) -> list[str]:
    """Return the attributes that were drawn in another colour, as the palette's details say."""
    if not metric.startswith("palette"):
        return []
    found: dict[str, None] = {}
    for row in rows:
        facts = row.details.get("palette")
        listed = facts.get("attributes") if isinstance(facts, dict) else None
        for item in listed if isinstance(listed, list) else []:
            if isinstance(item, dict) and item.get("fault"):
                found[str(item.get("attribute"))] = None
    return list(found)


def _tagged(
    metric: str,
    matched: Matched,
    falls: Falls,
    alpha: float,
    margin: float,
    tags: Mapping[str, Sequence[str]],
) -> list[str]:
    members: dict[str, list[int]] = {}
    for at, key in enumerate(matched.prompts):
        for tag in tags.get(key.split("\x1f")[0], ()):
            members.setdefault(tag, []).append(at)
    found = []
    for tag, places in sorted(members.items()):
        prompts = {matched.prompts[at] for at in places}
        if len(prompts) < 2 or len(places) == len(matched.scores):
            continue
        losses = np.array([matched.prompt_mean[at] - matched.scores[at] for at in places])
        golden = sum({matched.prompts[at]: matched.per_prompt[at] for at in places}.values())
        chance, count = alpha / len(members), float(len(places))
        limit = falls.limit(chance, np.array(count), np.array(float(golden)))
        if count >= MANY:
            scale = math.sqrt(1 / count + 1 / golden)
            limit = np.asarray(-stdtrit(falls.df, chance) * falls.spread * scale)
        if losses.mean() > max(float(limit), margin):
            found.append(
                f"look at what is tagged {tag}: {metric} fell by {losses.mean():.2f} on its "
                f"{len(prompts)} prompts ({images(len(places))})"
            )
    return found
