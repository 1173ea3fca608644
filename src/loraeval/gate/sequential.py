"""The gate that decides while images are rendered, and stops as soon as it can."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from loraeval.baselines import Baseline, is_fault
from loraeval.baselines.shares import SHARES, score_of
from loraeval.errors import ScoresError
from loraeval.gate.by_prompt import prompt_advice
from loraeval.gate.comparable import check_comparable
from loraeval.gate.copies import distinct_comparison
from loraeval.gate.faults import health_comparison, no_effect_reason
from loraeval.gate.judge import Judged as _Judged
from loraeval.gate.judge import judge
from loraeval.gate.matching import BaselineIndex, Matched
from loraeval.gate.options import GateOptions
from loraeval.gate.order import rendering_order
from loraeval.gate.parts import (
    failing,
    fewest_of,
    margin_of,
    missing_reason,
    scorers_tested,
)
from loraeval.gate.plan import check_plan, looked_at, plan_of
from loraeval.gate.sentences import stopped_early, verdict_reason
from loraeval.gate.shares import compare_share
from loraeval.gate.weaknesses import finished
from loraeval.outcome import outcome_of
from loraeval.records import Checkpoint, Comparison, Outcome, ScoreRow, Verdict


@dataclass(slots=True)
class SequentialGate:
    """Gates one checkpoint image by image, in an order drawn beforehand.

    ``order()`` says what to render, ``add(row)`` takes the scores in that order, ``verdict()`` is
    None while undecided, ``final()`` gives the verdict whatever was seen. The errors hold however
    often one looks. Raises ``BaselineError`` where the baseline has no seeds, as that of found
    images (those are gated with ``gate_rows``), and where its plan can never pass.
    """

    baseline: Baseline
    options: GateOptions = field(default_factory=GateOptions)
    _rows: list[ScoreRow] = field(default_factory=list)
    _order: tuple[tuple[str, int], ...] = ()
    _index: BaselineIndex = field(init=False)
    _stopped: Verdict | None = None
    _due: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        self._index = BaselineIndex(self.baseline)
        self._order = rendering_order(self.baseline, self.options)
        check_plan(self.baseline, self._order, self.options)
        self._due = looked_at(self.baseline, self._order, self.options)

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
        unmeasured = any(score_of(row, m) is None for m in self.baseline.profile.gated)
        due = len(self._rows) in self._due or unmeasured
        if is_fault(row) or (self._stopped is None and due):
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
        advice = prompt_advice(self.baseline, self._rows, self.options.alpha)
        named = replace(found, checkpoint=checkpoint or found.checkpoint, advice=advice)
        return finished(named, self.baseline, self._rows, self.options)

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
        fewest = min(fewest_of(self.options), len(self._order))
        found = []
        for metric in self.baseline.profile.gated:
            if metric == "health":
                health = health_comparison(self.baseline, self._rows, fewest)
                found.append(_Judged(health, settled=health.outcome != "inconclusive"))
                continue
            margin = margin_of(self.baseline, metric, self.options)
            if not healthy:
                reason = f"{metric} could not be measured: no healthy image"
                found.append(_Judged(failing(metric, margin, 0, reason), settled=True))
                continue
            if metric in SHARES:
                plan = plan_of(self.baseline, metric, self._order, self.options)
                item = compare_share(self._index, healthy, metric, margin, self.options, plan)
                found.append(_Judged(item, settled=item.outcome != "inconclusive"))
                continue
            found.append(self._judge(self._index.match(healthy, metric, "prompt+seed"), margin))
        if "health" not in self.baseline.profile.gated and len(healthy) < len(self._rows):
            broken = health_comparison(self.baseline, self._rows, fewest)
            found.append(_Judged(broken, settled=True))
        alpha = self.options.alpha / scorers_tested(self.baseline)
        distinct = distinct_comparison(self.baseline, healthy, self.options, alpha)
        if distinct is not None:
            found.append(_Judged(distinct, settled=distinct.outcome != "inconclusive"))
        return found

    def _judge(self, matched: Matched, margin: float) -> _Judged:
        count = len(matched.scores)
        if matched.missing:
            lost = failing(matched.metric, margin, count, missing_reason(matched))
            return _Judged(lost, settled=True)
        if count == 0:
            reason = f"{matched.metric} is undecided: no image of it was seen yet"
            waiting = Comparison(matched.metric, "inconclusive", reason, margin, 0)
            return _Judged(waiting, settled=False)
        plan = plan_of(self.baseline, matched.metric, self._order, self.options)
        return judge(matched, margin, plan, self.options)
