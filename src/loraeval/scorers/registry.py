"""The scorers by name: ours in one table, third parties' by entry point.

A package adds a scorer with an entry point in the group ``loraeval.scorers``::

    [project.entry-points."loraeval.scorers"]
    outline = "my_package:OutlineScorer"

The object named is a scorer, or a class or function that makes one when called without
arguments. Nothing is imported until ``load_scorers`` is asked for the name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from loraeval.errors import UsageError
from loraeval.records import Metric
from loraeval.scorers.base import Scorer, needs_encoder

if TYPE_CHECKING:
    from loraeval.scorers.encoders import Encoder
    from loraeval.scorers.style import FurtherView

SCORERS = {
    "palette": "loraeval.scorers.palette:PaletteScorer",
    "grid": "loraeval.scorers.grid:GridScorer",
    "style": "loraeval.scorers.style:StyleScorer",
    "realism": "loraeval.scorers.realism:RealismScorer",
    "health": "loraeval.scorers.health:HealthScorer",
    "prompt": "loraeval.scorers.prompt:PromptScorer",
}
"""Name to ``module:Class`` of the built-in scorers, in the order of a table's columns."""

GROUP = "loraeval.scorers"
"""Entry-point group of third parties' scorers."""


def third_party() -> dict[str, EntryPoint]:
    """Return the installed third-party scorers by name.

    Raises ``UsageError`` where two packages, or a package and a built-in, share a name.
    """
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda each: (each.name, each.value)):
        name = point.name
        if name in SCORERS:
            raise UsageError(
                f"the scorer {name!r} of {_origin(point)} has a built-in scorer's name; "
                f"it must choose another"
            )
        if name in found and found[name].value != point.value:
            raise UsageError(
                f"{_origin(found[name])} and {_origin(point)} both add a scorer named {name!r}; "
                f"uninstall one"
            )
        found[name] = point
    return found


def scorer_names() -> list[str]:
    """Return every name that ``load_scorers`` knows, built-in ones first."""
    return [*SCORERS, *third_party()]


def want_encoder(names: Sequence[str]) -> bool:
    """Say whether any scorer of ``names`` declares that it reads an encoder.

    Raises ``UsageError`` as ``load_scorers`` does for a name that is unknown.
    """
    others = third_party() if any(name not in SCORERS for name in names) else {}
    for name in names:
        if name in SCORERS:
            if needs_encoder(_class_of(name)):
                return True
        elif name not in others:
            raise UsageError(_unknown(name, [*SCORERS, *others]))
        elif needs_encoder(_load(others[name])):
            return True
    return False


def _class_of(name: str) -> Any:
    module, _, attribute = SCORERS[name].partition(":")
    return getattr(import_module(module), attribute)


def load_scorers(
    names: Sequence[str], encoder: Encoder | None = None, further: Sequence[FurtherView] = ()
) -> list[Scorer]:
    """Return the scorers of these names, in their order.

    ``encoder`` is the one that the run will use: its license goes into the metrics. ``further``
    encoders add metrics to ``style``.

    Raises ``UsageError`` for a name that is unknown (with the nearest known one) or given twice,
    for a third party's object that is no scorer, and for metrics that break ``check_metrics``.
    """
    others = third_party() if any(name not in SCORERS for name in names) else {}
    scorers: list[Scorer] = []
    for name in names:
        if name in SCORERS:
            make = _class_of(name)
            if name == "style" and further:
                scorers.append(make(encoder, further))
            else:
                scorers.append(make(encoder) if needs_encoder(make) else make())
        elif name in others:
            scorers.append(_load(others[name]))
        else:
            raise UsageError(_unknown(name, [*SCORERS, *others]))
    if len(set(names)) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise UsageError(f"the scorer {twice!r} is named twice; name each once")
    check_distinct(scorers)
    return scorers


def check_metrics(scorer: Scorer) -> None:
    """Raise ``UsageError`` unless the scorer's metrics keep to the rules of ``Scorer``.

    At least one; the first carries the scorer's name, the others ``name.something``; each has a
    version, bounds inside [0, 1] and higher as better, so that every gate reads them alike.
    """
    metrics = scorer.metrics
    if not metrics or metrics[0].name != scorer.name:
        first = metrics[0].name if metrics else "none"
        raise UsageError(
            f"the first metric of the scorer {scorer.name!r} must have its name, found {first!r}"
        )
    for metric in metrics[1:]:
        if not metric.name.startswith(f"{scorer.name}."):
            raise UsageError(
                f"the metric {metric.name!r} must be named {scorer.name}.something, "
                f"as its scorer is {scorer.name!r}"
            )
    for metric in metrics:
        _check_metric(metric)


def _check_metric(metric: Metric) -> None:
    low, high = metric.bounds
    if not (math.isfinite(low) and math.isfinite(high) and 0 <= low < high <= 1):
        raise UsageError(
            f"the metric {metric.name!r} must have bounds inside [0, 1], found {metric.bounds}"
        )
    if not metric.higher_is_better:
        raise UsageError(f"the metric {metric.name!r} must be higher for better; return 1 - it")
    if not metric.version:
        raise UsageError(f"the metric {metric.name!r} must have a version")


def check_distinct(scorers: Sequence[Scorer]) -> None:
    """Raise ``UsageError`` where two scorers make a metric of the same name."""
    owners: dict[str, str] = {}
    for scorer in scorers:
        for metric in scorer.metrics:
            if metric.name in owners:
                raise UsageError(
                    f"the scorers {owners[metric.name]!r} and {scorer.name!r} both make the "
                    f"metric {metric.name!r}"
                )
            owners[metric.name] = scorer.name


def _load(point: EntryPoint) -> Scorer:
    origin = _origin(point)
    try:
        made = point.load()
        scorer = made() if isinstance(made, type) or not hasattr(made, "score") else made
    except Exception as error:  # a third party's code may raise anything
        raise UsageError(
            f"the scorer {point.name!r} of {origin} does not load: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(scorer, Scorer):
        raise UsageError(
            f"{point.value} of {origin} is no scorer: expected name, metrics and score, "
            f"found {type(scorer).__name__}"
        )
    if scorer.name != point.name:
        raise UsageError(
            f"the scorer {point.name!r} of {origin} calls itself {scorer.name!r}; "
            f"the two names must agree"
        )
    check_metrics(scorer)
    return scorer


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _unknown(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"no scorer is called {name!r}; {hint}known: {', '.join(known)}"
