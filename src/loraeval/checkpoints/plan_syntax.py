"""An experiment's settings in the syntax of the trainer that made the run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from loraeval.checkpoints.parameters import Parameters
from loraeval.checkpoints.table import training_scripts
from loraeval.checkpoints.trainers import ai_toolkit, diffusion_pipe, onetrainer, simpletuner
from loraeval.checkpoints.trainers.names import Name, written
from loraeval.checkpoints.values import Value, number, shown
from loraeval.outside.text import clean

SET_THIS = "SET_THIS"
"""Stands where a path is needed that no file records."""

_LONG = {"fp16": "float16", "bf16": "bfloat16", "float": "float32", "no": "float32"}
_OPTIMIZERS = {"AdamW": "ADAMW", "AdamW8bit": "ADAMW_8BIT", "Lion": "LION", "Prodigy": "PRODIGY",
               "AdaFactor": "ADAFACTOR", "DAdaptAdam": "DADAPT_ADAM", "CAME": "CAME"}  # fmt: skip


def _upper(value: Value) -> Any:
    return str(value).upper()


_ONETRAINER: dict[str, Callable[[Value], Any]] = {
    "adapter": _upper, "lr_scheduler": _upper, "timestep_sampling": _upper,
    "optimizer_type": lambda value: _OPTIMIZERS.get(str(value), _upper(value)),
    "mixed_precision": lambda value: _LONG.get(str(value), str(value)).upper().replace("T1", "T_1")
    .replace("T3", "T_3"),
    "save_precision": lambda value: _LONG.get(str(value), str(value)).upper().replace("T1", "T_1")
    .replace("T3", "T_3"),
    "ema": lambda value: "GPU" if value is True else "OFF",
}  # fmt: skip
_PIPE: dict[str, Callable[[Value], Any]] = {
    "mixed_precision": lambda value: _LONG.get(str(value), value),
    "save_precision": lambda value: _LONG.get(str(value), value),
    "optimizer_type": lambda value: str(value).lower(),
}
_AI_TOOLKIT: dict[str, Callable[[Value], Any]] = {
    "optimizer_type": lambda value: str(value).lower(),
    "mixed_precision": lambda value: "fp32" if value == "no" else value,
}


def takes(run: Parameters, name: str) -> bool:
    """Whether the trainer of ``run`` has a setting for the parameter ``name``."""
    names = _NAMES.get(str(run["trainer"]))
    if names is not None:
        return any(entry.common == name for entry in names)
    script = training_scripts().get(str(run["training_script"]))
    return script is None or script.program != "musubi-tuner" or name in script.flags


def settings_text(run: Parameters, changes: Mapping[str, Value]) -> str | None:
    """Return shell text that writes the settings of ``run`` with ``changes`` and starts its
    trainer; None for sd-scripts and trainers without such settings.
    """
    program = str(run["trainer"])
    title = str(changes.get("output_name", run.name))
    if program == "musubi-tuner":
        return _musubi(run, changes)
    if program not in _NAMES:
        return None
    values = {
        name: entry.value for name, entry in run.values.items()
        if entry.known and entry.source not in ("default", "derived")
    } | dict(changes)  # fmt: skip
    back = {"OneTrainer": _ONETRAINER, "diffusion-pipe": _PIPE}.get(program, _AI_TOOLKIT)
    for name, rule in back.items():
        if values.get(name) is not None:
            values[name] = rule(values[name])
    tree = written(_NAMES[program], values)
    options = _options(values.get("optimizer_args"))
    if options and program == ai_toolkit.PROGRAM:
        tree.setdefault("train", {})["optimizer_params"] = options
    elif options and program in (onetrainer.PROGRAM, diffusion_pipe.PROGRAM):
        tree.setdefault("optimizer", {}).update(options)
    if program == ai_toolkit.PROGRAM:
        step: dict[str, Any] = {"type": "sd_trainer", "training_folder": SET_THIS, **tree}
        for row in step.setdefault("datasets", [{}]):
            row["folder_path"] = SET_THIS
        tree = {"job": "extension", "config": {"name": title, "process": [step]}}
        return _here(f"{title}.yaml", _yaml(tree), f"python run.py {title}.yaml")
    if program == diffusion_pipe.PROGRAM:
        tree = {"output_dir": SET_THIS, "dataset": SET_THIS, **tree}
        start = f"deepspeed --num_gpus=1 train.py --deepspeed --config {title}.toml"
        return _here(f"{title}.toml", _toml(tree), start)
    text = json.dumps(tree, indent=1, ensure_ascii=True)
    if program == onetrainer.PROGRAM:
        return _here(f"{title}.json", text, f"python scripts/train.py --config-path {title}.json")
    return _here("config/config.json", text, "simpletuner train")


_NAMES: dict[str, tuple[Name, ...]] = {
    ai_toolkit.PROGRAM: ai_toolkit.NAMES,
    onetrainer.PROGRAM: tuple(n for n in onetrainer.NAMES if not n.own.startswith("concepts")),
    simpletuner.PROGRAM: simpletuner.NAMES,
    diffusion_pipe.PROGRAM: diffusion_pipe.NAMES,
}


def _musubi(run: Parameters, changes: Mapping[str, Value]) -> str | None:
    script = training_scripts().get(str(run["training_script"]))
    if script is None:
        return None
    values = {name: entry.value for name, entry in run.values.items() if entry.known} | dict(
        changes
    )
    lines = [f"accelerate launch src/musubi_tuner/{script.name}"]
    for name, spec in script.flags.items():
        entry = run.values.get(name)
        told = entry is not None and entry.known and entry.source != "default"
        value = values.get(name)
        if (
            value is None
            or not (told or name in changes)
            or name in ("config_file", "dataset_config")
        ):
            continue
        if spec.effect == "label" and name != "output_name":
            continue
        if spec.type == "switch":
            if value is True:
                lines.append(f"--{name}")
        elif spec.list:
            lines.append(f"--{name} " + " ".join(shlex.quote(w) for w in str(value).split()))
        else:
            text = shown(value) if isinstance(value, float) else str(value)
            lines.append(f"--{name}={shlex.quote(text)}")
    lines += [f'--{name}="${{{name.upper()}:?}}"' for name in ("dataset_config", "output_dir")]
    return " \\\n  ".join(lines)


def _options(words: Value) -> dict[str, Any]:
    """Take ``k=v k=v`` apart again: numbers, lists of numbers, words."""
    found: dict[str, Any] = {}
    for word in str(words or "").split():
        key, equals, text = word.partition("=")
        parts = [number(part) if number(part) is not None else part for part in text.split(",")]
        if equals:
            found[key] = parts if len(parts) > 1 else parts[0]
    return found


def _here(name: str, text: str, start: str) -> str:
    body = "\n".join(clean(line, 2000) for line in text.splitlines())
    return f"cat > {shlex.quote(name)} <<'END'\n{body}\nEND\n{start}"


def _yaml(tree: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(tree), sort_keys=False, default_flow_style=False))


def _toml(tree: Mapping[str, Any]) -> str:
    """Write plain values, then tables of them: what diffusion-pipe's configuration needs."""
    lines = [
        f"{key} = {_plain(value)}" for key, value in tree.items() if not isinstance(value, dict)
    ]
    for key, table in tree.items():
        if isinstance(table, dict):
            lines += [f"[{key}]", *(f"{name} = {_plain(value)}" for name, value in table.items())]
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if number(value) is not None and not isinstance(value, str):
        return str(value)
    return json.dumps(value)
