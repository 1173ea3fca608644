"""What image generators write around words, taken away without moving a character.

LoRA and embedding calls, weights of emphasis, wildcards, escaped parentheses, region separators and
emoji become spaces or punctuation of the same length, so that a position in the plain text is the
position in the text as written. All patterns are linear in the text's length.
"""

from __future__ import annotations

import re

_NEGATIVE = re.compile(r"\n\s{0,9}negative prompt\s{0,3}:", re.IGNORECASE)
"""Where a pasted generation record goes on with what shall not be seen."""

_CALL = re.compile(r"<(?:lora|lyco|hypernet|lycoris|ti)\s{0,3}:[^<>\n]{0,400}>", re.IGNORECASE)
_EMBEDDING = re.compile(r"\bembedding\s{0,3}:\s{0,3}[^\s,()\[\]{}:]{1,200}", re.IGNORECASE)
_WEIGHT = re.compile(r":\s{0,3}[-+]?(?:\d{1,6}(?:\.\d{0,6})?|\.\d{1,6})\s{0,3}(?=[)\]}])")
_ESCAPED = re.compile(r"\\\(([^()\\\n]{0,200})\\\)")
_SEPARATOR = re.compile(r"\b(?:BREAK|AND|ADDCOMM|ADDROW|ADDCOL|ADDBASE)\b")
_WILDCARD = re.compile(r"__[\w*/-]{1,80}?__")
_CLOSING_TAG = re.compile(r"</[A-Za-z][^<>\n]{0,80}>")
_OPENING_TAG = re.compile(r"<([A-Za-z][^<>\n]{0,80})>")
_PICK = re.compile(
    r"\{\s{0,3}\d{0,3}\s{0,3}\$\$|\{\d{1,3}(?:\.\d{1,3})?::|\b\d{1,3}(?:\.\d{1,3})?::"
)
_SCHEDULE = re.compile(r"\[([^\[\]:\n]{1,80}):([^\[\]:\n]{1,80}):\s{0,3}[\d.]{1,8}\s{0,3}\]")
_PERCENT = re.compile(r"\b\d{1,3}(?:\.\d{1,3})?\s{0,2}%(?=\s{0,3}#)")
_POSSESSIVE = re.compile(r"(?<=\w)['’]s?\b")

_LIKE = {
    "，": ",", "、": ",", "。": ".", "；": ";", "：": ":", "（": "(", "）": ")", "＃": "#",
    "［": "[", "］": "]", "｛": "{", "｝": "}", "＝": "=", "｜": "|", "“": " ", "”": " ",
    "‘": " ", "’": "'", "—": ",", "–": "-", "‐": "-", "‑": "-", "→": " ", "…": ".", '"': " ",
    "`": " ", "*": " ", "~": " ", "\t": " ", "\r": "\n", "\u00a0": " ", "\u3000": " ",
}  # fmt: skip
_LIKE |= {chr(0xFF01 + at): chr(0x21 + at) for at in range(94) if chr(0xFF01 + at) not in _LIKE}
_SIGNS = str.maketrans(_LIKE)


def plain(text: str) -> str:
    """Return ``text`` as words and plain punctuation, of the same length.

    ``|`` parts alternatives only within braces or brackets; elsewhere it ends a phrase like a full
    stop. What follows "Negative prompt:" on a line of its own is blank.
    """
    text = text.translate(_SIGNS)
    cut = _NEGATIVE.search(text)
    if cut:
        text = text[: cut.start()] + " " * (len(text) - cut.start())
    for pattern in (_CALL, _EMBEDDING, _WILDCARD, _PERCENT):
        text = pattern.sub(_blank, text)
    text = _SEPARATOR.sub(lambda found: "\n" + " " * (len(found.group()) - 1), text)
    text = _CLOSING_TAG.sub(lambda found: "," + " " * (len(found.group()) - 1), text)
    text = _OPENING_TAG.sub(lambda found: " " + found.group(1) + " ", text)
    text = _ESCAPED.sub(_unescaped, text)
    text = _PICK.sub(lambda f: "{" * f.group().startswith("{") + _rest(f.group()), text)
    text = _SCHEDULE.sub(_alternatives, text)
    text = _WEIGHT.sub(_blank, text)
    text = _POSSESSIVE.sub(_blank, text)
    text = _separate_tags(text)
    return _alternative_bars(text)


NAME = "\x00"
"""Stands where an escaped parenthesis told that the words before it are a name."""


def _blank(found: re.Match[str]) -> str:
    return " " * len(found.group())


def _rest(piece: str) -> str:
    return " " * (len(piece) - piece.startswith("{"))


def _unescaped(found: re.Match[str]) -> str:
    r"""Return ``\(character\)`` as the mark of a name, ``\(#c06148\)`` as a parenthesis."""
    inside = found.group(1)
    if "#" in inside:
        return f" ({inside}) "
    return NAME + " " * (len(found.group()) - 1)


def _alternatives(found: re.Match[str]) -> str:
    r"""Return ``[red:blue:0.5]`` as ``{red|blue}`` of the same length."""
    first, second = found.groups()
    body = "{" + first + "|" + second
    return body + " " * (len(found.group()) - len(body) - 1) + "}"


_TAGGED = re.compile(r"(?<=[^\W_])(_[^\W_]+)+")


def _separate_tags(text: str) -> str:
    """Return underscores as spaces; between two tags that have some ("red_hair blue_eyes") a
    comma.
    """
    if "_" not in text:
        return text
    letters = list(text)
    end_of_last = -2
    for match in re.finditer(r"[^\s,;]{1,200}", text):
        if not _TAGGED.search(match.group()):
            continue
        if text[end_of_last : match.start()].strip() == "" and match.start() == end_of_last + 1:
            letters[end_of_last] = ","
        end_of_last = match.end()
    return "".join(letters).replace("_", " ")


def _alternative_bars(text: str) -> str:
    """Return ``text`` with every ``|`` outside braces and brackets as a line break."""
    if "|" not in text:
        return text
    letters = list(text)
    depth = 0
    for at, letter in enumerate(letters):
        if letter in "{[":
            depth += 1
        elif letter in "}]":
            depth = max(0, depth - 1)
        elif letter == "\n":
            depth = 0
        elif letter == "|" and depth == 0:
            letters[at] = "\n"
    return "".join(letters)
