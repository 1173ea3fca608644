"""The gate: is a checkpoint worse than the baseline by more than a margin? See docs/gate.md.

The names are loaded when used, so that ``loraeval.gate.text`` stays light to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loraeval.gate.options import GateOptions

if TYPE_CHECKING:
    from loraeval.gate.comparable import check_comparable
    from loraeval.gate.elimination import SuccessiveElimination
    from loraeval.gate.epochs import EpochSelection, metric_intervals, select_epoch
    from loraeval.gate.rows import gate_rows
    from loraeval.gate.sequential import SequentialGate

__all__ = [
    "EpochSelection",
    "GateOptions",
    "SequentialGate",
    "SuccessiveElimination",
    "check_comparable",
    "gate_rows",
    "metric_intervals",
    "select_epoch",
]

_HOMES = {
    "EpochSelection": "epochs",
    "SequentialGate": "sequential",
    "SuccessiveElimination": "elimination",
    "check_comparable": "comparable",
    "gate_rows": "rows",
    "metric_intervals": "epochs",
    "select_epoch": "epochs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
