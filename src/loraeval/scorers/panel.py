"""The panel: the scorers that judge one run, and what they share.

``Panel.score`` turns renders into rows of a scores file. Pictures are opened once, their encoder
features computed in batches, and every scorer sees the same lattice and cells. A file that cannot
be read costs its own row only: health 0 with the fault, every other metric unscored. One that must
not be opened (``Render.problem``) is unscored altogether.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loraeval.errors import ImageError
from loraeval.images.picture import Picture, open_picture
from loraeval.images.signature import pixel_facts
from loraeval.records import Metric, Render, Score, ScoreRow
from loraeval.scorers.base import ScoreContext, Scorer

if TYPE_CHECKING:
    from loraeval.scorers.encoders import Encoder
    from loraeval.scorers.reference import ReferenceSet

BATCH = 16
"""Pictures held in memory and embedded at a time."""

BATCH_BYTES = BATCH * 1024 * 1024 * 3
"""Bytes of pixels at which a batch is full: few pictures where they are very large."""

BASES_KEPT = 64
"""Pictures of the base model held at a time, the oldest dropped first: a run has thousands."""

_LATTICE = re.compile(r"(?<![\w.])(\d{1,3})\s?[x×]\s?(\d{1,3})(?![\w.])", re.IGNORECASE)

NO_EFFECT_LEVELS = 1
"""A render within this many of 255 levels of the base model's, everywhere, shows no LoRA: one
level is what batched kernels and PNG rounding can move."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Scorers with the profile and features that they share.

    ``lattice`` is the expected (columns, rows) or None; with ``lattice_from_caption`` a prompt that
    names a lattice ("24x24") sets its own. ``size`` is the expected (width, height) of the images
    where the render itself does not say.
    """

    scorers: tuple[Scorer, ...]
    lattice: tuple[int, int] | None = None
    lattice_from_caption: bool = False
    size: tuple[int, int] | None = None
    encoder: Encoder | None = None
    reference: ReferenceSet | None = None
    bases: dict[Path, Picture | None] = field(default_factory=dict, repr=False, compare=False)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Every metric of every scorer, in order."""
        return tuple(metric for scorer in self.scorers for metric in scorer.metrics)

    def score(
        self,
        renders: Iterable[Render],
        seen: Callable[[Render, Picture], None] | None = None,
    ) -> Iterator[ScoreRow]:
        """Yield one row a render, in order, reading ``BATCH`` images at a time.

        ``seen`` is called with every picture after it was scored, its features filled in.
        """
        for batch in _batches(renders):
            self._embed([picture for _, picture in batch if isinstance(picture, Picture)])
            for render, picture in batch:
                row = self._row(render, picture)
                if seen is not None and isinstance(picture, Picture):
                    seen(render, picture)
                yield row

    def _embed(self, pictures: Sequence[Picture]) -> None:
        if self.encoder is None or not pictures:
            return
        try:
            features = self.encoder.embed_images([picture.rgb for picture in pictures])
        except MemoryError:  # the scorers embed one at a time then, and the row at fault says so
            return
        for picture, feature in zip(pictures, features, strict=True):
            picture.features[self.encoder.id] = np.asarray(feature)

    def _base(self, render: Render) -> Picture | None:
        """Return the base model's picture for this render; opened once, None where unreadable."""
        path = render.base_image
        if path is None:
            return None
        if path not in self.bases:
            while len(self.bases) >= BASES_KEPT:
                del self.bases[next(iter(self.bases))]
            try:
                self.bases[path] = open_picture(path)
            except ImageError:
                self.bases[path] = None
        return self.bases[path]

    def _lattice_for(self, render: Render) -> tuple[int, int] | None:
        if self.lattice is None and self.lattice_from_caption:
            return lattice_named(render.prompt.text)
        return self.lattice

    def _row(self, render: Render, picture: Picture | ImageError) -> ScoreRow:
        scores: dict[str, float | None] = {}
        details: dict[str, Any] = {}
        results: list[tuple[Scorer, list[Score]]]
        if render.problem is not None:
            why = f"the image is not read: {render.problem}"
            results = [(s, [Score.unscored(m.name, why) for m in s.metrics]) for s in self.scorers]
        elif isinstance(picture, ImageError):
            results = [(scorer, _unreadable(scorer, picture)) for scorer in self.scorers]
        else:
            base = self._base(render)
            context = ScoreContext(
                prompt=render.prompt,
                lattice=self._lattice_for(render),
                size=_size_of(render) or self.size,
                reference=self.reference,
                encoder=self.encoder,
                base=base,
            )
            results = [
                (
                    scorer,
                    [_with_cause(score, render) for score in _scored(scorer, picture, context)],
                )
                for scorer in self.scorers
            ]
            details["pixels"] = pixel_facts(picture.rgb)
            if base is not None:
                details["lora"] = effect_of_lora(picture.rgb, base.rgb)
        if render.made_with:
            details["render"] = dict(render.made_with)
        for scorer, found in results:
            scores.update({score.metric: score.value for score in found})
            details[scorer.name] = _details(found)
        return ScoreRow(
            image=render.name,
            run=render.run,
            checkpoint=render.checkpoint,
            epoch=render.epoch,
            prompt_id=render.prompt.id,
            seed=render.seed,
            scores=scores,
            details=details,
            versions={metric.name: metric.version for metric in self.metrics},
            encoder=self.encoder.id if self.encoder is not None else None,
            prompt_digest=render.prompt.digest,
            recipe=render.recipe,
            step=render.step,
            strength=render.strength,
        )


def lattice_named(text: str) -> tuple[int, int] | None:
    """Return the lattice that a caption names ("pixel art, 24x24" gives (24, 24)), else None.

    Only whole words of 4 to 256 cells a side count, so "512x512" names an image size, not cells.
    """
    for columns, rows in _LATTICE.findall(text):
        if 4 <= int(columns) <= 256 and 4 <= int(rows) <= 256:
            return int(columns), int(rows)
    return None


def effect_of_lora(picture: np.ndarray[Any, Any], base: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Say how far a render lies from the base model's of the same prompt and seed.

    Both uint8 H×W×3. Returns the largest and the mean absolute difference in levels of 255 and
    ``no_effect``: the LoRA changed nothing that can be seen. Other sizes count as an effect.
    """
    if picture.shape != base.shape:
        return {"no_effect": False, "why": "the base render has another size"}
    difference = np.abs(picture.astype(np.int16) - base.astype(np.int16))
    largest = int(difference.max())
    return {
        "no_effect": largest <= NO_EFFECT_LEVELS,
        "max_difference": largest,
        "mean_difference": round(float(difference.mean()), 4),
    }


def _batches(renders: Iterable[Render]) -> Iterator[list[tuple[Render, Picture | ImageError]]]:
    """Open ``renders`` and yield them in batches, bounded by number and by pixels."""
    batch: list[tuple[Render, Picture | ImageError]] = []
    held = 0
    for render in renders:
        picture = _open(render)
        batch.append((render, picture))
        held += picture.rgb.nbytes if isinstance(picture, Picture) else 0
        if len(batch) == BATCH or held >= BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _open(render: Render) -> Picture | ImageError:
    if render.problem is not None:
        return ImageError(render.problem)
    try:
        return open_picture(render.image, render.name)
    except ImageError as error:
        return error


def _size_of(render: Render) -> tuple[int, int] | None:
    if render.width is None or render.height is None:
        return None
    return render.width, render.height


def _scored(scorer: Scorer, picture: Picture, context: ScoreContext) -> list[Score]:
    """Return the scores of one picture; memory that runs out costs these and nothing else."""
    try:
        return scorer.score(picture, context)
    except MemoryError:
        size = f"{picture.width}x{picture.height}"
        why = f"not enough memory is free to measure a picture of {size} pixels"
        return [Score.unscored(metric.name, why) for metric in scorer.metrics]


def _unreadable(scorer: Scorer, error: ImageError) -> list[Score]:
    return [
        Score(metric.name, 0.0, None, {"faults": [str(error)]})
        if metric.name == "health"
        else Score.unscored(metric.name, f"the image cannot be read: {error}")
        for metric in scorer.metrics
    ]


def _with_cause(score: Score, render: Render) -> Score:
    """Add why there is no prompt to the reason of a score that lacks one for that."""
    if score.reason is None or render.prompt_problem is None or not score.wants_prompt:
        return score
    return replace(score, reason=f"{score.reason}: {render.prompt_problem}")


def _details(found: Sequence[Score]) -> dict[str, Any]:
    details = dict(found[0].details)
    if found[0].reason is not None:
        details["reason"] = found[0].reason
    unscored = {s.metric: s.reason for s in found[1:] if s.reason is not None}
    if unscored:
        details["unscored"] = unscored
    for score in found[1:]:
        if score.details:
            details[score.metric] = dict(score.details)
    return details
