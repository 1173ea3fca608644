"""Score images that exist already.

SOURCE is a renders manifest (JSON Lines), a folder of images with caption files, a plain folder of
images, or a trainer's sample folder. Every image gives one line of the scores file; what cannot be
measured is null there, with the reason.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.commands.options import add_options, check_out, names_of, request_of

if TYPE_CHECKING:
    from loraeval.scorers.panel import Panel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval score``."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="manifest or folder of images")
    parser.add_argument(
        "--prompts", metavar="SET", help="prompt set for images that carry no caption"
    )
    parser.add_argument(
        "--out",
        dest="file",
        type=Path,
        metavar="FILE",
        help="scores file (default: standard output)",
    )
    parser.add_argument(
        "--baseline", metavar="NAME", help="take lattice, encoder and reference from this baseline"
    )
    parser.add_argument(
        "--save-reference",
        type=Path,
        metavar="FILE",
        help="write the features of --reference here, for: loraeval baseline freeze --reference",
    )
    add_options(parser, *names_of("what is measured"))


def run(args: argparse.Namespace) -> int:
    """Score SOURCE; return 0, or raise a ``LoraevalError``."""
    from loraeval.evaluation.panels import build_panel, say, score_renders
    from loraeval.evaluation.set_measures import SetCollector, set_table, sets_to_json
    from loraeval.evaluation.setup import baseline_of, panel_choice
    from loraeval.outside.files import write_text_atomically
    from loraeval.prompts.sets import read_prompts
    from loraeval.report.summary import summary_table
    from loraeval.scores_file import row_to_json, write_scores
    from loraeval.sources import find_renders, problem_words

    check_out(args.file, folder=False)
    request = request_of(args)
    prompts = read_prompts(args.prompts) if args.prompts else None
    renders = find_renders(args.source, prompts)
    for words in [*(prompts.notes if prompts else ()), *problem_words(renders)]:
        say(words)
    panel = build_panel(panel_choice(request), baseline_of(request), quiet=False)
    if args.save_reference is not None:
        _save_reference(args.save_reference, panel)
    sets = SetCollector(panel)
    rows = list(score_renders(panel, renders, sets.seen))
    if args.file is None:
        for row in rows:
            print(row_to_json(row))
        return 0
    write_scores(args.file, rows)
    print(summary_table(rows))
    if measured := sets.scores():
        print("\n" + set_table(measured))
        beside = args.file.with_suffix(".sets.json")
        write_text_atomically(beside, json.dumps(sets_to_json(measured), indent=1) + "\n")
    say(f"{len(rows)} images scored, written to {args.file}")
    return 0


def _save_reference(path: Path, panel: Panel) -> None:
    from loraeval.errors import UsageError
    from loraeval.outside.files import write_text_atomically

    if panel.reference is None:
        raise UsageError(
            "--save-reference: expected reference images and an encoder, found none; "
            "give --reference DIR"
        )
    write_text_atomically(path, panel.reference.to_json() + "\n")
