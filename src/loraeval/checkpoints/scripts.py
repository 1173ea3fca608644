"""Read a training script or configuration: shell, Markdown, TOML, GUI JSON, data-set TOML.

All readers return ``ScriptFacts``: what was asked for, and what of it sd-scripts would ignore or
refuse. Nothing is executed. A value that can not be known from the text alone (a variable that is
not set, or set twice) is ``unresolved``, never guessed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loraeval.checkpoints.table import SECRET, ParameterSpec, parameter_table
from loraeval.checkpoints.values import Value, canonical, number
from loraeval.errors import CheckpointError
from loraeval.outside import toml
from loraeval.outside.text import clean

MAX_SCRIPT_BYTES = 256 << 10
"""A script or configuration larger than this is refused unread."""

SUFFIXES = (".sh", ".bash", ".md", ".toml", ".json", ".txt", ".ps1", ".bat")
"""File names that are taken for a script rather than a checkpoint."""


@dataclass(slots=True)
class ScriptFacts:
    """What a script says. ``values`` by parameter name in canonical form; ``ignored`` maps what
    has no effect to the reason; ``unresolved`` maps names to the text that could not be resolved;
    ``complete`` tells that what is not given is at sd-scripts' default.
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


def read_script(path: str | Path) -> ScriptFacts:
    """Read a training script or configuration of any kind that is known, by suffix and content.

    Raises ``CheckpointError`` with one sentence where the file can not be read, is too large, is
    not text, or holds no training command or parameter.
    """
    path = Path(path)
    text = read_text(path)
    if path.suffix == ".toml":
        return _toml_facts(path, text)
    if path.suffix == ".json":
        from loraeval.checkpoints.script_gui import gui_facts

        return gui_facts(path, parse_json(path, text))
    from loraeval.checkpoints.script_shell import shell_facts

    facts = shell_facts(path, text)
    for name in facts.config_files:
        beside = path.parent / Path(name).name
        if beside.is_file() and beside.suffix == ".toml":
            base = _toml_facts(beside, read_text(beside))
            facts.values = {**base.values, **facts.values}  # the command line wins
            facts.ignored = {**base.ignored, **facts.ignored}
        else:
            facts.warnings.append(f"the configuration {clean(name)} is not beside the script")
            facts.complete = False
    return facts


def read_text(path: Path) -> str:
    """Return a small text file; ``CheckpointError`` where it is none."""
    try:
        if path.is_file() and path.stat().st_size > MAX_SCRIPT_BYTES:
            raise CheckpointError(
                f"{clean(path)}: larger than any script ({MAX_SCRIPT_BYTES} bytes)"
            )
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise CheckpointError(f"{clean(path)}: cannot read the script ({reason})") from error


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
    if isinstance(raw, str) and "$" in raw:
        facts.unresolved[spec.name] = raw
        facts.values.pop(spec.name, None)
        return
    if typed and spec.type in ("int", "float") and not spec.list and number(value) is None:
        facts.warnings.append(f"--{spec.name} {clean(raw)}: sd-scripts stops, it wants a number")
    if spec.choices and value is not None and not any(str(value) == str(c) for c in spec.choices):
        note = "sd-scripts stops" if typed else "not one of its choices, which TOML does not check"
        shown = ", ".join(map(str, spec.choices))
        facts.warnings.append(f"{spec.name} = {clean(raw)}: {note} (choices: {shown})")
    facts.values[spec.name] = value


def _toml_facts(path: Path, text: str) -> ScriptFacts:
    tree = parse_toml(path, text)
    if "run_facts" in tree:
        from loraeval.checkpoints.facts import facts_of

        return facts_of(path, tree)
    if isinstance(tree.get("datasets"), list):
        return _dataset_facts(path, tree)
    facts = ScriptFacts(path, "TOML configuration")
    flat: dict[str, Any] = {}
    for key, value in tree.items():  # section names mean nothing to sd-scripts, later keys win
        flat.update(value if isinstance(value, dict) else {key: value})
    table = parameter_table()
    for key, value in flat.items():
        spec = table.get(key)
        if spec is None or not spec.flag:
            facts.ignored[key] = _why_ignored(key)
            continue
        assign(facts, spec, value, typed=False)
        _warn_of_traps(facts, key, value)
    if not facts.values:
        raise CheckpointError(f"{clean(path)}: no parameter of sd-scripts stands in it")
    return facts


_NEAR: dict[str, str] = {
    "batch_size": "train_batch_size", "bucket_resolution": "resolution", "lr": "learning_rate",
    "epoch": "max_train_epochs", "epochs": "max_train_epochs", "dim": "network_dim",
    "alpha": "network_alpha", "optimizer": "optimizer_type", "num_repeats": "the folder's name",
}  # fmt: skip


def _why_ignored(key: str) -> str:
    near = _NEAR.get(key)
    hint = f"; {near} is the one that counts" if near else ""
    return f"unknown key, sd-scripts ignores it silently{hint}"


def _warn_of_traps(facts: ScriptFacts, key: str, value: object) -> None:
    if key == "resolution" and not isinstance(value, str):
        facts.warnings.append(
            f'resolution = {clean(value)}: sd-scripts stops, it wants text such as "512,512"'
        )
    if key == "in_json" and value == "":
        facts.warnings.append(
            'in_json = "": even an empty text switches to the fine-tuning data set'
        )
    if key == "sample_prompts" and not isinstance(value, str):
        facts.warnings.append("sample_prompts: the name of a file is expected")


_SUBSET_NAMES = {"batch_size": "train_batch_size", "num_repeats": "repeats"}


def _dataset_facts(path: Path, tree: dict[str, Any]) -> ScriptFacts:
    """Read a ``--dataset_config`` file: general, then each data set, then its subsets."""
    facts = ScriptFacts(path, "data-set configuration", complete=False)
    general = tree.get("general")
    levels: list[Any] = [general if isinstance(general, dict) else {}]
    for dataset in tree["datasets"]:
        if isinstance(dataset, dict):
            levels.append(dataset)
            subsets = dataset.get("subsets")
            levels += subsets if isinstance(subsets, list) else []
    table = parameter_table()
    for level in levels:
        for key, value in level.items() if isinstance(level, dict) else ():
            spec = table.get(_SUBSET_NAMES.get(str(key), str(key)))
            if key in ("subsets", "image_dir", "class_tokens", "metadata_file", "is_reg"):
                continue
            if spec is None:
                facts.ignored[key] = "unknown key, sd-scripts stops with an error"
                continue
            before = facts.values.get(spec.name)
            assign(facts, spec, value, typed=False)
            if spec.name in facts.values and before not in (None, facts.values[spec.name]):
                facts.warnings.append(f"{spec.name} differs between data sets; the last is shown")
    return facts
