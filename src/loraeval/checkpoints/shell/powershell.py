"""Commands of a PowerShell script: variables, arrays and ArrayLists, simple conditions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from loraeval.checkpoints.shell.brackets import (
    closing,
    skip,
    split,
    statement_end,
    without_comments,
)
from loraeval.checkpoints.shell.words import (
    MAX_WORD,
    MAX_WORDS,
    Branches,
    Builder,
    Command,
    Script,
    Value,
    Variables,
    Word,
    arithmetic,
    compare,
)

_VARIABLE = re.compile(r"\$(?:\{([^}]+)\}|((?:env|script|global|local|private):)?([A-Za-z_]\w*))",
                       re.IGNORECASE)  # fmt: skip
_ASSIGN = re.compile(
    r"(?:\[[\w.\[\]]+\]\s*)?\$(?:(?:env|script|global|local):)?(\w+)\s*(\+?=)\s*(?!=)(.*)",
    re.DOTALL | re.IGNORECASE,
)
_ADD = re.compile(
    r"(?:\[void\]\s*|\$null\s*=\s*)?\$(\w+)\.Add(?:Range)?\s*\((.*)\)\s*(?:\|\s*Out-Null)?",
    re.DOTALL | re.IGNORECASE,
)
_LIST = re.compile(r"(?:\[System\.Collections\.(?:ArrayList|Generic\.List\[\w+\])\]::new\(\)"
                   r"|New-Object\s+System\.Collections\.\S+)", re.IGNORECASE)  # fmt: skip
_HEAD = re.compile(
    r"(if|elseif|else|foreach|for|while|do|switch|try|catch|finally|function|param)\b",
    re.IGNORECASE,
)
_TEST = re.compile(r"(.+?)\s+(-eq|-ne|-gt|-ge|-lt|-le)\s+(.+)", re.DOTALL | re.IGNORECASE)
_REDIRECTION = re.compile(r"[0-9*]?>+(?:&1|\s*[^\s;|]+)|<\s*[^\s;|]+")
_MAX_DEPTH = 20
_BARE = re.compile(r"""[^\s"'$`;|&<>(){}@,]+""")


def powershell_script(text: str) -> Script:
    """Return the commands of a PowerShell script with their variables filled in.

    ``if`` is followed where its condition is constant. What a caller may give (``param``), and
    what is set in a loop or a branch that may not run, is open.
    """
    script = Script()
    variables = Variables(fold=True)
    for name, value in (("true", "true"), ("false", "false"), ("null", "")):
        variables.values[name] = (Word(value),)
    _Reader(script, variables).block(without_comments(text.replace("\r\n", "\n")), 0)
    return script


@dataclass(slots=True)
class _Reader:
    script: Script
    variables: Variables
    branches: Branches = field(default_factory=Branches)
    depth: int = 0

    def block(self, text: str, depth: int) -> None:
        """Go through the statements of a block."""
        position = 0
        while (position := skip(text, position)) < len(text):
            if len(self.script.commands) >= MAX_WORDS:
                break
            match = _HEAD.match(text, position)
            if match and depth < 20:
                position = self._compound(text, match, depth)
                continue
            stop = statement_end(text, position)
            statement = text[position:stop].strip()
            position = stop + 1
            if statement and statement != "}" and not self.branches.dead:
                self._statement(statement)

    def _compound(self, text: str, match: re.Match[str], depth: int) -> int:
        """Take ``if (…) {…}`` and the like; return the place behind it."""
        kind = match[1].lower()
        position = skip(text, match.end())
        condition = ""
        if text[position : position + 1] == "(":
            stop = closing(text, position)
            condition, position = text[position + 1 : stop], skip(text, stop + 1)
        elif kind == "function":
            stop = text.find("{", position)
            position = len(text) if stop < 0 else stop
        if kind == "param":
            for found in _VARIABLE.finditer(condition):
                if found[3]:
                    self.variables.set(found[3], None)
            return position
        if text[position : position + 1] != "{":
            return position if position > match.start() else match.end()
        stop = closing(text, position)
        if kind == "if":
            self.branches.enter(self._test(condition))
        elif kind == "elseif":
            self.branches.other(self._test(condition))
        elif kind == "else":
            self.branches.other()
        else:
            self.branches.enter(True if kind in ("try", "function", "do") else None)
        self.block(text[position + 1 : stop], depth + 1)
        after = skip(text, stop + 1)
        follows = re.compile(r"(elseif|else)\b", re.IGNORECASE).match(text, after)
        if kind not in ("if", "elseif") or not follows:
            self.branches.leave()
        return after

    def _test(self, text: str) -> bool | None:
        match = _TEST.fullmatch(text.strip())
        if match is None:
            value = self._expression(text)
            if value is None or len(value) != 1 or value[0].open:
                return None
            return value[0].text.lower() not in ("", "false", "0")
        left, right = self._expression(match[1]), self._expression(match[3])
        if left is None or right is None or len(left) != 1 or len(right) != 1:
            return None
        return compare(_plain(left[0]), match[2], _plain(right[0]))

    def _statement(self, text: str) -> None:
        add = _ADD.fullmatch(text)
        if add is not None:
            self.variables.add(add[1], self._expression(add[2]), certain=self.branches.certain)
            return
        match = _ASSIGN.fullmatch(text)
        if match is not None:
            value = self._expression(match[3])
            if match[2] == "+=":
                self._append(match[1], value)
            else:
                self.variables.set(match[1], value, certain=self.branches.certain)
            return
        for part in split(text, "|"):
            words = self._words(part.strip().removeprefix("&").strip())
            if words:
                self.script.commands.append(Command(words, self.branches.certain))

    def _append(self, name: str, value: Value) -> None:
        before = self.variables.get(name)
        text_before = before is not None and len(before) == 1 and name.lower() in self._texts()
        if text_before and value is not None and before is not None and len(value) == 1:
            joined = Word((before[0].text + value[0].text)[:MAX_WORD], value[0].open)
            self.variables.set(name, (joined,), certain=self.branches.certain)
        else:
            self.variables.add(name, value, certain=self.branches.certain)

    def _texts(self) -> set[str]:
        """Names that hold a text with spaces or flags in one word: ``+=`` joins those."""
        return {
            name for name, value in self.variables.values.items()
            if value is not None and len(value) == 1 and " " in value[0].text
        }  # fmt: skip

    def _expression(self, text: str) -> Value:
        if self.depth > _MAX_DEPTH:
            return None
        self.depth += 1
        value = self._value(text.strip())
        self.depth -= 1
        return value

    def _value(self, text: str) -> Value:
        if not text or _LIST.fullmatch(text):
            return ()
        if text.startswith("@(") and closing(text, 1) == len(text) - 1:
            text = text[2:-1].strip()
            if not text:
                return ()
            return self._items(re.split(r"\n", text))
        if len(split(text, ",")) > 1:
            return self._items([text])
        if re.fullmatch(r"[\w\s$+*/()%-]+", text) and re.search(r"[\w)]\s*[+*/%-]\s*[\w$(]", text):
            number = arithmetic(text.lower(), self.variables.values, exact=True)
            return None if number is None else (Word(str(number)),)
        words = self._words(text)
        if len(words) == 1:
            return None if words[0].open else tuple(words)
        whole = _VARIABLE.fullmatch(text)
        return tuple(words) if whole and not any(w.open for w in words) else None

    def _items(self, lines: list[str]) -> Value:
        items: list[Word] = []
        for line in lines:
            for item in split(line, ","):
                if item.strip():
                    value = self._expression(item)
                    if value is None:
                        return None
                    items += value
        return tuple(items[:MAX_WORDS])

    def _words(self, text: str) -> list[Word]:
        words = Builder()
        position = 0
        while position < len(text) and len(words.done) < MAX_WORDS:
            position = self._piece(text, position, words)
        words.end()
        return words.done

    def _piece(self, text: str, position: int, words: Builder) -> int:
        """Take the next piece of a word and return the place behind it."""
        sign = text[position]
        if sign.isspace():
            words.end()
            return position + 1
        if sign == "'":
            stop = text.find("'", position + 1)
            stop = len(text) if stop < 0 else stop
            words.add(text[position + 1 : stop])
            return stop + 1
        if sign == '"':
            stop, word = self._double(text, position + 1)
            words.add(word.text, word.open)
            return stop
        if sign == "`":
            words.add(text[position + 1 : position + 2])
            return position + 2
        match = _VARIABLE.match("$" + text[position + 1 : position + 300]) if sign in "$@" else None
        if match:
            words.add_all(match[0], self._lookup(match))
            return position + match.end()
        if sign == "(" or text[position : position + 2] in ("$(", "@(", "@{"):
            start = position if sign == "(" else position + 1
            stop = closing(text, start)
            words.add(text[position : stop + 1], (text[position : stop + 1][:60],))
            return stop + 1
        redirection = _REDIRECTION.match(text, position) if not words.begun else None
        if redirection:
            return redirection.end()
        run = _BARE.match(text, position)
        words.add(run[0] if run else sign)
        return position + len(run[0] if run else sign)

    def _lookup(self, match: re.Match[str]) -> Value:
        name = match[1] or match[3]
        if (match[2] or "").lower().startswith("env") and not self.variables.known(name):
            return None
        return self.variables.get(name)

    def _double(self, text: str, position: int) -> tuple[int, Word]:
        current, opened = "", []
        while position < len(text) and text[position] != '"':
            sign = text[position]
            if sign == "`":
                current += text[position + 1 : position + 2]
                position += 2
                continue
            match = _VARIABLE.match(text, position)
            if match:
                value = self._lookup(match)
                position = match.end()
                if value is None:
                    opened.append(match[0])
                    current += match[0]
                else:
                    current += " ".join(w.text for w in value)
                    opened += [sign for w in value for sign in w.open]
                continue
            if text.startswith("$(", position):
                stop = closing(text, position + 1)
                inner = self._expression(text[position + 2 : stop])
                if inner is None:
                    opened.append(text[position : stop + 1][:60])
                    current += text[position : stop + 1]
                else:
                    current += " ".join(w.text for w in inner)
                position = stop + 1
                continue
            current += sign
            position += 1
        return position + 1, Word(current, tuple(opened))


def _plain(word: Word) -> Word:
    return Word(word.text.lower(), word.open)
