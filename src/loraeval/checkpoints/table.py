"""The table of training parameters: what trainers know, their defaults, and where it is recorded.

``data/parameters.json`` holds one row a parameter: facts read from sd-scripts v0.7.0 to v0.10.1,
whose defaults did not change in between (flags were only added), so that one table serves all.
``data/trainer_flags.json`` (written by tools/trainer_flags.py out of the trainers' sources) adds
the flags of sd-scripts' and musubi-tuner's other training scripts, and which script takes which.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

GROUPS: dict[str, str] = {
    "model": "Model and architecture",
    "network": "Network",
    "resolution": "Resolution and batch",
    "learning": "Learning rate and optimizer",
    "precision": "Precision and memory",
    "noise": "Noise and regularization",
    "captions": "Captions and data",
    "duration": "Duration",
    "caption files": "Caption files",
    "output": "Output and provenance",
}
"""Groups in the order in which tables show them."""

SECRET = ("huggingface_token", "wandb_api_key")
"""Parameters whose value is never read out of a script."""


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """One parameter. ``effect`` says what a change of it can do: ``learned`` (the weights),
    ``stored`` (the file only), ``speed`` (time and memory), ``label`` (names and logs).

    ``flag`` tells whether sd-scripts takes it as an argument; ``type`` is ``int``, ``float``,
    ``str`` or ``switch``; ``keys`` are the metadata keys that record it, empty where none does.
    """

    name: str
    group: str
    effect: str
    flag: bool = False
    type: str = "str"
    default: Any = None
    choices: tuple[Any, ...] = ()
    list: bool = False
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingScript:
    """One training script: ``program`` it belongs to and the flags that it takes, with its own
    defaults.
    """

    name: str
    program: str
    flags: dict[str, ParameterSpec]


@lru_cache(maxsize=1)
def parameter_table() -> dict[str, ParameterSpec]:
    """Return every parameter by name, in table order."""
    rows = [*_data("parameters.json"), *_data("trainer_flags.json")["flags"]]
    specs = [_spec(row) for row in rows]
    return {spec.name: spec for spec in specs}


def spec_of(name: str) -> ParameterSpec:
    """Return the row of ``name``; an unknown name is a label of the group ``output``."""
    return parameter_table().get(name) or ParameterSpec(name, "output", "label")


def default_of(spec: ParameterSpec) -> Any:
    """Return the trainer's default, None for "not given" (which it also writes as empty text)."""
    return None if spec.default == "" else spec.default


@lru_cache(maxsize=1)
def training_scripts() -> dict[str, TrainingScript]:
    """Return the training scripts of sd-scripts and musubi-tuner by file name."""
    table = parameter_table()
    rows = _data("trainer_flags.json")["scripts"]
    found = {}
    for name, row in rows.items():
        if not isinstance(row, dict):
            continue
        base = rows[f"{row['program']}:base"]
        left = set(row["minus"])
        flags = {}
        for flag in [*(n for n in base if n not in left), *row["plus"]]:
            spec = table[flag]
            if flag in row.get("defaults", {}):
                spec = replace(spec, default=row["defaults"][flag])
            if flag in row.get("choices", {}):
                spec = replace(spec, choices=tuple(row["choices"][flag]))
            flags[flag] = spec
        found[name] = TrainingScript(name, row["program"], flags)
    return found


def scripts_with(flag: str) -> list[str]:
    """Return the training scripts that take ``flag``."""
    return [name for name, script in training_scripts().items() if flag in script.flags]


def version_read(program: str) -> str:
    """Return the version of ``program`` that its flags were read from."""
    return str(_data("trainer_flags.json")["read_from"][program])


@lru_cache(maxsize=4)
def _data(name: str) -> Any:
    return json.loads((Path(__file__).parent / "data" / name).read_text("utf-8"))


def _spec(row: dict[str, Any]) -> ParameterSpec:
    return ParameterSpec(**{**row, **{k: tuple(row.get(k, ())) for k in ("choices", "keys")}})
