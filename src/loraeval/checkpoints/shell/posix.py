"""Commands of a POSIX shell or bash script: quotes, variables, arrays, simple conditions."""

from __future__ import annotations

import re

from loraeval.checkpoints.shell.posix_tokens import NAME, Part, Token, tokens_of
from loraeval.checkpoints.shell.words import (
    MAX_WORD,
    MAX_WORDS,
    Branches,
    Command,
    Script,
    Value,
    Variables,
    Word,
    arithmetic,
    compare,
)

_REDIRECTS = {"&>>", "&>", ">>", ">&", "<&", ">|", ">", "<", "<<<"}
_ASSIGN = re.compile(r"([A-Za-z_]\w*)(\[[^\]]*\])?(\+?=)")
_BRACED = re.compile(r"(?:(\w+)|([@*#?0-9]))(\[[@*]\])?(?:(:?[-=+])(.*))?", re.DOTALL)
_BEFORE = {"then", "do", "else", "{", "}", "!", "time"}
"""Words before a command that are none of its own."""
_DECLARE = {"export", "local", "readonly", "declare", "typeset"}


def posix_script(text: str, variables: Variables | None = None) -> Script:
    """Return the commands of a shell script with their variables filled in.

    ``if`` is followed where its condition is constant; in a loop or a branch that may not run an
    assignment leaves the variable open. Bodies of here documents are kept under the name of the
    file that ``cat`` writes them to.
    """
    reader = _Reader(variables or Variables())
    reader.read(tokens_of(text.replace("\r\n", "\n"), reader.script))
    return reader.script


class _Reader:
    """Goes through the tokens once, with the variables as they stand at each command."""

    def __init__(self, variables: Variables) -> None:
        self.variables = variables
        self.script = Script()
        self.branches = Branches()

    def read(self, tokens: list[Token]) -> None:
        position = 0
        while position < len(tokens):
            position = self._simple(tokens, position)

    def _simple(self, tokens: list[Token], position: int) -> int:
        """Take one simple command, with its keywords, and return where the next begins."""
        words: list[Token] = []
        line = tokens[position].line
        while position < len(tokens):
            token = tokens[position]
            position += 1
            if token.operator in _REDIRECTS:
                position += token.operator != "\n"
            elif token.operator == "2>&1" or token.operator in ("<<", "<<-"):
                continue
            elif token.operator == "(" and words and _opens_array(words[-1]):
                stop = next((i for i in range(position, len(tokens)) if tokens[i].operator == ")"),
                            len(tokens))  # fmt: skip
                inner = [t for t in tokens[position:stop] if not t.operator]
                self._array(words.pop(), inner)
                position = stop + 1
            elif token.operator:
                break
            elif not words and token.plain in _BEFORE:
                if token.plain == "else":
                    self.branches.other()
            else:
                words.append(token)
        self._command(words, line)
        return position

    def _command(self, tokens: list[Token], line: int) -> None:
        while tokens:
            word = tokens[0].plain
            if word in ("if", "elif"):
                result = self._test(tokens[1:])
                if word == "if":
                    self.branches.enter(result)
                else:
                    self.branches.other(result)
                return
            if word in ("fi", "done", "esac"):
                self.branches.leave()
            elif word == "for":
                self._loop(tokens)
                return
            elif word in ("while", "until", "case", "select"):
                self.branches.enter(None)
                return
            elif word not in _BEFORE:
                break
            tokens = tokens[1:]
        if tokens and not self.branches.dead:
            self._run(tokens, line)

    def _loop(self, tokens: list[Token]) -> None:
        self.branches.enter(True)
        name = tokens[1].plain if len(tokens) > 1 else None
        words = [w for token in tokens[3:] for w in self._expand(token)]
        if name and not self.branches.dead:
            one = len(words) == 1 and not words[0].open
            self.variables.set(name, tuple(words) if one else None)

    def _test(self, tokens: list[Token]) -> bool | None:
        words = [w for token in tokens for w in self._expand(token)]
        texts = [w.text for w in words]
        if texts and texts[0] in ("[", "[[", "test"):
            words = words[1 : len(words) - (texts[-1] in ("]", "]]"))]
            turned = bool(words) and words[0].text == "!"
            words = words[turned:]
            found: bool | None = None
            if len(words) == 3:
                found = compare(words[0], words[1].text, words[2])
            elif len(words) == 2 and words[0].text in ("-n", "-z") and not words[1].open:
                found = bool(words[1].text) is (words[0].text == "-n")
            return found if found is None or not turned else not found
        return {"true": True, "false": False}.get(texts[0]) if len(texts) == 1 else None

    def _run(self, tokens: list[Token], line: int) -> None:
        start = 0
        declared = tokens[0].plain in _DECLARE
        while start < len(tokens):
            if self._is_assignment(tokens[start]) or (declared and _is_option(tokens[start])):
                start += 1
            else:
                break
        if start == len(tokens) or declared:
            for token in tokens[:start]:
                if self._is_assignment(token):
                    self._assign(token)
            return
        words = [w for token in tokens[start:] for w in self._expand(token)][:MAX_WORDS]
        if words and words[0].text in ("read", "unset", "mapfile"):
            for word in words[1:]:
                self.variables.set(word.text, None)
        elif words:
            self.script.commands.append(Command(words, self.branches.certain, line))

    def _is_assignment(self, token: Token) -> bool:
        head = ""
        for kind, text, quoted in token.parts:
            if kind != "text" or quoted:
                break
            head += text
            if "=" in text:
                break
        return _ASSIGN.match(head) is not None

    def _assign(self, token: Token) -> None:
        name, sign, rest = _split_assignment(token)
        value = self._one(rest)
        certain = self.branches.certain
        if sign == "+=":
            before = self.variables.get(name)
            if before is None or value.open:
                self.variables.set(name, None)
            else:
                text = "".join(w.text for w in before[:1]) + value.text
                self.variables.set(name, (Word(text[:MAX_WORD]),), certain=certain)
        else:
            self.variables.set(name, None if value.open else (value,), certain=certain)

    def _array(self, head: Token, inner: list[Token]) -> None:
        if self.branches.dead:
            return
        name, sign, _ = _split_assignment(head)
        words = tuple(w for token in inner for w in self._expand(token))
        if sign == "+=":
            self.variables.add(name, words, certain=self.branches.certain)
        else:
            self.variables.set(name, words, certain=self.branches.certain)

    def _one(self, parts: list[Part]) -> Word:
        """Return the parts as one word: what an assignment takes, without splitting."""
        words = self._expand(Token(parts=[(kind, text, True) for kind, text, _ in parts]))
        return Word(
            " ".join(w.text for w in words)[:MAX_WORD], tuple(o for w in words for o in w.open)
        )

    def _expand(self, token: Token) -> list[Word]:
        done: list[Word] = []
        text, begun = "", False
        opened: list[str] = []

        def end() -> None:
            nonlocal text, opened, begun
            if begun:
                done.append(Word(text[:MAX_WORD], tuple(opened)))
            text, opened, begun = "", [], False

        for kind, piece, quoted in token.parts:
            if kind == "text":
                text, begun = text + piece, True
                continue
            value, sign, many = self._value(kind, piece)
            if value is None:
                text, begun = text + sign, True
                opened.append(sign)
                continue
            words = list(value)
            if not quoted:
                words = [Word(bit, w.open) for w in words for bit in w.text.split()]
            elif not many:
                joined = " ".join(w.text for w in words)
                words = [Word(joined, tuple(o for w in words for o in w.open))]
            for index, word in enumerate(words):
                if index:
                    end()
                text, begun = text + word.text, True
                opened.extend(word.open)
        end()
        return done

    def _value(self, kind: str, piece: str) -> tuple[Value, str, bool]:
        """Return what a sign stands for, the sign itself, and whether it is a whole array."""
        if kind == "open":
            return None, piece, False
        if kind == "math":
            number = arithmetic(piece, self.variables.values)
            return (None if number is None else (Word(str(number)),)), f"$(({piece}))", False
        match = _BRACED.fullmatch(piece)
        sign = f"${piece}" if NAME.fullmatch(piece) else f"${{{piece}}}"
        if match is None or match[1] is None:
            return None, sign, False
        name, rule, default = match[1], match[4], match[5]
        value = self.variables.get(name)
        whole = match[3] is not None
        if rule in (":-", "-", ":=", "=") and not self.variables.known(name):
            return (None if "$" in default else (Word(default.strip("'\"")),)), sign, False
        if rule in (":+", "+"):
            known = self.variables.known(name)
            if known and value is None:
                return None, sign, False
            return ((Word(default),) if known and "$" not in default else ()), sign, False
        if not whole and value is not None and len(value) > 1:
            value = value[:1]
        return value, sign, whole


def _is_option(token: Token) -> bool:
    return token.plain in _DECLARE or (token.plain or "").startswith("-")


def _opens_array(token: Token) -> bool:
    plain = token.plain
    return plain is not None and _ASSIGN.fullmatch(plain) is not None


def _split_assignment(token: Token) -> tuple[str, str, list[Part]]:
    head, rest = "", list(token.parts)
    while rest and not _ASSIGN.match(head):
        head += rest.pop(0)[1]
    match = _ASSIGN.match(head)
    assert match is not None
    left = head[match.end() :]
    return match[1], match[3], ([("text", left, True)] if left else []) + rest
