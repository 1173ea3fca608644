"""Facts about a run written by a person: a TOML file that starts with ``run_facts = 1``.

For runs whose checkpoint and script are not at hand. ``[arguments]`` holds sd-scripts' arguments
as they were passed; ``complete = false`` says that others are unknown rather than at their
default. ``[facts]`` holds what is known besides (file size, images, repeats, caption lengths), and
each ``[[claims]]`` (parameter, value, why) what somebody concluded, shown as a claim.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loraeval.checkpoints.script_facts import ScriptFacts, assign
from loraeval.checkpoints.table import parameter_table
from loraeval.checkpoints.values import Value, canonical
from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

EXTRAS = (
    "file_size", "images", "repeats", "caption_tokens_min", "caption_tokens_median",
    "caption_tokens_max", "captions_over_75", "captions_over_225", "caption_set",
)  # fmt: skip
"""Names that ``[facts]`` may hold."""


@dataclass(slots=True)
class RunFacts(ScriptFacts):
    """Script facts with the name of the run and what a person knows or claims besides."""

    name: str = ""
    extras: dict[str, Value] = field(default_factory=dict)
    claims: list[tuple[str, Value, str]] = field(default_factory=list)


def facts_of(path: Path, tree: dict[str, Any]) -> RunFacts:
    """Return the facts in a parsed file; ``CheckpointError`` names what is wrong with it."""
    name = tree.get("name")
    arguments, extras, claims = (tree.get(k) for k in ("arguments", "facts", "claims"))
    if tree.get("run_facts") != 1 or not isinstance(name, str):
        raise CheckpointError(f"{clean(path)}: a facts file needs run_facts = 1 and a name")
    facts = RunFacts(
        path, "facts", trainer=str(tree["trainer"]) if "trainer" in tree else None, name=name,
        complete=tree.get("complete") is not False,
    )  # fmt: skip
    table = parameter_table()
    for key, value in _table(path, "arguments", arguments).items():
        spec = table.get(key)
        if spec is None or not spec.flag:
            raise CheckpointError(f"{clean(path)}: {clean(key)} is no argument of sd-scripts")
        assign(facts, spec, value, typed=False)
    for key, value in _table(path, "facts", extras).items():
        if key not in EXTRAS:
            raise CheckpointError(
                f"{clean(path)}: [facts] knows {', '.join(EXTRAS)}, not {clean(key)}"
            )
        facts.extras[key] = canonical(key, value)
    for claim in claims if isinstance(claims, list) else ():
        if not isinstance(claim, dict) or not {"parameter", "value", "why"} <= claim.keys():
            raise CheckpointError(f"{clean(path)}: a claim needs parameter, value and why")
        key = str(claim["parameter"])
        facts.claims.append((key, canonical(key, claim["value"]), str(claim["why"])))
    return facts


def _table(path: Path, name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CheckpointError(f"{clean(path)}: [{name}] must be a table")
    return value
