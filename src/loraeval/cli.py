"""The command line: a table of commands, each in a module of ``loraeval.commands``.

``loraeval --help`` reads the table only; a command's module is imported when it is chosen, and
heavy packages inside its ``run``. A module offers ``add_arguments(parser)`` and
``run(args) -> int``, one of ``loraeval.outcome.EXIT_CODES``. ``LoraevalError`` becomes one line on
standard error and its exit code; what nobody foresaw ends with its traceback and 70, never 1.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import signal
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import NoReturn

from loraeval import __version__
from loraeval.errors import LoraevalError
from loraeval.outcome import BUG, INTERRUPTED, TERMINATED, WRONG, exit_line
from loraeval.outside.runner import guarded_output
from loraeval.outside.text import clean

COMMANDS: dict[str, tuple[str, str]] = {
    "try": ("loraeval.commands.try_folder", "look at a folder of images or LoRAs: what to keep"),
    "run": (
        "loraeval.commands.run",
        "render checkpoints with fixed prompts, score and gate them",
    ),
    "score": ("loraeval.commands.score", "score images that exist already"),
    "gate": ("loraeval.commands.gate", "compare scores with a baseline: pass, fail, inconclusive"),
    "compare": ("loraeval.commands.compare", "tell two checkpoints or runs apart, or not"),
    "baseline": ("loraeval.commands.baseline", "freeze, list and show baselines"),
    "chart": ("loraeval.commands.chart", "draw scores by epoch as PNG and SVG"),
    "report": ("loraeval.commands.report", "write the HTML report of a run"),
    "init": ("loraeval.commands.init", "write a project's files: settings, prompts, CI workflow"),
    "watch": ("loraeval.commands.watch", "gate each epoch as a trainer saves it"),
    "rate": ("loraeval.commands.rate", "judge pairs of images blind and compare with the scorers"),
    "inspect": (
        "loraeval.commands.inspect",
        "read a LoRA: format, ranks, training parameters",
    ),
    "params": ("loraeval.commands.params", "compare the training parameters of runs"),
    "caption": ("loraeval.commands.caption", "print how a caption is read, colour by colour"),
    "profile": ("loraeval.commands.profile", "list and explain the profiles: what each gates"),
    "cache": ("loraeval.commands.cache", "show and prune the store of renders"),
    "doctor": ("loraeval.commands.doctor", "say what is installed, found and usable here"),
}
"""Command name to its module and one-line help, in the order that people need them."""

NO_PLACE = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG,
    errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ENOENT, errno.ELOOP,
}  # fmt: skip
"""Errors of the place that results are written to, not of this program."""

EPILOG = textwrap.fill(exit_line(), 96)


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends what runs as Ctrl-C does, with an exit code of its own."""


class _Parser(argparse.ArgumentParser):
    """Answers a mistake with one line, and leaves the list of options to ``--help``."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {clean(message, None)}; see {self.prog} --help\n")


def _top_parser() -> argparse.ArgumentParser:
    listing = "\n".join(f"  {name:<9} {text}" for name, (_, text) in COMMANDS.items())
    parser = _Parser(
        prog="loraeval",
        usage="loraeval COMMAND [OPTION …]",
        description="Is this LoRA checkpoint good enough to ship, and which epoch is best?\n\n"
        f"commands:\n{listing}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"loraeval {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. A user's mistake prints one line and returns 2, a
    bug its traceback and 70.
    """
    with guarded_output():
        return _main(list(sys.argv[1:] if argv is None else argv))


def _main(words: list[str]) -> int:
    if not words:
        _top_parser().print_help()
        return 2
    try:
        name = _top_parser().parse_args(words[:1]).command
        module = importlib.import_module(COMMANDS[name][0])
        parser = _Parser(
            prog=f"loraeval {name}",
            description=module.__doc__,
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(parser)
        with _sigterm_ends_it():
            args = parser.parse_args(words[1:])
            if getattr(args, "inconclusive", None) == "pass":  # a green job says so first
                said = "undecided counts as pass here (--inconclusive pass)"
                print(f"loraeval: {said}", file=sys.stderr, flush=True)
            return int(module.run(args))
    except SystemExit as stop:  # argparse: --help, --version, a usage error
        return stop.code if isinstance(stop.code, int) else 2
    except LoraevalError as error:
        print(f"loraeval: {clean(error, None)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as stop:
        ended = isinstance(stop, Terminated)
        word = "terminated" if ended else "interrupted"
        print(f"loraeval: {word}; run the same command again to go on", file=sys.stderr)
        return TERMINATED if ended else INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) closed; nothing to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno not in NO_PLACE:
            return _bug(words)
        place = f"{clean(error.filename, None)}: " if error.filename else ""
        print(
            f"loraeval: {place}cannot write here ({error.strerror}); free the place or choose "
            "another one, then run the same command again: what is done is kept",
            file=sys.stderr,
        )
        return WRONG
    except Exception:  # noqa: BLE001 - a fault of this program must not look like a verdict
        return _bug(words)


def entry() -> NoReturn:
    """Run the command line of this process and end it.

    After an interruption at once: threads that still compute are not waited for.
    """
    code = main()
    if code in (INTERRUPTED, TERMINATED):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _bug(words: Sequence[str]) -> int:
    traceback.print_exc()
    command = clean(" ".join(words), 400)
    print(
        f"loraeval: this is a bug in loraeval {__version__}, not a verdict; please report the "
        f"lines above with the command (loraeval {command})",
        file=sys.stderr,
    )
    return BUG


@contextlib.contextmanager
def _sigterm_ends_it() -> Iterator[None]:
    """Turn SIGTERM into ``Terminated`` meanwhile; does nothing outside of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: object) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    entry()
