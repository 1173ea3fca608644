"""Number types of safetensors files."""

from __future__ import annotations

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
"""Bytes an item of each safetensors dtype takes."""

NUMPY = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "I16": "<i2", "U16": "<u2", "F16": "<f2", "BF16": "<u2",
    "I32": "<i4", "U32": "<u4", "F32": "<f4", "I64": "<i8", "U64": "<u8", "F64": "<f8",
}  # fmt: skip
"""The numpy type of each; BF16 is read as its bits, F8 has none."""

STRUCT = {
    "F16": "<e", "BF16": "<f", "F32": "<f", "F64": "<d", "I8": "<b", "I16": "<h", "I32": "<i",
    "I64": "<q", "U8": "<B", "U16": "<H", "U32": "<I", "U64": "<Q",
}  # fmt: skip
"""The struct code of one number; BF16 through the float32 whose upper half it is."""
