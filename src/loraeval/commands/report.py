"""Write the HTML report of a run from its scores.

The page opens from disk and asks nothing of any network. Beside it go the scores as CSV, a summary
in Markdown and the epoch chart. In GitHub Actions the summary is also added to the job's page and
what did not pass is annotated.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.outside.runner import print_commands

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.records import Checkpoint, ScoreRow, Verdict
    from loraeval.report.data import RunReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval report``."""
    parser.add_argument("--scores", type=Path, required=True, metavar="FILE", help="scores file")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the report's folder: reports/RUN"
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

    from loraeval.commands.options import check_out, optional_baseline
    from loraeval.errors import UsageError
    from loraeval.evaluation.panels import show_progress
    from loraeval.report.github import announce
    from loraeval.report.headline import headline
    from loraeval.report.html import write_report
    from loraeval.report.markdown import summary_markdown
    from loraeval.report.tables import write_parquet
    from loraeval.report.tracking import log_scores
    from loraeval.scores_file import read_scores

    check_out(args.out, folder=True)
    for option, root in (
        ("--renders", args.renders),
        ("--baseline-renders", args.baseline_renders),
    ):
        if root is not None and not root.is_dir():
            raise UsageError(f"{option}: expected the folder that the images lie in, found {root}")
    rows = read_scores(args.scores)
    data = report_data(args, rows, optional_baseline(args.baseline))
    total = len(rows)
    with tqdm(total=total, unit="image", desc="report", disable=not show_progress()) as bar:
        page = write_report(args.out, data, done=bar.update)
    if args.parquet:
        write_parquet(args.out / "scores.parquet", rows)
    for target in args.log_to:
        place = log_scores(target, data, args.log_dir or args.out / "logs")
        print(f"logged to {target}: {place}")
    summary = summary_markdown(
        data.verdicts, rows=rows, selection=data.selection, title=data.title, diagrams=True
    )
    print_commands(announce(data.verdicts, summary, os.environ))
    print(headline(data).sentence)
    print(f"report: {page}")
    return 0


def report_data(
    args: argparse.Namespace, rows: Sequence[ScoreRow], baseline: Baseline | None
) -> RunReport:
    """Return what the report shows, from the command's options and the rows of its scores."""
    from dataclasses import replace

    from loraeval import __version__
    from loraeval.evaluation.reporting import (
        baseline_view,
        failed_differences,
        parameters_html,
        selection_of,
    )
    from loraeval.report.data import RunReport

    runs = list(dict.fromkeys(row.run for row in rows))
    title = ", ".join(runs[:4]) + (" …" if len(runs) > 4 else "")
    view = None if baseline is None else baseline_view(baseline)
    if view is not None:
        view = replace(view, images=args.baseline_renders or args.renders or args.scores.parent)
    verdicts = _verdicts(rows, baseline)
    files = _files(args.checkpoint, verdicts)
    versions = {name: version for row in rows for name, version in row.versions.items()}
    return RunReport(
        title=args.title or (title if view is None else f"{title} against {view.name}"),
        rows=tuple(rows),
        verdicts=verdicts,
        parameters_html=None if baseline is None else parameters_html(verdicts, baseline, files),
        differences={} if baseline is None else failed_differences(verdicts, baseline, files),
        baseline=view,
        selection=selection_of(rows, baseline),
        images=args.renders or args.scores.parent,
        prompts=_texts(args.prompts),
        recipe={} if baseline is None or baseline.recipe is None else dict(baseline.recipe),
        versions={"loraeval": __version__, **versions},
        hashes=_hashes(rows, baseline),
        provenance={} if baseline is None else dict(baseline.provenance),
    )


def _verdicts(rows: Sequence[ScoreRow], baseline: Baseline | None) -> tuple[Verdict, ...]:
    if baseline is None:
        return ()
    from loraeval.gate import GateOptions, gate_rows
    from loraeval.report.series import in_epoch_order

    return tuple(gate_rows(baseline, in_epoch_order(rows), GateOptions()))


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


def _hashes(rows: Sequence[ScoreRow], baseline: Baseline | None) -> dict[str, str]:
    found = {
        "encoder": sorted({row.encoder for row in rows if row.encoder}),
        "recipe": sorted({row.recipe for row in rows if row.recipe}),
    }
    hashes = {name: ", ".join(values) for name, values in found.items() if values}
    if baseline is not None:
        hashes |= {
            f"baseline {name}": str(value)
            for name, value in (
                ("prompt set", baseline.prompt_digest),
                ("recipe", baseline.recipe_digest),
                ("encoder", baseline.encoder),
            )
            if value
        }
    return hashes
