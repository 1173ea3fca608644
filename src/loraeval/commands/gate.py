"""Compare the scores of one or more checkpoints with a baseline.

For every checkpoint (run and epoch) in the scores file and every gated scorer: is it worse than
the baseline by more than the margin? PASS needs evidence that it is not, on every scorer; FAIL
evidence that it is, on one; anything else is undecided. docs/gate.md explains it on one page.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.commands.options import add_options, check_out, names_of, request_of
from loraeval.errors import UsageError
from loraeval.evaluation.panels import say
from loraeval.outcome import exit_code
from loraeval.outside.runner import quoted_json

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.evaluation.request import Request
    from loraeval.gate import GateOptions
    from loraeval.records import ScoreRow, Verdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--scores", required=True, type=Path, metavar="FILE", help="scores file")
    parser.add_argument(
        "--select", metavar="CONDITIONS", help="e.g. 'run=SD15_PERFECT,epoch=7-9' (default: all)"
    )
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help="profile the scores were made by"
    )
    add_options(parser, "baseline", "out", *names_of("how sure it must be"), required=("baseline",))
    parser.add_argument(
        "--again",
        action="store_true",
        help="gate the scores of a run that keeps its verdict, by the test for a fixed set",
    )
    parser.add_argument(
        "--margin",
        action="append",
        default=[],
        metavar="METRIC=LOSS",
        help="replace the baseline's margin, e.g. grid=0.05 (repeatable)",
    )
    parser.add_argument(
        "--prompts", metavar="SET", help="the prompts that were meant to be shown, if not all"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")


def run(args: argparse.Namespace) -> int:
    """Gate, print, and return the exit code."""
    from loraeval.baselines import parse_selection, read_profile, select_rows
    from loraeval.evaluation.setup import baseline_of, gate_options
    from loraeval.gate import gate_rows
    from loraeval.gate.text import verdict_table
    from loraeval.prompts.sets import read_prompts
    from loraeval.report.series import in_epoch_order
    from loraeval.scores_file import read_scores

    request = request_of(args)
    options = replace(gate_options(request), margins=dict(_margin(text) for text in args.margin))
    baseline = baseline_of(request)
    assert baseline is not None  # argparse requires it
    unknown = sorted(set(options.margins) - (set(baseline.profile.gated) - {"health"}))
    if unknown:
        raise UsageError(
            f"--margin: {unknown[0]} has no margin in {baseline.name}, "
            f"which gates {', '.join(baseline.profile.gated)}"
        )
    kept = args.scores.parent / "verdicts.json"
    if kept.is_file() and not args.again:
        raise UsageError(
            f"{args.scores}: the run beside it keeps its verdict, which loraeval report "
            f"{args.scores.parent} shows; give --again to gate its images again, by the test for a "
            "fixed set of images"
        )
    check_out(request.out_folder, folder=True)
    rows = read_scores(args.scores)
    if args.select:
        found = select_rows(rows, parse_selection(args.select))
        if not found:
            runs = ", ".join(sorted({row.run for row in rows}))
            raise UsageError(f"--select '{args.select}' matches no row; the runs there are: {runs}")
        rows = found
    profile = read_profile(args.profile) if args.profile else None
    declared = read_prompts(args.prompts).prompts if args.prompts else ()
    verdicts = gate_rows(
        baseline,
        in_epoch_order(rows),
        options,
        profile=profile,
        declared=[prompt.id for prompt in declared] or None,
        tags={prompt.id: prompt.tags for prompt in declared},
    )
    code = exit_code(verdicts, request.inconclusive)
    if request.out_folder is not None:
        _write(request, args.scores, rows, verdicts, baseline, options)
    if args.json:
        print(quoted_json(json.dumps(_report(verdicts, code), indent=1, allow_nan=False)))
    else:
        print(verdict_table(verdicts))
    return code


def _write(
    request: Request,
    scores: Path,
    rows: Sequence[ScoreRow],
    verdicts: Sequence[Verdict],
    baseline: Baseline,
    options: GateOptions,
) -> None:
    """Write the run's folder and its report; images count where they lie beside the scores."""
    from loraeval.evaluation.reporting import report_folder
    from loraeval.evaluation.run_folder import known_renders, write_gate

    out = request.out_folder
    assert out is not None
    renders = known_renders(scores.parent, rows)
    pairs = zip(renders, rows, strict=True)
    write_gate(out, verdicts, pairs, baseline, request=request, options=options)
    say(f"report: {report_folder(out)}")


def _margin(text: str) -> tuple[str, float]:
    metric, equals, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not equals or not metric or not math.isfinite(value):
        raise UsageError(f"--margin: expected METRIC=LOSS like grid=0.05, found {text!r}")
    return metric.strip(), value


def _report(verdicts: Sequence[Verdict], code: int) -> dict[str, Any]:
    from loraeval.evaluation.stored_run import verdict_to_json

    return {"exit_code": code, "verdicts": [_finite(verdict_to_json(v)) for v in verdicts]}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
