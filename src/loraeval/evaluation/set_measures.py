"""Measures of a whole set of renders: spread against the reference, copies, diversity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loraeval.records import Render, Score

if TYPE_CHECKING:
    from loraeval.images.picture import Picture
    from loraeval.scorers.panel import Panel

Key = tuple[str, int | None]
"""A set of renders: run and epoch."""


@dataclass(slots=True)
class SetCollector:
    """Keeps the features of scored pictures by run and epoch; ``seen`` goes to ``Panel.score``.

    Some kilobytes a picture; nothing is kept where the panel has no encoder or reference.
    """

    panel: Panel
    _kept: dict[Key, list[tuple[str, Any, Any]]] = field(default_factory=lambda: defaultdict(list))

    def seen(self, render: Render, picture: Picture) -> None:
        """Keep the features of one scored picture."""
        from loraeval.scorers.style import COPY

        encoder = self.panel.encoder
        if encoder is None or self.panel.reference is None or encoder.id not in picture.features:
            return
        copy = picture.features.get(COPY)
        kept = (render.prompt.id, picture.features[encoder.id], copy)
        self._kept[render.run, render.epoch].append(kept)

    def scores(self) -> dict[Key, list[Score]]:
        """Return the set measures of every run and epoch, in order of appearance."""
        import numpy as np

        from loraeval.scorers.sets import set_scores

        reference = self.panel.reference
        found: dict[Key, list[Score]] = {}
        for key, kept in self._kept.items():
            prompts, features, copies = zip(*kept, strict=True)
            every = None if any(item is None for item in copies) else np.concatenate(copies)
            if reference is not None:
                found[key] = set_scores(
                    np.stack(features),
                    reference,
                    copies=every,
                    prompts=prompts,
                )
        return found


def set_table(scores: Mapping[Key, Sequence[Score]]) -> str:
    """Return the set measures as aligned text, a line a run and epoch; ``-`` is unmeasured."""
    if not scores:
        return ""
    names = [score.metric for score in next(iter(scores.values()))]
    table = [["of the whole set", "epoch", *names]]
    for (run, epoch), found in scores.items():
        values = ["-" if s.value is None else f"{s.value:.3f}" for s in found]
        table.append([run, "" if epoch is None else str(epoch), *values])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    )


def sets_to_json(scores: Mapping[Key, Sequence[Score]]) -> list[dict[str, Any]]:
    """Return the set measures as plain JSON values, with the reason where one is null."""
    return [
        {
            "run": run,
            "epoch": epoch,
            "scores": {score.metric: score.value for score in found},
            "reasons": {s.metric: s.reason for s in found if s.reason is not None},
        }
        for (run, epoch), found in scores.items()
    ]
