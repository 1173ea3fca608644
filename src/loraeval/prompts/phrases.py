"""Who colours what: the grammar of noun phrases over a caption's tokens.

A colour before a noun is that noun's adjective, in words or as a code; the last noun of a run is
its head. A colour behind a noun belongs to it where something carries it there: nothing at all
("hair red"), "is", a colon, "in", "of", "dyed", a parenthesis. A full stop, a verb, a comma and a
preposition end a noun's reach. One pass with bounded looks ahead, so linear in the text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from loraeval.prompts import lexicon
from loraeval.prompts.naming import Colour, Noun, head_of, name_of, nearer_to
from loraeval.prompts.tokens import Token

_LOOK = 14
"""Tokens that a look ahead takes at most."""
_INSIDE = 60
"""Tokens that a parenthesis may hold to count as one behind its noun."""

_COLOURS = ("colour", "modifier", "hex")
_NOUNS = ("noun", "word", "person", "tone")
_THINGS = frozenset(["light", "sky", "forest", "blood", "jet", "ash", "baby", "ice"])
"""Modifiers that are nouns where a colour stands before them: "red light"."""
_CARRIES_ON = frozenset(
    ["starting", "going", "ranging", "fading", "transitioning", "shifting", "blending",
     "finishing", "ending", "turning"]
)  # fmt: skip
"""Participles that carry on with the noun of the phrase before: "a gradient, starting with …"."""
_LEADS = frozenset(["to", "into", "towards", "through"])
"""Prepositions between the colours of a gradient."""
_NEVER_ADDED = frozenset(["eyes", "background", "hair", "skin", "lips"])
"""Attributes that are no addition to another: "glasses with brown eyes (#…)" are eyes."""


@dataclass
class Reading:
    """What one sentence was read as: assigned colours, and the starts of those left over."""

    colours: list[tuple[Colour, Noun]] = field(default_factory=list)
    loose: list[Colour] = field(default_factory=list)
    denied: list[Colour] = field(default_factory=list)


class Reader:
    """Reads the tokens of one sentence (no ``stop`` among them, except none)."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.reading = Reading()
        self._pending: list[Colour] = []
        self._subjects: list[Noun] = []
        self._open: list[Noun] = []
        self._link = ""
        self._negated = self._worn = self._within = False
        self._added = self._place = False
        self._gradient: Token | None = None
        self._nouns: list[Noun] = []
        self._choice = 0
        self._choices = 0

    def read(self) -> Reading:
        """Return the reading of all tokens."""
        at = 0
        while at < len(self.tokens):
            at = self._step(at)
        self._flush()
        return self.reading

    # one token, or a group of them ------------------------------------------------------------

    def _step(self, at: int) -> int:
        token = self.tokens[at]
        kind = token.kind
        if kind in _COLOURS:
            return self._group(at)
        if kind in _NOUNS:
            return self._run(at)
        if kind == "open":
            return self._bracket(at)
        if kind == "owner":
            self._own(token)
        elif kind in ("join", "choice"):
            self._join(at, kind)
        elif kind == "comma":
            self._comma(at)
        else:
            self._small(token)
        return at + 1

    def _small(self, token: Token) -> None:
        """Take a small word: what links a colour to a noun, or parts them."""
        if token.kind == "copula":
            self._copula(token)
        elif token.kind == "preposition":
            self._preposition(token)
        elif token.kind == "stays":
            self._flush()
            self._link = "carried"
        elif token.kind == "article":
            if self._pending and not all(colour.blonde for colour in self._pending):
                self._flush()
            self._bare_gradient()
        elif token.kind == "negation":
            self._flush()
            self._negated = True
        elif token.kind in ("verb", "wearing", "but", "relative"):
            self._boundary(token.kind)
        elif token.value == "gradient":
            self._gradient = token

    def _boundary(self, kind: str) -> None:
        self._flush()
        self._negated = False
        self._place = self._added = False
        if kind == "relative":
            return
        self._subjects = []
        self._link = ""
        self._worn = kind == "wearing"

    def _copula(self, token: Token) -> None:
        self._flush()
        self._bare_gradient()
        self._link = "is"
        if token.value in (":", "="):
            self._open = list(self._subjects)

    def _preposition(self, token: Token) -> None:
        if token.value in _LEADS and self._pending and not (self._link and self._subjects):
            return  # "light blue to dark blue gradient background"
        self._flush()
        self._bare_gradient()
        if token.value == "with":
            self._negated = False
        self._place = token.value in lexicon.SUBORDINATE
        self._added = self._added or token.value in ("with", "by", "featuring", "including")
        self._link = "in" if self._subjects else ("worn" if token.value == "in" else "")
        if self._within and token.value == "in" and not self._subjects:
            self._link = "worn"

    def _comma(self, at: int) -> None:
        if self._pending and self._lists_on(at + 1):
            return
        self._flush()
        self._bare_gradient()
        self._negated = self._added = self._place = self._within = False
        self._nouns = []
        carries = at + 1 < len(self.tokens) and self.tokens[at + 1].value in _CARRIES_ON
        if self._link == "is" and not self._open and self._only_colours(at + 1):
            carries = True
        if not carries:
            self._subjects = list(self._open)
            self._link = "is" if self._open else ""

    def _join(self, at: int, kind: str) -> None:
        if not self._pending:
            self._negated = self._negated and kind == "choice"
            return
        following = self.tokens[at + 1].kind if at + 1 < len(self.tokens) else ""
        if kind == "choice":
            if not self._choice:
                self._choices += 1
                self._choice = self._choices
            self._pending[-1].choice = self._choice
        if following in _COLOURS or following == "adjective":
            if self._link and self._subjects and self._noun_ahead(at + 1):
                self._flush()
                self._link = ""
            return
        if following == "open":
            return
        self._flush()
        self._negated = self._negated and kind == "choice"

    # colours ----------------------------------------------------------------------------------

    def _group(self, at: int) -> int:
        """Take the colour words in a row, or one code, as one colour that waits for its noun."""
        first = self.tokens[at]
        last = at - 1
        while last > 0 and self.tokens[last].kind == "open":
            last -= 1
        direct = last >= 0 and self.tokens[last].kind in _NOUNS and not self._pending
        if first.kind == "hex":
            self._wait(Colour(first.value, (), first.start, first.end), direct)
            end = at + 1
        else:
            end = at
            while end < len(self.tokens) and self.tokens[end].kind in ("colour", "modifier"):
                end += 1
            group = self.tokens[at:end]
            coloured = any(token.kind == "colour" for token in group)
            if coloured and group[-1].kind == "modifier" and group[-1].value in _THINGS:
                end -= 1
                group = group[:-1]
            self._wait(Colour.of(group), direct)
            if end < len(self.tokens) and self.tokens[end].kind == "modifier":
                return self._run(end)
        if direct and self._subjects and self._trails(at):
            self._flush()
        return end

    def _wait(self, colour: Colour, direct: bool) -> None:
        colour.denied = self._negated
        if self._choice and self._pending and self._pending[-1].choice == self._choice:
            colour.choice = self._choice
        self._choice = 0 if not colour.choice else self._choice
        if direct and self._subjects and not self._link:
            self._link = "direct"
        self._pending.append(colour)

    def _trails(self, at: int) -> bool:
        """Return whether colours follow their nouns in this phrase: "hair red eyes blue"."""
        last = ""
        for token in self.tokens[at : at + _LOOK]:
            if token.kind in ("comma", "stop", "copula", "verb", "preposition", "open"):
                break
            if token.kind in ("article", "join", "close") and last:
                break
            if token.kind in (*_COLOURS, *_NOUNS):
                last = "colour" if token.kind in _COLOURS else "noun"
        return last == "colour"

    def _own(self, token: Token) -> None:
        """Take "red-haired": the colours that wait belong to the attribute in the word."""
        known = token.value in ("hair", "eyes", "skin", "lips", "clothing", "accessory")
        noun = Noun(token.value if known else "other", token.value, token.start)
        self._assign(noun)

    # nouns ------------------------------------------------------------------------------------

    def _run(self, at: int) -> int:
        """Take the nouns in a row; their head owns the colours that wait."""
        end = at + 1
        while end < len(self.tokens) and self.tokens[end].kind in _NOUNS:
            end += 1
        run = self.tokens[at:end]
        following = self.tokens[end] if end < len(self.tokens) else None
        noun = head_of(run, following, self._nouns)
        self._gradient = None
        if noun is None:  # "in color #123456", "a shade of red": carries on with what was before
            if self._pending and self._subjects and self._link:
                self._flush()
            return end
        if following is not None and following.kind == "copula" and self._link == "is":
            self._flush()  # "hair=red eyes=blue"
        noun.place, noun.added = self._place, self._added
        if noun.kind == "other" and self._added and self._nouns:
            owner = self._nouns[-1]
            if owner.kind in ("clothing", "accessory"):
                noun.kind = owner.kind  # "a cap with a white logo"
        predicate = self._link == "is" and self._subjects and noun.kind == "other"
        if predicate and self._pending and self._subjects[0].kind != "other":
            self._flush()  # "the background is a red brick wall"
            return end
        alike = self._coordinated(at, noun)
        if not noun.person and not (self._link == "is" and self._open and not self._pending):
            self._nouns.append(noun)
        self._assign(noun, adjacent=self._near(at))
        if noun.person:
            self._subjects, self._within = [], True
        else:
            self._subjects = [*self._subjects, noun] if alike else [noun]
        self._link = ""
        self._negated = self._negated and following is not None and following.kind == "choice"
        if self._open and not any(noun.kind == one.kind for one in self._open):
            self._open = []
        self._place = False
        return end

    def _coordinated(self, at: int, noun: Noun) -> bool:
        """Return whether the noun shares colours with the one before: "her hair and eyes are"."""
        before = self.tokens[at - 1] if at else None
        if before is None or before.kind != "join" or len(self._subjects) != 1 or self._pending:
            return False
        first = self._subjects[0]
        if {first.kind, noun.kind} not in ({"hair", "eyes"}, {"hair"}):
            return False
        if any(colour.hex for colour in first.colours):
            return False
        self._pending = [colour.copy() for colour in first.colours]
        return not self._pending

    def _near(self, at: int) -> bool:
        return at > 0 and self.tokens[at - 1].kind in ("modifier", "adjective", "comma", "close")

    # parentheses ------------------------------------------------------------------------------

    def _bracket(self, at: int) -> int:
        """Take a parenthesis that holds nothing but colours as colours of the noun before it."""
        inside: list[Token] = []
        for token in self.tokens[at + 1 : at + 1 + _INSIDE]:
            if token.kind == "close":
                break
            inside.append(token)
        else:
            return at + 1
        end = at + 2 + len(inside)
        kinds = {token.kind for token in inside}
        if "hex" not in kinds and not (kinds & {"colour"}):
            orange = self._pending and kinds == {"word"}
            if orange and not self._noun_ahead(end):
                self._pending.clear()  # "orange (fruit)"
            return at + 1
        allowed = {*_COLOURS, "join", "choice", "comma", "tone", "adjective", "copula", "unread",
                   "preposition"}  # fmt: skip
        codes = [token for token in inside if token.kind == "hex"]
        if not kinds <= (allowed if not codes else allowed | {"word", "article"}):
            return at + 1
        colours = (
            [Colour(token.value, (), token.start, token.end) for token in codes]
            if codes
            else _listed_words(inside)
        )
        if "choice" in kinds:
            self._choices += 1
        for colour in colours:
            colour.denied = self._negated
            colour.choice = self._choices if "choice" in kinds else 0
        self._place_bracket(colours, end)
        return end

    def _place_bracket(self, colours: list[Colour], end: int) -> None:
        codes = bool(colours[0].hex)
        if self._pending and self._noun_ahead(end) and not (self._link and self._subjects):
            self._pending[-1:] = colours if codes else self._pending[-1:]  # "amber (#…) hair"
            return
        if self._pending and codes and self._link and self._subjects:
            self._pending.pop()  # "hair is red (#cc2020)"
            self._pending.extend(colours)
            return
        if self._pending and codes and not self._nouns:
            self._pending[-1:] = colours
            return
        noun = self._bracket_noun(colours[0]) if codes else self._last_noun()
        if noun is None:
            self._pending.extend(colours)
            return
        if not codes and any(one.hex or one.words for one in noun.colours):
            return
        for colour in colours:
            self._give(colour, noun)

    def _last_noun(self) -> Noun | None:
        return self._subjects[-1] if self._subjects else None

    def _bracket_noun(self, colour: Colour) -> Noun | None:
        """Return the noun that a code in a parenthesis colours.

        The last one, unless it is a mere place ("bow in hair (#…)") or an addition ("hoodie with
        two cherries (#…)") of one that has no code yet; an addition whose own colour words are
        nearer to the code takes it ("black hair with a red bow (#cc2020)").
        """
        known = [noun for noun in self._nouns if noun.kind != "other"] or self._nouns
        main = [noun for noun in known if not noun.place and not noun.added]
        outright = [noun for noun in known if not noun.place] or known
        if not outright:
            return None
        last = outright[-1]
        if not main or last is main[-1] or last.kind in _NEVER_ADDED:
            return last
        first = main[-1]
        if any(one.hex for one in first.colours):
            return last
        return last if nearer_to(colour, last, first) else first

    # giving -----------------------------------------------------------------------------------

    def _assign(self, noun: Noun, *, adjacent: bool = False) -> None:
        """Give the colours that wait to the noun behind them; what it cannot own is loose."""
        for colour in self._pending:
            target = colour.person_noun() if noun.person else noun
            name = target and name_of(colour, target, adjacent=adjacent or len(colour.words) > 0)
            if target is None or (name is None and not colour.hex):
                self._loose(colour)
            else:
                self._give(colour, target)
        self._pending.clear()

    def _give(self, colour: Colour, noun: Noun) -> None:
        noun.colours.append(colour)
        if colour.denied:
            self.reading.denied.append(colour)
        else:
            self.reading.colours.append((colour, noun))

    def _loose(self, colour: Colour) -> None:
        if colour.denied:
            self.reading.denied.append(colour)
        elif colour.hex or any(colour.coloured):
            self.reading.loose.append(colour)

    def _flush(self) -> None:
        """Give the colours that wait back to the noun before them, or call them loose."""
        pending, self._pending = self._pending, []
        self._choice = 0
        for colour in pending:
            nouns: list[Noun] = []
            if self._gradient is not None and not self._subjects:
                nouns = [Noun("background", "gradient", self._gradient.start)]
            elif self._link in ("direct", "is", "in", "carried") and self._subjects:
                nouns = self._subjects
            elif self._worn or self._link == "worn":
                nouns = [Noun("clothing", "clothing", colour.start)]
            elif colour.blonde:
                nouns = [Noun("hair", colour.words[-1], colour.start)]
            fitting = [one for one in nouns if colour.hex or name_of(colour, one, adjacent=True)]
            for noun in fitting:
                self._give(colour, noun)
            if not fitting:
                self._loose(colour)

    def _bare_gradient(self) -> None:
        """Make a gradient without a noun the background's: "gradient from #… to #…"."""
        if self._gradient is not None and not self._subjects:
            self._subjects = [Noun("background", "gradient", self._gradient.start)]
            self._nouns.append(self._subjects[0])
        self._gradient = None

    # looks ahead ------------------------------------------------------------------------------

    def _noun_ahead(self, at: int) -> bool:
        """Return whether the words from ``at`` on lead to a noun: "and bright blue eyes"."""
        for token in self.tokens[at : at + _LOOK]:
            if token.kind in ("noun", "word", "person", "owner"):
                return True
            if token.kind not in (*_COLOURS, "adjective", "join", "choice", "tone", "close"):
                return False
        return False

    def _only_colours(self, at: int) -> bool:
        """Return whether the phrase at ``at`` names colours and nothing else."""
        seen = False
        for token in self.tokens[at : at + _LOOK]:
            if token.kind == "comma":
                return seen
            if token.kind not in (*_COLOURS, "join", "choice", "adjective"):
                return False
            seen = seen or token.kind in ("colour", "hex")
        return seen

    def _lists_on(self, at: int) -> bool:
        """Return whether a list of adjectives goes on to a noun: "blue, green, and white shirt".

        The last of the list needs its "and" or "or".
        """
        if self._link and self._subjects:
            return False
        joined = False
        for token in self.tokens[at : at + _LOOK]:
            if token.kind in ("join", "choice"):
                joined = True
            elif token.kind in ("noun", "word", "person"):
                return joined
            elif token.kind not in (*_COLOURS, "comma", "adjective") or (
                joined and token.kind == "comma"
            ):
                return False
        return False


def _listed_words(inside: list[Token]) -> list[Colour]:
    """Return the colours of a parenthesis in words: those in a row are one."""
    groups: list[list[Token]] = [[]]
    for token in inside:
        if token.kind in ("colour", "modifier"):
            groups[-1].append(token)
        elif groups[-1] and token.kind != "adjective":
            groups.append([])
    return [Colour.of(group) for group in groups if group]
