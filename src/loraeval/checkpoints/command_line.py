"""From the commands of a script to the one that launched the training, and its flags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loraeval.checkpoints.configs import follow, settings_facts
from loraeval.checkpoints.flag_words import read_flags
from loraeval.checkpoints.script_facts import ScriptFacts
from loraeval.checkpoints.shell.batch import batch_script
from loraeval.checkpoints.shell.constants import plain_table
from loraeval.checkpoints.shell.notebook import notebook_script
from loraeval.checkpoints.shell.posix import posix_script
from loraeval.checkpoints.shell.powershell import powershell_script
from loraeval.checkpoints.shell.words import Command, Script, Word
from loraeval.checkpoints.table import parameter_table, training_scripts
from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

_FENCE = re.compile(
    r"^[ \t]*(```+|~~~+)[ \t]*(\w*)[^\n]*\n(.*?)^[ \t]*\1", re.MULTILINE | re.DOTALL
)
_TRAINER = re.compile(r"(?:^|[/\\])((?:\w+_)?train_network\w*\.py)$")
_MODULE = re.compile(r"(?:^|\.)((?:\w+_)?train_network)$")
_NO_LAUNCH = {
    "echo", "printf", "cat", "ls", "cp", "mv", "rm", "cd", "git", "wget", "curl", "sed", "grep",
    "chmod", "test", "[", "[[", "source", ".", "pip", "pip3", "head", "tail", "mkdir", "which",
    "find", "touch", "write-host", "write-output", "set-location", "copy", "del", "dir", "type",
    "title", "rem", "pause", "exit", "awk", "tee", "export", "ln", "file", "diff", "vim", "nano",
}  # fmt: skip
_LOG = re.compile(r"^(?:\d{4}-\d\d-\d\d[ T])?(?:\d\d:\d\d:\d\d\S*)?\s*(?:INFO|DEBUG)?\s*")
_EXECUTING = re.compile(r"Executing command:\s*|Running command:\s*", re.IGNORECASE)
_PLACE = re.compile(r"(?<=\s)\w{1,60}\.py:\d{1,6}[ \t]{0,200}$")


@dataclass(frozen=True, slots=True)
class Launch:
    """A launched command: the trainer's script (None where a variable hides it) and its words."""

    script: str | None
    hidden: str
    words: Sequence[Word]
    certain: bool


def text_facts(path: Path, text: str) -> ScriptFacts:
    """Read the launched command of a shell, PowerShell or batch script, a page or a pasted log.

    Raises ``CheckpointError`` where there is none, or one without a flag.
    """
    script = Script()
    for dialect, part in _parts(path, text):
        found = {"powershell": powershell_script, "batch": batch_script}.get(dialect, posix_script)(
            _joined(part)
        )
        script.commands += found.commands
        script.written.update(found.written)
    return _facts(path, "script", script)


def notebook_facts(path: Path, tree: dict[str, Any]) -> ScriptFacts:
    """Read the cell of a notebook that launches the training, or builds its configuration."""
    if not isinstance(tree.get("cells"), list):
        raise CheckpointError(f"{clean(path)}: expected a notebook with cells, found other JSON")
    script, tables = notebook_script(tree)
    names = {name for name, spec in parameter_table().items() if spec.flag}
    built = [plain_table(table) for table in tables]
    settings = [t for t in built if len(names & _names(t)) >= 3]
    try:
        facts = _facts(path, "notebook", script, settings)
    except CheckpointError:
        if not settings:
            raise
        facts = settings_facts(path, "notebook", settings[-1])
        facts.complete = False
        facts.warnings.append("no cell launches the training; a table that a cell builds is read")
    return facts


def _names(table: dict[str, Any]) -> set[str]:
    inner = [set(value) for value in table.values() if isinstance(value, dict)]
    return set(table).union(*inner)


def _parts(path: Path, text: str) -> Iterable[tuple[str, str]]:
    """Return the pieces of a file with the shell that each is written for."""
    suffix = path.suffix.lower()
    if suffix == ".md":
        fences = [(match[2].lower(), match[3]) for match in _FENCE.finditer(text)]
        return [(_dialect(word, part), part) for word, part in fences] or [
            (_dialect("", text), text)
        ]
    if suffix in (".ps1", ".bat", ".cmd", ".sh", ".bash"):
        return [({".ps1": "powershell", ".sh": "sh", ".bash": "sh"}.get(suffix, "batch"), text)]
    return [(_dialect("", text), text)]


def _dialect(word: str, text: str) -> str:
    """Tell the shell by how lines go on, else by what a page says, else by Windows' paths."""
    ends = [line.rstrip()[-1:] for line in text.splitlines()]
    if "`" in ends and "\\" not in ends:
        return "powershell"
    if word in ("powershell", "ps1", "pwsh", "ps"):
        return "powershell"
    if word in ("bat", "batch", "cmd", "dos") or ("^" in ends and "\\" not in ends):
        return "batch"
    if word in ("bash", "sh", "shell", "zsh") or "\\" in ends:
        return "sh"
    if re.search(r"^\s*set \w+=|%\w+%", text, re.MULTILINE | re.IGNORECASE):
        return "batch"
    return (
        "batch" if re.search(r"\b[A-Za-z]:\\|\w\\\w+train_network|\\train_network", text) else "sh"
    )


def _joined(text: str) -> str:
    """Join what a log or a paste broke: flags on the lines after a launch that has none."""
    lines = text.replace("\r\n", "\n").split("\n")
    done: list[str] = []
    index = 0
    while index < len(lines):
        line = lines[index]
        index += 1
        executing = _EXECUTING.search(line)
        if executing:
            line = _PLACE.sub("", line[executing.end() :])
            while index < len(lines) and re.match(r"[ \t]{4,}\S|--\w", lines[index]):
                line += " " + _PLACE.sub("", lines[index]).strip()
                index += 1
        elif re.search(r"train_network\w*\.py[\"']?\s*$", line) and not line.lstrip().startswith(
            "#"
        ):
            while index < len(lines):
                more = _LOG.sub("", lines[index], count=1).strip()
                if not more.startswith("--"):
                    break
                line += " " + more.rstrip("\\`^").rstrip()
                index += 1
        done.append(line)
    return "\n".join(done)


def launches(script: Script) -> list[Launch]:
    """Return the commands that start a training script, in order.

    An assignment, or a command that prints, copies or fetches, starts none.
    """
    found = []
    for command in script.commands:
        launch = _launch(command)
        if launch is not None:
            found.append(launch)
    return found


def _launch(command: Command) -> Launch | None:
    words = command.words
    first = re.split(r"[/\\]", words[0].text)[-1].lower().removesuffix(".exe")
    if first in _NO_LAUNCH:
        return None
    for position, word in enumerate(words):
        match = _TRAINER.search(word.text)
        if match is None and position and words[position - 1].text == "-m":
            match = _MODULE.search(word.text)
        if match is not None and not word.text.startswith("--"):
            name = match[1] if match[1].endswith(".py") else f"{match[1]}.py"
            return Launch(name, "", words[position + 1 :], command.certain)
    if first in ("accelerate", "accelerate-launch", "torchrun") or first.startswith("python"):
        for position, word in enumerate(words[1:], 1):
            if (
                word.open
                and not word.text.startswith("-")
                and not words[position - 1].text.startswith("--")
            ):
                return Launch(None, word.open[0], words[position + 1 :], command.certain)
    return None


def _facts(
    path: Path, kind: str, script: Script, settings: Sequence[dict[str, Any]] = ()
) -> ScriptFacts:
    found = launches(script)
    told = [
        launch for launch in found if any(w.text.startswith("--") or w.open for w in launch.words)
    ]
    known = [launch for launch in told if launch.script is not None] or [
        launch for launch in told if _speaks(launch)
    ]
    if not known:
        from loraeval.checkpoints.trainers.launchers import other_trainer

        other = other_trainer(path, kind, script)
        if other is not None:
            return other
        if found and found[0].script:
            raise CheckpointError(
                f"{clean(path)}: {found[0].script} is launched without a flag that could be read; "
                "give the whole command, or the configuration that it is given"
            )
        raise CheckpointError(
            f"{clean(path)}: no command that launches a training script (such as train_network.py) "
            "stands in it; give the script, TOML or GUI JSON of the run"
        )
    launch = known[0]
    facts = ScriptFacts(path, kind, launch.script)
    if len(known) > 1:
        facts.warnings.append(f"{len(known)} training commands; the first one is read")
    if not launch.certain:
        facts.warnings.append("the command stands in a branch that may not run")
    _name_program(facts, launch)
    read_flags(facts, launch.words)
    follow(facts, script.written, settings)
    return facts


def _speaks(launch: Launch) -> bool:
    names = {w.text[2:].partition("=")[0] for w in launch.words if w.text.startswith("--")}
    return len(names & parameter_table().keys()) >= 3


def _name_program(facts: ScriptFacts, launch: Launch) -> None:
    script = training_scripts().get(launch.script or "")
    if script is not None:
        facts.program = script.program
        return
    facts.program, facts.complete = None, False
    if launch.script is None:
        facts.warnings.append(f"the training script, {clean(launch.hidden, 60)}, is not known")
    else:
        facts.warnings.append(
            f"{clean(launch.script)} is no training script of sd-scripts or musubi-tuner that is "
            "known: what it gives is read, nothing else is claimed"
        )
