"""The pytest plugin: options, items, fixtures, summary; nothing else."""

from __future__ import annotations
