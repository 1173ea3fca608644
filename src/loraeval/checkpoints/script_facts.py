"""What a script or configuration says, and the readers of text that all of them share."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loraeval.checkpoints.table import SECRET, ParameterSpec, parameter_table, training_scripts
from loraeval.checkpoints.values import Value, canonical, number
from loraeval.errors import CheckpointError
from loraeval.outside import toml
from loraeval.outside.text import clean

MAX_SCRIPT_BYTES = 256 << 10
"""A script or configuration larger than this is refused unread."""

MAX_NOTEBOOK_BYTES = 8 << 20
"""A notebook carries its pictures."""


@dataclass(slots=True)
class ScriptFacts:
    """What a script says. ``program`` is the trainer (None where it is not known), ``trainer`` its
    script; ``values`` by parameter name in canonical form, ``own`` the names that the trainer has
    for them; ``ignored`` maps what has no effect to the reason; ``unresolved`` maps names to the
    text that could not be resolved; ``missing`` names files that would say more; ``complete`` tells
    that what is not given is at the trainer's default, ``at_default`` names what is in any case.
    """

    path: Path
    kind: str
    trainer: str | None = None
    values: dict[str, Value] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    unresolved: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    config_files: list[str] = field(default_factory=list)
    complete: bool = True
    program: str | None = "sd-scripts"
    version: str | None = None
    own: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    at_default: set[str] = field(default_factory=set)

    @property
    def flags(self) -> dict[str, ParameterSpec]:
        """The flags that the training script takes, with its defaults; empty where none is known.

        Where a configuration does not name its script, those that all of sd-scripts' share.
        """
        if self.program not in ("sd-scripts", "musubi-tuner"):
            return {}
        known = training_scripts()
        if self.trainer in known:
            return known[self.trainer].flags
        return known["train_network.py"].flags if self.program == "sd-scripts" else {}

    def default(self, name: str) -> ParameterSpec | None:
        """Return the flag ``name`` if its default may be claimed: every word was understood."""
        return self.flags.get(name) if self.complete or name in self.at_default else None

    def why_unknown(self, name: str) -> str:
        """Say why the value of ``name`` is not known."""
        origin = clean(self.path.name)
        if name in self.unresolved:
            return f"{origin} leaves {clean(self.unresolved[name], 60)} open"
        if self.missing:
            return f"not given in {origin}; {clean(self.missing[0], 60)}, which is missing, may"
        return f"not given in {origin}"


def read_text(path: Path, most: int = MAX_SCRIPT_BYTES) -> str:
    """Return a small text file; ``CheckpointError`` where it is none."""
    try:
        if path.is_file() and path.stat().st_size > most:
            raise CheckpointError(f"{clean(path)}: larger than any script ({most} bytes)")
        data = path.read_bytes()
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return data.decode("utf-16")  # as PowerShell's own redirection writes
        return data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise CheckpointError(f"{clean(path)}: cannot read the script ({reason})") from error


def beside(path: Path, given: str, *endings: str) -> Path | None:
    """Return the file that ``given``, a path of another machine perhaps, names in the folder of
    ``path``, with one of ``endings`` where it lacks it; None where there is none.
    """
    name = given.replace("\\", "/").rstrip("/").rpartition("/")[2]
    if not name or len(name) > 200 or not name.isprintable():
        return None
    for found in (path.parent / name, *(path.parent / f"{name}{ending}" for ending in endings)):
        if found.is_file() and (not endings or found.suffix in endings):
            return found
    return None


def parse_json(path: Path, text: str) -> dict[str, Any]:
    """Return a JSON object; ``CheckpointError`` where it is none."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{clean(path)}: not readable as JSON ({clean(error)})") from error
    if not isinstance(tree, dict):
        raise CheckpointError(f"{clean(path)}: expected a JSON object of training parameters")
    return tree


def parse_toml(path: Path, text: str) -> dict[str, Any]:
    """Return a TOML table; ``CheckpointError`` where it is none."""
    try:
        return toml.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{clean(path)}: not readable as TOML ({clean(error)})") from error


def assign(facts: ScriptFacts, spec: ParameterSpec, raw: object, *, typed: bool) -> None:
    """Put one value into ``facts``; ``typed`` where argparse would check type and choices."""
    if spec.name in SECRET:
        facts.ignored[spec.name] = "a secret is not read"
        return
    value = canonical(spec.name, raw)
    facts.ignored.pop(spec.name, None)
    facts.unresolved.pop(spec.name, None)
    if typed and spec.type in ("int", "float") and not spec.list and number(value) is None:
        facts.warnings.append(f"--{spec.name} {clean(raw)}: the trainer stops, it wants a number")
    if spec.choices and value is not None and not any(str(value) == str(c) for c in spec.choices):
        note = "the trainer stops" if typed else "not one of its choices, which TOML does not check"
        shown = ", ".join(map(str, spec.choices))
        facts.warnings.append(f"{spec.name} = {clean(raw)}: {note} (choices: {shown})")
    facts.values[spec.name] = value


def leave_open(facts: ScriptFacts, name: str, sign: str) -> None:
    """Note that the value of ``name`` hangs on what could not be resolved."""
    facts.values.pop(name, None)
    facts.ignored.pop(name, None)
    facts.unresolved[name] = sign


def give(facts: ScriptFacts, name: str, raw: object, own: str) -> None:
    """Put the value of a parameter that the trainer calls ``own`` into ``facts``, if there is one
    and the table knows the parameter.
    """
    if raw is None or raw == "" or name not in parameter_table() or isinstance(raw, dict):
        return
    facts.values[name] = canonical(name, raw)
    facts.own[name] = own
