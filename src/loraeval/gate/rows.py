"""The gate on images that exist: one verdict a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from loraeval.baselines import Baseline, Profile, is_fault
from loraeval.baselines.shares import SHARES
from loraeval.errors import BaselineError, ScoresError, StaleError, UsageError
from loraeval.gate.by_prompt import prompt_advice
from loraeval.gate.comparable import check_comparable
from loraeval.gate.completeness import follows_order, missing_images
from loraeval.gate.copies import distinct_comparison, pixel_digest
from loraeval.gate.faults import health_comparison, no_effect_reason
from loraeval.gate.fixed import compare
from loraeval.gate.matching import BaselineIndex
from loraeval.gate.options import GateOptions
from loraeval.gate.parts import (
    failing,
    fewest_of,
    margin_of,
    scorers_tested,
    stale_verdict,
)
from loraeval.gate.sentences import images, verdict_reason
from loraeval.gate.sequential import SequentialGate
from loraeval.gate.shares import compare_share
from loraeval.gate.weaknesses import finished
from loraeval.outcome import outcome_of
from loraeval.outside.text import distinct_tails
from loraeval.records import Checkpoint, ScoreRow, Verdict


def gate_rows(
    baseline: Baseline,
    rows: Iterable[ScoreRow],
    options: GateOptions | None = None,
    *,
    checkpoint: Checkpoint | None = None,
    profile: Profile | None = None,
    declared: Sequence[str] | None = None,
    tags: Mapping[str, Sequence[str]] | None = None,
) -> list[Verdict]:
    """Return one verdict per checkpoint (run, epoch or step, strength) in ``rows``, in order of
    appearance.

    With ``checkpoint`` all rows are of that one. Rows that must not be compared give a verdict
    ``stale`` with the reason. An image that is given twice counts once, as a copy is no further
    evidence. Bounds hold at any time; rows that are exactly what a sequential gate's order begins
    with, and show no fault, continue its plan instead. ``declared`` are the prompts that were meant
    to be shown, where they are not the baseline's, ``tags`` those of each prompt. Raises
    ``ScoresError`` where there are no rows, and for an image with two different scores.
    """
    options = options or GateOptions()
    groups: dict[tuple[object, ...], list[ScoreRow]] = {}
    for row in rows:
        key = (row.checkpoint, row.run, row.epoch, row.step, row.strength)
        groups.setdefault(key if checkpoint is None else (), []).append(row)
    groups = {key: _each_once(members) for key, members in groups.items()}
    if not groups:
        check_comparable(baseline, [])
    named = [checkpoint] if checkpoint is not None else _named([g[0] for g in groups.values()])
    index = BaselineIndex(baseline)
    found = []
    for item, members in zip(named, groups.values(), strict=True):
        try:
            check_comparable(baseline, members, profile)
        except StaleError as error:
            found.append(stale_verdict(item, baseline, str(error), images=len(members)))
            continue
        verdict = _gate_group(item, index, members, options, declared)
        advice = prompt_advice(baseline, members, options.alpha, tags)
        found.append(replace(verdict, advice=advice))
    return found


def _named(rows: Sequence[ScoreRow]) -> list[Checkpoint]:
    """Return the checkpoint of each row; files of one name in several folders are told apart."""
    tails = iter(distinct_tails([row.checkpoint for row in rows if row.checkpoint is not None]))
    return [
        replace(Checkpoint.of(row), file=None if row.checkpoint is None else next(tails))
        for row in rows
    ]


def _each_once(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    seen: dict[tuple[object, ...], ScoreRow] = {}
    for row in rows:
        digest = pixel_digest(row)
        content = row.image if digest is None else (row.prompt_id, row.seed, digest)
        first = seen.setdefault((row.run, row.epoch, row.step, row.strength, content), row)
        if first.scores != row.scores:
            raise ScoresError(
                f"{row.image} of {Checkpoint.of(row).label} is given twice with different scores; "
                "give each image once"
            )
    return list(seen.values())


def _gate_group(
    checkpoint: Checkpoint,
    index: BaselineIndex,
    rows: Sequence[ScoreRow],
    options: GateOptions,
    declared: Sequence[str] | None,
) -> Verdict:
    baseline = index.baseline
    found = _as_found(checkpoint, index, rows, options)
    if found.outcome != "fail" and declared is None and follows_order(baseline, rows, options):
        try:
            return _replayed(checkpoint, baseline, rows, options)
        except (BaselineError, UsageError):
            pass  # its plan can never pass
    missing = missing_images(baseline, rows, options, declared)
    return finished(found, baseline, rows, options, missing)


def _as_found(
    checkpoint: Checkpoint, index: BaselineIndex, rows: Sequence[ScoreRow], options: GateOptions
) -> Verdict:
    baseline = index.baseline
    idle = no_effect_reason(rows)
    if idle is not None:
        comparisons = [
            failing(metric, baseline.margins.get(metric, 0.0), len(rows), idle)
            for metric in baseline.profile.gated
        ]
        fallen = tuple(comparisons)
        return Verdict(checkpoint, baseline.name, "fail", fallen, idle, images=len(rows))
    healthy = [row for row in rows if not is_fault(row)]
    pairing = index.pairing(rows)
    comparisons = []
    for metric in baseline.profile.gated:
        if metric == "health":
            comparisons.append(health_comparison(baseline, rows, fewest_of(options)))
            continue
        margin = margin_of(baseline, metric, options)
        if not healthy:
            reason = f"{metric} could not be measured: none of the {images(len(rows))} is healthy"
            comparisons.append(failing(metric, margin, 0, reason))
            continue
        if metric in SHARES:
            comparisons.append(compare_share(index, healthy, metric, margin, options))
            continue
        matched = index.match(healthy, metric, pairing)
        comparisons.append(compare(matched, baseline, margin, options))
    if "health" not in baseline.profile.gated and len(healthy) < len(rows):
        comparisons.append(health_comparison(baseline, rows, fewest_of(options)))
    alpha = options.alpha / scorers_tested(baseline)
    distinct = distinct_comparison(baseline, healthy, options, alpha)
    if distinct is not None:
        comparisons.append(distinct)
    outcome = outcome_of(comparisons)
    reason = verdict_reason(outcome, comparisons, baseline.name)
    items = tuple(comparisons)
    return Verdict(checkpoint, baseline.name, outcome, items, reason, images=len(rows))


def _replayed(
    checkpoint: Checkpoint, baseline: Baseline, rows: Sequence[ScoreRow], options: GateOptions
) -> Verdict:
    gate = SequentialGate(baseline, options)
    known = {(row.prompt_id, row.seed): row for row in rows}
    for pair in gate.order()[: len(rows)]:
        gate.add(known[pair])
    return gate.final(checkpoint)
