"""May these rows be compared with that baseline at all? If not: stale, with the way out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from loraeval.baselines import Baseline, Profile
from loraeval.errors import ScoresError, StaleError
from loraeval.records import ScoreRow


def check_comparable(
    baseline: Baseline, rows: Sequence[ScoreRow], profile: Profile | None = None
) -> None:
    """Raise ``StaleError`` where scorer version, encoder, recipe, prompts or profile differ.

    What is unknown on both sides does not differ. Images that were found and not made (no recipe
    on one side) may have another recipe and other prompts: they are compared without pairs, and
    the verdict says so. Made images must have the baseline's recipe, and a prompt of the same id
    must have the same text. Raises ``ScoresError`` for no rows and for scores that are no numbers.
    """
    if not rows:
        raise ScoresError(
            f"expected images to gate against {baseline.name}, found none; "
            "an empty selection is never a pass"
        )
    if profile is not None and profile.digest != baseline.profile.digest:
        raise _stale(baseline, f"it was frozen with another profile than {profile.name}")
    for row in rows:
        _check_numbers(row)
        _check_versions(baseline, row)
        _check_encoder(baseline, row)
        _check_origin(baseline, row)


def _check_numbers(row: ScoreRow) -> None:
    for metric, value in row.scores.items():
        if value is not None and not (math.isfinite(value) and 0 <= value <= 1):
            raise ScoresError(f"{row.image}: expected {metric} in [0, 1] or null, got {value!r}")


def _check_versions(baseline: Baseline, row: ScoreRow) -> None:
    for metric in baseline.profile.gated:
        ours, theirs = row.versions.get(metric), baseline.versions.get(metric)
        if row.scores.get(metric) is not None and ours != theirs:
            raise _stale(
                baseline,
                f"{metric} was frozen with version {theirs or 'unknown'} of the scorer, "
                f"{row.image} has version {ours or 'unknown'}",
            )


def _check_encoder(baseline: Baseline, row: ScoreRow) -> None:
    if row.encoder == baseline.encoder:
        return
    measured = any(
        metric.split(".")[0] == "style" and row.scores.get(metric) is not None
        for metric in baseline.profile.gated
    )
    if (row.encoder and baseline.encoder) or measured:
        raise _stale(
            baseline,
            f"it was frozen with the encoder {baseline.encoder or 'unknown'}, "
            f"{row.image} was scored with {row.encoder or 'unknown'}",
        )


def _check_origin(baseline: Baseline, row: ScoreRow) -> None:
    if row.recipe is None or baseline.recipe_digest is None:
        return
    if row.recipe != baseline.recipe_digest:
        raise _stale(
            baseline,
            f"its images were made with recipe {baseline.recipe_digest}, {row.image} with "
            f"{row.recipe} (base model, size, steps, scheduler …)",
        )
    digests = {other.prompt_digest for other in baseline.rows if other.prompt_id == row.prompt_id}
    if not digests:
        raise _stale(baseline, f"it has no prompt {row.prompt_id!r}: the prompt sets differ")
    if row.prompt_digest is not None and None not in digests and row.prompt_digest not in digests:
        raise _stale(baseline, f"its prompt {row.prompt_id!r} has another text")


def _stale(baseline: Baseline, why: str) -> StaleError:
    return StaleError(
        f"not comparable with baseline {baseline.name}: {why}; score both alike, or freeze the "
        f"baseline anew with: {baseline.refreeze}"
    )
