"""Render checkpoints with fixed prompts, score the images, and gate them against a baseline.

CHECKPOINT is a LoRA file, a glob, or a folder of epochs. With --baseline no more images are
rendered than the verdict needs; without one every prompt and seed is rendered, for freezing a
baseline or choosing an epoch. Nothing is rendered twice: an interrupted run goes on where it
stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.commands.options import (
    add_gate_arguments,
    add_panel_arguments,
    add_render_arguments,
    check_out,
    panel_choice,
    render_choice,
)
from loraeval.outcome import exit_code

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.evaluation.gate_run import GateSetup


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval run``."""
    parser.add_argument(
        "checkpoints", nargs="+", metavar="CHECKPOINT", help="LoRA file, glob or folder of epochs"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where results go")
    parser.add_argument("--baseline", metavar="NAME", help="gate against this baseline")
    parser.add_argument(
        "--base-renders",
        action="store_true",
        help="also render every pair at LoRA scale 0 and score the drift from it",
    )
    parser.add_argument(
        "--choose-epoch",
        action="store_true",
        help="render one run's epochs side by side, drop hopeless ones early, gate the best",
    )
    add_render_arguments(parser)
    add_panel_arguments(parser)
    add_gate_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Render, score and, with a baseline, gate; return the worst checkpoint's exit code."""
    from loraeval.checkpoints.header import read_header
    from loraeval.commands.options import optional_baseline
    from loraeval.evaluation.checkpoints import doubts, expand_all
    from loraeval.evaluation.panels import say

    check_out(args.out, folder=True)
    baseline = optional_baseline(args.baseline)
    paths = expand_all(args.checkpoints, Path.cwd())
    for path in paths.values():
        read_header(path)  # a damaged file is refused before the first image
    for words in doubts(args.checkpoints, Path.cwd()):
        say(words)
    return _gate(args, paths, baseline) if baseline is not None else _render_all(args, paths)


def _gate(args: argparse.Namespace, paths: dict[str, Path], baseline: Baseline) -> int:
    from loraeval.evaluation.gate_run import GateSetup, gate_checkpoint
    from loraeval.evaluation.panels import build_panel
    from loraeval.evaluation.reporting import charts_of, training_differences, write_run_report
    from loraeval.evaluation.setup import (
        choose_prompts,
        choose_recipe,
        gate_options,
        make_renderer,
    )
    from loraeval.gate.text import verdict_table

    choice = render_choice(args)
    recipe = choose_recipe(choice, baseline)
    prompts = choose_prompts(choice, baseline)
    panel = build_panel(panel_choice(args), baseline, quiet=False)
    options = gate_options(
        alpha=args.alpha, power=args.power, max_images=args.max_images, min_images=args.min_images
    )
    with make_renderer(choice, recipe) as renderer:
        setup = GateSetup(baseline, panel, options, renderer=renderer, prompts=prompts)
        if args.choose_epoch:
            paths = _choose(paths, setup)
        runs = [gate_checkpoint(path, setup, name) for name, path in paths.items()]
        recipe = renderer.recipe
    files = {item.checkpoint: path for item, path in zip(runs, paths.values(), strict=True)}
    rows = [row for gated in runs for row in gated.rows]
    page = write_run_report(
        args.out, runs, baseline, checkpoints=files, prompts=prompts, recipe=recipe
    )
    charts = charts_of(args.out, rows, baseline)
    print(verdict_table([gated.verdict for gated in runs]))
    for gated in runs:
        if gated.verdict.outcome == "fail":
            for sentence in training_differences(baseline, files[gated.checkpoint]):
                print(f"  trained otherwise: {sentence}")
    if charts is not None:
        print(f"chart: {charts[0]}")
    print(f"report: {page}")
    return exit_code([gated.verdict for gated in runs], args.inconclusive)


def _choose(paths: dict[str, Path], setup: GateSetup) -> dict[str, Path]:
    """Print which epoch to keep and why; return its file alone."""
    from loraeval.evaluation.choose_epoch import choose_epoch, epochs_of

    epochs = epochs_of(paths)
    series = choose_epoch(epochs, setup)
    print(series.selection.reason)
    for epoch, reason in sorted(series.dropped.items()):
        print(f"  epoch {epoch} dropped early: {reason}")
    print(f"  {len(series.rows)} images, {series.saved:.0%} of the full grid not rendered")
    if series.selection.epoch is None:
        return paths
    path = epochs[series.selection.epoch]
    return {path.name: path}


def _render_all(args: argparse.Namespace, paths: dict[str, Path]) -> int:
    from loraeval.evaluation.full_run import render_and_score
    from loraeval.evaluation.panels import build_panel, say
    from loraeval.evaluation.reporting import charts_of
    from loraeval.evaluation.setup import choose_prompts, choose_recipe, make_renderer
    from loraeval.outside.files import write_text_atomically
    from loraeval.report.summary import summary_table

    choice = render_choice(args)
    recipe = choose_recipe(choice, None)
    prompts = choose_prompts(choice, None)
    panel = build_panel(panel_choice(args), None, quiet=False)
    with make_renderer(choice, recipe) as renderer:
        rows = render_and_score(
            renderer, panel, list(paths.values()), prompts, args.out, bases=args.base_renders
        )
    if panel.reference is not None:  # for: loraeval baseline freeze --reference
        write_text_atomically(args.out / "reference.json", panel.reference.to_json() + "\n")
    print(summary_table(rows))
    charts = charts_of(args.out, rows, None)
    if charts is not None:
        say(f"chart: {charts[0]}")
    say(f"{len(rows)} images, scores in {args.out / 'scores.jsonl'}")
    return 0
