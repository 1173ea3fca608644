"""Find the training command in a shell script or a Markdown page, without running anything."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from loraeval.checkpoints.scripts import ScriptFacts, assign
from loraeval.checkpoints.table import ParameterSpec, parameter_table
from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[^\n]*\n(.*?)^[ \t]*\1", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"^([A-Za-z_]\w*)=(.*)$", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}$]*))?\}|(\w+))")
_TRAINER = re.compile(r"(?:^|[/\\])((?:\w+_)?train_network\.py)$")
_ENDS = {";", "&&", "||", "|", "&", ">", ">>", "2>&1", "2>", "<"}


def shell_facts(path: Path, text: str) -> ScriptFacts:
    """Read the first training command of a script.

    Lines that end in a backslash are joined; ``NAME=value`` is expanded later on, unless the name
    is set to different values, which leaves it unresolved; what stands before the trainer belongs
    to ``accelerate`` and is dropped. Raises ``CheckpointError`` where there is no such command.
    """
    if path.suffix == ".md":
        text = "\n".join(match[2] for match in _FENCE.finditer(text)) or text
    variables: dict[str, str | None] = {}
    commands: list[tuple[str, list[str]]] = []
    for words in _lines(text):
        _note_assignments(words, variables)
        for position, word in enumerate(words):
            match = _TRAINER.search(word)
            if match:
                commands.append((match[1], words[position + 1 :]))
                break
    if not commands:
        raise CheckpointError(
            f"{clean(path)}: no command with train_network.py stands in it; "
            "give the script, TOML or GUI JSON of the run"
        )
    trainer, words = commands[0]
    facts = ScriptFacts(path, "script", trainer)
    if len(commands) > 1:
        facts.warnings.append(f"{len(commands)} training commands; the first one is read")
    _read_flags(facts, [w for word in words for w in _expand(word, variables)])
    return facts


def _lines(text: str) -> Iterator[list[str]]:
    """Yield the words of each logical line; a line with broken quotes is passed over."""
    joined = re.sub(r"[ \t]*[\\`^]\r?\n[ \t]*", " ", text)  # sh, PowerShell, cmd
    for line in joined.splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        if words:
            yield words


def _note_assignments(words: list[str], variables: dict[str, str | None]) -> None:
    for word in words:
        if word in ("export", "local", "readonly", "declare", "set"):
            continue
        match = _ASSIGNMENT.match(word)
        if match is None:
            break
        name, value = match[1], " ".join(_expand(match[2], variables))
        known = variables.get(name, value)
        variables[name] = value if known == value and "$(" not in value else None


def _expand(word: str, variables: dict[str, str | None]) -> list[str]:
    def replace(match: re.Match[str]) -> str:
        name = match[1] or match[3]
        value = variables.get(name)
        if name not in variables and match[2] is not None:
            return match[2]
        return match[0] if value is None else value

    whole = _VARIABLE.fullmatch(word)
    expanded = _VARIABLE.sub(replace, word)[:10_000]
    if whole is not None and expanded != word and (not expanded or expanded.startswith("--")):
        return expanded.split()  # $EXTRA_ARGS holds several words, or none
    return [expanded]


def _read_flags(facts: ScriptFacts, words: list[str]) -> None:
    table = {spec.name: spec for spec in parameter_table().values() if spec.flag}
    position = 0
    while position < len(words) and words[position] not in _ENDS:
        word = words[position]
        position += 1
        if not word.startswith("--"):
            facts.unresolved[clean(word)] = word
            if "$" not in word:
                facts.warnings.append(f"{clean(word)}: a word that belongs to no flag")
            facts.complete = facts.complete and "$" not in word
            continue
        name, equals, attached = word[2:].partition("=")
        spec = _flag(facts, table, name)
        values = [attached] if equals else []
        if not equals and (spec is None or spec.type != "switch"):
            many = spec is not None and spec.list
            while position < len(words) and not words[position].startswith("--"):
                if words[position] in _ENDS or (values and not many):
                    break
                values.append(words[position])
                position += 1
        if spec is not None:
            _assign_words(facts, spec, values)


def _assign_words(facts: ScriptFacts, spec: ParameterSpec, values: list[str]) -> None:
    if spec.type == "switch":
        facts.values[spec.name] = True
        if values:
            facts.warnings.append(f"--{spec.name} takes no value; sd-scripts stops")
    elif not values:
        facts.warnings.append(f"--{spec.name} stands without a value; sd-scripts stops")
    else:
        if spec.name in ("config_file", "dataset_config"):
            facts.config_files.append(values[0])
        unresolved = next((value for value in values if "$" in value), None)
        assign(facts, spec, unresolved or (values if spec.list else values[0]), typed=True)


def _flag(facts: ScriptFacts, table: dict[str, ParameterSpec], name: str) -> ParameterSpec | None:
    """Find a flag by its name or, as argparse does, by an unambiguous beginning."""
    if name in table:
        return table[name]
    if name == "caption_extention":  # sd-scripts' own misspelt alias
        return table["caption_extension"]
    near = [spec for key, spec in table.items() if name and key.startswith(name)]
    if len(near) == 1:
        return near[0]
    facts.ignored[clean(name)] = (
        "an ambiguous beginning of several flags; sd-scripts stops" if near
        else "unknown flag, sd-scripts stops with an error"
    )  # fmt: skip
    return None
