"""JSON Lines as prompts: one object a line, of a prompt set or of a renders manifest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from loraeval.errors import LoraevalError, PromptError
from loraeval.outside import json as strict_json
from loraeval.outside.text import clean, has_raw_bytes
from loraeval.prompts.building import build_prompt, build_set
from loraeval.prompts.image_metadata import of_rows
from loraeval.prompts.limits import MAX_LINE_BYTES, OVERRIDES, check_keys
from loraeval.records import Prompt, PromptSet

_SYNONYMS = {"prompt_id": "id", "prompt": "text", "negative_prompt": "negative"}
_LINE = re.compile(r"[^\n]*\n?")
_PROMPT_KEYS = ("id", "text", "negative", "tags", *OVERRIDES)


def parse_json_lines(text: str, name: str, where: str) -> PromptSet:
    """Return the prompts of a JSON Lines file.

    A prompt set's line is ``{"id", "text", "negative", "tags"}`` and recipe fields, or the same
    under a manifest's names (``prompt_id``, ``prompt``, ``negative_prompt``). A renders manifest
    (lines with ``image``) gives each of its prompts once; an id that stands for different texts
    in different runs becomes ``RUN/ID``; its recipe fields are facts of the render and not wishes
    of the prompt, so that they are left out. Raises ``PromptError`` naming file and line.
    """
    rows = list(objects(text, where))
    if rows and all("file_name" in row and "image" not in row for _, row in rows):
        return of_rows(rows, name, where)
    if any("image" in row for _, row in rows):
        return build_set(name, _of_renders(rows), where)
    return build_set(name, [_of_prompt(row, here) for here, row in rows], where)


def objects(
    text: str, where: str, error: type[LoraevalError] = PromptError
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``(file:line, object)`` of each line that is not empty; raise ``error`` otherwise."""
    for here, value in each_object(text, where, error):
        if isinstance(value, LoraevalError):
            raise value
        yield here, value


def each_object(
    text: str, where: str, error: type[LoraevalError] = PromptError
) -> Iterator[tuple[str, dict[str, Any] | LoraevalError]]:
    """Yield ``(file:line, object)`` of each line that is not empty, or the ``error`` that it is."""
    for number, match in enumerate(_LINE.finditer(text), 1):
        here = f"{where}:{number}"
        if match[0].strip():
            try:
                yield here, _object(match[0], here, error)
            except LoraevalError as cause:
                yield here, cause


def _object(line: str, here: str, error: type[LoraevalError]) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise error(f"{here}: a line of more than {MAX_LINE_BYTES >> 10} KB")
    if has_raw_bytes(line):
        raise error(f"{here}: expected UTF-8 text, found other bytes")
    try:
        value = strict_json.loads(line)
    except ValueError as cause:
        raise error(f"{here}: expected one JSON object a line ({clean(cause)})") from cause
    if not isinstance(value, dict):
        raise error(f"{here}: expected a JSON object, found {type(value).__name__}")
    return value


def _of_prompt(row: dict[str, Any], where: str) -> Prompt:
    fields: dict[str, Any] = {}
    for key, value in row.items():
        field = _SYNONYMS.get(key, key)
        if field in fields:
            raise PromptError(f"{where}: {field} is given twice, as {clean(key)} too")
        fields[field] = value
    check_keys(fields, _PROMPT_KEYS, where)
    for key in ("id", "text"):
        if key not in fields:
            raise PromptError(f"{where}: {key} is missing")
    return build_prompt(
        where,
        prompt_id=fields["id"],
        text=fields["text"],
        negative=fields.get("negative"),
        tags=fields.get("tags") or (),
        overrides=fields,
    )


def _of_renders(rows: list[tuple[str, dict[str, Any]]]) -> list[Prompt]:
    wanted: dict[str, dict[tuple[str, str], tuple[str, Prompt]]] = {}
    for where, row in rows:
        for key in ("prompt_id", "prompt"):
            if key not in row:
                raise PromptError(f"{where}: {key} is missing, the file is no prompt set")
        prompt = build_prompt(
            where,
            prompt_id=row["prompt_id"],
            text=row["prompt"],
            negative=row.get("negative_prompt"),
        )
        run = row.get("run")
        same_id = wanted.setdefault(prompt.id, {})
        same_id.setdefault((prompt.text, prompt.negative), (str(run), prompt))
    prompts: list[Prompt] = []
    for same_id in wanted.values():
        for run, prompt in same_id.values():
            name = prompt.id if len(same_id) == 1 else f"{run}/{prompt.id}"
            prompts.append(
                build_prompt(name, prompt_id=name, text=prompt.text, negative=prompt.negative)
            )
    return prompts
