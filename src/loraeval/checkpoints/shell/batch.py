"""Commands of a Windows batch file: ``set``, ``%NAME%``, ``^`` at the end of a line, ``if``."""

from __future__ import annotations

import re

from loraeval.checkpoints.shell.words import (
    MAX_WORD,
    MAX_WORDS,
    Branches,
    Command,
    Script,
    Variables,
    Word,
    arithmetic,
    compare,
)

_VARIABLE = re.compile(r"%%~?\w+|%~?[0-9*]|%([^%\s=]+)%|!([^!\s=]+)!")
_SET = re.compile(r'@?set\s+(?:(/[ap])\s+)?"?([^="]+)=(.*)', re.IGNORECASE)
_IF = re.compile(
    r"if\s+(?:/i\s+)?(not\s+)?(?:(\".*?\"|\S+?)\s*(==|\bequ\b|\bneq\b)\s*(\".*?\"|[^\s(]+)"
    r"|(defined|exist|errorlevel)\s+(\".*?\"|\S+))\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
_ELSE = re.compile(r"else\b(?:\s+(if\b.*)|\s*\(?\s*(.*))", re.IGNORECASE | re.DOTALL)
_SIGNS = {"==": "==", "equ": "-eq", "neq": "-ne"}


def batch_script(text: str) -> Script:
    """Return the commands of a batch file with their variables filled in.

    A variable that is never set, or set in a branch or loop that may not run, is open; so is one
    that is set again after a label, since ``goto`` may come from anywhere.
    """
    script = Script()
    reader = _Reader(script)
    joined = re.sub(r"\^[ \t]*\r?\n[ \t]*", " ", text.replace("\r\n", "\n"))
    for number, line in enumerate(joined.split("\n"), 1):
        if len(script.commands) >= MAX_WORDS:
            break
        reader.line(line.strip(), number)
    return script


class _Reader:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.variables = Variables(fold=True)
        self.branches = Branches()
        self.jumped = False

    def line(self, line: str, number: int, depth: int = 0) -> None:
        """Take one line, brackets and all."""
        line = line.lstrip("@").strip()
        if re.match(r"(rem\b|::)", line, re.IGNORECASE) or depth > 20:
            return
        if line.startswith(":"):
            self.jumped = True
            return
        while line.startswith(")"):
            line = line[1:].strip()
            again = _ELSE.match(line)
            if again and again[1]:
                match = _IF.match(again[1])
                self.branches.other(self._test(match) if match else None)
                line = (match[7] if match else "").lstrip("(").strip()
            elif again:
                self.branches.other()
                line = again[2] or ""
            else:
                self.branches.leave()
        match = _IF.match(line)
        if match:
            self.branches.enter(self._test(match))
            rest = match[7].strip()
            if rest.startswith("("):
                self.line(rest[1:].strip(), number, depth + 1)
            else:
                self.line(rest, number, depth + 1)
                self.branches.leave()
            return
        loop = re.match(r"for\s+.*?\sdo\s*(\()?\s*(.*)", line, re.IGNORECASE | re.DOTALL)
        if loop:
            self.branches.enter(None)
            self.line(loop[2], number, depth + 1)
            if not loop[1]:
                self.branches.leave()
            return
        closes = line.endswith(")") and line.count("(") < line.count(")")
        if line and not self.branches.dead:
            self._command(line[:-1] if closes else line, number)
        if closes:
            self.branches.leave()

    def _test(self, match: re.Match[str]) -> bool | None:
        if match[5]:
            found = True if match[5].lower() == "defined" and self._defined(match[6]) else None
        else:
            left, right = self._fill(match[2]), self._fill(match[4])
            found = compare(left, _SIGNS[match[3].lower()], right)
        return found if found is None or not match[1] else not found

    def _defined(self, name: str) -> bool:
        return self.variables.get(name.strip('"')) is not None

    def _command(self, line: str, number: int) -> None:
        match = _SET.match(line)
        if match:
            self._set(match)
            return
        for words in self._split(line):
            while words and words[0].text.lower() in ("call", "start", "/b", "/wait", ""):
                words = words[1:]
            if words:
                certain = self.branches.certain
                self.script.commands.append(Command(words, certain, number))

    def _set(self, match: re.Match[str]) -> None:
        kind, name, text = (match[1] or "").lower(), match[2].strip(), match[3].strip()
        value = self._fill(text.removesuffix('"') if text.count('"') % 2 else text)
        certain = self.branches.certain and not (self.jumped and self.variables.known(name))
        if kind == "/p" or value.open:
            self.variables.set(name, None)
        elif kind == "/a":
            plain = value.text.lower().replace("%", "").replace("!", "")
            number = arithmetic(plain, self.variables.values)
            found = None if number is None else (Word(str(number)),)
            self.variables.set(name, found, certain=certain)
        else:
            self.variables.set(name, (value,), certain=certain)

    def _fill(self, text: str) -> Word:
        opened: list[str] = []

        def replace(match: re.Match[str]) -> str:
            value = self.variables.get(match[1] or match[2] or "")
            if value is None or not value:
                opened.append(match[0])
                return match[0]
            return value[0].text

        return Word(_VARIABLE.sub(replace, text)[:MAX_WORD], tuple(opened))

    def _split(self, line: str) -> list[list[Word]]:
        """Return the words of each command of a line; a variable may hold several words."""
        filled = self._fill(line)
        opened = filled.open
        commands: list[list[Word]] = [[]]
        for match in re.finditer(r'[0-9]?>>?(?:&[0-9])?|&&?|\|\|?|<|(?:"[^"]*"?|[^\s"<>|&])+',
                                 filled.text):  # fmt: skip
            piece = match[0]
            if piece[0] in "&|":
                commands.append([])
            elif piece[-1] in "<>" or ">" in piece[:2]:
                commands[-1].append(Word("\0"))  # the next word is a file
            else:
                if commands[-1] and commands[-1][-1].text == "\0":
                    commands[-1].pop()
                    continue
                text = piece.replace('"', "")
                commands[-1].append(Word(text, tuple(o for o in opened if o in text)))
        return [[word for word in words if word.text != "\0"] for words in commands]
