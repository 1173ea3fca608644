"""Words that a CI runner obeys, kept out of what strangers' names and texts print.

GitHub's runner takes a line that begins with ``::command::`` for a command, and ``##[command]``
wherever it stands; GitLab's takes ``section_start:TIME:NAME`` for the head of a section. Where the
environment says that a runner reads along, such words are broken up in everything that is printed
but for our own annotations (``print_commands``).
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_SECTION = re.compile(r"section_(start|end):")
_LINES = re.compile(r"([\n\r\v\f\x1c-\x1e\x85\u2028\u2029])")


def runners(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return which runners read along: ``github``, ``gitlab``, both or none.

    >>> sorted(runners({"GITHUB_ACTIONS": "true"}))
    ['github']
    """
    names = {"github": "GITHUB_ACTIONS", "gitlab": "GITLAB_CI"}
    return frozenset(n for n, v in names.items() if environment.get(v, "").lower() in ("true", "1"))


def unspoken(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return ``text`` without a word that the runner at hand would obey, wherever it comes to
    stand; unchanged where none reads along.

    >>> unspoken("##[stop-commands]t ::error::x", {"GITHUB_ACTIONS": "true"})
    '## [stop-commands]t : :error: :x'
    """
    there = runners(environment)
    if "github" in there:
        text = text.replace("##[", "## [")
        while "::" in text:
            text = text.replace("::", ": :")
    if "gitlab" in there:
        text = _SECTION.sub(r"section_\1 :", text)
    return text


def quoted_json(text: str) -> str:
    r"""Return JSON that means the same and holds no ``##[``: within a string it is an escape.

    >>> quoted_json('{"a": "##[x]"}')
    '{"a": "\\u0023#[x]"}'
    """
    return text.replace("##[", "\\u0023#[")


class _Guarded:
    """A text stream in which no line begins with ``::`` and no ``##[`` is left, also where the
    pieces of it are written one by one. What else a stream has is the stream's own.
    """

    def __init__(self, stream: Any, there: frozenset[str]) -> None:
        self.own = stream
        self._there = there
        self._head: str | None = ""  # the line so far, while it is blank or one colon
        self._tail = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)

    def write(self, text: str) -> int:
        """Write ``text`` with such words broken up; return its length."""
        self.own.write("".join(self._piece(piece) for piece in _LINES.split(text)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of ``lines``."""
        for line in lines:
            self.write(line)

    def _piece(self, piece: str) -> str:
        if _LINES.fullmatch(piece):
            self._head, self._tail = "", ""
            return piece
        if not piece:
            return piece
        if "github" in self._there:
            piece = self._unmarked(self._uncommanded(piece))
        if "gitlab" in self._there:
            piece = _SECTION.sub(r"section_\1 :", piece)
        return piece

    def _uncommanded(self, piece: str) -> str:
        if self._head is None:
            return piece
        line = self._head + piece
        begun = line.lstrip()
        if begun.startswith("::"):
            at = len(line) - len(begun)
            line = f"{line[:at]}: :{begun[2:]}"
        piece = line[len(self._head) :]
        self._head = line if line.strip() in ("", ":") else None
        return piece

    def _unmarked(self, piece: str) -> str:
        line = (self._tail + piece).replace("##[", "## [")
        piece = line[len(self._tail) :]
        self._tail = line[-2:]
        return piece


@contextlib.contextmanager
def guarded_output(environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Break up a runner's words in all that is printed meanwhile, where one reads along."""
    there = runners(environment)
    if not there:
        yield
        return
    with (
        contextlib.redirect_stdout(_Guarded(sys.stdout, there)),
        contextlib.redirect_stderr(_Guarded(sys.stderr, there)),
    ):
        yield


def print_commands(lines: Iterable[str]) -> None:
    """Print our own annotations, which the runner is to obey."""
    stream = getattr(sys.stdout, "own", sys.stdout)
    for line in lines:
        stream.write(f"{line}\n")
