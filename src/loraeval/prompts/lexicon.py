"""The small words of the caption grammar: what links a colour to a noun, and what parts them."""

from __future__ import annotations


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


ARTICLES = _set("a an the her his its their my your our this that these those some both each "
                "another one two three pair something anything everything any")  # fmt: skip

PREPOSITIONS = _set(
    "in on of for from underneath under with by over behind against at to into onto around above "
    "below beneath beside besides between through across near before after upon inside outside "
    "within toward towards along off atop amid among beyond past via per as like featuring "
    "including plus wrapped"
)

SUBORDINATE = _set("in on of for from underneath under around behind over at above below beneath "
                   "across near atop against inside")  # fmt: skip
"""Prepositions that make the noun right after them (articles aside) a mere place."""

JOINS = _set("and & +")
ALTERNATIVES = _set("or |")
COPULAS = _set("is are was were be being been isn aren seems seem appears appear looks turns "
               "remains became becomes ' : =")  # fmt: skip
RELATIVES = _set("that which who whose where while whereas when")
NEGATIONS = _set("no not without non never nor neither isn aren minus except excluding lacking")
WEARING = _set("wearing wears wear wore dressed clad donning sporting")

VERBS = _set(
    "has have had having holds holding hold held stands standing sits sitting looks looking look "
    "smiles smiling smile walks walking stares staring gazes gazing wields wielding carries "
    "carrying faces facing leans leaning rides riding plays playing eats eating drinks drinking "
    "shows showing show depicts depicting features covers covering covered does do did can will "
    "set sets lit surrounded seated posing poses"
)
"""Verbs that end the reach of the noun before them."""

STAYS = _set("colored coloured dyed painted tinted tinged streaked highlighted colour color")
"""Participles that carry the colour behind them back to their noun: "a hat colored #123456"."""

_ADJECTIVES = (
    "long short medium-length shoulder-length curly wavy straight messy spiky smooth shiny glossy "
    "silky thick thin full big large small tiny huge wide narrow tall tight loose fluffy frizzy "
    "voluminous bushy trimmed down up back open closed visible everywhere left right half upper "
    "lower inner outer front side sides solid plain flat simple split gradient radial checkered "
    "chequered checked striped polka-dot plaid patterned textured pixelated blurred blurry "
    "sparkly glittery metallic matte transparent semi translucent very quite rather slightly "
    "mostly more less almost somewhat extremely super too so also just only well ever still now "
    "then there here striking beautiful pretty cute lovely handsome young old elderly "
    "middle-aged aged new modern vintage classic casual formal elegant fancy ornate simple rough "
    "torn dirty clean fresh wet dry oily sleek natural wild large oversized baggy slim heavy "
    "light-weight happy sad angry serious calm fierce gentle sharp round oval square pointed "
    "pointy almond narrow droopy sleepy tired big-eyed male female two-tone two tone multi "
    "multicolored multicoloured multicolor colorful colourful rainbow opaque masked collared "
    "hooded bald double single cropped high low top-heavy furry fuzzy woolly woolen wool leather "
    "denim-like cotton linen-like silk satin velvet lace knit knitted floral cozy thin-framed "
    "opal furry fully partly partially all same different matching single-colored monochrome "
    "delicate intricate detailed faint subtle strong intense rosy freckled dual duo asymmetrical "
    "entire whole main dominant primary secondary accent overall combo tall-collared sheer "
    "longer shorter warmer cooler similar nice out odd strange over-sized stylized "
    "worn torn woven sewn blown swept drawn cut bound shorn shaven broken hidden "
    "always often usually sometimes "
    "length style styled shaped "
    "sleeveless strapless bare forward forwards backward backwards sideways facing"
)
ADJECTIVES = _set(_ADJECTIVES)
"""Words that stand between a colour and its noun, or behind a noun, without ending its reach."""

SHAPED = _set("shaped style styled patterned printed themed rimmed framed trimmed lined tipped "
              "collared inspired buttoned length sized like studded")  # fmt: skip
"""What makes an adjective of the noun before it: "heart shaped sunglasses"."""

NOUNS_IN_ING = _set("ring king string earring clothing wing lightning morning evening building "
                    "painting ceiling stocking drawing spring thing sling wedding lining swing "
                    "nosering railing awning icing stuffing marking piercing lighting bling "
                    "awning helping offspring duckling starling sterling")  # fmt: skip
NOUNS_IN_ED = _set("bed seed weed shed reed thread bread head shred sled steed breed hatred red "
                   "moped bloodshed watershed")  # fmt: skip
NOUNS_IN_EST = _set("forest harvest request interest breast conquest contest tempest crest priest "
                    "rainforest")  # fmt: skip
NOUNS_IN_LY = _set("butterfly lily belly family fly jelly dragonfly bully lolly firefly holly")

PEOPLE_OF: dict[str, str] = {
    "haired": "hair",
    "hair'd": "hair",
    "bearded": "hair",
    "braided": "hair",
    "eyed": "eyes",
    "skinned": "skin",
    "skin'd": "skin",
    "skintoned": "skin",
    "complexioned": "skin",
    "lipped": "lips",
    "robed": "clothing",
    "clad": "clothing",
    "armored": "clothing",
    "armoured": "clothing",
    "shirted": "clothing",
    "suited": "clothing",
    "caped": "clothing",
    "cloaked": "clothing",
    "hatted": "accessory",
    "capped": "accessory",
    "horned": "accessory",
    "nosed": "nose",
    "cheeked": "cheeks",
    "winged": "wings",
    "tailed": "tail",
    "eared": "ears",
    "faced": "face",
}
"""Endings of "red-haired": the attribute, or for others the noun, that owns the colour."""
