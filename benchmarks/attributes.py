"""Do the verdicts by attribute tell a right picture from one with one attribute exchanged?

    python benchmarks/attributes.py [--pairs 100] [--data ../shared/data/bespoke_punks]

Portraits (``loraeval.testing``) and sprites (drawn here) in known colours, captioned in eight
forms; in the wrong picture one captioned attribute has another colour, at least CIEDE2000 20 away
and of another basic name. Prints the AUC of ``palette.attributes``, the share of attributes judged,
how often a missing or recoloured crown or cap is told, and, where the real renders are at hand,
agreement with what a person saw who had seen no score (``attributes_by_eye.json``) and the share
right on the real training pairs.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from loraeval.images.colour import ciede2000, lab_of_rgb
from loraeval.images.picture import Picture, open_picture, picture_from_array
from loraeval.prompts.caption import parse_caption
from loraeval.records import Prompt
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.palette import PaletteScorer
from loraeval.scorers.palette_verdicts import share_right
from loraeval.testing.portraits import SIZE, Scene, scene
from loraeval.testing.portraits_genes import layers_of
from loraeval.testing.portraits_words import COLOUR_WORDS, second_tone, to_hex, to_rgb, toned

HERE = Path(__file__).parent
DATA = HERE.parent.parent / "shared" / "data" / "bespoke_punks"
FORMS = ("hex after", "hex before", "tags", "underscores", "prose", "copula", "-haired", "mixed")
BASIC = tuple(name for name in COLOUR_WORDS if name != "teal")
FREE = {"eyes": ("blue", "green", "brown", "purple", "red", "orange"),
        "lips": ("red", "pink", "purple", "brown")}  # fmt: skip
PARTS = ("hair", "eyes", "lips", "clothing", "headwear", "background")
Colours = Mapping[str, str]


def code_of(name: str) -> str:
    """Return the code of a colour's name."""
    return "#" + COLOUR_WORDS[name].lstrip("#")


def far_apart(one: str, two: str) -> bool:
    """Return whether two names' colours lie at least CIEDE2000 20 apart."""
    labs = lab_of_rgb(np.array([to_rgb(code_of(one)), to_rgb(code_of(two))], np.uint8))
    return float(ciede2000(labs[0], labs[1])) >= 20


def draw_portrait(portrait: Scene, colours: Colours, *, bare: bool = False) -> np.ndarray:
    """Return a portrait's cells with these colours by part; ``bare`` leaves out the headwear."""
    table = {**portrait.colours, **{part: to_rgb(code_of(c)) for part, c in colours.items()}}
    table["background2"] = second_tone(table["background"])
    centre = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    x, y = np.meshgrid(centre, centre)
    layers = [
        one for one in layers_of(portrait.genes, x, y) if not (bare and one.slot == "headwear")
    ]
    top = np.zeros((SIZE, SIZE), np.intp)
    for index, layer in enumerate(layers):
        top[layer.field < 0] = index
    return np.array([toned(table[one.slot], one.tone) for one in layers], np.uint8)[top]


def picture(cells: np.ndarray, size: int = 512) -> Picture:
    """Return cells as a picture of 512 pixels that went through JPEG at quality 90."""
    at = np.arange(size) * len(cells) // size
    buffer = io.BytesIO()
    Image.fromarray(cells[at[:, None], at[None, :]]).save(buffer, "JPEG", quality=90)
    return picture_from_array(np.asarray(Image.open(buffer).convert("RGB")).copy(), "benchmark")


def pick_colours(rng: np.random.Generator, parts: tuple[str, ...], skin: str) -> dict[str, str]:
    """Return a name for each part, all of them and the skin far apart where they can be."""
    for _ in range(400):
        found = {part: str(rng.choice(FREE.get(part, BASIC))) for part in parts}
        names = list(found.values())
        skin_lab = lab_of_rgb(np.array([to_rgb(skin)], np.uint8))[0]
        clear = all(
            float(ciede2000(lab_of_rgb(np.array([to_rgb(code_of(n))], np.uint8))[0], skin_lab)) > 20
            for n in names
        )
        if clear and len(set(names)) == len(names):
            return found
    return found


def exchanged(rng: np.random.Generator, colours: dict[str, str]) -> dict[str, str]:
    """Return the colours with one part's exchanged for another basic name's."""
    part = str(rng.choice(list(colours)))
    others = [
        n for n in FREE.get(part, BASIC) if n != colours[part] and far_apart(n, colours[part])
    ]
    free = [n for n in others if n not in colours.values()] or others
    return {**colours, part: str(rng.choice(free))}


NOUNS = {"clothing": "shirt"}


def caption(form: str, colours: Colours, nouns: Mapping[str, str], lead: str) -> str:
    """Return a caption of one of the forms that gives each part its colour."""
    pairs = [(nouns.get(part, part), name) for part, name in colours.items()]
    if form == "hex after":
        said = [f"{noun} ({code_of(name)})" for noun, name in pairs]
    elif form == "hex before":
        said = [f"{code_of(name)} {noun}" for noun, name in pairs]
    elif form == "tags":
        said = [f"{name} {noun}" for noun, name in pairs]
    elif form == "underscores":
        said = [f"{name} {noun}".replace(" ", "_") for noun, name in pairs]
    elif form == "prose":
        *most, last = [f"a {name} {noun}" for noun, name in pairs]
        return f"{lead.capitalize()} with {', '.join(most)} and {last}."
    elif form == "copula":
        said = [f"the {noun} {_is(noun)} {name}" for noun, name in pairs]
    elif form == "-haired":
        ending = {"hair": "haired", "eyes": "eyed", "lips": "lipped"}
        first = [f"{name}-{ending[noun]}" for noun, name in pairs if noun in ending]
        rest = [f"{name} {noun}" for noun, name in pairs if noun not in ending]
        if not first:  # nothing of a sprite has hair
            return f"{lead}, " + ", ".join(f"{name}-coloured {noun}" for noun, name in pairs)
        return f"a {', '.join(first)} person, " + ", ".join(rest)
    else:
        ways = ("{n} ({c})", "{w} {n}", "{n}: {c}", "the {n} {i} {w}", "{c} {n}", "{w}_{n}")
        said = [
            ways[at % len(ways)].format(n=noun, c=code_of(name), w=name, i=_is(noun))
            for at, (noun, name) in enumerate(pairs)
        ]
    return f"{lead}, " + ", ".join(said)


def _is(noun: str) -> str:
    return "are" if noun.endswith("s") else "is"


def rows_of(shown: Picture, text: str) -> list[dict[str, object]]:
    """Return the verdicts of a picture."""
    prompt = Prompt("p", text, parse_caption(text))
    details = PaletteScorer().score(shown, ScoreContext(prompt, (SIZE, SIZE)))[0].details or {}
    return [row for row in details.get("attributes", []) if "right" in row]


class Pairs:
    """Right and wrong pictures of one form, the right one the wrong one's baseline."""

    def __init__(self) -> None:
        self.right: list[float] = []
        self.wrong: list[float] = []
        self.judged = self.asked = 0

    def add(self, right: Picture, wrong: Picture, text: str) -> None:
        """Judge one pair of pictures."""
        baseline, other = rows_of(right, text), rows_of(wrong, text)
        self.right.append(share_right(baseline, baseline) or 0.0)
        self.wrong.append(share_right(other, baseline) or 0.0)
        self.judged += sum(row["right"] is not None for row in [*baseline, *other])
        self.asked += len(baseline) + len(other)

    def row(self) -> dict[str, float]:
        """Return AUC and share judged."""
        return {
            "auc": round(auc(self.right, self.wrong), 4),
            "judged": round(self.judged / self.asked, 3),
        }


SPRITES = {
    "potion": {"potion": [(6, 11, 18, 21), (8, 9, 16, 22)], "cork": [(10, 4, 14, 7)],
               "label": [(9, 14, 15, 17)], "background": []},
    "chest": {"chest": [(3, 9, 21, 20)], "band": [(3, 13, 21, 14)], "lock": [(10, 12, 14, 16)],
              "background": []},
    "sword": {"blade": [(11, 2, 13, 15)], "guard": [(7, 15, 17, 17)], "handle": [(11, 17, 13, 22)],
              "background": []},
    "mushroom": {"stalk": [(10, 13, 14, 21)], "mushroom": [(4, 6, 20, 13)],
                 "dots": [(7, 8, 9, 10), (14, 7, 17, 9)], "background": []},
    "shield": {"shield": [(5, 4, 19, 18), (8, 18, 16, 21)],
               "cross": [(11, 6, 13, 18), (7, 10, 17, 12)], "background": []},
}  # fmt: skip
"""Sprites of 24x24 cells: parts as boxes (left, top, right, bottom), back to front."""


def draw_sprite(
    parts: Mapping[str, list[tuple[int, int, int, int]]], colours: Colours
) -> np.ndarray:
    """Return a sprite's cells."""
    cells = np.empty((SIZE, SIZE, 3), np.uint8)
    cells[:] = to_rgb(code_of(colours["background"]))
    for part, boxes in parts.items():
        for left, top, right, bottom in boxes:
            cells[top:bottom, left:right] = to_rgb(code_of(colours[part]))
    return cells


def auc(right: list[float], wrong: list[float]) -> float:
    """Return how often a right picture scores above a wrong one, ties half."""
    r, w = np.array(right)[:, None], np.array(wrong)[None]
    return float(((r > w) + 0.5 * (r == w)).mean())


def portraits(form: str, pairs: int) -> dict[str, float]:
    """Return AUC and share judged of one form on portraits."""
    found = Pairs()
    for seed in range(5001, 5001 + pairs):
        portrait = scene(seed)
        visible = {
            part for part in PARTS if part in portrait.masks and portrait.masks[part].sum() >= 2
        }
        if portrait.genes.hair[0] == "bald" or (
            "hair" in visible and portrait.masks["hair"].sum() < 20
        ):
            visible.discard("hair")
        if portrait.genes.eyewear[0] != "none":
            visible.discard("eyes")
        rng = np.random.default_rng([seed, FORMS.index(form)])
        parts = tuple(part for part in PARTS if part in visible)
        colours = pick_colours(rng, parts, to_hex(portrait.colours["skin"]))
        nouns = {**NOUNS, "headwear": _headwear(portrait)}
        text = caption(form, colours, nouns, "pixel art portrait of a person")
        wrong = draw_portrait(portrait, exchanged(rng, colours))
        found.add(picture(draw_portrait(portrait, colours)), picture(wrong), text)
    return found.row()


def _headwear(portrait: Scene) -> str:
    return portrait.genes.headwear[0].split()[-1]


def sprites(form: str, pairs: int) -> dict[str, float]:
    """Return AUC and share judged of one form on sprites."""
    found = Pairs()
    for at in range(pairs):
        rng = np.random.default_rng([at, FORMS.index(form), 1])
        name = list(SPRITES)[at % len(SPRITES)]
        parts = SPRITES[name]
        colours = pick_colours(rng, tuple(parts), "#123456")
        text = caption(form, colours, {}, "pixel art sprite")
        wrong = draw_sprite(parts, exchanged(rng, colours))
        found.add(picture(draw_sprite(parts, colours)), picture(wrong), text)
    return found.row()


def headwear(count: int) -> dict[str, float]:
    """Return how often headwear is called right where it is, wrong where missing or recoloured."""
    told = {"there": 0, "missing": 0, "another colour": 0}
    seed = done = 0
    while done < count:
        seed += 1
        portrait = scene(9000 + seed)
        if portrait.genes.headwear[0] == "none":
            continue
        done += 1
        rng = np.random.default_rng(seed)
        parts = tuple(p for p in ("hair", "clothing", "headwear", "background"))
        colours = pick_colours(rng, parts, to_hex(portrait.colours["skin"]))
        noun = _headwear(portrait)
        text = f"portrait of a person, {colours['headwear']} {noun}"
        prompt = Prompt("p", text, parse_caption(text))
        other = next(
            n for n in BASIC if n not in colours.values() and far_apart(n, colours["headwear"])
        )
        for case, cells in (
            ("there", draw_portrait(portrait, colours)),
            ("missing", draw_portrait(portrait, colours, bare=True)),
            ("another colour", draw_portrait(portrait, {**colours, "headwear": other})),
        ):
            details = (
                PaletteScorer().score(picture(cells), ScoreContext(prompt, (SIZE, SIZE)))[0].details
            )
            right = next(r["right"] for r in details["attributes"] if r["attribute"] == "accessory")
            told[case] += right is (case == "there")
    return {case: round(n / count, 3) for case, n in told.items()}


def by_eye(data: Path) -> dict[str, dict[str, int]]:
    """Return agreement with what a person saw on the real renders."""
    labels = json.loads((HERE / "attributes_by_eye.json").read_text(encoding="utf-8"))
    lines = (data / "renders.jsonl").read_text(encoding="utf-8").splitlines()
    rows = {row["image"]: row for row in map(json.loads, lines)}
    found: dict[str, dict[str, int]] = {}
    for group, attribute in (("brown_eyes", "eyes"), ("eyes", "eyes"), ("headwear", "accessory")):
        count = {"labelled": 0, "agree": 0, "not judged": 0}
        for image, label in labels[group].items():
            if label is None:
                continue
            prompt = Prompt("p", rows[image]["prompt"], parse_caption(rows[image]["prompt"]))
            scores = PaletteScorer().score(
                open_picture(data / image), ScoreContext(prompt, (24, 24))
            )
            shown = next(r for r in scores[0].details["attributes"] if r["attribute"] == attribute)
            count["labelled"] += 1
            count["agree"] += shown["right"] is label
            count["not judged"] += shown["right"] is None
        found[group] = count
    return found


def training(data: Path) -> dict[str, str]:
    """Return the share called right on the real training pairs, by attribute: the zones' check."""
    right: dict[str, list[bool]] = {}
    for file in sorted((data / "training").glob("*.png")):
        text = file.with_suffix(".txt").read_text(encoding="utf-8").splitlines()[0]
        prompt = Prompt("p", text, parse_caption(text))
        details = (
            PaletteScorer().score(open_picture(file), ScoreContext(prompt, (24, 24)))[0].details
        )
        for row in details["attributes"]:
            if row.get("right") is not None and row["attribute"] != "other":
                words = "code" if row["wanted"].startswith("#") else "words"
                right.setdefault(f"{row['attribute']}, {words}", []).append(row["right"])
    return {k: f"{np.mean(v):.2f} of {len(v)}" for k, v in sorted(right.items())}


def main() -> int:
    """Print and write the tables; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--data", type=Path, default=DATA)
    args = parser.parse_args()
    result: dict[str, object] = {"pairs": args.pairs, "portraits": {}, "sprites": {}}
    for kind, measure in (("portraits", portraits), ("sprites", sprites)):
        for form in FORMS:
            row = measure(form, args.pairs)
            result[kind][form] = row  # type: ignore[index]
            print(
                f"{kind:<9} {form:<12} AUC {row['auc']:.4f}, judged {row['judged']:.1%}", flush=True
            )
    result["headwear"] = headwear(args.pairs)
    print("headwear told:", result["headwear"], flush=True)
    if (args.data / "renders.jsonl").is_file():
        result["by eye"] = by_eye(args.data)
        result["training pairs called right"] = training(args.data)
        print("by eye:", result["by eye"])
        print("training pairs called right:", result["training pairs called right"])
    out = HERE / "results" / "attributes.json"
    if args.pairs >= 100:
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
