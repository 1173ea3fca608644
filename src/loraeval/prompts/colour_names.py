"""Colour words and where they lie: plain facts, no numpy, shared by grammar and tolerance regions.

Every word has a typical sRGB colour. Words that CSS Color 4 or the XKCD colour survey (2010, public
domain) know have a hex close to those; hair, metal and skin words have one chosen by this project
and drawn in ``docs/prompts.md``. What a word may still mean is the region round that colour:
``loraeval.prompts.colour_words``.
"""

from __future__ import annotations

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
    "denim": "#3b638c",
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
    "steel": "#738595",
    "ebony": "#1a1512",
    "pearl": "#f0ead6",
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


def _stems() -> dict[str, str]:
    table = {word: word for word in COLOUR_HEX} | SYNONYMS
    endings: dict[str, str] = {}
    for word, canonical in table.items():
        stem = word.removesuffix("e")
        endings[word + "s"] = canonical
        endings[stem + "ish"] = canonical
        endings[stem + "y"] = canonical
        endings[word + word[-1] + "ish"] = canonical  # reddish, tannish
    return endings | table


_CANONICAL = _stems()


def canonical_colour(word: str) -> str | None:
    """Return the colour that a lower-case ``word`` means (``gray`` -> ``grey``), or None."""
    return _CANONICAL.get(word)
