"""Read a training script or configuration of any trainer that is known.

Shell, PowerShell, batch files, Markdown, notebooks, pasted logs; TOML, YAML and JSON. All readers
return ``ScriptFacts``: what was asked for, and what of it the trainer would ignore or refuse.
Nothing is executed. A value that can not be known from the text alone is ``unresolved``, never
guessed, and a default is claimed only where every word of the launched command was understood.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loraeval.checkpoints.script_facts import (
    MAX_NOTEBOOK_BYTES,
    MAX_SCRIPT_BYTES,
    ScriptFacts,
    assign,
    parse_json,
    parse_toml,
    read_text,
)
from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

__all__ = [
    "MAX_SCRIPT_BYTES", "SUFFIXES", "ScriptFacts", "assign", "parse_json", "read_script",
    "read_text",
]  # fmt: skip

SUFFIXES = (".sh", ".bash", ".md", ".toml", ".json", ".txt", ".log", ".ps1", ".bat", ".cmd",
            ".ipynb", ".yaml", ".yml", ".env")  # fmt: skip
"""File names that are taken for a script rather than a checkpoint."""


def read_script(path: str | Path) -> ScriptFacts:
    """Read a training script or configuration of any kind that is known, by suffix and content.

    Raises ``CheckpointError`` with one sentence where the file can not be read, is too large, is
    not text, or holds no training command or parameter.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".ipynb":
        from loraeval.checkpoints.command_line import notebook_facts

        return notebook_facts(path, parse_json(path, read_text(path, MAX_NOTEBOOK_BYTES)))
    text = read_text(path)
    if suffix == ".toml":
        return toml_facts(path, parse_toml(path, text))
    if suffix == ".json":
        return json_facts(path, parse_json(path, text))
    if suffix in (".yaml", ".yml"):
        return yaml_facts(path, text)
    if suffix == ".env":
        from loraeval.checkpoints.trainers.simpletuner import environment_facts

        return environment_facts(path, text)
    from loraeval.checkpoints.command_line import text_facts

    return text_facts(path, text)


def toml_facts(path: Path, tree: dict[str, Any]) -> ScriptFacts:
    """Return what a TOML file says, by the trainer whose keys stand in it."""
    from loraeval.checkpoints import configs
    from loraeval.checkpoints.trainers import diffusion_pipe, front_ends

    if "run_facts" in tree:
        from loraeval.checkpoints.facts import facts_of

        return facts_of(path, tree)
    for fits, read in (
        (diffusion_pipe.fits, diffusion_pipe.facts),
        (front_ends.is_easy_scripts, front_ends.easy_scripts),
        (front_ends.is_lora_scripts, front_ends.lora_scripts),
        (configs.is_dataset, configs.dataset_facts),
    ):
        if fits(tree):
            return read(path, tree)
    return configs.config_facts(path, tree)


def json_facts(path: Path, tree: dict[str, Any]) -> ScriptFacts:
    """Return what a JSON file says, by the trainer whose keys stand in it."""
    from loraeval.checkpoints import script_gui
    from loraeval.checkpoints.trainers import ai_toolkit, front_ends, onetrainer, peft, simpletuner

    for fits, read in (
        (onetrainer.fits, onetrainer.facts),
        (simpletuner.fits, simpletuner.facts),
        (ai_toolkit.fits, ai_toolkit.facts),
        (peft.fits, peft.facts),
        (front_ends.is_lora_scripts, front_ends.lora_scripts),
        (script_gui.fits, script_gui.gui_facts),
    ):
        if fits(tree):
            return read(path, tree)
    keys = ", ".join(clean(key, 30) for key in list(tree)[:4]) or "none"
    raise CheckpointError(
        f"{clean(path)}: no settings of a trainer that is known (keys such as {keys}); give the "
        "settings of kohya_ss, OneTrainer, SimpleTuner or ai-toolkit, or the script of the run"
    )


def yaml_facts(path: Path, text: str) -> ScriptFacts:
    """Return what a YAML file says: ai-toolkit's configuration."""
    from loraeval.checkpoints.trainers import ai_toolkit
    from loraeval.outside import yaml

    try:
        tree = yaml.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{clean(path)}: not readable as YAML ({clean(error)})") from error
    if not isinstance(tree, dict) or not ai_toolkit.fits(tree):
        raise CheckpointError(
            f"{clean(path)}: expected ai-toolkit's configuration (config with a process), found "
            "other YAML; give the script or configuration of the run"
        )
    return ai_toolkit.facts(path, tree)
