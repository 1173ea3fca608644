"""The table of training parameters: what sd-scripts knows, its defaults, and where it is recorded.

``data/parameters.json`` holds one row a parameter: facts read from sd-scripts v0.7.0 to v0.10.1,
whose defaults did not change in between (flags were only added), so that one table serves all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
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


@lru_cache(maxsize=1)
def parameter_table() -> dict[str, ParameterSpec]:
    """Return every parameter by name, in table order."""
    rows = json.loads((Path(__file__).parent / "data" / "parameters.json").read_text("utf-8"))
    for row in rows:
        row.update({key: tuple(row.get(key, ())) for key in ("choices", "keys")})
    specs = [ParameterSpec(**row) for row in rows]
    return {spec.name: spec for spec in specs}


def spec_of(name: str) -> ParameterSpec:
    """Return the row of ``name``; an unknown name is a label of the group ``output``."""
    return parameter_table().get(name) or ParameterSpec(name, "output", "label")


def default_of(spec: ParameterSpec) -> Any:
    """Return sd-scripts' default, None for "not given" (which it also writes as empty text)."""
    return None if spec.default == "" else spec.default
