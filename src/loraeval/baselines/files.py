"""A baseline's folder: small text files that read well in a diff.

``baseline.toml`` holds the profile, margins, digests, versions and provenance, ``scores.jsonl``
one row an image, and where there are any ``parameters.json`` and ``reference.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from loraeval.baselines.freeze import check_name
from loraeval.baselines.profile import profile_from_mapping, profile_to_mapping
from loraeval.baselines.record import Baseline
from loraeval.baselines.shares import score_of
from loraeval.baselines.toml import load_toml
from loraeval.errors import BaselineError, ScoresError
from loraeval.outside import json as strict_json
from loraeval.outside.files import write_text_atomically
from loraeval.outside.text import clean, read_text
from loraeval.records import ScoreRow
from loraeval.scores_file import read_scores

FORMAT = 1
ROOT = Path("baselines")
"""Where baselines are looked up by name, from the current folder."""


def write_baseline(baseline: Baseline, folder: Path) -> Path:
    """Write ``baseline`` into ``folder`` (made where absent) and return it.

    ``baseline.toml`` is written last, so that an interrupted first write leaves no baseline. A
    file that the new baseline does not have is removed.
    """
    files: dict[str, str | None] = {
        "scores.jsonl": "".join(_row_line(row) + "\n" for row in baseline.rows),
        "parameters.json": _pretty(baseline.parameters) if baseline.parameters else None,
        "reference.json": (
            baseline.reference_file.read_text(encoding="utf-8") if baseline.reference_file else None
        ),
        "baseline.toml": _toml(_table(baseline)),
    }
    for file, text in files.items():
        if text is None:
            (folder / file).unlink(missing_ok=True)
        else:
            write_text_atomically(folder / file, text)
    return folder


def read_baseline(name_or_path: str | Path, root: Path | None = None) -> Baseline:
    """Read the baseline called ``name_or_path`` in ``root`` (default ``./baselines``), or at that
    path.

    Raises ``BaselineError`` where there is none, or where its files are broken.
    """
    folder = _find(name_or_path, root or ROOT)
    path = folder / "baseline.toml"
    table = load_toml(path, "a baseline")
    try:
        return _from_table(table, folder)
    except (KeyError, TypeError, AttributeError) as error:
        raise BaselineError(
            f"{path}: not a baseline, {type(error).__name__} {error}; freeze it anew with: "
            f"loraeval baseline freeze {folder.name} --scores SCORES --replace"
        ) from error


def list_baselines(root: Path | None = None) -> list[str]:
    """Return the names of the baselines in ``root`` (default ``./baselines``), sorted."""
    base = root or ROOT
    return (
        sorted(file.parent.name for file in base.glob("*/baseline.toml")) if base.is_dir() else []
    )


def _find(name_or_path: str | Path, root: Path) -> Path:
    text = str(name_or_path)
    for folder in (root / text, Path(text)):
        if (folder / "baseline.toml").is_file():
            return folder
        if folder.name == "baseline.toml" and folder.is_file():
            return folder.parent
    known = list_baselines(root)
    there = f"; the baselines there are: {', '.join(known)}" if known else "; there is none yet"
    raise BaselineError(
        f"expected a baseline called {text!r} in {root}/, found none{there}; make one with: "
        "loraeval baseline freeze NAME --scores SCORES"
    )


def _table(baseline: Baseline) -> dict[str, Any]:
    table: dict[str, Any] = {
        "format": FORMAT,
        "name": baseline.name,
        "images": len(baseline.rows),
        "prompt_set": baseline.prompt_set,
        "prompt_digest": baseline.prompt_digest,
        "recipe_digest": baseline.recipe_digest,
        "encoder": baseline.encoder,
        "profile": profile_to_mapping(baseline.profile),
        "margins": {
            metric: {"value": value, "meaning": baseline.margin_words.get(metric, "")}
            for metric, value in baseline.margins.items()
        },
        "versions": dict(baseline.versions),
    }
    if baseline.repeat_noise:
        table["repeat_noise"] = dict(baseline.repeat_noise)
    if baseline.recipe is not None:
        table["recipe"] = dict(baseline.recipe)
    table["provenance"] = dict(baseline.provenance)
    return table


def _from_table(table: Mapping[str, Any], folder: Path) -> Baseline:
    path = folder / "baseline.toml"
    if table.get("format") != FORMAT:
        raise BaselineError(
            f"{path}: expected format = {FORMAT}, found {table.get('format')!r}; freeze it anew"
        )
    name = table["name"]
    check_name(name)
    profile = profile_from_mapping(table["profile"], str(path))
    margins = {metric: entry["value"] for metric, entry in table["margins"].items()}
    for metric in profile.gated:
        value = margins.get(metric)
        least = 0 if metric == "health" else 1e-9
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < 1:
            raise BaselineError(f"{path}: the margin of {metric} must lie in (0, 1), got {value!r}")
    try:
        rows = read_scores(folder / "scores.jsonl")
    except ScoresError as error:
        raise BaselineError(f"baseline {name}: {error}") from error
    if len(rows) != table["images"]:
        raise BaselineError(
            f"{folder / 'scores.jsonl'}: expected {table['images']} rows as {path.name} says, "
            f"found {len(rows)}"
        )
    for metric in profile.gated:
        known = sum(score_of(row, metric) is not None for row in rows)
        if known < 2:
            raise BaselineError(
                f"baseline {name}: {metric} is gated, but {known} of its {len(rows)} images have a "
                "number for it, and nothing can be held against that; freeze it anew"
            )
    recipe = table.get("recipe_digest")
    reference = folder / "reference.json"
    return Baseline(
        name=name,
        profile=profile,
        rows=tuple(replace(row, recipe=recipe) for row in rows),
        margins={metric: float(value) for metric, value in margins.items()},
        margin_words={metric: entry["meaning"] for metric, entry in table["margins"].items()},
        prompt_set=table.get("prompt_set"),
        prompt_digest=table.get("prompt_digest"),
        recipe_digest=recipe,
        recipe=table.get("recipe"),
        encoder=table.get("encoder"),
        versions=dict(table["versions"]),
        repeat_noise=dict(table.get("repeat_noise", {})),
        provenance=dict(table.get("provenance", {})),
        parameters=_parameters(folder / "parameters.json"),
        reference_file=reference if reference.is_file() else None,
        folder=folder,
    )


def _parameters(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = strict_json.loads(read_text(path, BaselineError))
    except ValueError as error:
        raise BaselineError(f"{path}: expected a JSON object ({clean(error)})") from error
    if not isinstance(data, dict):
        raise BaselineError(f"{path}: expected a JSON object, found {type(data).__name__}")
    return data


def _row_line(row: ScoreRow) -> str:
    data: dict[str, Any] = {"image": row.image, "run": row.run}
    for field in ("checkpoint", "epoch", "prompt_id", "seed", "scores", "prompt_digest"):
        value = getattr(row, field)
        if value is not None:
            data[field] = value
    if row.details:
        data["details"] = row.details
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def _pretty(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False, sort_keys=True) + "\n"


def _toml(table: Mapping[str, Any]) -> str:
    return "\n".join(_lines(table, ())).lstrip("\n") + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Yield TOML lines: plain values first, then sub-tables; None is left out."""
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    if path and (plain or not table):
        yield ""
        yield f"[{'.'.join(_key(part) for part in path)}]"
    for key, value in plain.items():
        if value is not None:
            yield f"{_key(key)} = {_value(value)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _lines(value, (*path, key))


def _key(key: str) -> str:
    plain = key.replace("_", "").replace("-", "")
    return key if plain.isascii() and plain.isalnum() else _value(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(part) for part in value) + "]"
    if isinstance(value, (int, float)):
        return json.dumps(value, allow_nan=False)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
