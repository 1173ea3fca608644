"""Words of commands, and the variables that stand in them.

A value that the text alone cannot tell (a variable that is never set, one that is set in a branch
which may or may not run, the output of a command) is *open*: the word keeps the sign that stands
for it, and ``open`` names what was not resolved. Nothing is guessed, nothing is run.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_WORDS = 20_000
"""Words of one script at most; what comes after is not read."""

MAX_WORD = 10_000
"""Characters of one word at most."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a command; ``open`` holds the signs in it that could not be resolved."""

    text: str
    open: tuple[str, ...] = ()


Value = tuple[Word, ...] | None
"""What a variable holds: one word, the words of an array, or None where that is not known."""


@dataclass(slots=True)
class Command:
    """One command as its words. ``certain`` is False in a branch that may not run."""

    words: list[Word]
    certain: bool = True
    line: int = 0


@dataclass(slots=True)
class Script:
    """What a text holds: its commands in order, and the files that it writes by their names."""

    commands: list[Command] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Variables:
    """Variables as the text sets them, one assignment after the other."""

    values: dict[str, Value] = field(default_factory=dict)
    fold: bool = False

    def _key(self, name: str) -> str:
        return name.lower() if self.fold else name

    def get(self, name: str) -> Value:
        """Return what ``name`` holds, None where it is not set or not known."""
        return self.values.get(self._key(name))

    def known(self, name: str) -> bool:
        """Whether ``name`` was set, to whatever."""
        return self._key(name) in self.values

    def set(self, name: str, value: Value, *, certain: bool = True) -> None:
        """Assign; where the assignment may not run, a value that differs is not known any more."""
        key = self._key(name)
        if not certain and self.values.get(key) != value:
            value = None
        self.values[key] = value

    def add(self, name: str, value: Value, *, certain: bool = True) -> None:
        """Append to an array."""
        key = self._key(name)
        before = self.values.get(key, ())
        if before is None or value is None or (not certain and value):
            self.values[key] = None
        else:
            self.values[key] = (*before, *value)[:MAX_WORDS]


@dataclass(slots=True)
class Builder:
    """Words as they are put together out of pieces."""

    done: list[Word] = field(default_factory=list)
    text: str = ""
    opened: list[str] = field(default_factory=list)
    begun: bool = False

    def end(self) -> None:
        """End the word that was begun, if one was."""
        if self.begun:
            self.done.append(Word(self.text[:MAX_WORD], tuple(self.opened)))
        self.text, self.opened, self.begun = "", [], False

    def add(self, text: str, opened: tuple[str, ...] = ()) -> None:
        """Add a piece to the present word."""
        self.text, self.begun = self.text + text, True
        self.opened.extend(opened)

    def add_all(self, sign: str, value: Value) -> None:
        """Add what a variable holds: an array's elements become words of their own."""
        if value is None:
            self.add(sign, (sign,))
            return
        for index, word in enumerate(value):
            if index or (self.begun and len(value) > 1):
                self.end()
            self.add(word.text, word.open)


_OPERATIONS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip


def arithmetic(text: str, names: Mapping[str, Value], *, exact: bool = False) -> int | None:
    """Return a small whole-number expression of constants and known names, None for any other,
    and with ``exact`` for a division that leaves a rest.

    >>> arithmetic("DIM / 2", {"DIM": (Word("32"),)})
    16
    """
    if len(text) > 200:
        return None
    try:
        tree = ast.parse(text.strip().replace("$", "").replace("/", "//"), mode="eval").body
        return _number(tree, names, exact)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _number(node: ast.expr, names: Mapping[str, Value], exact: bool) -> int | None:
    if isinstance(node, ast.Constant) and type(node.value) is int and abs(node.value) < 10**9:
        return node.value
    if isinstance(node, ast.Name):
        value = names.get(node.id)
        if value is not None and len(value) == 1 and value[0].text.isdecimal():
            return int(value[0].text[:9])
        return None
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = (_number(side, names, exact) for side in (node.left, node.right))
        if left is None or right is None:
            return None
        if exact and isinstance(node.op, ast.FloorDiv) and left % right:
            return None
        result: int = _OPERATIONS[type(node.op)](left, right)
        return result if abs(result) < 10**12 else None
    return None


def compare(left: Word, sign: str, right: Word) -> bool | None:
    """Return what a comparison of constants gives, None where a side is open or not a number.

    ``sign`` is one of ``== = != -eq -ne -gt -ge -lt -le``; case counts for none but ``-eq``.
    """
    if left.open or right.open:
        return None
    sign = sign.lower()
    if sign in ("==", "=", "!="):
        return (left.text == right.text) is (sign != "!=")
    try:
        a, b = float(left.text), float(right.text)
    except ValueError:
        if sign in ("-eq", "-ne"):
            return (left.text.lower() == right.text.lower()) is (sign == "-eq")
        return None
    signs = {"-eq": a == b, "-ne": a != b, "-gt": a > b, "-ge": a >= b, "-lt": a < b, "-le": a <= b}
    return signs.get(sign)


@dataclass(slots=True)
class Branches:
    """Which branches of nested conditions run: True, False, or None where that is not known."""

    stack: list[tuple[bool | None, bool | None]] = field(default_factory=list)

    @property
    def dead(self) -> bool:
        """Whether the present place never runs."""
        return any(state is False for state, _ in self.stack)

    @property
    def certain(self) -> bool:
        """Whether the present place surely runs."""
        return all(state is True for state, _ in self.stack)

    def enter(self, condition: bool | None) -> None:
        """Begin an ``if``."""
        self.stack.append((condition, condition))

    def other(self, condition: bool | None = True) -> None:
        """Go to ``elif`` with its condition, or to ``else``."""
        if not self.stack:
            return
        _, taken = self.stack[-1]
        if taken is True:
            state: bool | None = False
        elif taken is None:
            state = False if condition is False else None
        else:
            state = condition
        seen = True if taken is True or (taken is False and condition is True) else (
            None if taken is None or condition is None else False
        )  # fmt: skip
        self.stack[-1] = (state, seen)

    def leave(self) -> None:
        """End an ``if``."""
        if self.stack:
            self.stack.pop()
