"""The caption grammar: a prompt taken to the colours that it asks for.

The field writes tags and prose, hex codes before and behind what they colour, a ``palette:`` list,
a bare tail. People and scripts leave captions with lost parentheses, 3-digit codes, doubles and
typos, so that the grammar takes any text, in time linear in its length, and keeps what it could
not assign. How it reads: ``markup`` takes away what is meant for the image generator, ``tokens``
finds colours in every notation and sorts words, ``phrases`` tells who colours what.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from loraeval.prompts.markup import plain
from loraeval.prompts.naming import Colour, Noun, name_of
from loraeval.prompts.phrases import Reader
from loraeval.prompts.tokens import Token, normalise_hex, tokenise
from loraeval.prompts.vocabulary import BACKGROUND_KINDS
from loraeval.records import Caption, NamedColour

__all__ = ["normalise_hex", "parse_caption"]

_PHRASE_KEPT = 300
"""Characters of a phrase that are kept with a colour; a longer one ends in an ellipsis."""

LONGEST = 50_000
"""Characters of a caption that are read: five times the longest prompt that a set may hold."""

_LISTS = frozenset(["palette", "palettes", "scheme", "swatch", "swatches", "colors", "colours"])
"""Words that a list of a picture's colours follows."""


def parse_caption(text: str) -> Caption:
    """Return the colours that ``text`` names: per attribute, palette list, tail, leftovers.

    Never raises on a ``str``. A colour, code or words, before a noun is its adjective; behind a
    noun it belongs to it where "is", a colon, a parenthesis or nothing stands between. A noun of
    no known attribute owns its colours as ``other``. Colour words at a noun that has a hex code are
    not kept besides it: the code is the more exact statement. Text without any colour gives an
    empty ``Caption``. Of a text longer than ``LONGEST`` characters the rest is not read, which
    ``unassigned`` says.
    """
    found = _Found(text)
    for sentence in _sentences(tokenise(plain(text[:LONGEST]))):
        found.read(sentence)
    if len(text) > LONGEST:
        found.unassigned.append(f"(what follows the first {LONGEST} characters)")
    return found.caption()


def _sentences(tokens: list[Token]) -> Iterator[list[Token]]:
    start = 0
    for at, token in enumerate(tokens):
        if token.kind == "stop":
            if at > start:
                yield tokens[start:at]
            start = at + 1
    if start < len(tokens):
        yield tokens[start:]


class _Found:
    """What a caption was found to hold, sentence by sentence."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.colours: list[tuple[int, NamedColour, int]] = []
        self.palette: list[str] = []
        self.tail: list[str] = []
        self.unassigned: list[str] = []
        self.kind: str | None = None
        self._in_palette = False
        self._starts: list[int] = []
        self._ends: list[int] = []

    def caption(self) -> Caption:
        ordered = sorted(self.colours, key=lambda one: one[0])
        return Caption(
            text=self.text,
            colours=tuple(dict.fromkeys(colour for _, colour, _ in ordered)),
            palette=tuple(dict.fromkeys(self.palette)),
            tail=tuple(dict.fromkeys(self.tail)),
            background_kind=self.kind or "unknown",
            unassigned=tuple(dict.fromkeys(self.unassigned)),
        )

    def read(self, tokens: list[Token]) -> None:
        """Read one sentence: lists of bare codes by themselves, the rest by the grammar."""
        phrases = _phrases(tokens)
        self._starts = [phrase[0].start for phrase, _ in phrases]
        self._ends = [phrase[-1].end for phrase, _ in phrases]
        rest: list[Token] = []
        labelled = False
        for whole, comma in phrases:
            phrase = _after_name(whole)
            listed = _listed(phrase)
            if listed is not None and not (listed.opens == "" and labelled):
                self._in_palette = self._in_palette or listed.opens == "palette"
                (self.palette if self._in_palette else self.tail).extend(listed.codes)
                if listed.unread:
                    self.unassigned.append(self._phrase_at(phrase[0].start))
                continue
            if listed is None:
                labelled = _is_labelled(phrase)
                self._in_palette = False
                self._background_kind(phrase)
            rest.extend([*phrase, *comma])
        self._grammar(rest)

    def _grammar(self, rest: list[Token]) -> None:
        for token in rest:
            if token.kind == "unread":
                self.unassigned.append(self._phrase_at(token.start))
        reading = Reader([token for token in rest if token.kind != "unread"]).read()
        coded = {id(noun) for colour, noun in reading.colours if colour.hex}
        for colour, noun in reading.colours:
            if colour.hex is None and id(noun) in coded:
                continue
            self._keep(colour, noun)
        for colour in reading.loose:
            if colour.hex:
                self._keep(colour, Noun("other", "", colour.start))
            else:
                self.unassigned.append(self._phrase_at(colour.start))
        for colour in reading.denied:
            if colour.hex:
                self.unassigned.append(self._phrase_at(colour.start))

    def _keep(self, colour: Colour, noun: Noun) -> None:
        name = None if colour.hex else name_of(colour, noun, adjacent=True)
        if colour.hex is None and name is None:
            return
        if noun.kind == "other" and noun.text.split(" ")[-1] in _LISTS:
            if colour.hex:
                self.palette.append(colour.hex)
            else:
                self.unassigned.append(self._phrase_at(colour.start))
            return
        text = self._phrase_at(colour.start)
        named = NamedColour(noun.kind, colour.hex, name, text, noun.text, colour.choice)
        self.colours.append((colour.start, named, noun.start))

    def _background_kind(self, phrase: list[Token]) -> None:
        words = {token.value for token in phrase}
        if self.kind is None and words & {"background", "backdrop", "bg", "backgrounds"}:
            kinds = [BACKGROUND_KINDS[t.value] for t in phrase if t.value in BACKGROUND_KINDS]
            self.kind = kinds[-1] if kinds else None

    def _phrase_at(self, position: int) -> str:
        """Return the phrase round a position, as written, between commas outside parentheses."""
        at = max(0, bisect_right(self._starts, position) - 1)
        piece = self.text[self._starts[at] : max(self._ends[at], position)].strip()
        return piece if len(piece) <= _PHRASE_KEPT else piece[: _PHRASE_KEPT - 1] + "…"


@dataclass(frozen=True, slots=True)
class _Listed:
    """A phrase of bare codes; ``opens`` is palette or tail where words in it say so."""

    codes: list[str]
    unread: bool
    opens: str


def _listed(phrase: list[Token]) -> _Listed | None:
    """Return the codes of a phrase that holds hex codes and nothing they could belong to."""
    codes = [token.value for token in phrase if token.kind == "hex"]
    unread = any(token.kind == "unread" for token in phrase)
    if not codes and not unread:
        return None
    kinds = {token.kind for token in phrase}
    if kinds <= {"hex", "unread", "open", "close", "join", "comma", "copula"}:
        return _Listed(codes, unread, "")
    if not codes:
        return None
    first = next(at for at, token in enumerate(phrase) if token.kind == "hex")
    before, behind = phrase[:first], phrase[first:]
    words = {token.value for token in before}
    if any(t.kind == "noun" or (t.kind == "word" and t.value not in _LISTS) for t in before):
        return None
    if words & _LISTS and {token.kind for token in behind} <= _IN_LIST:
        return _Listed(codes, unread, "palette")
    plainly = {token.kind for token in before} <= {"tone", "adjective", "article", "copula"}
    if "tone" in kinds and plainly and {token.kind for token in behind} <= _IN_LIST | _WORDS:
        return _Listed(codes, unread, "tail")
    return None


_IN_LIST = frozenset(["hex", "unread", "open", "close", "join", "comma", "adjective", "choice"])
_WORDS = frozenset(["colour", "modifier"])


def _after_name(phrase: list[Token]) -> list[Token]:
    r"""Return what of a phrase is no name: "black_rock_shooter_\\(character\\)" is one."""
    names = [at for at, token in enumerate(phrase) if token.kind == "name"]
    return phrase[names[-1] + 1 :] if names else phrase


def _is_labelled(phrase: list[Token]) -> bool:
    """Return whether a phrase reads "hair: #c06148", so that bare codes behind it go on."""
    if not phrase or phrase[-1].kind != "hex":
        return False
    colon = next((at for at, token in enumerate(phrase) if token.value in (":", "=")), 0)
    return any(token.kind == "noun" for token in phrase[:colon])


def _phrases(tokens: list[Token]) -> list[tuple[list[Token], list[Token]]]:
    """Return phrases with the comma behind each; one in a parenthesis of mere colours parts none.

    A parenthesis counts only where it closes before the next one opens, so that a lost one does
    not swallow the rest.
    """
    found: list[tuple[list[Token], list[Token]]] = []
    start = at = 0
    while at < len(tokens):
        if tokens[at].kind == "open":
            at = _closing(tokens, at)
        elif tokens[at].kind == "comma":
            if at > start:
                found.append((tokens[start:at], [tokens[at]]))
            start = at + 1
        at += 1
    if start < len(tokens):
        found.append((tokens[start:], []))
    return found


_BRACKET_REACH = 60


def _closing(tokens: list[Token], opening: int) -> int:
    """Return where a parenthesis of colours closes; ``opening`` for any other."""
    for at in range(opening + 1, min(len(tokens), opening + _BRACKET_REACH)):
        if tokens[at].kind == "close":
            return at
        if tokens[at].kind in ("open", "noun", "person", "word", "copula"):
            return opening
    return opening
