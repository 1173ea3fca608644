"""The shared options as argparse groups, and the request that they become."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.errors import UsageError
from loraeval.options import GROUPS, OPTIONS, Option

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.evaluation.request import Request


def add_options(
    parser: argparse.ArgumentParser, *names: str, required: tuple[str, ...] = ()
) -> None:
    """Add the shared options called ``names``, all of them where none is named, in their groups."""
    chosen = [option for option in OPTIONS if not names or option.name in names]
    for title in GROUPS:
        members = [option for option in chosen if option.group == title]
        group = parser.add_argument_group(title) if members else parser
        for option in members:
            _add(group, option, option.name in required)


def names_of(*groups: str) -> tuple[str, ...]:
    """Return the names of the shared options in ``groups``."""
    return tuple(option.name for option in OPTIONS if option.group in groups)


def request_of(args: argparse.Namespace) -> Request:
    """Return what was asked for on the command line."""
    from loraeval.evaluation.request import Request

    given = {
        option.field: getattr(args, option.field)
        for option in OPTIONS
        if hasattr(args, option.field)
    }
    checkpoints = tuple(getattr(args, "checkpoints", ()))
    return Request.of(given, checkpoints=checkpoints)


def _add(group: Any, option: Option, required: bool) -> None:
    # Without a default, what was not given is no attribute: None can be a value of its own.
    more: dict[str, Any] = {"dest": option.field, "help": option.help}
    if option.flag:
        group.add_argument(f"--{option.name}", action="store_true", **more)
        return
    if option.choices:
        more["choices"] = option.choices
    else:
        more |= {"type": as_argument(option), "metavar": option.metavar}
    group.add_argument(f"--{option.name}", default=argparse.SUPPRESS, required=required, **more)


def as_argument(option: Option) -> Callable[[str], Any]:
    """Return ``option``'s reader as argparse wants it: with its own kind of error."""

    def read(text: str) -> Any:
        try:
            return option.value(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def check_out(path: Path | None, *, folder: bool, option: str = "--out") -> None:
    """Raise ``UsageError`` where results cannot be written to ``path``, before any long work."""
    if path is None:
        return
    if folder and path.exists() and not path.is_dir():
        raise UsageError(f"{option}: expected a folder, {path} is a file; choose another place")
    if not folder and path.is_dir():
        raise UsageError(f"{option}: expected a file, {path} is a folder; name a file in it")
    above = path if folder else path.parent
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(
            f"{option} {path}: cannot write here ({above} takes no new files); choose another place"
        )


def optional_baseline(name: str | None) -> Baseline | None:
    """Read the baseline called ``name``, None where none was named."""
    if name is None:
        return None
    from loraeval.baselines import read_baseline

    return read_baseline(name)
