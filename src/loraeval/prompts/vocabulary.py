"""The nouns of the caption grammar: which word speaks of which attribute of a portrait.

A noun that is not here owns its colours all the same, as attribute ``other`` under its own name.
"""

from __future__ import annotations

_NOUNS: dict[str, str] = {
    "background": "background backdrop bg backgrounds backdrops",
    "hair": "hair hairs haircut hairstyle hairdo beard beards stubble mustache moustache goatee "
    "sideburns braid braids bun buns ponytail ponytails pigtails pigtail twintails twintail afro "
    "mohawk bangs highlights dreads dreadlocks curls fringe updo bob mullet whiskers roots wig "
    "ombre locks tresses ringlets plaits cornrows topknot forelock sidelocks ahoge undercut "
    "pompadour curl",
    "eyes": "eye eyes iris irises pupil pupils yees",
    "lips": "lip lips lipstick mouth lipgloss",
    "skin": "skin skintone skintones complexion",
    "clothing": "clothing clothes shirt shirts tshirt tshirts tee jacket jackets coat coats hoodie "
    "hoodies sweater sweaters jumper suit suits dress dresses jumpsuit robe robes cape cloak vest "
    "waistcoat blouse tunic armour armor uniform collar overcoat sportcoat wetsuit kimono yukata "
    "hanfu qipao cheongsam sari cardigan turtleneck polo jersey overalls apron lapel lapels "
    "undergarment undergarments undershirt outfit outfits gown blazer tie ties necktie bowtie "
    "neckerchief sleeve sleeves raincoat poncho top costume attire spacesuit bodysuit leotard "
    "swimsuit bikini pyjamas pajamas trousers pants jeans shorts skirt skirts leggings tights "
    "stockings thighhighs pantyhose kneehighs socks sock boots boot shoes shoe sneakers sandals "
    "heels loafers slippers gloves glove gauntlets mittens belt sash corset bodice bra tuxedo "
    "windbreaker parka trenchcoat tabard doublet jerkin breastplate chestplate toga shawl pullover "
    "sweatshirt camisole serafuku dungarees garment garments clothe suspenders cravat epaulettes "
    "pauldrons tanktop singlet gi anorak fleece "
    "peacoat footwear hakama ascot obi cloaks ponchos vests blouses kaftan caftan sarong tracksuit "
    "romper pinafore petticoat trunks loincloth haori capes gowns tunics cardigans turtlenecks "
    "uniforms bodysuits swimsuits bowties neckties neckerchiefs collars chainmail spats",
    "accessory": "hat hats cap caps beanie crown headband bandana helmet tiara veil bow bows "
    "ribbon ribbons headscarf turban beret fedora visor hood headdress wreath horns halo glasses "
    "sunglasses shades goggles monocle spectacles eyeglasses lens lenses frames rim rims eyepatch "
    "mask earring earrings necklace necklaces pendant chain choker piercing piercings stud studs "
    "hoop hoops ring rings nosering brooch pearls beads lanyard medallion medal cigarette cigar "
    "pipe headphones earbuds earphones scarf scarves feather barrette hairclip hairclips hairpin "
    "hairpins hairband hairbands hairbow scrunchie locket bandage circlet diadem headpiece "
    "bracelet bracelets bangle bangles anklet armband wristband watch cufflinks hijab bonnet "
    "sombrero headset headgear jewelry jewellery amulet headwear eyewear cowl fez trilby "
    "accessory accessories bandanna hairpiece ushanka snapback coronet kippah earmuffs muffler",
}

ATTRIBUTE_OF: dict[str, str] = {
    noun: attribute for attribute, nouns in _NOUNS.items() for noun in nouns.split()
}
"""Noun to attribute; the attributes are those of ``records.NamedColour`` without ``other``."""

OWNED_BY: dict[str, frozenset[str]] = {
    "hair": frozenset(["tip", "tips", "end", "ends", "strand", "strands", "streak", "streaks",
                       "stripe", "stripes", "dye"]),
    "eyes": frozenset(["sclera", "sclerae", "glow"]),
}  # fmt: skip
"""Words that are parts of an attribute where its noun stands before them ("hair with red tips")."""

AFTER: dict[tuple[str, str], str] = {
    (first, second): attribute
    for attribute, pairs in {
        "hair": "hair:strands hair:streaks hair:tips hair:ends hair:dye hair:strand hair:streak "
        "facial:hair hair:length hair:bun hair:buns hair:length hair:texture hair:cut hair:style",
        "accessory": "hair:tie hair:ties hair:band hair:bands hair:clip hair:clips hair:pin "
        "hair:pins hair:ornament hair:ornaments hair:flower hair:flowers hair:accessory "
        "hair:accessories hair:beads hair:tubes hair:bobbles hair:scrunchie hair:stick hair:sticks "
        "hair:net hair:jewel hair:comb hair:wrap head:band head:wrap head:scarf head:dress "
        "eye:patch eye:mask lip:ring lip:piercing lip:stud ear:ring ear:rings ear:cuff ear:stud "
        "ear:studs flower:crown neck:chain neck:scarf neck:lace sun:glasses eye:glasses "
        "head:phones ear:phones ear:muffs",
        "lips": "lip:gloss lip:balm lip:tint lip:colour lip:stick",
        "clothing": "neck:tie bow:tie tank:top crop:top t:shirt tee:shirt swim:suit track:suit "
        "space:suit body:suit wet:suit chest:plate breast:plate",
        "background": "background:gradient background:pattern",
    }.items()
    for first, second in (pair.split(":") for pair in pairs.split())
}
"""Two nouns in a row whose second alone would say something else, or nothing."""

NOT_AFTER: frozenset[tuple[str, str]] = frozenset(
    (first, second)
    for first, seconds in {
        "picture": "frames",
        "window": "frames",
        "door": "frames",
        "wine": "glasses",
        "beer": "glasses",
        "mushroom": "cap caps",
        "bottle": "cap caps",
        "key": "chain ring",
        "smoking": "pipe",
        "water": "pipe",
        "fire": "ring",
        "light": "ring",
        "book": "collar",
        "animal": "skin",
        "tree": "top crown",
        "mountain": "top",
        "table": "top",
    }.items()
    for second in seconds.split()
)
"""Two nouns in a row whose second is not what it says alone: they own their colour themselves."""

_PERSONS = (
    "girl girls boy boys woman women man men lady ladies lad lads person people male males "
    "female females guy guys child children kid kids baby teen teenager adult elder portrait "
    "bust head figure character elf orc goblin knight warrior wizard witch mage priest "
    "priestess queen king princess prince vampire zombie robot android punk pirate sailor "
    "soldier samurai ninja dancer singer model nun monk nurse doctor chef baker farmer hunter "
    "ranger rogue bard hero heroine villain mother father sister brother grandmother "
    "grandfather grandma grandpa someone solo human humanoid alien demon angel fairy mermaid "
    "idol maid student teacher clown wanderer traveller merchant captain detective cowboy "
    "astronaut youth gentleman hispanic asian caucasian african european latina latino view "
    "shot closeup photo image picture drawing painting artwork art illustration sprite scene "
    "style it she he they"
)
PERSONS: frozenset[str] = frozenset(_PERSONS.split())
"""Nouns that own no colour of their own here: nobody is painted red by "red girl"."""

BLONDES: frozenset[str] = frozenset(["blonde", "brunette", "ginger", "redhead"])
"""Colour words that mean hair where no other noun follows them, or a person."""

_TONES = (
    "color colors colour colours tone tones shade hue hues tint tints coloring colouring pigment"
)
TONES: frozenset[str] = frozenset(_TONES.split())
"""Nouns that only carry a colour to what stands before them: "hair color red"."""

BACKGROUND_KINDS: dict[str, str] = {
    "solid": "solid",
    "plain": "solid",
    "flat": "solid",
    "split": "split",
    "halved": "split",
    "half": "split",
    "gradient": "gradient",
    "radial": "gradient",
    "checkered": "checkered",
    "chequered": "checkered",
    "checked": "checkered",
    "checker": "checkered",
    "checkerboard": "checkered",
    "chequerboard": "checkered",
    "transparent": "transparent",
}
"""Word in a background's phrase to ``Caption.background_kind``."""
