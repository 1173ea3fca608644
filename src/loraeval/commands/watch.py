"""Gate each epoch as the trainer saves it, and say when to stop.

DIR is where the trainer saves. A file counts once it is whole (its header fits its size, and its
data are there) and has not changed since the last look; one written anew is gated anew. After every
epoch the report is written anew and the epoch to keep is named. The watch ends when the scores say
that further epochs no longer help (exit 0 if the recommended epoch of every run in DIR passes the
gate), so that a script can end the training then:

    loraeval watch output/ --baseline NAME --base-model PATH && kill $TRAINER
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
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
from loraeval.outcome import WRONG, exit_code

if TYPE_CHECKING:
    from loraeval.evaluation.gate_run import GateRun
    from loraeval.records import Checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval watch``."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the trainer saves")
    parser.add_argument("--baseline", required=True, metavar="NAME", help="gate against this")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the report's folder (default: reports/DIR's name)"
    )
    parser.add_argument(
        "--renders", type=Path, metavar="FILE", help="use these images instead of rendering"
    )
    parser.add_argument(
        "--patience",
        type=int,
        default=2,
        metavar="N",
        help="stop once N epochs after the recommended one did no better (default 2)",
    )
    parser.add_argument(
        "--poll", type=float, default=20.0, metavar="SECONDS", help="between looks (default 20)"
    )
    parser.add_argument(
        "--once", action="store_true", help="gate what is there now and leave (nightly jobs)"
    )
    add_render_arguments(parser)
    add_panel_arguments(parser)
    add_gate_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Watch until the scores say stop; return the exit code of the epoch to keep."""
    import contextlib

    from loraeval.baselines import read_baseline
    from loraeval.errors import UsageError
    from loraeval.evaluation.gate_run import GateSetup, gate_checkpoint
    from loraeval.evaluation.panels import build_panel, say
    from loraeval.evaluation.reporting import selection_of, write_run_report
    from loraeval.evaluation.setup import (
        choose_prompts,
        choose_recipe,
        gate_options,
        make_renderer,
    )
    from loraeval.evaluation.watching import Watch

    if not args.folder.is_dir():
        raise UsageError(f"{args.folder}: expected the folder that the trainer saves into")
    if args.patience < 1 or not 0 < args.poll < math.inf:
        raise UsageError(
            f"expected --patience of 1 or more and --poll above 0, "
            f"found {args.patience} and {args.poll:g}"
        )
    check_out(args.out, folder=True)
    baseline = read_baseline(args.baseline)
    choice = render_choice(args)
    panel = build_panel(panel_choice(args), baseline, quiet=False)
    options = gate_options(
        alpha=args.alpha, power=args.power, max_images=args.max_images, min_images=args.min_images
    )
    out = args.out or Path("reports") / args.folder.resolve().name
    with contextlib.ExitStack() as stack:
        if args.renders is not None:
            from loraeval.sources import find_renders, problem_words

            found = tuple(find_renders(args.renders, None))
            for words in problem_words(found):
                say(words)
            setup, prompts, recipe = GateSetup(baseline, panel, options, found=found), None, None
        else:
            prompts, recipe = choose_prompts(choice, baseline), choose_recipe(choice, baseline)
            renderer = stack.enter_context(make_renderer(choice, recipe))
            setup = GateSetup(baseline, panel, options, renderer=renderer, prompts=prompts)

        def report(runs: Sequence[GateRun], paths: Mapping[Checkpoint, Path]) -> None:
            page = write_run_report(
                out, runs, baseline, checkpoints=paths, prompts=prompts, recipe=recipe
            )
            print(f"report: {page}", flush=True)

        watch = Watch(
            args.folder,
            gate=lambda path: gate_checkpoint(path, setup),
            choose=lambda runs: selection_of([row for r in runs for row in r.rows], baseline),
            report=report,
            patience=args.patience,
        )
        kept = watch.until_stop(poll=args.poll, once=args.once)
    return WRONG if args.once and watch.left_out else exit_code(kept, args.inconclusive)
