"""Successive elimination: epochs that can not be the best stop being rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import stdtrit

from loraeval.baselines import is_fault
from loraeval.errors import ScoresError, UsageError
from loraeval.gate.epochs import EpochSelection, quality_of, select_epoch
from loraeval.gate.estimate import cluster_mean
from loraeval.gate.looks import FEWEST_CLUSTERS, LOOK_EVERY
from loraeval.gate.spending import nominal_levels
from loraeval.records import ScoreRow

DIFFERENCE_FLOOR = 0.1
"""Smallest standard deviation of a paired difference that is believed, in spreads."""


@dataclass(slots=True)
class SuccessiveElimination:
    """Renders a series of epochs round by round and drops the hopeless ones.

    ``epochs`` are the epochs, ``order`` the (prompt id, seed) pairs as ``SequentialGate.order()``
    gives them, ``gated`` the metrics that count and ``scale`` their (centre, spread) from the
    baseline (``quality_scale(baseline.rows, gated)``), fixed beforehand.

    In a round every surviving epoch is rendered with the same prompt and seed. Now and then each
    survivor is compared with every other by a paired t test on the quality difference, prompts as
    clusters, at the group-sequential level for ``alpha / (epochs - 1)``: the best epoch is ever
    dropped with probability at most ``alpha`` (Bonferroni over its rivals; Even-Dar, Mannor and
    Mansour 2006, "Action elimination and stopping conditions", for the scheme). An epoch with a
    broken image is dropped at once.
    """

    epochs: Sequence[int]
    order: Sequence[tuple[str, int]]
    gated: Sequence[str]
    scale: Mapping[str, tuple[float, float]]
    alpha: float = 0.05
    rows: list[ScoreRow] = field(default_factory=list)
    dropped: dict[int, str] = field(default_factory=dict)
    _round: int = 0
    _quality: dict[int, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.epochs)) < 2 or len(set(self.epochs)) != len(self.epochs):
            raise UsageError(f"expected at least two different epochs, got {list(self.epochs)}")
        if not self.order:
            raise UsageError("expected prompts and seeds to render, found none")
        self._quality = {epoch: [] for epoch in self.epochs}

    @property
    def surviving(self) -> tuple[int, ...]:
        """Epochs that may still be the best."""
        return tuple(epoch for epoch in self.epochs if epoch not in self.dropped)

    @property
    def done(self) -> bool:
        """Whether nothing is left to render: one epoch survives, or the order is at its end."""
        return len(self.surviving) < 2 or self._round >= len(self.order)

    @property
    def saved(self) -> float:
        """The share of epochs times images that was not rendered."""
        return 1 - len(self.rows) / (len(self.epochs) * len(self.order))

    def next_round(self) -> list[tuple[int, str, int]]:
        """Return (epoch, prompt id, seed) of the next images, empty when done."""
        if self.done:
            return []
        prompt, seed = self.order[self._round]
        return [(epoch, prompt, seed) for epoch in self.surviving]

    def add_round(self, rows: Sequence[ScoreRow]) -> None:
        """Take the scores of ``next_round()``, in any order.

        Raises ``ScoresError`` where they are not those images, or a counted metric is missing on
        some epochs of the round only.
        """
        wanted = {(epoch, prompt, seed) for epoch, prompt, seed in self.next_round()}
        given = {(row.epoch, row.prompt_id, row.seed) for row in rows}
        if wanted != given or len(rows) != len(wanted):
            raise ScoresError(
                f"expected one row for each of the {len(wanted)} images of the round, got "
                f"{len(rows)} rows that are not those"
            )
        self.rows.extend(rows)
        self._round += 1
        healthy = []
        for row in rows:
            if row.epoch is not None and is_fault(row):
                self.dropped[row.epoch] = f"a broken image ({row.image})"
            else:
                healthy.append(row)
        for metric in self.gated:
            if (
                metric in self.scale
                and len({row.scores.get(metric) is None for row in healthy}) > 1
            ):
                raise ScoresError(
                    f"{metric} was measured on some epochs only for prompt {rows[0].prompt_id}; "
                    "epochs can not be compared by what was not measured"
                )
        for row, value in zip(healthy, quality_of(healthy, self.gated, self.scale), strict=True):
            if row.epoch is not None:
                self._quality[row.epoch].append(float("nan") if value is None else value)
        self._eliminate()

    def selection(self) -> EpochSelection:
        """Return the choice among the survivors, on the images that they all have."""
        kept = [row for row in self.rows if row.epoch in self.surviving]
        return select_epoch(kept, self.gated, alpha=self.alpha)

    def _looks(self) -> tuple[int, ...]:
        total = len(self.order)
        start = min(FEWEST_CLUSTERS, total)
        return tuple(sorted({*range(start, total, LOOK_EVERY), total}))

    def _eliminate(self) -> None:
        looks = self._looks()
        if self._round not in looks:
            return
        level = nominal_levels(looks, len(self.order), self.alpha / (len(self.epochs) - 1))[
            looks.index(self._round)
        ]
        prompts = [prompt for prompt, _ in self.order[: self._round]]
        rivals = self.surviving
        for epoch in rivals:
            for rival in rivals:
                if epoch == rival or epoch in self.dropped:
                    continue
                lead = self._surely_better(rival, epoch, prompts, level)
                if lead is not None:
                    self.dropped[epoch] = (
                        f"epoch {rival} is better by {lead:.1f} of the seed-to-seed spread "
                        f"on {self._round} images"
                    )

    def _surely_better(
        self, rival: int, epoch: int, prompts: Sequence[str], level: float
    ) -> float | None:
        gaps = np.array(self._quality[rival]) - np.array(self._quality[epoch])
        known = np.isfinite(gaps)
        if known.sum() < 3:
            return None
        _, clusters = np.unique(np.array(prompts)[known], return_inverse=True)
        found = cluster_mean(gaps[known], clusters)
        if found.clusters < 3:
            return None
        floor = DIFFERENCE_FLOOR**2 / float(known.sum())
        error = float(np.sqrt(max(float(found.variance), floor)))
        if float(found.mean) > float(stdtrit(found.clusters - 1, 1 - level)) * error:
            return float(found.mean)
        return None
