"""The plan of a gate that renders: what it could decide is known before the first image."""

from __future__ import annotations

from collections.abc import Sequence

from loraeval.baselines import Baseline
from loraeval.baselines.margins import seed_spread
from loraeval.baselines.shares import SHARES, score_of
from loraeval.errors import BaselineError, UsageError
from loraeval.gate.looks import FEWEST_CLUSTERS, Plan, strict_fewest
from loraeval.gate.options import GateOptions
from loraeval.gate.parts import margin_of, scorers_tested
from loraeval.gate.sentences import images

FIRST_LOOK = 12
"""Images before the t test first looks; the bet and the faults do not wait."""

STRICT_MOST = 20_000
"""Images up to which the need of a strict plan is looked for."""

Order = Sequence[tuple[str, int]]


def plan_of(baseline: Baseline, metric: str, order: Order, options: GateOptions) -> Plan:
    """Return the plan of one metric: it covers the images of ``order`` that the baseline has it
    for.
    """
    pairs = set(order)
    measurable = {
        (row.prompt_id, row.seed) for row in baseline.rows if score_of(row, metric) is not None
    } & pairs
    return Plan(
        first=options.min_images or FIRST_LOOK,
        largest=max(1, len(measurable)),
        alpha=options.alpha,
        alpha_fail=options.alpha / scorers_tested(baseline),
        tolerance=options.bad_share,
        prompts=len({prompt for prompt, _ in measurable}),
        strict=options.strict,
    )


def looked_at(baseline: Baseline, order: Order, options: GateOptions) -> frozenset[int]:
    """Return the numbers of images after which the gate looks: each of the first ones, where a
    collapse shows, and then those at which some metric's test looks.
    """
    found = {*range(1, FIRST_LOOK + 1), len(order)}
    for metric in baseline.profile.gated:
        if metric == "health":
            continue
        known = {(r.prompt_id, r.seed) for r in baseline.rows if score_of(r, metric) is not None}
        looks = set(plan_of(baseline, metric, order, options).looks)
        count = 0
        for place, pair in enumerate(order, 1):
            count += pair in known
            if pair in known and count in looks:
                found.add(place)
    return frozenset(found)


def check_plan(baseline: Baseline, order: Order, options: GateOptions) -> None:
    """Raise where the plan ``order`` can never pass, saying all that it lacks.

    ``UsageError`` where options hold it back (``--max-images``, ``--strict``), ``BaselineError``
    where the baseline is too small.
    """
    lacking = []
    for metric in baseline.profile.gated:
        if metric != "health":
            plan = plan_of(baseline, metric, order, options)
            lacking += [f"{metric} {need}" for need in _needs(baseline, metric, plan, options)]
    if not lacking:
        return
    told = "; ".join(dict.fromkeys(lacking))
    short = options.max_images is not None and options.max_images <= len(order)
    if short:
        raise UsageError(
            f"the gate against {baseline.name} could never pass, so no image is made: {told}; "
            f"give a larger --max-images than {options.max_images}, or none"
        )
    raise (UsageError if options.strict else BaselineError)(
        f"the gate against {baseline.name} could never pass, so no image is made: {told}; "
        "freeze a baseline from more prompts and seeds"
    )


def _needs(baseline: Baseline, metric: str, plan: Plan, options: GateOptions) -> list[str]:
    found = []
    if (plan.prompts or 0) < FEWEST_CLUSTERS:
        found.append(f"has {plan.prompts} prompts and needs {FEWEST_CLUSTERS}")
    if plan.largest < plan.fewest:
        found.append(f"has {images(plan.largest)} and needs {plan.fewest}")
    if options.strict and metric not in SHARES:
        spread = seed_spread(baseline.rows, metric)
        margin = margin_of(baseline, metric, options)
        need = strict_fewest(
            spread.mean, spread.within, spread.images, margin, options.alpha, STRICT_MOST
        )
        if need is None:
            found.append(f"needs more than {STRICT_MOST} images for --strict")
        elif need > plan.largest:
            found.append(f"has {images(plan.largest)} and needs {need} for --strict")
    return found
