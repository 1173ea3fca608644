"""Training parameters with their source: recorded, derived, from a script, default, not stored.

Strongest first: tensors, metadata, the script or configuration, sd-scripts' default. Where sources
disagree the weaker ones stay as conflicts; nothing is overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from loraeval.checkpoints.script_facts import ScriptFacts, parse_json, read_text
from loraeval.checkpoints.scripts import SUFFIXES, read_script
from loraeval.checkpoints.table import default_of, parameter_table, spec_of
from loraeval.checkpoints.values import Value, canonical, number, same, shown
from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

Source = Literal["recorded", "derived", "script", "stated", "default", "not stored"]

SOURCES: dict[str, str] = {
    "recorded": "recorded in the file's metadata",
    "derived": "derived from tensors, file names or the series",
    "script": "from the script or configuration given",
    "stated": "stated by a person",
    "default": "not given, so the trainer's default",
    "not stored": "not stored in the file; give the script",
}
"""What each source means, in the words of the tables' legend."""

FORMAT = 1
"""Version of the JSON form."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A value that another source gives: a conflict where it differs."""

    value: Value
    source: str
    detail: str


@dataclass(frozen=True, slots=True)
class ParameterValue:
    """One parameter of one run. ``value`` is canonical (see ``values``), None for "off" or where
    ``source`` is ``not stored``; ``detail`` names the key, file or rule it comes from.
    """

    value: Value
    source: Source
    detail: str = ""
    conflicts: tuple[Claim, ...] = ()

    @property
    def known(self) -> bool:
        """Whether there is a value at all."""
        return self.source != "not stored"


@dataclass(frozen=True, slots=True)
class Parameters:
    """All parameters of one run by name, with ``warnings`` (sentences) and what a script asked for
    in vain (``ignored``: name to reason).
    """

    name: str
    values: Mapping[str, ParameterValue]
    warnings: tuple[str, ...] = ()
    ignored: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""

    def __getitem__(self, name: str) -> Value:
        """Return a value, None where it is off, unknown or not there."""
        entry = self.values.get(name)
        return entry.value if entry is not None else None

    def known(self, name: str) -> bool:
        """Tell whether the value of ``name`` is known."""
        entry = self.values.get(name)
        return entry is not None and entry.known

    @property
    def not_stored(self) -> tuple[str, ...]:
        """Names of what could change the weights and can not be told from what was given."""
        return tuple(
            name for name, entry in self.values.items()
            if not entry.known and spec_of(name).effect == "learned"
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that ``from_json`` reads back to an equal record."""
        return {
            "loraeval_parameters": FORMAT, "name": self.name, "origin": self.origin,
            "values": {
                name: {
                    "value": entry.value, "source": entry.source, "detail": entry.detail,
                    **({"conflicts": [[c.value, c.source, c.detail] for c in entry.conflicts]}
                       if entry.conflicts else {}),
                }
                for name, entry in self.values.items()
            },
            "warnings": list(self.warnings), "ignored": dict(self.ignored),
        }  # fmt: skip

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Parameters:
        """Read what ``to_json`` wrote; ``CheckpointError`` says what is wrong with it."""
        try:
            if tree["loraeval_parameters"] != FORMAT:
                raise ValueError(f"format {clean(tree['loraeval_parameters'])}, expected {FORMAT}")
            values = {str(name): _entry(row) for name, row in tree["values"].items()}
            return cls(
                str(tree["name"]), values, tuple(map(str, tree.get("warnings", ()))),
                {str(k): str(v) for k, v in tree.get("ignored", {}).items()},
                str(tree.get("origin", "")),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"not the parameters of a run ({clean(error)}); "
                "write them with: loraeval params FILE --json"
            ) from error


def _plain_value(value: Any) -> Value:
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise ValueError(f"{clean(value)} is not a plain value")
    return value


def _entry(row: Mapping[str, Any]) -> ParameterValue:
    if row["source"] not in SOURCES:
        raise ValueError(f"unknown source {clean(row['source'])}")
    conflicts = tuple(
        Claim(_plain_value(v), str(s), str(d)) for v, s, d in row.get("conflicts", ())
    )
    return ParameterValue(
        _plain_value(row["value"]), row["source"], str(row.get("detail", "")), conflicts
    )


def training_parameters(path: str | Path, script: str | Path | None = None) -> Parameters:
    """Return the training parameters of a run.

    ``path`` is a LoRA file, a folder of epochs (its latest file is read), a script, TOML, GUI JSON
    or facts file, a ``parameters.json``, or a baseline's folder; ``script`` adds a script to a
    checkpoint. Raises ``CheckpointError`` with one sentence where it can not be read.
    """
    path = Path(path)
    facts = read_script(script) if script is not None else None
    if path.is_dir() and (path / "parameters.json").is_file():
        path = path / "parameters.json"
    elif not path.exists() and (Path("baselines") / path / "parameters.json").is_file():
        path = Path("baselines") / path / "parameters.json"
    if path.is_dir():
        from loraeval.checkpoints.series import find_series

        series = find_series(path)
        if len(series) > 1:
            names = ", ".join(item.name for item in series[:4])
            raise CheckpointError(
                f"{clean(path)}: {len(series)} runs are in this folder ({names}); name one file"
            )
        path = series[0].checkpoints[-1].path
    if path.suffix == ".json":
        tree = parse_json(path, read_text(path))
        if "loraeval_parameters" in tree:
            return Parameters.from_json(tree)
    if path.suffix in SUFFIXES:
        return parameters_of_script(read_script(path))
    from loraeval.checkpoints.from_file import parameters_of_file

    return parameters_of_file(path, facts)


def parameters_of_script(facts: ScriptFacts) -> Parameters:
    """Return the parameters of a run of which only the script, configuration or facts are known."""
    from loraeval.checkpoints.facts import RunFacts

    entries: dict[str, ParameterValue] = {}
    origin = clean(facts.path.name)
    source: Source = "stated" if isinstance(facts, RunFacts) else "script"
    for name, spec in parameter_table().items():
        default = facts.default(name)
        if name in facts.unresolved:
            entries[name] = ParameterValue(None, "not stored", facts.why_unknown(name))
        elif name in facts.values:
            own = facts.own.get(name, name)
            detail = origin if own == name else f"{origin}: {clean(own, 60)}"
            entries[name] = ParameterValue(facts.values[name], source, detail)
        elif default is not None:
            detail = f"the default of {facts.program}"
            entries[name] = ParameterValue(default_of(default), "default", detail)
        elif spec.flag and (name in facts.flags or not facts.flags):
            entries[name] = ParameterValue(None, "not stored", facts.why_unknown(name))
    if facts.trainer is not None:
        entries["training_script"] = ParameterValue(facts.trainer, source, origin)
    if facts.program is not None:
        entries["trainer"] = ParameterValue(facts.program, source, origin)
    if isinstance(facts, RunFacts):
        for name, value in facts.extras.items():
            entries[name] = ParameterValue(value, "stated", origin)
        for name, value, why in facts.claims:
            entries[name] = with_claim(entries.get(name), Claim(value, "claim", why))
    _finish(entries)
    name = facts.name if isinstance(facts, RunFacts) else str(facts.values.get("output_name") or "")
    return Parameters(
        clean(name or facts.path.stem), entries, tuple(facts.warnings), facts.ignored, origin
    )


def with_claim(entry: ParameterValue | None, claim: Claim) -> ParameterValue:
    """Return ``entry`` with a conflict added where the claim says something else."""
    entry = entry or ParameterValue(None, "not stored", "not known")
    if entry.known and same(entry.value, claim.value):
        return entry
    return ParameterValue(entry.value, entry.source, entry.detail, (*entry.conflicts, claim))


def _finish(entries: dict[str, ParameterValue]) -> None:
    """Fill in what follows from the rest: aliases of the optimizer, the scale."""
    for alias, kind in (("use_8bit_adam", "AdamW8bit"), ("use_lion_optimizer", "Lion")):
        entry = entries.pop(alias, None)
        if entry is not None and entry.value is True:
            entries["optimizer_type"] = ParameterValue(kind, entry.source, f"--{alias}")
    kind_entry = entries.get("optimizer_type")
    if kind_entry is not None and kind_entry.source == "default":
        entries["optimizer_type"] = ParameterValue("AdamW", "default", "sd-scripts' default")
    _name_adapter(entries)
    dim, alpha = entries.get("network_dim"), entries.get("network_alpha")
    if "scale" in entries or dim is None or alpha is None:
        return
    if isinstance(dim.value, int) and dim.value and isinstance(alpha.value, (int, float)):
        detail = f"network_alpha / network_dim = {shown(alpha.value)} / {dim.value}"
        scale = alpha.value / dim.value if alpha.value else 1.0
        entries["scale"] = ParameterValue(scale, "derived", detail)


_ADAPTERS = {
    "networks.lora_fa": "lora", "networks.dylora": "dylora", "networks.loha": "loha",
    "networks.lokr": "lokr", "networks.oft": "oft", "networks.oft_flux": "oft",
}  # fmt: skip


def _name_adapter(entries: dict[str, ParameterValue]) -> None:
    """Take module and network arguments of sd-scripts to the names that all trainers share."""
    module, words = entries.get("network_module"), entries.get("network_args")
    given = dict(
        word.partition("=")[::2] for word in str(words.value if words else "" or "").split()
    )
    if words is not None and words.value is not None:
        for name, key in (("conv_dim", "conv_dim"), ("conv_alpha", "conv_alpha"),
                          ("lokr_factor", "factor")):  # fmt: skip
            if key in given and name not in entries:
                value = canonical(name, given[key])
                entries[name] = ParameterValue(value, words.source, f"network_args: {key}")
    if "adapter" in entries or module is None or not isinstance(module.value, str):
        return
    kind = _ADAPTERS.get(module.value)
    if kind is None and module.value.startswith("networks.lora"):
        kind = "locon" if number(given.get("conv_dim", "")) else "lora"
    if module.value == "lycoris.kohya":
        kind = given.get("algo", "lora")
    if kind is not None:
        entries["adapter"] = ParameterValue(kind, module.source, f"network_module {module.value}")


def parameters_json(parameters: Parameters) -> str:
    """Return the text of a ``parameters.json``, for people and diffs: one parameter a line."""
    tree = parameters.to_json()
    rows = ",\n".join(
        f"    {json.dumps(name)}: {json.dumps(row, ensure_ascii=False, allow_nan=False)}"
        for name, row in tree["values"].items()
    )
    rest = {key: value for key, value in tree.items() if key != "values"}
    head = json.dumps(rest, ensure_ascii=False, allow_nan=False, indent=2)
    return f'{head[:-2]},\n  "values": {{\n{rows}\n  }}\n}}\n'


finish_entries = _finish
