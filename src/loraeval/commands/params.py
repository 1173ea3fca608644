"""Compare the training parameters of runs: what changed, what of it can matter, what to try.

A run is a LoRA file, a folder of epochs, a script (.sh, .md), a TOML or GUI JSON configuration, a
facts file, a parameters.json or a baseline's folder. The first run is the reference. With one run
its parameters are printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.errors import UsageError
from loraeval.outside.runner import quoted_json

if TYPE_CHECKING:
    from loraeval.checkpoints.parameters import Parameters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval params``."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="two or more runs; one is printed")
    parser.add_argument(
        "--script",
        action="append",
        default=[],
        metavar="[N=]PATH",
        help="script of run N (1 is the first), for what its file does not store",
    )
    parser.add_argument(
        "--captions",
        action="append",
        default=[],
        metavar="[N=]DIR",
        help="caption folder of run N: counts tokens against max_token_length",
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="print the single-change runs that would separate the causes",
    )
    parser.add_argument(
        "--tflops",
        type=float,
        metavar="X",
        help="sustained TFLOP/s of the card to plan for (default 60)",
    )
    parser.add_argument("--format", choices=("text", "markdown", "json", "html"), default="text")
    parser.add_argument(
        "--json", action="store_const", const="json", dest="format", help="short for --format json"
    )
    parser.add_argument("--all", action="store_true", help="names, logs and provenance too")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there, whole or not at all")


def run(args: argparse.Namespace) -> int:
    """Print the comparison, or the parameters of a single run; return 0."""
    from loraeval.checkpoints.compare import compare_parameters
    from loraeval.checkpoints.parameters import parameters_json, training_parameters
    from loraeval.commands.options import check_out

    check_out(args.out, folder=False)
    scripts = _numbered(args.script, len(args.runs), "--script")
    captions = _numbered(args.captions, len(args.runs), "--captions")
    runs = [training_parameters(run, scripts.get(i)) for i, run in enumerate(args.runs)]
    runs = _distinct([_with_captions(run, captions.get(i)) for i, run in enumerate(runs)])
    if len(runs) == 1:
        if args.plan:
            raise UsageError("--plan needs two runs: the good one first, then the other")
        if args.format == "json":
            text = parameters_json(runs[0])
        else:
            from loraeval.commands.inspect import parameter_lines

            text = "\n".join(parameter_lines(runs[0], everything=args.all)).lstrip("\n") + "\n"
        return _write(text, args.out)
    return _write(_render(compare_parameters(runs), args), args.out)


def _render(comparison: object, args: argparse.Namespace) -> str:
    from loraeval.checkpoints import show
    from loraeval.checkpoints.compare import ParameterComparison
    from loraeval.checkpoints.plan import DEFAULT_TFLOPS, plan_experiments

    assert isinstance(comparison, ParameterComparison)
    tflops = DEFAULT_TFLOPS if args.tflops is None else args.tflops
    if not 0 < tflops < 1e6:
        raise UsageError(f"--tflops wants a positive number of TFLOP/s, got {args.tflops}")
    plan = plan_experiments(comparison, tflops=tflops) if args.plan else []
    if args.format == "json":
        return quoted_json(show.comparison_json(comparison, plan))
    if args.plan:
        return show.plan_text(plan)
    if args.format == "markdown":
        return show.parameters_markdown(comparison, everything=args.all)
    if args.format == "html":
        return show.parameters_html(comparison)
    return show.parameters_text(comparison, everything=args.all)


def _write(text: str, out: Path | None) -> int:
    if out is None:
        sys.stdout.write(text)
    else:
        from loraeval.outside.files import write_text_atomically

        write_text_atomically(out, text)
    return 0


def _numbered(words: Sequence[str], runs: int, option: str) -> dict[int, str]:
    """Return run position to path for ``N=PATH`` or, for the first run, ``PATH``."""
    found: dict[int, str] = {}
    for word in words:
        number, equals, path = word.partition("=")
        if not (equals and number.isdecimal() and len(number) < 4):
            number, path = "1", word
        if not 1 <= int(number) <= runs:
            raise UsageError(f"{option} {word}: there are {runs} runs, {number} is none of them")
        found[int(number) - 1] = path
    return found


def _with_captions(parameters: Parameters, folder: str | None) -> Parameters:
    if folder is None:
        return parameters
    from dataclasses import replace

    from loraeval.checkpoints.caption_tokens import caption_lengths

    return replace(parameters, values={**parameters.values, **caption_lengths(Path(folder))})


def _distinct(runs: Sequence[Parameters]) -> list[Parameters]:
    """Number runs that carry the same name, so that sentences tell them apart."""
    from dataclasses import replace

    names = [run.name for run in runs]
    return [
        run if names.count(run.name) == 1 else replace(run, name=f"{run.name} ({i})")
        for i, run in enumerate(runs, 1)
    ]
