"""Brackets and quotes of PowerShell text: where they close, and where a statement ends."""

from __future__ import annotations

import re


def skip(text: str, position: int) -> int:
    """Return the next place that is no space."""
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def closing(text: str, position: int) -> int:
    """Return where the bracket that opens at ``position`` closes, quotes looked through."""
    pairs = {"(": ")", "{": "}", "[": "]"}
    end = pairs.get(text[position : position + 1], ")")
    opening = text[position : position + 1]
    depth, quoted = 0, ""
    for index in range(position, len(text)):
        sign = text[index]
        if quoted:
            quoted = "" if sign == quoted else quoted
        elif sign in "\"'":
            quoted = sign
        elif sign == opening:
            depth += 1
        elif sign == end:
            depth -= 1
            if depth == 0:
                return index
    return len(text)


def statement_end(text: str, position: int) -> int:
    """Return the line break or semicolon that ends a statement, brackets and quotes skipped."""
    quoted = ""
    index = position
    while index < len(text):
        sign = text[index]
        if quoted:
            if sign == "`" and quoted == '"':
                index += 2
                continue
            quoted = "" if sign == quoted else quoted
        elif sign in "\"'":
            quoted = sign
        elif sign in "({":
            index = closing(text, index)
        elif sign in "\n;":
            return index
        index += 1
    return len(text)


def split(text: str, sign: str) -> list[str]:
    """Split at ``sign`` outside quotes and brackets."""
    parts, start, index, quoted = [], 0, 0, ""
    while index < len(text):
        here = text[index]
        if quoted:
            quoted = "" if here == quoted else quoted
        elif here in "\"'":
            quoted = here
        elif here in "({":
            index = closing(text, index)
        elif here == sign:
            parts.append(text[start:index])
            start = index + 1
        index += 1
    return [*parts, text[start:]]


def without_comments(text: str) -> str:
    """Drop comments, and join lines that end in a back-tick."""
    text = re.sub(r"<#.*?(#>|\Z)", "", text, flags=re.DOTALL)
    done, position = [], 0
    quoted = ""
    while position < len(text):
        sign = text[position]
        if quoted:
            if sign == "`" and quoted == '"':
                done.append(text[position : position + 2])
                position += 2
                continue
            quoted = "" if sign == quoted else quoted
        elif sign in "\"'":
            quoted = sign
        elif sign == "`" and re.compile(r"`[ \t]*\n").match(text, position):
            position = text.index("\n", position) + 1
            done.append(" ")
            continue
        elif sign == "#" and (position == 0 or text[position - 1] in " \t\n;{("):
            stop = text.find("\n", position)
            position = len(text) if stop < 0 else stop
            continue
        done.append(sign)
        position += 1
    return "".join(done)
