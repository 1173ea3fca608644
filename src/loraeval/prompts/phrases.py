"""Who colours what: the grammar of noun phrases over a caption's tokens.

A colour before a noun is that noun's adjective, in words or as a code; the last noun of a run is
its head. A colour behind a noun belongs to it where something carries it there: nothing at all
("hair red"), "is", a colon, "in", "of", "dyed", a parenthesis. A full stop, a verb, a comma and a
preposition end a noun's reach. One pass with bounded looks ahead, so linear in the text.
"""

from __future__ import annotations

from loraeval.prompts import lexicon
from loraeval.prompts.brackets import bracket_at, noun_of_bracket
from loraeval.prompts.colour_names import WEAK
from loraeval.prompts.lookahead import (
    COLOURS,
    NOUNS,
    THINGS,
    adjective_ahead,
    in_hair,
    lists_on,
    noun_ahead,
    only_colours,
    runs_on,
    trails,
)
from loraeval.prompts.naming import Colour, Noun, Reading, head_of, name_of, shared_colours
from loraeval.prompts.tokens import Token

_REMEMBERED = 16
"""Nouns of a phrase that a parenthesis may still mean."""

_CARRIES_ON = frozenset(
    ["starting", "going", "ranging", "fading", "transitioning", "shifting", "blending",
     "finishing", "ending", "turning"]
)  # fmt: skip
"""Participles that carry on with the noun of the phrase before: "a gradient, starting with …"."""
_LEADS = frozenset(["to", "into", "towards", "through"])
"""Prepositions between the colours of a gradient."""


class Reader:
    """Reads the tokens of one sentence (no ``stop`` among them, except none)."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.reading = Reading()
        self._pending: list[Colour] = []
        self._subjects: list[Noun] = []
        self._open: list[Noun] = []
        self._link = ""
        self._before_comma: list[Noun] = []
        self._negated = self._worn = self._within = self._claimed = False
        self._joined = self._anything = False
        self._bar: tuple[str, int] = ("", 0)
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

    def _step(self, at: int) -> int:
        token = self.tokens[at]
        kind = token.kind
        self._joined = self._joined and kind == "article"
        self._anything = at > 0 and self.tokens[at - 1].value in ("anything", "everything")
        if kind in COLOURS:
            return self._group(at)
        if kind in NOUNS:
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
            self._small(token, self.tokens[at + 1].kind if at + 1 < len(self.tokens) else "")
        return at + 1

    def _small(self, token: Token, following: str) -> None:
        """Take a small word: what links a colour to a noun, or parts them."""
        if token.kind == "copula":
            self._copula(token)
        elif token.kind == "preposition":
            self._preposition(token)
        elif token.kind == "stays":
            if not (self._pending and following in (*NOUNS, *COLOURS, "adjective")):
                self._flush()  # "a hat colored red"; not "a red colored hat"
                self._link = "carried"
        elif token.kind == "article":
            if not (self._joined and self._pending):
                self._flush()
            self._bare_gradient()
        elif token.kind == "negation":
            self._flush()
            self._negated, self._claimed = True, False
        elif token.kind == "but":
            self._flush()
            self._negated, self._claimed = self._anything, False
        elif token.kind in ("verb", "wearing", "relative"):
            self._boundary(token.kind)
        elif token.value == "gradient":
            self._gradient = token

    def _boundary(self, kind: str) -> None:
        self._flush()
        self._place = self._added = False
        if kind == "relative":
            self._subjects = self._subjects or self._before_comma
            return
        self._negated = self._negated and not self._claimed
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
        if token.value in ("like", "as") and self._subjects:
            self._link = "is"  # "eyes like blue ice"
            return
        self._link = "in" if self._subjects else ("worn" if token.value == "in" else "")
        if self._within and token.value == "in" and not self._subjects:
            self._link = "worn"

    def _comma(self, at: int) -> None:
        linked = bool(self._link and self._subjects)
        if self._pending and not linked and lists_on(self.tokens, at + 1):
            return
        self._bar = ("", 0)
        self._flush()
        self._bare_gradient()
        self._negated = self._added = self._place = self._within = False
        self._nouns = []
        carries = at + 1 < len(self.tokens) and self.tokens[at + 1].value in _CARRIES_ON
        if self._link == "is" and not self._open and only_colours(self.tokens, at + 1):
            carries = True
        if not carries:
            self._before_comma = self._subjects
            self._subjects = list(self._open)
            self._link = "is" if self._open else ""

    def _join(self, at: int, kind: str) -> None:
        self._joined = True
        if not self._pending:
            self._negated = self._negated and kind == "choice"
            if kind == "choice" and self.tokens[at].value == "|" and self._nouns:
                self._alternative(self._nouns[-1])
            return
        following = self.tokens[at + 1].kind if at + 1 < len(self.tokens) else ""
        if kind == "choice":
            if not self._choice:
                self._choices += 1
                self._choice = self._choices
            self._pending[-1].choice = self._choice
        if following in COLOURS or following == "adjective":
            if self._link and self._subjects and noun_ahead(self.tokens, at + 1):
                self._flush()
                self._link = ""
            return
        if following == "open" or (following == "article" and self._elliptic(at)):
            return
        self._flush()
        self._negated = self._negated and kind == "choice"

    def _alternative(self, noun: Noun) -> None:
        """Make the next colours of its attribute alternatives: "{red hair|grey hair}"."""
        if self._bar[0] != noun.kind:
            self._choices += 1
            self._bar = (noun.kind, self._choices)
        for colour in noun.colours:
            colour.choice = self._bar[1]

    def _elliptic(self, at: int) -> bool:
        """Return whether a noun is only said once: "one blue and one green eye"."""
        if (self._link and self._subjects) or any(colour.blonde for colour in self._pending):
            return False
        return adjective_ahead(self.tokens, at + 2)

    def _group(self, at: int) -> int:
        """Take the colour words in a row, or one code, as one colour that waits for its noun."""
        first = self.tokens[at]
        last = at - 1
        while last > 0 and self.tokens[last].kind == "open":
            last -= 1
        direct = last >= 0 and self.tokens[last].kind in NOUNS and not self._pending
        if first.kind == "hex":
            self._wait(Colour(first.value, (), first.start, first.end), direct)
            end = at + 1
        else:
            end = at
            while end < len(self.tokens) and self.tokens[end].kind in ("colour", "modifier"):
                end += 1
            group = self.tokens[at:end]
            coloured = any(token.kind == "colour" for token in group)
            thing = coloured and group[-1].kind == "modifier" and group[-1].value in THINGS
            if not thing and len(group) > 1 and group[-1].value in WEAK and self._link != "is":
                following = self.tokens[end].kind if end < len(self.tokens) else ""
                thing = following not in (*NOUNS, "adjective", "hex", "owner", "open", "join")
            if thing:  # "red light", "red wine"
                end -= 1
                group = group[:-1]
            self._wait(Colour.of(group), direct)
            if thing:
                return self._run(end)
        if direct and self._subjects and trails(self.tokens, at):
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

    def _own(self, token: Token) -> None:
        """Take "red-haired": the colours that wait belong to the attribute in the word."""
        known = token.value in ("hair", "eyes", "skin", "lips", "clothing", "accessory")
        noun = Noun(token.value if known else "other", token.value, token.start)
        self._assign(noun)

    def _run(self, at: int) -> int:
        """Take the nouns in a row; their head owns the colours that wait."""
        end = at + 1
        while end < len(self.tokens) and runs_on(self.tokens, end):
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
        self._claimed = True
        owners = [one for one in self._nouns if not one.place]
        if noun.kind == "other" and self._added and owners:
            if owners[-1].kind in ("clothing", "accessory"):
                noun.kind = owners[-1].kind  # "a cap with a white logo"
        elif noun.kind == "other" and in_hair(self.tokens, end):
            noun.kind = "accessory"  # "a red flower in her hair"
        predicate = self._link == "is" and self._subjects and noun.kind == "other"
        if predicate and self._pending and self._subjects[0].kind != "other":
            self._flush()  # "the background is a red brick wall"
            return end
        alike = self._coordinated(at, noun)
        if not noun.person and not (self._link == "is" and self._open and not self._pending):
            self._nouns = [*self._nouns[-_REMEMBERED:], noun]
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
        shared = shared_colours(self._subjects[0], noun)
        self._pending = shared or []
        return shared == []

    def _near(self, at: int) -> bool:
        return at > 0 and self.tokens[at - 1].kind in ("modifier", "adjective", "comma", "close")

    def _bracket(self, at: int) -> int:
        """Take a parenthesis that holds nothing but colours as colours of the noun before it."""
        found = bracket_at(self.tokens, at)
        if found is None:
            return at + 1
        if found.name and self._pending and not noun_ahead(self.tokens, found.end):
            self._pending.clear()  # "orange (fruit)"
        if not found.colours:
            return at + 1
        if found.choice:
            self._choices += 1
        for colour in found.colours:
            colour.denied = self._negated
            colour.choice = self._choices if found.choice else 0
        before = self.tokens[at - 1].kind if at else "comma"
        behind = before in (*NOUNS, *COLOURS, "close", "adjective")
        if not behind and noun_ahead(self.tokens, found.end):
            self._pending.extend(found.colours)  # "a hat and a (blue:0.8) scarf"
            return found.end
        self._place_bracket(found.colours, found.end)
        return found.end

    def _place_bracket(self, colours: list[Colour], end: int) -> None:
        codes = bool(colours[0].hex)
        if self._pending and noun_ahead(self.tokens, end) and not (self._link and self._subjects):
            self._pending[-1:] = colours if codes else self._pending[-1:]  # "amber (#…) hair"
            return
        if self._pending and codes and self._link and self._subjects:
            self._pending.pop()  # "hair is red (#cc2020)"
            self._pending.extend(colours)
            return
        if self._pending and codes and not self._nouns:
            self._pending[-1:] = colours
            return
        noun = noun_of_bracket(self._nouns, colours[0]) if codes else self._last_noun()
        if noun is None:
            self._pending.extend(colours)
            return
        if not codes and any(one.hex or one.words for one in noun.colours):
            return
        for colour in colours:
            self._give(colour, noun)

    def _last_noun(self) -> Noun | None:
        return self._subjects[-1] if self._subjects else None

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
        if noun.kind == self._bar[0] and not colour.choice:
            colour.choice = self._bar[1]
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
            elif self._link != "worn" and self._subjects:
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
