"""Front ends of sd-scripts with files of their own: LoRA_Easy_Training_Scripts and lora-scripts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loraeval.checkpoints.configs import DATASET
from loraeval.checkpoints.script_facts import ScriptFacts, assign
from loraeval.checkpoints.table import parameter_table
from loraeval.checkpoints.values import canonical, shown
from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

_SECTIONS = {"general_args", "network_args", "optimizer_args", "saving_args", "bucket_args",
             "noise_args", "sample_args", "logging_args", "flux_args", "edm_loss_args"}  # fmt: skip
_TRAIN_TYPES = {
    "sd-lora": "train_network.py", "sdxl-lora": "sdxl_train_network.py",
    "flux-lora": "flux_train_network.py", "sd3-lora": "sd3_train_network.py",
    "lumina-lora": "lumina_train_network.py",
}  # fmt: skip


def is_easy_scripts(tree: Mapping[str, Any]) -> bool:
    """Whether a tree is of LoRA_Easy_Training_Scripts: sections with ``args`` in them."""
    return any(
        isinstance(tree.get(name), dict) and {"args", "dataset_args"} & tree[name].keys()
        for name in _SECTIONS
    )


def easy_scripts(path: Path, tree: Mapping[str, Any]) -> ScriptFacts:
    """Return what a file of LoRA_Easy_Training_Scripts says; what it adds itself is not claimed."""
    facts = ScriptFacts(path, "LoRA_Easy_Training_Scripts settings", complete=False)
    for section, table in tree.items():
        if not isinstance(table, dict):
            continue
        for kind in ("args", "dataset_args"):
            inner = table.get(kind)
            for key, value in inner.items() if isinstance(inner, dict) else ():
                name = DATASET.get(str(key), str(key)) if kind == "dataset_args" else str(key)
                _put(facts, name, value, f"{section}.{kind}.{key}")
    subsets = tree.get("subsets")
    rows = [row for row in subsets if isinstance(row, dict)] if isinstance(subsets, list) else []
    _subsets(facts, [row for row in rows if row.get("is_reg") is not True])
    if not facts.values:
        raise CheckpointError(f"{clean(path)}: no parameter of sd-scripts stands in it")
    return facts


def _subsets(facts: ScriptFacts, rows: list[dict[str, Any]]) -> None:
    found: dict[str, list[Any]] = {}
    for row in rows:
        for key, value in row.items():
            name = DATASET.get(key)
            if name is not None:
                found.setdefault(name, []).append(canonical(name, value))
    for name, values in found.items():
        distinct = list(dict.fromkeys(values))
        facts.values[name] = (
            distinct[0] if len(distinct) == 1 else " / ".join(shown(v) for v in distinct)
        )
        facts.own[name] = "subsets"


def is_lora_scripts(tree: Mapping[str, Any]) -> bool:
    """Whether a tree is of lora-scripts (the SD-Trainer front end)."""
    return "model_train_type" in tree


def lora_scripts(path: Path, tree: Mapping[str, Any]) -> ScriptFacts:
    """Return what a file of lora-scripts says; what it adds itself is not claimed."""
    facts = ScriptFacts(path, "lora-scripts settings", complete=False)
    facts.trainer = _TRAIN_TYPES.get(str(tree["model_train_type"]))
    for key, value in tree.items():
        name = {"network_args_custom": "network_args",
                "optimizer_args_custom": "optimizer_args"}.get(key, key)  # fmt: skip
        _put(facts, name, value, key)
    if not facts.values:
        raise CheckpointError(f"{clean(path)}: no parameter of sd-scripts stands in it")
    return facts


def _put(facts: ScriptFacts, name: str, value: Any, own: str) -> None:
    spec = parameter_table().get(name)
    if spec is None or value is None or value == "" or (value is False and spec.type == "switch"):
        return
    if isinstance(value, dict):
        value = [f"{key}={item}" for key, item in value.items()]
    if name == "resolution" and isinstance(value, (list, tuple)):
        value = ",".join(map(str, value))
    assign(facts, spec, value, typed=False)
    facts.own[name] = own
