"""How captions are read against answers that a person wrote: false claims, lines wholly right.

    python benchmarks/captions.py [FILE.jsonl …] [--shared ../shared/cases/captions.txt] [--wrong]

A line of an answers' file is a JSON object: ``text`` (or ``digest``, the first 16 digits of its
SHA-256, where the text stands in the file given as ``--shared``), ``attributes``, a list of
``[attribute, colour]`` that the caption asks for, ``may``, what may be claimed besides, and
``palette`` where it lists one. A colour is a code or words; ``red|blue`` are alternatives, all of
which the reading must offer. A line has a false claim where the reading gives one of the seven
attributes a colour that is in neither list; further nouns under their own name are none. It is
wholly right where besides every asked colour and the palette were read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from loraeval.prompts.caption import parse_caption
from loraeval.prompts.caption_json import caption_json
from loraeval.prompts.colour_names import canonical_colour

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared" / "cases" / "captions.txt"
SEVEN = frozenset(["background", "hair", "eyes", "lips", "skin", "clothing", "accessory"])


def digest(text: str) -> str:
    """Return the first 16 hex digits of the SHA-256 of a caption."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def normal(colour: str) -> str:
    """Return a colour as compared: a code, or canonical words without order or hyphens."""
    if colour.startswith("#"):
        return colour.lower()
    words = colour.lower().replace("-", " ").split()
    return " ".join(sorted(canonical_colour(word) or word for word in words))


def judge(answer: dict[str, Any], text: str) -> tuple[list[str], list[str]]:
    """Return the false claims of a caption's reading, and what it did not find."""
    read = caption_json(parse_caption(text))
    claims = {
        (row["attribute"], normal(row["hex"] or row["name"]))
        for row in read["attributes"]
        if row["attribute"] in SEVEN
    }
    asked = {
        (attribute, normal(one))
        for attribute, colour in answer["attributes"]
        for one in colour.split("|")
    }
    may = {(attribute, normal(colour)) for attribute, colour in answer.get("may", [])}
    missing = [f"{attribute} {colour}" for attribute, colour in sorted(asked - claims)]
    wanted_palette = [code.lower() for code in answer.get("palette", [])]
    if wanted_palette and read["palette"] != wanted_palette:
        missing.append(f"palette {' '.join(wanted_palette)}")
    return [f"{a} {c}" for a, c in sorted(claims - asked - may)], missing


def texts_of(shared: Path) -> dict[str, str]:
    """Return the captions of a file ``TEXT => answer`` by digest; none where it is absent."""
    if not shared.is_file():
        return {}
    lines = shared.read_text(encoding="utf-8").splitlines()
    texts = [line.partition(" => ")[0] for line in lines if " => " in line]
    return {digest(text): text for text in texts}


def measure(path: Path, texts: dict[str, str], *, show: bool) -> dict[str, Any] | None:
    """Return the counts of one answers' file; None where its captions are not at hand."""
    count = false = right = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        answer = json.loads(line)
        text = answer["text"] if "text" in answer else texts.get(answer["digest"])
        if text is None:
            continue
        claims, missing = judge(answer, text)
        count += 1
        false += bool(claims)
        right += not claims and not missing
        if show and (claims or missing):
            print(f"  {text!r}\n    claimed {claims}, not found {missing}")
    if not count:
        return None
    return {"captions": count, "with a false claim": false, "wholly right": right}


def main() -> int:
    """Print and write the table; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("answers", nargs="*", type=Path)
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--wrong", action="store_true", help="print the lines that are not right")
    args = parser.parse_args()
    files = args.answers or [HERE / "captions.jsonl", HERE / "captions_field.jsonl"]
    texts = texts_of(args.shared)
    rows: dict[str, Any] = {}
    for path in files:
        row = measure(path, texts, show=args.wrong)
        if row is None:
            print(f"{path.name}: its captions are not here; give --shared FILE")
            continue
        rows[path.stem] = row
        share = row["wholly right"] / row["captions"]
        print(
            f"{path.name}: {row['captions']} captions, {row['with a false claim']} with a false "
            f"claim, {row['wholly right']} wholly right ({share:.1%})"
        )
    if not args.answers:
        out = HERE / "results" / "captions.json"
        out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
