"""Compare two checkpoints or runs with each other, without a baseline.

A metric and a prompt at a time: is A better, worse, or cannot it be told? A and B are conditions
on a scores file, as for --select, e.g. 'run=mine,epoch=7' and 'run=mine,epoch=9'.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from loraeval.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("first", metavar="A", help="conditions, e.g. 'run=mine,epoch=7'")
    parser.add_argument("second", metavar="B", help="conditions, e.g. 'run=mine,epoch=9'")
    parser.add_argument("--scores", required=True, type=Path, metavar="FILE", help="scores file")
    parser.add_argument(
        "--scores-b", type=Path, metavar="FILE", help="scores file of B (default: the same)"
    )
    parser.add_argument(
        "--alpha", type=float, default=0.05, metavar="RATE", help="error rate (default 0.05)"
    )
    parser.add_argument(
        "--prompts", action="store_true", help="also say it of prompts that cannot be told apart"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of sentences")


def run(args: argparse.Namespace) -> int:
    """Compare, print, and return 0: a difference is an answer and no failure."""
    from loraeval.baselines import parse_selection, select_rows
    from loraeval.gate.compare import compare_rows, sentence
    from loraeval.scores_file import read_scores

    if not 0 < args.alpha < 0.5:
        raise UsageError(f"--alpha: expected a rate between 0 and 0.5, got {args.alpha!r}")
    sides = []
    for conditions, path in (
        (args.first, args.scores),
        (args.second, args.scores_b or args.scores),
    ):
        rows = read_scores(path)
        found = select_rows(rows, parse_selection(conditions))
        if not found:
            runs = ", ".join(sorted({row.run for row in rows}))
            raise UsageError(f"{conditions!r} matches no row of {path}; the runs there are: {runs}")
        sides.append(found)
    differences = compare_rows(sides[0], sides[1], args.alpha)
    if args.json:
        facts = [{**asdict(item), "answer": item.answer} for item in differences]
        print(json.dumps(facts, indent=1, allow_nan=False))
        return 0
    for item in differences:
        if item.prompt is None:
            print(sentence(item, args.first, args.second))
        elif args.prompts or item.answer != "cannot be told":
            print(f"  {sentence(item, args.first, args.second)}")
    return 0
