"""Gate each epoch as the trainer saves it, and say when to stop.

DIR is where the trainer saves. A file counts once it is whole (its header fits its size, and its
data are there) and has not changed since the last look; one written anew is gated anew. After every
epoch the epoch to keep is named, and with --out the report is written anew. The watch ends when the
scores say that further epochs no longer help (exit 0 if the recommended epoch of every run in DIR
passes the gate), so that a script can end the training then:

    loraeval watch output/ --baseline NAME --base-model PATH && kill $TRAINER
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.commands.options import add_options, check_out, request_of
from loraeval.errors import UsageError
from loraeval.options import OPTIONS
from loraeval.outcome import WRONG, exit_code

if TYPE_CHECKING:
    from loraeval.evaluation.gate_run import GateRun
    from loraeval.records import Checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval watch``."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the trainer saves")
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
    names = (option.name for option in OPTIONS if option.name != "choose-epoch")
    add_options(parser, *names, required=("baseline",))


def run(args: argparse.Namespace) -> int:
    """Watch until the scores say stop; return the exit code of the epoch to keep."""
    from loraeval.evaluation.gate_run import gate_checkpoint
    from loraeval.evaluation.reporting import report_folder, selection_of
    from loraeval.evaluation.run_folder import write_runs
    from loraeval.evaluation.setup import baseline_of, gate_setup
    from loraeval.evaluation.watching import Watch

    if not args.folder.is_dir():
        raise UsageError(f"{args.folder}: expected the folder that the trainer saves into")
    if args.patience < 1 or not 0 < args.poll < math.inf:
        raise UsageError(
            f"expected --patience of 1 or more and --poll above 0, "
            f"found {args.patience} and {args.poll:g}"
        )
    request = request_of(args)
    out = request.out_folder
    check_out(out, folder=True)
    baseline = baseline_of(request)
    assert baseline is not None  # argparse requires it
    with gate_setup(request, baseline, quiet=False) as setup:

        def report(runs: Sequence[GateRun], paths: Mapping[Checkpoint, Path]) -> None:
            if out is not None:
                write_runs(out, runs, baseline, request=request, options=setup.options, files=paths)
                print(f"report: {report_folder(out)}", flush=True)

        watch = Watch(
            args.folder,
            gate=lambda path: gate_checkpoint(path, setup),
            choose=lambda runs: selection_of([row for r in runs for row in r.rows], baseline),
            report=report,
            patience=args.patience,
        )
        kept = watch.until_stop(poll=args.poll, once=args.once)
    return WRONG if args.once and watch.left_out else exit_code(kept, request.inconclusive)
