"""Render checkpoints with fixed prompts, score the images, and gate them against a baseline.

CHECKPOINT is a LoRA file, a glob, or a folder of epochs. With --baseline no more images are
rendered than the verdict needs; without one every prompt and seed is rendered, for freezing a
baseline or choosing an epoch. Nothing is rendered twice: an interrupted run goes on where it
stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.commands.options import add_options, check_out, names_of, request_of
from loraeval.errors import UsageError
from loraeval.outcome import PASS, exit_code

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.evaluation.choose_epoch import SeriesRun
    from loraeval.evaluation.gate_run import GateSetup
    from loraeval.evaluation.request import Request


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval run``."""
    parser.add_argument(
        "checkpoints", nargs="+", metavar="CHECKPOINT", help="LoRA file, glob or folder of epochs"
    )
    parser.add_argument(
        "--base-renders",
        action="store_true",
        help="also render every pair at LoRA scale 0 and score the drift from it",
    )
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Render, score and, with a baseline, gate; return the worst checkpoint's exit code."""
    from loraeval.checkpoints.header import read_header
    from loraeval.evaluation.checkpoints import doubts, expand_all
    from loraeval.evaluation.panels import say
    from loraeval.evaluation.setup import baseline_of

    request = request_of(args)
    check_out(request.out_folder, folder=True)
    baseline = baseline_of(request)
    found = request.renders is not None
    if baseline is None:
        gating = ("renders", "choose-epoch", *names_of("how sure it must be"))
        request.refuse(gating, "there is no baseline to gate against; give --baseline NAME")
    elif args.base_renders:
        raise UsageError("--base-renders: only without --baseline, where everything is rendered")
    if found:
        request.refuse(("choose-epoch",), "epochs are chosen while they are rendered")
    paths = expand_all(request.checkpoints, Path.cwd(), found=found)
    for path in paths.values():
        if not found or path.exists():
            read_header(path)  # a damaged file is refused before the first image
    if not found:
        for words in doubts(request.checkpoints, Path.cwd()):
            say(words)
    if baseline is not None:
        return _gate(request, paths, baseline)
    return _render_all(request, paths, bases=args.base_renders)


def _gate(request: Request, paths: dict[str, Path], baseline: Baseline) -> int:
    from loraeval.evaluation.gate_run import gate_checkpoint
    from loraeval.evaluation.reporting import report_folder, training_differences
    from loraeval.evaluation.run_folder import write_runs
    from loraeval.evaluation.setup import gate_setup
    from loraeval.gate.text import verdict_table

    out, series = request.out_folder, None
    with gate_setup(request, baseline, quiet=False) as setup:
        if request.choose_epoch:
            shared = setup.options.alpha / len(paths)  # the best of many looks better than it is
            paths, series = _choose(paths, setup)
            setup = replace(setup, options=replace(setup.options, alpha=shared))
        runs = [gate_checkpoint(path, setup, name) for name, path in paths.items()]
        files = {item.checkpoint: path for item, path in zip(runs, paths.values(), strict=True)}
        if out is not None:
            raced = () if series is None else zip(series.renders, series.rows, strict=True)
            chosen = None if series is None else series.selection
            write_runs(
                out,
                runs,
                baseline,
                request=request,
                options=setup.options,
                files=files,
                raced=raced,
                selection=chosen,
            )
    print(verdict_table([gated.verdict for gated in runs]))
    for gated in runs:
        if gated.verdict.outcome == "fail":
            for sentence in training_differences(baseline, files[gated.checkpoint]):
                print(f"  trained otherwise: {sentence}")
    if out is not None:
        page = report_folder(out)
        if (out / "epochs.png").exists():
            print(f"chart: {out / 'epochs.png'}")
        print(f"report: {page}")
    return exit_code([gated.verdict for gated in runs], request.inconclusive)


def _choose(paths: dict[str, Path], setup: GateSetup) -> tuple[dict[str, Path], SeriesRun]:
    """Print which epoch to keep and why; return its file alone, and what the choice rests on."""
    from loraeval.evaluation.choose_epoch import choose_epoch, epochs_of

    epochs = epochs_of(paths)
    series = choose_epoch(epochs, setup)
    print(series.selection.reason)
    for epoch, reason in sorted(series.dropped.items()):
        print(f"  epoch {epoch} dropped early: {reason}")
    print(f"  {len(series.rows)} images, {series.saved:.0%} of the full grid not rendered")
    if series.selection.epoch is None:
        return paths, series
    path = epochs[series.selection.epoch]
    return {path.name: path}, series


def _render_all(request: Request, paths: dict[str, Path], *, bases: bool) -> int:
    from loraeval.evaluation import setup
    from loraeval.evaluation.full_run import render_and_score
    from loraeval.evaluation.panels import build_panel, say
    from loraeval.evaluation.reporting import charts_of
    from loraeval.outside.files import write_text_atomically
    from loraeval.report.summary import summary_table

    setup.check_complete(request, None)
    recipe, prompts = setup.choose_recipe(request, None), setup.choose_prompts(request, None)
    panel = build_panel(setup.panel_choice(request), None, quiet=False)
    out = request.out_folder
    with setup.make_renderer(request, recipe) as renderer:
        rows = render_and_score(
            renderer, panel, list(paths.values()), prompts, out, bases=bases, request=request
        )
    print(summary_table(rows))
    if out is None:
        say(f"{len(rows)} images in {request.store_folder}; --out DIR writes scores and a report")
        return PASS
    if panel.reference is not None:  # for: loraeval baseline freeze --reference
        write_text_atomically(out / "reference.json", panel.reference.to_json() + "\n")
    charts = charts_of(out, rows, None)
    if charts is not None:
        say(f"chart: {charts[0]}")
    say(f"{len(rows)} images, scores in {out / 'scores.jsonl'}")
    return PASS
