"""The gate that decides while images are rendered, and stops as soon as it can."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import numpy as np

from loraeval.baselines import Baseline, is_fault
from loraeval.errors import BaselineError, ScoresError
from loraeval.gate.betting import surely_worse_by
from loraeval.gate.comparable import check_comparable
from loraeval.gate.estimate import paired_residuals
from loraeval.gate.faults import health_comparison, no_effect_reason
from loraeval.gate.fixed import (
    FEWEST_TO_PASS,
    failing,
    margin_of,
    missing_reason,
    scorers_tested,
    too_few_reason,
)
from loraeval.gate.looks import FEWEST_CLUSTERS, NEVER, Plan, bounds_at, decide
from loraeval.gate.matching import BaselineIndex, Matched
from loraeval.gate.options import GateOptions
from loraeval.gate.sample import Estimate, images_to_decide
from loraeval.gate.sentences import comparison_reason, stopped_early, verdict_reason
from loraeval.outcome import outcome_of
from loraeval.records import Checkpoint, Comparison, Outcome, ScoreRow, Verdict

FIRST_LOOK = 12
"""Images before the t test first looks; the bet and the faults do not wait."""


@dataclass(slots=True)
class SequentialGate:
    """Gates one checkpoint image by image, in an order drawn beforehand.

    ``order()`` says what to render, ``add(row)`` takes the scores in that order, ``verdict()`` is
    None while undecided, ``final()`` gives the verdict whatever was seen. The errors hold however
    often one looks. Raises ``BaselineError`` where the baseline has no seeds, as that of found
    images: those are gated with ``gate_rows``.
    """

    baseline: Baseline
    options: GateOptions = field(default_factory=GateOptions)
    _rows: list[ScoreRow] = field(default_factory=list)
    _order: tuple[tuple[str, int], ...] = ()
    _index: BaselineIndex = field(init=False)
    _stopped: Verdict | None = None

    def __post_init__(self) -> None:
        self._index = BaselineIndex(self.baseline)
        self._order = rendering_order(self.baseline, self.options)

    def order(self) -> tuple[tuple[str, int], ...]:
        """Return (prompt id, seed) in the order to render: every prompt once before any twice."""
        return self._order

    @property
    def saved(self) -> float:
        """The share of the images that need not be rendered, from 0 to 1."""
        return 1 - len(self._rows) / len(self._order)

    def add(self, row: ScoreRow) -> None:
        """Take the scores of the next image of ``order()``.

        Raises ``StaleError`` where it must not be compared, and ``ScoresError`` where it is not
        the next image: an order chosen by looking at scores would not keep the error rates.
        """
        if len(self._rows) >= len(self._order):
            raise ScoresError(f"all {len(self._order)} images of the gate have been given already")
        expected = self._order[len(self._rows)]
        if (row.prompt_id, row.seed) != expected:
            raise ScoresError(
                f"expected the scores of prompt {expected[0]} with seed {expected[1]}, got "
                f"{row.prompt_id} with {row.seed}; render in the order that the gate gives"
            )
        check_comparable(self.baseline, [row])
        self._rows.append(row)
        if self._stopped is None or is_fault(row):
            self._stopped = self._look()

    def verdict(self) -> Verdict | None:
        """Return the verdict once it is decided, None before."""
        return self._stopped

    def final(self, checkpoint: Checkpoint | None = None) -> Verdict:
        """Return the verdict on what was seen: an undecided one is inconclusive.

        ``checkpoint`` tells more of it than the rows do (its file's hash).

        Raises ``ScoresError`` where no image was seen.
        """
        check_comparable(self.baseline, self._rows)
        found = self._stopped or self._conclude(self._comparisons())
        return replace(found, checkpoint=checkpoint or found.checkpoint)

    def _look(self) -> Verdict | None:
        rows = self._rows
        idle = no_effect_reason(rows)
        if idle is not None and len(rows) >= min(2, len(self._order)):
            comparisons = tuple(
                failing(metric, self.baseline.margins.get(metric, 0.0), len(rows), idle)
                for metric in self.baseline.profile.gated
            )
            return self._verdict("fail", comparisons, idle)
        judged = self._comparisons()
        found = outcome_of(item.comparison for item in judged)
        settled = found == "fail" or all(item.settled for item in judged)
        return self._conclude(judged) if settled or len(rows) == len(self._order) else None

    def _conclude(self, judged: list[_Judged]) -> Verdict:
        comparisons = tuple(item.comparison for item in judged)
        outcome = outcome_of(comparisons)
        reason = verdict_reason(outcome, comparisons, self.baseline.name)
        reason += stopped_early(len(self._rows), len(self._order))
        return self._verdict(outcome, comparisons, reason)

    def _verdict(
        self, outcome: Outcome, comparisons: tuple[Comparison, ...], reason: str
    ) -> Verdict:
        return Verdict(
            Checkpoint.of(self._rows[0]),
            self.baseline.name,
            outcome,
            comparisons,
            reason,
            method="sequential",
            images=len(self._rows),
            planned=len(self._order),
        )

    def _comparisons(self) -> list[_Judged]:
        healthy = [row for row in self._rows if not is_fault(row)]
        found = []
        for metric in self.baseline.profile.gated:
            if metric == "health":
                health = health_comparison(self.baseline, self._rows)
                found.append(_Judged(health, settled=True))
                continue
            margin = margin_of(self.baseline, metric, self.options)
            if not healthy:
                reason = f"{metric} could not be measured: no healthy image"
                found.append(_Judged(failing(metric, margin, 0, reason), settled=True))
                continue
            found.append(self._judge(self._index.match(healthy, metric, "prompt+seed"), margin))
        if "health" not in self.baseline.profile.gated and len(healthy) < len(self._rows):
            found.append(_Judged(health_comparison(self.baseline, self._rows), settled=True))
        return found

    def _plan(self, metric: str) -> Plan:
        pairs = set(self._order)
        measurable = {
            (row.prompt_id, row.seed)
            for row in self.baseline.rows
            if row.scores.get(metric) is not None
        }
        first = self.options.min_images or FIRST_LOOK
        return Plan(
            first=first,
            largest=max(1, len(pairs & measurable)),
            alpha=self.options.alpha,
            alpha_fail=self.options.alpha / scorers_tested(self.baseline),
        )

    def _judge(self, matched: Matched, margin: float) -> _Judged:
        count = len(matched.scores)
        if matched.missing:
            lost = failing(matched.metric, margin, count, missing_reason(matched))
            return _Judged(lost, settled=True)
        plan = self._plan(matched.metric)
        if count == 0:
            reason = f"{matched.metric} is undecided: no image of it was seen yet"
            waiting = Comparison(matched.metric, "inconclusive", reason, margin, 0)
            return _Judged(waiting, settled=False)
        return _judge(matched, margin, plan, self.options)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A comparison, and whether no further image is wanted for it."""

    comparison: Comparison
    settled: bool


def _judge(matched: Matched, margin: float, plan: Plan, options: GateOptions) -> _Judged:
    scores, same, mean = (
        np.array(column) for column in (matched.scores, matched.same_seed, matched.prompt_mean)
    )
    _, clusters = np.unique(np.array(matched.prompts), return_inverse=True)
    within = matched.spread.within
    count = len(scores)
    made = decide(scores, same, mean, clusters, within, matched.spread.mean, margin, plan)
    passed, failed, stuck = (int(n) for n in (made.passed, made.failed, made.stuck))
    enough = options.min_images is None or count >= options.min_images
    outcome: Outcome = "inconclusive"
    if failed < NEVER and enough:
        outcome = "fail"
    elif passed < NEVER and enough:
        outcome = "pass"
    looked = [look for look in plan.looks if look <= count]
    at = min(failed if outcome == "fail" else passed if outcome == "pass" else NEVER, count)
    looked = [look for look in looked if look <= at]
    residuals = paired_residuals(scores[:at], same[:at], mean[:at], within)
    level_low = level_high = 0.0
    if looked and looked[-1] == at:
        place = plan.looks.index(at)
        level_low, level_high = plan.pass_levels[place], plan.fail_levels[place]
    bounds = bounds_at(residuals, clusters[:at], level_low, level_high)
    worse = surely_worse_by(matched.spread.mean, scores[:at], plan.alpha_fail * plan.bet_share)
    low = max(float(bounds.low), -1.0)
    high = min(float(bounds.high), 1.0 if worse is None else -worse, 1.0)
    estimate = float(bounds.mean)
    more = None
    if outcome == "inconclusive" and np.isfinite(float(bounds.error)):
        level = plan.alpha_fail
        facts = Estimate(estimate, float(bounds.error), count)
        more = images_to_decide(facts, margin, count, level, options)
    if not enough:
        more = max(more or 0, (options.min_images or 0) - count)
    candidate = float(scores[:at].mean())
    reason = comparison_reason(
        outcome,
        metric=matched.metric,
        estimate=estimate,
        low=low,
        high=high,
        margin=margin,
        candidate_mean=candidate,
        baseline_mean=candidate - estimate,
        n=at,
        pairing="prompt+seed",
        more=more,
        prompts=len(set(matched.prompts)),
        prompts_wanted=FEWEST_CLUSTERS,
    )
    if outcome == "pass" and count < FEWEST_TO_PASS:
        outcome, more = "inconclusive", FEWEST_TO_PASS - count
        reason = too_few_reason(matched.metric, count)
    comparison = Comparison(
        metric=matched.metric,
        outcome=outcome,
        reason=reason,
        margin=margin,
        n=at,
        pairing="prompt+seed",
        estimate=estimate,
        low=low,
        high=high,
        confidence=1 - options.alpha,
        baseline_mean=candidate - estimate,
        candidate_mean=candidate,
        more=more,
    )
    return _Judged(comparison, settled=enough and (outcome != "inconclusive" or stuck < NEVER))


def rendering_order(baseline: Baseline, options: GateOptions) -> tuple[tuple[str, int], ...]:
    """Return the baseline's (prompt id, seed) pairs in the order to render them.

    Prompts are shuffled once, and each prompt's seeds; then every prompt comes once before any
    comes twice, so that early evidence rests on as many prompts as possible. The order depends on
    ``options.seed`` and the pairs alone, never on a score, which keeps the error rates.
    """
    seeds: dict[str, list[int]] = {}
    for row in baseline.rows:
        if row.seed is None:
            raise BaselineError(
                f"baseline {baseline.name}: {row.image} has no seed, so no image can be rendered "
                "like it; gate images that exist already, or freeze a baseline from rendered ones"
            )
        known = seeds.setdefault(row.prompt_id, [])
        if row.seed not in known:
            known.append(row.seed)
    generator = random.Random(options.seed)
    prompts = sorted(seeds)
    generator.shuffle(prompts)
    for prompt in prompts:
        seeds[prompt].sort()
        generator.shuffle(seeds[prompt])
    rounds = max(map(len, seeds.values()))
    order = [
        (prompt, seeds[prompt][turn])
        for turn in range(rounds)
        for prompt in prompts
        if turn < len(seeds[prompt])
    ]
    return tuple(order[: options.max_images])
