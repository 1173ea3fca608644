"""Scores files: JSON Lines, one image a line, numbers in [0, 1] or null.

A line is ``{"image","run","checkpoint","epoch","prompt_id","seed","scores","details"}`` and the
digests of ``ScoreRow`` that decide comparability; ``step`` and ``strength`` stand in it where they
are known. Files are written whole or not at all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from loraeval.errors import ScoresError
from loraeval.outside import json as strict_json
from loraeval.outside.files import write_text_atomically
from loraeval.records import ScoreRow

MAX_LINE_BYTES = 4 << 20
"""A longer line is refused: a row is some kilobytes."""

MAX_NAME = 1000
"""Characters of an image's, run's or metric's name at most."""

MAX_NUMBER = 2**64
"""Largest epoch or seed."""

MAX_STRENGTH = 100.0
"""Largest LoRA strength, of either sign."""

MAX_METRICS = 300
"""Metrics of a file at most: loraeval's own are some twenty, and every one is a column of a table
and a row of a chart."""

_FIELDS = {item.name for item in fields(ScoreRow)}
_REQUIRED = ("image", "run", "prompt_id", "scores")


def row_to_json(row: ScoreRow) -> str:
    """Return ``row`` as one line of JSON without the line break; keys in the record's order.

    What came after the first release (``step``, ``strength``) is left out where it is None.
    """
    data = asdict(row)
    for name in ("step", "strength"):
        if data[name] is None:
            del data[name]
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def write_scores(path: Path, rows: Iterable[ScoreRow]) -> None:
    """Write ``rows`` to ``path``, whole or not at all; rows are written as they come."""
    write_text_atomically(path, (row_to_json(row) + "\n" for row in rows))


def read_scores(path: Path) -> list[ScoreRow]:
    """Read a scores file.

    Raises ``ScoresError`` naming file and line for anything that is not a row: a score outside
    [0, 1], NaN, a missing field, broken JSON, an empty file.
    """
    rows: list[ScoreRow] = []
    metrics: set[str] = set()
    for row in _rows(path):
        metrics.update(row.scores)
        if len(metrics) > MAX_METRICS:
            raise ScoresError(f"{path}: more than {MAX_METRICS} metrics; is it a scores file?")
        rows.append(row)
    if not rows:
        raise ScoresError(f"{path}: expected at least one scored image, found none")
    return rows


def _rows(path: Path) -> Iterator[ScoreRow]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), 1):
                if len(line) > MAX_LINE_BYTES:
                    raise ScoresError(f"{path}:{number}: line longer than {MAX_LINE_BYTES} bytes")
                if line.strip():
                    yield _row(line, f"{path}:{number}")
    except OSError as error:
        raise ScoresError(
            f"{path}: cannot read the scores file ({error.strerror}); "
            "make one with: loraeval score SOURCE --out scores.jsonl"
        ) from error


def _row(line: bytes, where: str) -> ScoreRow:
    try:
        data: Any = strict_json.loads(line.decode("utf-8"))
    except ValueError as error:
        raise ScoresError(f"{where}: expected one JSON object a line ({error})") from error
    if not isinstance(data, dict):
        raise ScoresError(f"{where}: expected a JSON object, found {type(data).__name__}")
    missing = [name for name in _REQUIRED if name not in data]
    if missing:
        raise ScoresError(
            f"{where}: not a row of a scores file, {', '.join(missing)} missing; "
            "make one with: loraeval score SOURCE --out scores.jsonl"
        )
    scores = data["scores"]
    if not isinstance(scores, dict):
        raise ScoresError(f"{where}: scores must be an object of metric: number or null")
    for metric, value in scores.items():
        if value is not None and not (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and math.isfinite(value)
            and 0 <= value <= 1
        ):
            raise ScoresError(f"{where}: {metric}={value!r} is not null or a number in [0, 1]")
    for name, kinds in _KINDS.items():
        wrong = name in ("step", "strength") and isinstance(data.get(name), bool)
        if wrong or not isinstance(data.get(name), kinds):
            raise ScoresError(f"{where}: {name}={data.get(name)!r} has the wrong type")
    _check_shown(data, where)
    known = {name: value for name, value in data.items() if name in _FIELDS}
    known.setdefault("checkpoint", None)
    known.setdefault("epoch", None)
    known.setdefault("seed", None)
    known["scores"] = {k: None if v is None else float(v) for k, v in scores.items()}
    for name in ("details", "versions"):
        if known.get(name) is None:
            known.pop(name, None)
    return ScoreRow(**known)


def _check_shown(data: dict[str, Any], where: str) -> None:
    """Refuse what could not be shown safely: names end up on terminals and in pages."""
    texts = [data.get(name) for name in _SHOWN]
    versions = data.get("versions") or {}
    for text in (*texts, *data["scores"], *versions, *versions.values()):
        if text is not None and not (
            isinstance(text, str) and text.isprintable() and len(text) <= MAX_NAME
        ):
            raise ScoresError(
                f"{where}: {text!r:.200} is not a name of at most {MAX_NAME} printable characters"
            )
    for name in ("epoch", "seed", "step"):
        number = data.get(name)
        if number is not None and not -MAX_NUMBER <= number <= MAX_NUMBER:
            raise ScoresError(f"{where}: {name} is out of range")
    strength = data.get("strength")
    if strength is not None and not -MAX_STRENGTH <= strength <= MAX_STRENGTH:
        raise ScoresError(f"{where}: strength is out of range")


_SHOWN = ("image", "run", "checkpoint", "prompt_id", "encoder", "prompt_digest", "recipe")
_OPTIONAL_TEXT = (str, type(None))
_KINDS: dict[str, tuple[type, ...]] = {
    "image": (str,),
    "run": (str,),
    "prompt_id": (str,),
    "checkpoint": _OPTIONAL_TEXT,
    "epoch": (int, type(None)),
    "seed": (int, type(None)),
    "details": (dict, type(None)),
    "versions": (dict, type(None)),
    "encoder": _OPTIONAL_TEXT,
    "prompt_digest": _OPTIONAL_TEXT,
    "recipe": _OPTIONAL_TEXT,
    "step": (int, type(None)),
    "strength": (int, float, type(None)),
}
