"""Colour words and where they lie: plain facts, no numpy, shared by grammar and tolerance regions.

Every word has a typical sRGB colour. Words that CSS Color 4 or the XKCD colour survey (2010, public
domain) know have a hex close to those; hair, metal and skin words have one chosen by this project
and drawn in ``docs/prompts.md``. What a word may still mean is told by
``loraeval.prompts.colour_words``.
"""

from __future__ import annotations

from functools import cache

from loraeval.prompts import colour_table

COLOUR_HEX: dict[str, str] = {
    # the eleven basic terms of Berlin and Kay
    "black": "#0a0a0a",
    "white": "#fafafa",
    "grey": "#888888",
    "red": "#e00000",
    "green": "#15b01a",
    "blue": "#1a4fe0",
    "yellow": "#ffe81a",
    "orange": "#f97306",
    "brown": "#653700",
    "pink": "#ff81c0",
    "purple": "#7e1e9c",
    # red to brown
    "crimson": "#b0102e",
    "scarlet": "#e81818",
    "maroon": "#650021",
    "burgundy": "#610023",
    "wine": "#80013f",
    "raspberry": "#b00149",
    "cherry": "#cf0234",
    "rouge": "#ab1239",
    "rust": "#a83c09",
    "copper": "#b66325",
    "bronze": "#a87900",
    "terracotta": "#ca6641",
    "chestnut": "#742802",
    "chocolate": "#3d1c02",
    "coffee": "#6f4e37",
    "mahogany": "#4a0100",
    "caramel": "#af6f09",
    "tan": "#d1b26f",
    "beige": "#e6daa6",
    "khaki": "#aaa662",
    "cream": "#ffffc2",
    "ivory": "#fffff0",
    "peach": "#ffb07c",
    "apricot": "#ffb16d",
    "salmon": "#ff796c",
    "coral": "#fc5a50",
    # yellow to green
    "amber": "#feb308",
    "gold": "#d9a520",
    "mustard": "#ceb301",
    "honey": "#c98a1b",
    "lime": "#aaff32",
    "olive": "#6e750e",
    "mint": "#9ffeb0",
    "seafoam": "#80f9ad",
    "emerald": "#01a049",
    "hazel": "#8e7618",
    # blue to purple
    "teal": "#029386",
    "turquoise": "#06c2ac",
    "tiffany": "#7bf2da",
    "aqua": "#13eac9",
    "cyan": "#00ffff",
    "navy": "#01153e",
    "indigo": "#380282",
    "azure": "#069af3",
    "cobalt": "#1e488f",
    "periwinkle": "#8e82fe",
    "lavender": "#c79fef",
    "lilac": "#cea2fd",
    "violet": "#9a0eea",
    "mauve": "#ae7181",
    "plum": "#580f41",
    "magenta": "#c20078",
    "fuchsia": "#ed0dd9",
    "rose": "#cf6275",
    # metals and near-neutrals
    "silver": "#c5c9c7",
    "platinum": "#e5e4e2",
    "charcoal": "#343837",
    "ebony": "#1a1512",
    "pewter": "#8e9294",
    "slate": "#516572",
    # further words of the survey and of paint
    "taupe": "#b9a281",
    "ochre": "#bf9005",
    "sienna": "#a9561e",
    "umber": "#b26400",
    "sepia": "#985e2b",
    "vermilion": "#f4320c",
    "cerise": "#de0c62",
    "carmine": "#9d0216",
    "chartreuse": "#c1f80a",
    "cerulean": "#0485d1",
    "ultramarine": "#2000b1",
    "cornflower": "#6a79f7",
    "puce": "#a57e52",
    "saffron": "#feb209",
    "ecru": "#feffca",
    "orchid": "#c875c4",
    "amethyst": "#9b5fc0",
    "topaz": "#e0a83a",
    "eggplant": "#380835",
    "tangerine": "#ff9408",
    "pumpkin": "#e17701",
    "lemon": "#fdff52",
    "tomato": "#ef4026",
    "sage": "#87ae73",
    "moss": "#769958",
    "sand": "#e2ca76",
    "wheat": "#fbdd7e",
    "straw": "#e4c870",
    "flesh": "#e8b898",
    "cinnamon": "#ac4f06",
    "raven": "#0d0c10",
    "oxblood": "#5c0813",
    "champagne": "#f0ddb8",
    "canary": "#fdff63",
    # hair
    "blonde": "#e0b865",
    "ginger": "#b5561c",
    "auburn": "#7a2f12",
    "brunette": "#4a2c17",
    "sandy": "#c9a66b",
}
"""Colour word to its typical sRGB colour, ``#rrggbb``."""

SYNONYMS: dict[str, str] = {
    "gray": "grey",
    "golden": "gold",
    "silvery": "silver",
    "blond": "blonde",
    "redhead": "ginger",
    "aquamarine": "aqua",
    "sapphire": "cobalt",
    "jade": "emerald",
    "ruby": "crimson",
    "bordeaux": "burgundy",
    "creme": "cream",
    "nude": "beige",
    "strawberry": "coral",
    "mocha": "coffee",
    "tanned": "tan",
    "fuschia": "fuchsia",
    "onyx": "ebony",
    "ocher": "ochre",
    "vermillion": "vermilion",
    "aubergine": "eggplant",
    "scarlett": "scarlet",
    "lavendar": "lavender",
}
"""Other spellings and near-synonyms; a word ending in -ish, -y or -s is taken to its stem first."""

_MODIFIERS = (
    "light lighter dark darker medium bright brighter deep deeper pale fair vivid hot neon pastel "
    "soft dusty dull muted rich royal icy ashy ash warm cool baby sky forest blood jet"
)
MODIFIERS: frozenset[str] = frozenset(_MODIFIERS.split())
"""Words that move a colour's region: see ``colour_words.region``."""

_SKIN_WORDS = (
    "light lighter dark darker medium deep pale fair tan olive brown black white ebony beige "
    "peach caramel chocolate coffee gold bronze honey warm cool rich porcelain"
)
SKIN_WORDS: frozenset[str] = frozenset(_SKIN_WORDS.split())
"""Words that before "skin" mean a tone of human skin and not the colour of that name."""


_WEAK = (
    "wine raspberry cherry chestnut chocolate coffee mahogany caramel cream ivory peach apricot "
    "salmon coral amber honey mustard lime olive mint emerald lavender plum rose copper bronze "
    "rust pewter slate orchid amethyst topaz eggplant tangerine pumpkin lemon tomato sage moss "
    "sand wheat straw flesh cinnamon raven champagne canary saffron cobalt ebony platinum "
    "charcoal cornflower"
)
WEAK: frozenset[str] = frozenset(_WEAK.split())
"""Words that are things as well: a colour before a noun whose attribute is known, or as what
something is ("her hair is honey"); never in "wine glass", "rose garden"."""


def _stems() -> dict[str, str]:
    table = {word: word for word in COLOUR_HEX} | SYNONYMS
    endings: dict[str, str] = {}
    for word, canonical in table.items():
        stem = word.removesuffix("e")
        endings[stem + "ish"] = canonical
        endings[word + word[-1] + "ish"] = canonical  # reddish, tannish
        if canonical not in WEAK:
            endings[word + "s"] = canonical
            endings[stem + "y"] = canonical
    for word in ("rosey", "chocolatey", "coppery", "sandy", "wheaten", "creamy", "peachy"):
        stem = word.removesuffix("y").removesuffix("e").removesuffix("en")
        endings[word] = table.get(stem) or table[stem + "e"]
    return endings | table


_CANONICAL = _stems()


def canonical_colour(word: str) -> str | None:
    """Return the colour that a lower-case ``word`` means (``gray`` -> ``grey``), or None."""
    return _CANONICAL.get(word)


@cache
def compound_names() -> dict[tuple[str, ...], str]:
    """Return colour names that are no plain "modifier colour": their words to ``#rrggbb``.

    Glued names ("rebeccapurple") are one word; a name that modifiers and a colour word say too
    ("light blue") is left to them.
    """
    found: dict[tuple[str, ...], str] = {}
    for entry in colour_table.XKCD.split("; "):
        *words, code = entry.split()
        if words[0] not in _NO_NAMES and not all(
            word in MODIFIERS or word in _CANONICAL for word in words
        ):
            found[tuple(words)] = code
    for entry in colour_table.CSS.split("; "):
        name, code = entry.split()
        plain_word = name in _CANONICAL or name in _COMMON_WORDS
        if not plain_word and not split_glued(name):
            found[(name,)] = code
    found[("strawberry", "blonde")] = "#d98a5b"
    found[("dirty", "blonde")] = "#c49b69"
    found[("ash", "blonde")] = "#cfc09a"
    found[("platinum", "blonde")] = "#ece3c4"
    found[("off", "white")] = "#f6f2e6"
    found[("rose", "gold")] = "#d9a08c"
    found[("gun", "metal")] = found[("gunmetal",)] = "#536267"
    return found


def split_glued(word: str) -> list[str]:
    """Return the parts of a glued name, modifier or colour and colour ("darkred"); else none."""
    for cut in range(3, len(word) - 2):
        first, second = word[:cut], word[cut:]
        if (first in MODIFIERS or first in _CANONICAL) and second in _CANONICAL:
            return [first, second]
    return []


_COMMON_WORDS = frozenset(["snow", "linen", "bisque", "thistle", "chocolate", "peru"])
_NO_NAMES = frozenset(
    ["flat", "nice", "old", "really", "very", "fresh", "true", "strong", "weird", "almost", "mid"]
)
"""First words of survey names that say something else in a caption."""
LONGEST_COMPOUND = 4
"""Words of the longest compound name."""


def compound_at(words: list[str], start: int) -> int:
    """Return how many of ``words`` from ``start`` on make a compound name; 0 where none does.

    ``gray`` counts as ``grey``.
    """
    names = compound_names()
    most = min(LONGEST_COMPOUND, len(words) - start)
    for count in range(most, 0, -1):
        key = tuple("grey" if w == "gray" else w for w in words[start : start + count])
        if key in names:
            return count
    return 0


def compound_hex(name: str) -> str | None:
    """Return the sRGB of a compound name, words with spaces between; None where it is none."""
    return compound_names().get(tuple(name.split()))
