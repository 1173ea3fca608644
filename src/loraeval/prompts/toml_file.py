"""Prompt sets in TOML: ``[set]`` with name, description and a negative prompt, ``[[prompt]]``."""

from __future__ import annotations

import re
from typing import Any

from loraeval.errors import PromptError
from loraeval.outside import toml
from loraeval.outside.text import clean
from loraeval.prompts.building import build_prompt, build_set
from loraeval.prompts.limits import OVERRIDES, check_id, check_keys, check_text
from loraeval.prompts.sample_tables import is_sample_table, of_sample_table
from loraeval.records import PromptSet

_SET_KEYS = ("name", "description", "negative")
_PROMPT_KEYS = ("id", "text", "negative", "tags", *OVERRIDES)
_MAX_DEPTH = 20
_MAX_DOTS = 50


def parse_toml(text: str, name: str, where: str) -> PromptSet:
    """Return the prompt set in ``text``; ``name`` where it gives itself none.

    Raises ``PromptError`` starting with ``where`` for broken TOML, a nesting bomb, an unknown key
    (naming the nearest valid one), a wrong type or range, a double id, a set without prompts.
    """
    data = _load(text, where)
    if is_sample_table(data):
        return of_sample_table(data, name, where)
    check_keys(data, ("set", "prompt"), where)
    head, rows = data.get("set", {}), data.get("prompt", [])
    if not isinstance(head, dict):
        raise PromptError(f"{where}: expected a table [set], found {clean(repr(head))}")
    check_keys(head, _SET_KEYS, f"{where}: [set]")
    for key in head:
        check_text(head[key], f"{where}: [set]", key, empty=key != "name")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise PromptError(f"{where}: write each prompt as a table [[prompt]] with id and text")
    prompts = []
    for number, row in enumerate(rows, 1):
        here = f"{where}: [[prompt]] number {number}"
        check_keys(row, _PROMPT_KEYS, here)
        for key in ("id", "text"):
            if key not in row:
                raise PromptError(f"{here}: {key} is missing")
        prompts.append(
            build_prompt(
                here,
                prompt_id=row["id"],
                text=row["text"],
                negative=row.get("negative", head.get("negative", "")),
                tags=row.get("tags", ()),
                overrides=row,
            )
        )
    return build_set(check_id(head.get("name", name), where), prompts, where)


def _load(text: str, where: str) -> dict[str, Any]:
    # The parser recurses a level a bracket, and a dotted key costs the square of its dots.
    for number, line in enumerate(text.splitlines(), 1):
        key = re.split(r"[=\"']", line, maxsplit=1)[0]
        if key.count(".") > _MAX_DOTS or line.count("[") + line.count("{") > 50 * _MAX_DEPTH:
            raise PromptError(f"{where}:{number}: nested too deeply for a prompt set")
    try:
        return toml.loads(text)
    except ValueError as error:
        raise PromptError(f"{where}: not valid TOML ({clean(error)})") from error
