"""Freeze rows of a scores file into a baseline; join two freezes without losing a row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from loraeval.baselines.margins import derive_margin, repeat_drift
from loraeval.baselines.profile import Profile
from loraeval.baselines.record import Baseline
from loraeval.baselines.select import Selection, parse_selection, select_rows
from loraeval.baselines.shares import SHARES, score_of
from loraeval.errors import BaselineError, StaleError
from loraeval.records import ScoreRow, digest_of

FAULT = 0.5
"""A health score below this means a broken image (black, NaN-born, truncated): it is left out of
the other metrics and fails the gate. At exactly this (wrong size) it fails the gate as well."""

SHARE_MARGIN = 0.1
"""Rise of a gated share of images that is not accepted, unless the profile states another."""

FEWEST = 3
"""Measured images of a gated metric below which nothing is known of its spread."""

RowKey = tuple[str, int | None, str, int | None, str]


def freeze(
    name: str,
    rows: Iterable[ScoreRow],
    *,
    profile: Profile | None = None,
    select: str | Selection | None = None,
    repeat: Iterable[ScoreRow] | None = None,
    recipe: Mapping[str, Any] | None = None,
    prompt_set: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    reference_file: Path | None = None,
) -> Baseline:
    """Return the baseline that the selected ``rows`` make.

    ``repeat`` holds scores of the same prompts and seeds rendered again elsewhere; margins allow
    for the drift between the two. ``recipe`` are the fields behind the rows' recipe digest.
    Raises ``BaselineError`` where nothing is selected, a gated metric was not measured on at least
    ``FEWEST`` images, an image is faulty or given twice, and ``StaleError`` where the rows
    themselves must not be compared with each other (encoder, metric version, recipe).
    """
    check_name(name)
    profile = profile or Profile()
    selection = parse_selection(select) if isinstance(select, str) else select
    everything = list(rows)
    chosen = select_rows(everything, selection)
    if not chosen:
        what = (
            f"--select '{selection.text}' matches none of" if selection else "there are no rows in"
        )
        runs = ", ".join(sorted({row.run for row in everything})) or "none"
        raise BaselineError(
            f"baseline {name}: {what} the {len(everything)} rows given; the runs there are: {runs}"
        )
    _check_rows(name, chosen, profile)
    recipes = _only(name, "recipe", {row.recipe for row in chosen})
    encoders = _only(name, "encoder", {row.encoder for row in chosen if row.encoder is not None})
    versions = _versions(name, chosen)
    drift = repeat_drift(_repeats(name, chosen, list(repeat or ()), profile, repeat is not None))
    margins, words = {}, {}
    for metric in profile.gated:
        stated = profile.margins.get(metric)
        if metric == "health":
            margins[metric] = stated or 0.0
            words[metric] = "every image must be healthy"
        elif metric in SHARES:
            margins[metric] = stated or SHARE_MARGIN
            words[metric] = f"the share of {SHARES[metric].words} may not rise by this much"
        elif stated is not None:
            derived = derive_margin(chosen, metric, profile.share, drift.get(metric, 0.0)).value
            margins[metric] = stated
            words[metric] = f"set by hand {stated:g}, derived {derived:g}"
        else:
            found = derive_margin(chosen, metric, profile.share, drift.get(metric, 0.0))
            margins[metric], words[metric] = found.value, found.words
    return Baseline(
        name=name,
        profile=profile,
        rows=tuple(sorted((_reduced(row) for row in chosen), key=_sort_key)),
        margins=margins,
        margin_words=words,
        prompt_set=prompt_set,
        prompt_digest=prompts_digest(chosen),
        recipe_digest=recipes,
        recipe=recipe,
        encoder=encoders,
        versions=versions,
        repeat_noise={metric: round(value, 6) for metric, value in drift.items()},
        provenance={
            **(provenance or {}),
            "selection": selection.text if selection else "all rows",
            "images": len(chosen),
        },
        parameters=dict(parameters or {}),
        reference_file=reference_file,
    )


def merge_rows(old: Baseline, new: Baseline) -> list[ScoreRow]:
    """Return the rows of both; where both hold an image, the new scores win.

    Raises ``StaleError`` where the two must not be compared.
    """
    for what, before, after in (
        ("recipe", old.recipe_digest, new.recipe_digest),
        ("encoder", old.encoder, new.encoder),
        ("profile", old.profile.digest, new.profile.digest),
    ):
        if before != after:
            raise StaleError(
                f"baseline {old.name}: its {what} is {before}, that of the new rows {after}, so "
                "they can not be merged; freeze the new rows alone with --replace"
            )
    shared = {
        metric: (old.versions[metric], new.versions[metric])
        for metric in old.versions.keys() & new.versions.keys()
    }
    changed = sorted(metric for metric, (before, after) in shared.items() if before != after)
    if changed:
        raise StaleError(
            f"baseline {old.name}: {', '.join(changed)} was frozen with another version of the "
            "scorer, so the rows can not be merged; score the old images again, or use --replace"
        )
    return [*{row_key(row): row for row in (*old.rows, *new.rows)}.values()]


def dropped_rows(old: Baseline, new: Baseline) -> list[ScoreRow]:
    """Return the rows of ``old`` that ``new`` does not hold."""
    kept = {row_key(row) for row in new.rows}
    return [row for row in old.rows if row_key(row) not in kept]


def row_key(row: ScoreRow) -> RowKey:
    """Return what makes two rows the same image."""
    return (row.run, row.epoch, row.prompt_id, row.seed, row.image)


def prompts_digest(rows: Iterable[ScoreRow]) -> str | None:
    """Return the digest of the prompts behind ``rows``, None where one is unknown."""
    pairs = {(row.prompt_id, row.prompt_digest) for row in rows}
    if any(digest is None for _, digest in pairs):
        return None
    return digest_of(sorted([prompt, digest] for prompt, digest in pairs))


def check_name(name: str) -> None:
    """Raise ``BaselineError`` for a name that is not one plain folder name."""
    plain = name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    if not plain or name.startswith(".") or len(name) > 100:
        raise BaselineError(
            f"{name!r} can not name a baseline; use letters, digits, '-', '_' and '.'"
        )


def is_fault(row: ScoreRow) -> bool:
    """Return whether the image itself is broken, whatever else was measured on it."""
    health = row.scores.get("health")
    return health is not None and health < FAULT


def _check_rows(name: str, rows: Sequence[ScoreRow], profile: Profile) -> None:
    for row in rows:
        for metric, value in row.scores.items():
            if value is not None and not (math.isfinite(value) and 0 <= value <= 1):
                raise BaselineError(f"baseline {name}: {row.image}: {metric} = {value!r}")
    keys = [row_key(row) for row in rows]
    if len(set(keys)) != len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BaselineError(f"baseline {name}: the image {twice[-1]} is given twice")
    faulty = [row.image for row in rows if is_fault(row)]
    if faulty:
        raise BaselineError(
            f"baseline {name}: {len(faulty)} of {len(rows)} images are faulty (first: "
            f"{faulty[0]}); a golden baseline holds healthy images only"
        )
    for metric in profile.gated:
        count = sum(score_of(row, metric) is not None for row in rows)
        if count < FEWEST:
            raise BaselineError(
                f"baseline {name}: {metric} is gated but measured on {count} of {len(rows)} images "
                f"(at least {FEWEST} needed); score it, or leave it out of the profile's gated list"
            )


def _only(name: str, what: str, values: set[str | None]) -> str | None:
    if len(values) > 1:
        listed = ", ".join(sorted(str(value) for value in values))
        raise StaleError(
            f"baseline {name}: the rows come from more than one {what} ({listed}); "
            "select rows of one"
        )
    return next(iter(values), None)


def _versions(name: str, rows: Sequence[ScoreRow]) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in rows:
        for metric, version in row.versions.items():
            if found.setdefault(metric, version) != version:
                raise StaleError(
                    f"baseline {name}: {metric} was scored with versions {found[metric]} and "
                    f"{version}; score all images with one version"
                )
    return dict(sorted(found.items()))


def _repeats(
    name: str, rows: Sequence[ScoreRow], again: Sequence[ScoreRow], profile: Profile, asked: bool
) -> dict[str, list[tuple[float, float]]]:
    frozen: dict[tuple[str, int | None, str, int | None], ScoreRow] = {
        (row.run, row.epoch, row.prompt_id, row.seed): row for row in rows if row.seed is not None
    }
    pairs: dict[str, list[tuple[float, float]]] = {metric: [] for metric in profile.gated}
    for row in again:
        before = frozen.get((row.run, row.epoch, row.prompt_id, row.seed))
        if before is None:
            continue
        for metric, found in pairs.items():
            old, new = before.scores.get(metric), row.scores.get(metric)
            if metric != "health" and old is not None and new is not None:
                found.append((old, new))
    if asked and not any(len(found) >= FEWEST for found in pairs.values()):
        raise BaselineError(
            f"baseline {name}: --repeat needs at least {FEWEST} images of the same run, epoch, "
            f"prompt and seed as the baseline, found {max(map(len, pairs.values()))}"
        )
    return pairs


def _reduced(row: ScoreRow) -> ScoreRow:
    reasons: dict[str, dict[str, Any]] = {
        scorer: {"reason": facts["reason"]}
        for scorer, facts in row.details.items()
        if isinstance(facts, Mapping) and isinstance(facts.get("reason"), str)
    }
    pixels = row.details.get("pixels")
    if isinstance(pixels, Mapping):
        reasons["pixels"] = dict(pixels)
    scores = {metric: None if v is None else round(v, 6) for metric, v in row.scores.items()}
    return replace(row, scores=scores, details=reasons, versions={}, encoder=None)


def _sort_key(row: ScoreRow) -> tuple[str, int, str, int, str]:
    epoch = -1 if row.epoch is None else row.epoch
    seed = -1 if row.seed is None else row.seed
    return (row.run, epoch, row.prompt_id, seed, row.image)
