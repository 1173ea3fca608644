"""Print how a caption is read: which attribute and noun each colour belongs to, and what is left.

One caption an argument; "-" reads captions from standard input, one a line. English only.
"""

from __future__ import annotations

import argparse
import json
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval caption``."""
    parser.add_argument("text", nargs="+", metavar="TEXT", help='a caption, or "-"')
    parser.add_argument("--json", action="store_true", help="print JSON Lines, a line a caption")


def run(args: argparse.Namespace) -> int:
    """Print each caption's reading; return 0."""
    from loraeval.outside.text import clean
    from loraeval.prompts.caption import parse_caption
    from loraeval.prompts.caption_json import caption_json

    texts: list[str] = []
    for text in args.text:
        texts += sys.stdin.read().splitlines() if text == "-" else [text]
    for text in texts:
        read = caption_json(parse_caption(text))
        if args.json:
            print(json.dumps(read, ensure_ascii=True))
            continue
        print(clean(text, 300))
        rows = [
            (row["attribute"], row["noun"], row["hex"] or row["name"]) for row in read["attributes"]
        ]
        for attribute, noun, colour in rows:
            print(f"  {attribute:<11} {clean(noun, 40):<16} {clean(colour, 60)}")
        for code in read["palette"]:
            print(f"  {'palette':<28} {code}")
        for phrase in read["unassigned"]:
            print(f"  {'not assigned':<28} {clean(phrase, 120)}")
        if not (rows or read["palette"] or read["unassigned"]):
            print("  names no colour")
    return 0
