"""A POSIX shell script taken to words and operators, with the pieces that are to be expanded."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

from loraeval.checkpoints.shell.words import MAX_WORD, MAX_WORDS, Script

_OPERATORS = ("&>>", "&>", "2>&1", "<<<", "<<-", "<<", ">>", ">&", "<&", ">|", "&&", "||", ";;",
              ";", "|", "&", ">", "<", "(", ")", "\n")  # fmt: skip
NAME = re.compile(r"[A-Za-z_]\w*")
_DELIMITER = re.compile(r"[ \t]*(['\"]?)(\w+)\1")
_PLAIN = re.compile(r"[^\s\\'\"$`;|&<>()]+")
Part = tuple[str, str, bool]
"""A piece of a word: ``text``, ``var``, ``math`` or ``open``; its text; whether it is quoted."""


@dataclass(slots=True)
class Token:
    """A word in pieces, or an operator."""

    operator: str = ""
    parts: list[Part] = field(default_factory=list)
    line: int = 0

    @property
    def plain(self) -> str | None:
        """The word if nothing in it is quoted or to be expanded."""
        if self.operator or any(kind != "text" or quoted for kind, _, quoted in self.parts):
            return None
        return "".join(text for _, text, _ in self.parts)


def tokens_of(text: str, script: Script) -> list[Token]:
    """Return the tokens of a script; bodies of here documents go to ``script.written``."""
    lexer = _Lexer(text, script)
    while lexer.position < len(text) and len(lexer.tokens) < MAX_WORDS:
        lexer.step()
    lexer.end()
    return lexer.tokens


class _Lexer:
    def __init__(self, text: str, script: Script) -> None:
        self.text = text
        self.script = script
        self.tokens: list[Token] = []
        self.parts: list[Part] = []
        self.begun = False
        self.position = 0
        self.line = 1
        self.waiting: list[tuple[str, int]] = []

    def end(self) -> None:
        """End the word that was begun, if one was."""
        if self.begun:
            self.tokens.append(Token(parts=self.parts, line=self.line))
        self.parts, self.begun = [], False

    def step(self) -> None:
        """Take the next sign and what belongs to it."""
        text, position = self.text, self.position
        sign = text[position]
        if sign == "\\":
            self._escape()
        elif sign == "#" and not self.begun:
            stop = text.find("\n", position)
            self.position = len(text) if stop < 0 else stop
        elif sign in " \t\r":
            self.end()
            self.position += 1
        elif sign == "'":
            stop = text.find("'", position + 1)
            stop = len(text) if stop < 0 else stop
            inner = text[position + 1 : stop]
            self.line += inner.count("\n")
            self._take([("text", inner, True)], stop + 1)
        elif sign == '"':
            stop, found = _double(text, position + 1)
            self._take([("text", "", True), *found], stop)
        elif sign in "$`":
            stop, part = _dollar(text, position, quoted=False)
            self._take([part], stop)
        else:
            self._plain(sign)

    def _take(self, parts: list[Part], position: int) -> None:
        self.parts += parts
        self.begun, self.position = True, position

    def _escape(self) -> None:
        if self.text.startswith("\\\n", self.position):
            self.position += 2
            self.line += 1
        else:
            escaped = self.text[self.position + 1 : self.position + 2]
            self._take([("text", escaped, True)], self.position + 2)

    def _plain(self, sign: str) -> None:
        operator = next((o for o in _OPERATORS if self.text.startswith(o, self.position)), "")
        if not operator or (operator == "2>&1" and self.begun):
            run = _PLAIN.match(self.text, self.position)
            plain = run[0] if run else sign
            self._take([("text", plain, False)], self.position + len(plain))
            return
        number = "".join(text for _, text, _ in self.parts)
        if operator[0] in "<>" and number.isdecimal() and len(number) == 1:
            self.parts, self.begun = [], False  # 2> is a redirection too
        self.end()
        self.tokens.append(Token(operator, line=self.line))
        self.position += len(operator)
        if operator in ("<<", "<<-"):
            match = _DELIMITER.match(self.text, self.position)
            if match:
                self.waiting.append((match[2], len(self.tokens) - 1))
                self.position = match.end()
        if operator == "\n":
            self._bodies()

    def _bodies(self) -> None:
        self.line += 1
        for word, place in self.waiting:
            self.position, body = _here(self.text, self.position, word)
            self.line += body.count("\n") + 1
            target = _written_to(self.tokens, place)
            if target:
                self.script.written[target] = body
        self.waiting = []


def _here(text: str, position: int, word: str) -> tuple[int, str]:
    end = re.compile(rf"^[ \t]*{re.escape(word)}[ \t]*$", re.MULTILINE).search(text, position)
    if end is None:
        return len(text), text[position:]
    return end.end(), text[position : end.start()]


def _written_to(tokens: list[Token], place: int) -> str | None:
    """Return the file that the line of a here document writes to with ``>``."""
    start = next((i + 1 for i in range(place, -1, -1) if tokens[i].operator == "\n"), 0)
    line = tokens[start:]
    for token, target in pairwise(line):
        if token.operator in (">", ">|"):
            return "".join(text for _, text, _ in target.parts)
    return None


def _double(text: str, position: int) -> tuple[int, list[Part]]:
    parts: list[Part] = []
    while position < len(text) and text[position] != '"':
        if text[position] == "\\" and text[position + 1 : position + 2] in tuple('"\\$`\n'):
            escaped = text[position + 1]
            parts.append(("text", "" if escaped == "\n" else escaped, True))
            position += 2
        elif text[position] in "$`":
            position, part = _dollar(text, position, quoted=True)
            parts.append(part)
        else:
            stop = position + 1
            while stop < len(text) and text[stop] not in '"\\$`':
                stop += 1
            parts.append(("text", text[position:stop], True))
            position = stop
    return position + 1, parts


def _dollar(text: str, position: int, *, quoted: bool) -> tuple[int, Part]:
    """Take a variable, an arithmetic expression or a command substitution."""
    if text[position] == "`":
        stop = text.find("`", position + 1)
        stop = len(text) if stop < 0 else stop
        return stop + 1, ("open", text[position : stop + 1][:MAX_WORD], quoted)
    if text.startswith("$((", position):
        stop = text.find("))", position)
        if stop > 0:
            return stop + 2, ("math", text[position + 3 : stop], quoted)
    if text.startswith(("$(", "${"), position):
        close = {"(": ")", "{": "}"}[text[position + 1]]
        stop = _matching(text, position + 1, text[position + 1], close)
        inner = text[position + 2 : stop]
        kind = "open" if close == ")" else "var"
        return stop + 1, (kind, (f"$({inner})" if close == ")" else inner)[:MAX_WORD], quoted)
    match = NAME.match(text, position + 1)
    if match:
        return match.end(), ("var", match[0], quoted)
    if text[position + 1 : position + 2] in tuple("@*#?0123456789$!"):
        return position + 2, ("open", text[position : position + 2], quoted)
    return position + 1, ("text", "$", True)


def _matching(text: str, position: int, opening: str, closing: str) -> int:
    depth = 0
    for index in range(position, min(len(text), position + MAX_WORD)):
        depth += (text[index] == opening) - (text[index] == closing)
        if depth == 0:
            return index
    return min(len(text), position + MAX_WORD)
