"""Write the HTML report of a run.

FOLDER is what `loraeval run`, `gate`, `watch` and `pytest --lora-report` write; the report shows
the verdict that the run came to, and is made from that folder alone. With --scores instead, or with
--again, the scores are gated here, by the test for a fixed set of images, and the page says so.

The page opens from disk and asks nothing of any network. Beside it go the scores as CSV, a summary
in Markdown and the epoch chart. In GitHub Actions the summary is also added to the job's page and
what did not pass is annotated.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.outside.runner import print_commands

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.evaluation.run_folder import Run
    from loraeval.records import Checkpoint, ScoreRow, Verdict
    from loraeval.report.data import RunReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval report``."""
    parser.add_argument(
        "folder", type=Path, nargs="?", metavar="FOLDER", help="a run's folder (or give --scores)"
    )
    parser.add_argument("--scores", type=Path, metavar="FILE", help="scores file")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the report's folder (default: FOLDER)"
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="gate the scores again, by the test for a fixed set of images",
    )
    parser.add_argument("--baseline", metavar="NAME", help="gate against this baseline, show it")
    parser.add_argument(
        "--renders", type=Path, metavar="ROOT", help="images (default: beside the scores file)"
    )
    parser.add_argument(
        "--baseline-renders", type=Path, metavar="ROOT", help="images of the baseline"
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="PATH",
        help="LoRA file, glob or folder behind the scores: shows what was trained otherwise",
    )
    parser.add_argument("--prompts", metavar="SET", help="prompt set, to show the prompts' texts")
    parser.add_argument("--title", metavar="TEXT", help="default: the names of the runs")
    parser.add_argument("--parquet", action="store_true", help="write scores.parquet as well")
    parser.add_argument(
        "--log-to",
        action="append",
        default=[],
        choices=("tensorboard", "wandb", "mlflow"),
        help="also log scores by epoch and sample images there; repeatable",
    )
    parser.add_argument(
        "--log-dir", type=Path, metavar="DIR", help="where --log-to writes (default: the report's)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the report; return 0 whatever the verdict, or raise a ``LoraevalError``."""
    from tqdm import tqdm

    from loraeval.commands.options import check_out
    from loraeval.errors import UsageError
    from loraeval.evaluation.panels import show_progress
    from loraeval.evaluation.reporting import report_of
    from loraeval.report.github import announce
    from loraeval.report.headline import headline
    from loraeval.report.html import write_report
    from loraeval.report.markdown import summary_markdown
    from loraeval.report.tables import write_parquet
    from loraeval.report.tracking import log_scores

    if (args.folder is None) == (args.scores is None):
        raise UsageError("expected a run's FOLDER, or --scores FILE; give one of them")
    if args.folder is None and args.out is None:
        raise UsageError("--scores: expected a folder for the report; give --out DIR")
    out = args.out or args.folder
    check_out(out, folder=True)
    for option, root in (
        ("--renders", args.renders),
        ("--baseline-renders", args.baseline_renders),
    ):
        if root is not None and not root.is_dir():
            raise UsageError(f"{option}: expected the folder that the images lie in, found {root}")
    run_, notes = _asked(args)
    data = report_of(run_, title=args.title, notes=notes)
    if args.renders is not None or args.baseline_renders is not None or args.folder is None:
        data = _with_images(data, args)
    rows = data.rows
    total = len(rows)
    with tqdm(total=total, unit="image", desc="report", disable=not show_progress()) as bar:
        page = write_report(out, data, done=bar.update)
    if args.parquet:
        write_parquet(out / "scores.parquet", rows)
    for target in args.log_to:
        place = log_scores(target, data, args.log_dir or out / "logs")
        print(f"logged to {target}: {place}")
    summary = summary_markdown(
        data.verdicts, rows=rows, selection=data.selection, title=data.title, diagrams=True
    )
    print_commands(announce(data.verdicts, summary, os.environ))
    print(headline(data).sentence)
    print(f"report: {page}")
    return 0


AGAIN = (
    "Gated here from the scores, by the test for a fixed set of images; a gate that looked while "
    "it rendered has wider intervals."
)


def _asked(args: argparse.Namespace) -> tuple[Run, list[str]]:
    """Return the run that is to be shown, and what is to be said of its verdicts."""
    from dataclasses import replace

    from loraeval.commands.options import optional_baseline
    from loraeval.errors import UsageError
    from loraeval.evaluation.run_folder import Run, read_run
    from loraeval.scores_file import read_scores

    baseline = optional_baseline(args.baseline)
    if args.folder is not None:
        run = read_run(args.folder)
        if run.verdicts and not args.again:
            if baseline is not None or args.checkpoint:
                raise UsageError(
                    f"{args.folder}: it keeps its verdict; leave --baseline and --checkpoint out, "
                    "or give --again to gate its scores again"
                )
            return run, []
        run = replace(run, baseline=baseline or run.baseline, verdicts=())
    else:
        run = Run(tuple(read_scores(args.scores)), baseline=baseline)
    verdicts = _verdicts(run.rows, run.baseline)
    files = {c: _parameters(path) for c, path in _files(args.checkpoint, verdicts).items()}
    run = replace(
        run,
        verdicts=verdicts,
        prompts=run.prompts or _texts(args.prompts),
        parameters=files or run.parameters,
    )
    return run, [AGAIN] if verdicts else []


def _with_images(data: RunReport, args: argparse.Namespace) -> RunReport:
    """Return ``data`` with the folders that images are looked for in."""
    from dataclasses import replace

    beside = args.scores.parent if args.scores is not None else args.folder
    images = args.renders or beside
    if args.renders is not None or args.folder is None:
        data = replace(data, images=images, image_files={})
    if data.baseline is not None and (args.baseline_renders or args.folder is None):
        golden = args.baseline_renders or images
        data = replace(data, baseline=replace(data.baseline, images=golden))
    return data


def _parameters(path: Path) -> dict[str, Any]:
    """Return the training parameters of a file as a run's folder keeps them; empty without any."""
    import contextlib

    from loraeval.checkpoints.parameters import training_parameters
    from loraeval.errors import LoraevalError

    with contextlib.suppress(LoraevalError):
        return training_parameters(path).to_json()
    return {}


def _verdicts(rows: Sequence[ScoreRow], baseline: Baseline | None) -> tuple[Verdict, ...]:
    if baseline is None:
        return ()
    from loraeval.gate import gate_rows
    from loraeval.report.series import in_epoch_order

    return tuple(gate_rows(baseline, in_epoch_order(rows)))


def _files(texts: Sequence[str], verdicts: Sequence[Verdict]) -> dict[Checkpoint, Path]:
    """Return the file of each gated checkpoint that ``texts`` name.

    Raises ``UsageError`` where none of the files belongs to the scores.
    """
    from loraeval.errors import UsageError
    from loraeval.evaluation.checkpoints import expand_all

    if not texts:
        return {}
    paths = expand_all(texts, Path.cwd())
    found: dict[Checkpoint, Path] = {}
    for verdict in verdicts:
        item = verdict.checkpoint
        numbered = [] if item.epoch is None else [f"{item.run}-{item.epoch:06d}.safetensors"]
        for name in (item.file, *numbered, f"{item.run}.safetensors"):
            if name in paths:
                found.setdefault(item, paths[name])
    if not found:
        wanted = ", ".join(v.checkpoint.label for v in verdicts[:4]) or "none: name a --baseline"
        raise UsageError(
            f"--checkpoint: expected files of the gated checkpoints ({wanted}), "
            f"found {', '.join(list(paths)[:4])}"
        )
    return found


def _texts(name: str | None) -> dict[str, str]:
    if name is None:
        return {}
    from loraeval.prompts.sets import read_prompts

    return {prompt.id: prompt.text for prompt in read_prompts(name).prompts}
