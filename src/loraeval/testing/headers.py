"""LoRA files whose tensors are all zero, from a table of names, dtypes and shapes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}


def write_header(
    path: Path,
    tensors: Mapping[str, Sequence[Any]],
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a safetensors file of zeros; ``tensors`` maps a name to (dtype, shape). Every dtype
    that is not listed (float8, whole bytes, truth values) takes one byte a number.
    """
    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + _BYTES.get(dtype, 1) * math.prod(shape)
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    blob = json.dumps(table).encode()
    blob += b" " * (-len(blob) % 8)
    path.write_bytes(len(blob).to_bytes(8, "little") + blob + bytes(end))
    return path
