"""Launched commands of trainers that are not sd-scripts or musubi-tuner."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from loraeval.checkpoints.script_facts import ScriptFacts, beside
from loraeval.checkpoints.shell.words import Script, Word
from loraeval.checkpoints.trainers import peft, simpletuner
from loraeval.checkpoints.trainers.names import take
from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

_DIFFUSERS = re.compile(r"(?:^|[/\\])(train_\w*(?:lora|dreambooth)\w*\.py)$")
_CONFIG = re.compile(r"\.(ya?ml|json|toml)$", re.IGNORECASE)


def other_trainer(path: Path, kind: str, script: Script) -> ScriptFacts | None:
    """Return what a command of another trainer says, or what the configuration beside the script
    does that it is given; None where no command is known.

    Raises ``CheckpointError`` that names the configuration where it is not there.
    """
    for command in script.commands:
        for position, word in enumerate(command.words):
            rest = command.words[position + 1 :]
            match = _DIFFUSERS.search(word.text)
            if match is not None and any(w.text.startswith("--") for w in rest):
                return _diffusers(path, kind, match[1], rest)
            program, given = _configured(word, rest)
            if program == "SimpleTuner" and not given:
                tree = _flags(rest)
                if simpletuner.fits(tree):
                    return simpletuner.facts(path, tree)
            elif program and given:
                return _beside(path, program, given)
    return None


def _configured(word: Word, rest: list[Word]) -> tuple[str, str]:
    """Return the program that a word starts and the configuration among the words behind it."""
    name = re.split(r"[/\\]", word.text)[-1]
    texts = [w.text for w in rest]
    if name == "run.py":
        given = next((t for t in texts if _CONFIG.search(t) and not t.startswith("--")), "")
        return ("ai-toolkit", given) if given else ("", "")
    if name == "train.py":
        for flag, program in (("--config-path", "OneTrainer"), ("--config", "diffusion-pipe")):
            for index, text in enumerate(texts):
                if text == flag and index + 1 < len(texts):
                    return program, texts[index + 1]
                if text.startswith(f"{flag}="):
                    return program, text.partition("=")[2]
        return ("SimpleTuner", "")
    return ("SimpleTuner", "") if name == "simpletuner" and "train" in texts[:1] else ("", "")


def _beside(path: Path, program: str, given: str) -> ScriptFacts:
    from loraeval.checkpoints.scripts import read_script

    file = beside(path, given)
    if file is not None and file.resolve() != path.resolve():
        return read_script(file)
    raise CheckpointError(
        f"{clean(path)}: this launches {program} with {clean(given)}, which is not beside it; "
        "give that file"
    )


def _flags(words: list[Word]) -> dict[str, Any]:
    """Return flags and their values as a table; a flag without a value is on."""
    tree: dict[str, Any] = {}
    name = ""
    for word in words:
        if word.text.startswith("--"):
            name, equals, value = word.text[2:].partition("=")
            tree[name] = value if equals else True
        elif name and tree.get(name) is True:
            tree[name] = word.text
        if word.open and name:
            tree.pop(name, None)
    return tree


def _diffusers(path: Path, kind: str, script: str, words: list[Word]) -> ScriptFacts:
    facts = ScriptFacts(path, kind, script, program=peft.DIFFUSERS, complete=False)
    take(facts, _flags(words), peft.DIFFUSERS_NAMES)
    if _flags(words).get("use_8bit_adam") is True:
        facts.values["optimizer_type"] = "AdamW8bit"
        facts.own["optimizer_type"] = "use_8bit_adam"
    return facts
