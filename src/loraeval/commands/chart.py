"""Draw scores by epoch as PNG and SVG.

One small multiple for each scorer: the mean by epoch with its 95 % interval, the baseline's level
as a dashed line, a diamond on the epoch that the scores recommend. The sentence that says why, and
whether that epoch can be told from its neighbours at all, stands in the chart and is printed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval chart``."""
    parser.add_argument("--scores", type=Path, required=True, metavar="FILE", help="scores file")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where charts go")
    parser.add_argument("--baseline", metavar="NAME", help="draw this baseline's level")
    parser.add_argument("--run", metavar="NAME", help="only this run (default: a chart for each)")
    parser.add_argument(
        "--metrics", metavar="NAMES", help="comma-separated (default: one for each scorer)"
    )


def run(args: argparse.Namespace) -> int:
    """Draw one chart a run; return 0, or raise a ``LoraevalError``."""
    from loraeval.commands.options import check_out, optional_baseline
    from loraeval.errors import ScoresError, UsageError
    from loraeval.evaluation.reporting import baseline_view, selection_of
    from loraeval.report.charts import epoch_chart, save_chart
    from loraeval.report.series import on_axis
    from loraeval.scores_file import read_scores

    check_out(args.out, folder=True)
    rows = read_scores(args.scores)
    runs = list(dict.fromkeys(row.run for row in rows))
    if args.run is not None and args.run not in runs:
        raise UsageError(
            f"--run: expected one of the runs in {args.scores} ({', '.join(runs)}), "
            f"found {args.run!r}"
        )
    metrics = None if args.metrics is None else [name.strip() for name in args.metrics.split(",")]
    known = {name for row in rows for name in row.scores}
    for name in metrics or ():
        if name not in known:
            raise UsageError(
                f"--metrics: expected some of {', '.join(sorted(known))}, found {name!r}"
            )
    baseline = optional_baseline(args.baseline)
    view = None if baseline is None else baseline_view(baseline)
    stems = file_stems(runs)
    drawn = 0
    for name in runs if args.run is None else [args.run]:
        own = [row for row in rows if row.run == name]
        axis = on_axis(own)[1]
        if all(row.epoch is None and row.step is None for row in own):
            continue
        selection = selection_of(own, baseline)
        chart = epoch_chart(
            own, baseline=view, selection=selection, metrics=metrics, title=f"{name} by {axis}"
        )
        png, svg = save_chart(chart, args.out, f"{stems[name]}_epochs")
        drawn += 1
        if selection is not None:
            print(f"{name}: {selection.reason}")
        print(f"{png}\n{svg}")
    if not drawn:
        raise ScoresError(
            f"{args.scores}: expected rows with an epoch or a step to draw, found none; "
            "give the images' epochs in the renders manifest"
        )
    return 0


def file_stems(names: Sequence[str]) -> dict[str, str]:
    """Return each of ``names`` as a file's stem: letters, digits, dot, dash and underscore only. A
    stem that came before, in capitals or not, gets the first number from 2 that is free.

    >>> file_stems(["punks v1", "punks/v1", "Punks_V1"])
    {'punks v1': 'punks_v1', 'punks/v1': 'punks_v1-2', 'Punks_V1': 'Punks_V1-3'}
    """
    stems: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._")[:80] or "run"
        numbered = chain([plain], (f"{plain}-{number}" for number in count(2)))
        stems[name] = next(stem for stem in numbered if stem.lower() not in taken)
        taken.add(stems[name].lower())
    return stems
