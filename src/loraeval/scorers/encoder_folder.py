"""What a folder with an open_clip model may ask for: its own files, nothing from a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loraeval.errors import InputError
from loraeval.outside import json as strict_json
from loraeval.outside.text import clean, read_text

MAX_CONFIG_BYTES = 1 << 20
"""A model's configuration has a few kilobytes."""

_CONFIGS = ("config.json", "tokenizer_config.json")


def read_clip_config(path: Path) -> dict[str, Any]:
    """Return the configuration of the open_clip model that lies beside it.

    Raises ``InputError`` where it cannot be read, where it names a part that would be fetched from
    a hub (``hf_model_name``, ``timm_model_pretrained``: nobody typed that name), and where a file
    of the tokenizer asks for code of its own (``auto_map``).
    """
    config = _object(path)
    model = config.get("model_cfg", config)
    if not isinstance(model, dict):
        raise InputError(f"{clean(path)}: expected an open_clip model's configuration")
    text, vision = (_table(model, name, path) for name in ("text_cfg", "vision_cfg"))
    for part, key in ((text, "hf_model_name"), (vision, "timm_model_pretrained")):
        if part.get(key):
            raise InputError(
                f"{clean(path)}: {key} would be fetched from a hub; only models that lie whole in "
                "their folder are loaded"
            )
    if ":" in str(vision.get("timm_model_name") or ""):
        raise InputError(f"{clean(path)}: timm_model_name would be fetched from a hub")
    for name in _CONFIGS:
        beside = path.with_name(name)
        if beside.exists() and _object(beside).get("auto_map"):
            raise InputError(
                f"{clean(beside)}: asks for code of its own (auto_map), which is never run"
            )
    return config


def _object(path: Path) -> dict[str, Any]:
    try:
        data = strict_json.loads(read_text(path, InputError, MAX_CONFIG_BYTES))
    except ValueError as error:
        raise InputError(f"{clean(path)}: expected a JSON object ({clean(error)})") from error
    if not isinstance(data, dict):
        raise InputError(f"{clean(path)}: expected a JSON object")
    return data


def _table(model: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    part = model.get(name)
    if part is not None and not isinstance(part, dict):
        raise InputError(f"{clean(path)}: {name} must be an object")
    return part or {}
