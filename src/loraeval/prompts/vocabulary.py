"""The nouns of the caption grammar: which word speaks of which attribute of a portrait."""

from __future__ import annotations

_NOUNS: dict[str, str] = {
    "background": "background backdrop bg backgrounds",
    "hair": "hair hairs hairs haircut hairstyle beard stubble mustache moustache goatee sideburns "
    "eyebrow eyebrows brows braid braids bun buns ponytail pigtails afro mohawk bangs highlights "
    "dreads dreadlocks curls fringe updo bob mullet whiskers roots wig ombre",
    "eyes": "eye eyes iris irises pupil pupils yees",
    "lips": "lip lips lipstick mouth",
    "skin": "skin skinned skintone skintones skintoned complexion freckles",
    "clothing": "clothing clothes shirt shirts tshirt tee jacket coat hoodie sweater jumper suit "
    "dress jumpsuit robe cape cloak vest waistcoat blouse tunic armour armor uniform collar "
    "overcoat sportcoat wetsuit kimono sari cardigan turtleneck polo jersey overalls apron lapel "
    "lapels undergarment undergarments outfit gown blazer tie bowtie sleeve sleeves logo raincoat "
    "poncho top undershirt costume attire spacesuit bodysuit leotard swimsuit bikini pyjamas",
    "accessory": "hat hats cap caps beanie crown headband bandana helmet tiara veil bow ribbon "
    "headscarf turban beret fedora visor hood headdress wreath horns halo glasses sunglasses "
    "shades goggles monocle spectacles lens lenses frame frames rim rims reflection reflections "
    "eyepatch mask earring earrings necklace necklaces pendant chain choker piercing stud studs "
    "hoop hoops ring nosering brooch pearls beads lanyard medallion medal cigarette cigar pipe "
    "headphones earbuds flower flowers scarf feather barrette hairclip hairpin locket bandage "
    "fill",
}

ATTRIBUTE_OF: dict[str, str] = {
    noun: attribute for attribute, nouns in _NOUNS.items() for noun in nouns.split()
}
"""Noun to attribute; the attributes are those of ``records.NamedColour`` without ``other``."""

BACKGROUND_KINDS: dict[str, str] = {
    "solid": "solid",
    "plain": "solid",
    "flat": "solid",
    "split": "split",
    "halved": "split",
    "gradient": "gradient",
    "radial": "gradient",
    "checkered": "checkered",
    "chequered": "checkered",
    "checked": "checkered",
    "checker": "checkered",
    "checkerboard": "checkered",
    "chequerboard": "checkered",
}
"""Word in a background's phrase to ``Caption.background_kind``."""

SUBORDINATE: frozenset[str] = frozenset(["in", "on", "of", "for", "from", "underneath", "under"])
"""Prepositions that make the noun right after them (articles aside) a mere place."""

ARTICLES: frozenset[str] = frozenset(["a", "an", "the", "her", "his", "its", "their", "some"])
