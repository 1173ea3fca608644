"""The words of a launched command taken to flags and values, as argparse takes them."""

from __future__ import annotations

from collections.abc import Sequence

from loraeval.checkpoints.script_facts import ScriptFacts, assign, leave_open
from loraeval.checkpoints.shell.words import Word
from loraeval.checkpoints.table import ParameterSpec, parameter_table, scripts_with, version_read
from loraeval.outside.text import clean


def read_flags(facts: ScriptFacts, words: Sequence[Word]) -> None:
    """Put the flags of a command into ``facts``. A word that was not understood, or may hold any
    flag, leaves ``facts`` incomplete: no default is claimed.
    """
    flags = facts.flags or {
        name: spec for name, spec in parameter_table().items() if spec.flag
    }  # fmt: skip
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.text.startswith("--") or word.text == "--":
            _stray(facts, word)
            continue
        name, equals, attached = word.text[2:].partition("=")
        spec = _flag(facts, flags, name)
        values = [Word(attached, word.open)] if equals else []
        if not equals and (spec is None or spec.type != "switch"):
            many = spec is not None and spec.list
            while position < len(words) and not words[position].text.startswith("--"):
                if values and not many:
                    break
                values.append(words[position])
                position += 1
        if spec is not None:
            _assign(facts, spec, values)


def _stray(facts: ScriptFacts, word: Word) -> None:
    facts.complete = False
    if word.open:
        facts.unresolved[clean(word.text)] = word.text
        facts.warnings.append(f"{clean(word.text, 60)} is not known; it may hold any flag")
    else:
        facts.warnings.append(f"{clean(word.text)}: a word that belongs to no flag")


def _assign(facts: ScriptFacts, spec: ParameterSpec, values: Sequence[Word]) -> None:
    if spec.type == "switch":
        assign(facts, spec, True, typed=True)
        if values:
            facts.warnings.append(f"--{spec.name} takes no value; the trainer stops")
        return
    if not values:
        facts.warnings.append(f"--{spec.name} stands without a value; the trainer stops")
        return
    if spec.name in ("config_file", "dataset_config"):
        facts.config_files.append(values[0].text)
    opened = next((value for value in values if value.open), None)
    if opened is not None:
        leave_open(facts, spec.name, opened.text)
    else:
        texts = [value.text for value in values]
        assign(facts, spec, texts if spec.list else texts[0], typed=True)


def _flag(facts: ScriptFacts, flags: dict[str, ParameterSpec], name: str) -> ParameterSpec | None:
    """Find a flag by its name or, as argparse does, by an unambiguous beginning."""
    if name in flags:
        return flags[name]
    if name == "caption_extention":  # sd-scripts' own misspelt alias
        return flags.get("caption_extension")
    near = [spec for key, spec in flags.items() if name and key.startswith(name)]
    if len(near) == 1 and facts.flags:
        return near[0]
    facts.complete = False
    elsewhere = scripts_with(name)
    program, script = facts.program or "the trainer", facts.trainer or "the training script"
    if near and facts.flags:
        why = "an ambiguous beginning of several flags; the trainer stops"
    elif elsewhere and facts.flags:
        why = f"a flag of {elsewhere[0]}, not of {script}"
    elif facts.flags:
        why = f"no flag of {script} in {program} {version_read(program)}"
    else:
        why = "a flag that is not known"
    facts.ignored[clean(name)] = why
    return None
