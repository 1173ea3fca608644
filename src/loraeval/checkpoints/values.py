"""Values of training parameters in one canonical form, so that "16", "16.0" and 16 are equal.

Canonical values are plain JSON: None, bool, int, float (never NaN), str. Lists of sd-scripts
(``network_args``) become one string of sorted words.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from pathlib import PurePosixPath

from loraeval.checkpoints.table import spec_of

Value = None | bool | int | float | str

_WORDS = {"none": None, "null": None, "true": True, "false": False}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SIZE = re.compile(r"[\[(]?\s*(\d{1,6})\s*(?:[,xX×]\s*(\d{1,6})\s*)?[\])]?")
_OPTIMIZER = re.compile(r"(?P<path>[\w.]+)(?:\((?P<args>.*)\))?", re.DOTALL)


def number(value: object) -> int | float | None:
    """Return ``value`` as a finite number, None where it is none; integral floats become int."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        if len(text) > 40 or not _NUMBER.fullmatch(text):
            return None
        value = float(text) if re.search(r"[.eE]", text) else int(text)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 1e15 else value
    return value if isinstance(value, int) and abs(value) < 10**30 else None


def canonical(name: str, raw: object) -> Value:
    """Return ``raw``, as a script, a TOML file or metadata give it, in the form to compare.

    >>> canonical("network_alpha", "16.0"), canonical("resolution", "(512, 512)")
    (16, '512x512')
    """
    spec = spec_of(name)
    if raw is None or isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.strip().lower() in _WORDS:
        return _WORDS[raw.strip().lower()]
    if name == "resolution":
        return _resolution(raw)
    if name == "optimizer_type":
        return optimizer(str(raw))[0]
    if spec.list or isinstance(raw, (list, tuple, dict)):
        return _joined(name, raw)
    value = number(raw)
    if value is not None and (spec.type in ("int", "float") or not isinstance(raw, str)):
        return value
    text = str(raw)
    if name in ("pretrained_model_name_or_path", "vae") and text.startswith(("/", ".", "~")):
        return PurePosixPath(text).name
    if not spec.flag and value is not None:
        return value
    return text


def optimizer(text: str) -> tuple[str, str | None]:
    """Split what ``ss_optimizer`` records into class and arguments.

    >>> optimizer("torch.optim.adamw.AdamW(weight_decay=0.1)")
    ('AdamW', 'weight_decay=0.1')
    """
    match = _OPTIMIZER.fullmatch(text.strip())
    if match is None:
        return text, None
    return match["path"].rsplit(".", 1)[-1], match["args"] or None


def same(a: Value, b: Value) -> bool:
    """Tell whether two canonical values mean the same; numbers as numbers, words in any case."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    left, right = number(a), number(b)
    if left is not None and right is not None:
        return math.isclose(left, right, rel_tol=1e-9)
    if isinstance(a, str) and isinstance(b, str):
        return a.strip().lower() == b.strip().lower()
    return a == b


def shown(value: Value) -> str:
    """Return a value as tables show it: ``off`` and ``on`` for switches, ``–`` for None."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def shown_as(name: str, value: Value) -> str:
    """Return the value of the parameter ``name`` as tables show it: dates and sizes by their unit.

    >>> shown_as("training_started_at", 1700000000.5), shown_as("file_size", 535520)
    ('2023-11-14 22:13 UTC', '535,520 bytes')
    """
    stamp = number(value)
    if name in ("training_started_at", "training_finished_at") and stamp and 0 < stamp < 1e11:
        return f"{datetime.fromtimestamp(stamp, UTC):%Y-%m-%d %H:%M} UTC"
    if name == "file_size" and isinstance(value, int):
        return f"{value:,} bytes"
    return shown(value)


def _resolution(raw: object) -> Value:
    text = ",".join(map(str, raw)) if isinstance(raw, (list, tuple)) else str(raw)
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return text
    return f"{int(match[1])}x{int(match[2] or match[1])}"


def _joined(name: str, raw: object) -> Value:
    if isinstance(raw, str) and raw.lstrip().startswith("{"):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError):
            return raw if isinstance(raw, str) else None
    if isinstance(raw, dict):
        raw = [f"{key}={value}" for key, value in raw.items() if value is not None]
    words = [str(word) for word in raw] if isinstance(raw, (list, tuple)) else str(raw).split()
    if len(words) == 1 and name in ("text_encoder_lr", "base_weights_multiplier"):
        return number(words[0]) if number(words[0]) is not None else words[0]
    return " ".join(sorted(words)) or None
