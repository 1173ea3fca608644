"""Baselines: the frozen scores that a checkpoint is gated against. See docs/baselines.md."""

from loraeval.baselines.files import list_baselines, read_baseline, write_baseline
from loraeval.baselines.freeze import FAULT, dropped_rows, freeze, is_fault, merge_rows
from loraeval.baselines.margins import Margin, derive_margin
from loraeval.baselines.profile import Profile, read_profile
from loraeval.baselines.record import Baseline
from loraeval.baselines.select import Selection, parse_selection, select_rows

__all__ = [
    "FAULT",
    "Baseline",
    "Margin",
    "Profile",
    "Selection",
    "derive_margin",
    "dropped_rows",
    "freeze",
    "is_fault",
    "list_baselines",
    "merge_rows",
    "parse_selection",
    "read_baseline",
    "read_profile",
    "select_rows",
    "write_baseline",
]
