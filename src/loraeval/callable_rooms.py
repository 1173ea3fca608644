"""Lets ``loraeval.gate`` and ``loraeval.render`` be functions although rooms have these names.

Python binds a package's room to its name when the room is first imported, over whatever stood
there. So the room itself is made callable then: ``loraeval.gate(rows, baseline)`` means the same
before and after, and ``from loraeval.gate import …`` goes on working.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any


def keep_callable(package: str, functions: Mapping[str, Callable[..., Any]]) -> None:
    """Make each room of ``package`` that a name of ``functions`` is bound to callable as it."""

    class Package(ModuleType):
        def __setattr__(self, name: str, value: object) -> None:
            if isinstance(value, ModuleType) and name in functions:
                value.__class__ = _callable_as(functions[name])
            super().__setattr__(name, value)

    sys.modules[package].__class__ = Package


def _callable_as(function: Callable[..., Any]) -> type[ModuleType]:
    class Room(ModuleType):
        def __call__(self, *args: Any, **named: Any) -> Any:
            return function(*args, **named)

    return Room
