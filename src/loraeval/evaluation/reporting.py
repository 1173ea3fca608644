"""From a run to pages that people open: one builder for whatever was gated, by whichever door."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.errors import LoraevalError, MissingExtraError, ScoresError
from loraeval.records import Checkpoint, ScoreRow

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.checkpoints.compare import ParameterComparison
    from loraeval.evaluation.run_folder import Run
    from loraeval.gate.epochs import EpochSelection
    from loraeval.records import Verdict
    from loraeval.report.data import BaselineView, RunReport


def report_folder(
    folder: Path, out: Path | None = None, *, done: Callable[[], object] = lambda: None
) -> Path:
    """Write the report of the run in ``folder``, from that folder alone, into ``out`` (default:
    the folder itself); return the page.
    """
    from loraeval.evaluation.run_folder import read_run
    from loraeval.report.html import write_report

    return write_report(out or folder, report_of(read_run(folder)), done=done)


def report_of(run: Run, *, title: str | None = None, notes: Sequence[str] = ()) -> RunReport:
    """Return what the report of ``run`` shows."""
    from dataclasses import replace

    from loraeval import __version__
    from loraeval.report.data import RunReport

    baseline, verdicts = run.baseline, run.verdicts
    names = sorted({row.run for row in run.rows}) or [v.checkpoint.label for v in verdicts]
    words = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
    view = None if baseline is None else baseline_view(baseline)
    if view is not None and run.golden is not None:
        view = replace(view, images=run.golden)
    compared = {}
    if baseline is not None:
        found = {c: compared_parameters(baseline, told) for c, told in run.parameters.items()}
        compared = {c: comparison for c, comparison in found.items() if comparison is not None}
    return RunReport(
        title=title or (words if view is None else f"{words} against {view.name}"),
        rows=run.rows,
        verdicts=verdicts,
        baseline=view,
        selection=run.selection or selection_of(run.rows, baseline),
        image_files=run.images,
        prompts=run.prompts,
        parameters_html=parameters_html(verdicts, compared, run.parameters),
        differences=failed_differences(verdicts, compared),
        recipe=run.recipe or dict((baseline.recipe if baseline is not None else None) or {}),
        versions={
            "loraeval": str(run.facts.get("loraeval", __version__)),
            **{name: version for row in run.rows for name, version in row.versions.items()},
        },
        hashes=_hashes(run),
        provenance={} if baseline is None else dict(baseline.provenance),
        notes=tuple(notes),
    )


def baseline_view(baseline: Baseline) -> BaselineView:
    """Return the baseline as charts and reports show it: means with 95 % intervals."""
    from loraeval.gate.epochs import metric_intervals
    from loraeval.report.data import BaselineView

    intervals = metric_intervals(baseline.rows)
    return BaselineView(
        name=baseline.name,
        rows=tuple(baseline.rows),
        means={metric: mean for metric, (mean, _, _) in intervals.items()},
        bands={metric: (low, high) for metric, (_, low, high) in intervals.items()},
        images=images_of(baseline),
    )


def images_of(baseline: Baseline) -> Path | None:
    """Return the folder of the baseline's images, where it was recorded and is at hand."""
    recorded = baseline.provenance.get("renders")
    if not isinstance(recorded, str):
        return None
    roots = [Path()]
    if baseline.folder is not None:
        roots += baseline.folder.resolve().parents[1:2]
    return next((root / recorded for root in roots if (root / recorded).is_dir()), None)


def selection_of(rows: Sequence[ScoreRow], baseline: Baseline | None) -> EpochSelection | None:
    """Return which epoch or step to keep, None where the rows hold fewer than two of one run."""
    from loraeval.report.series import axis_words, on_axis

    rows, axis = on_axis(rows)
    epochs = {(row.run, row.epoch) for row in rows if row.epoch is not None}
    if len(epochs) < 2 or len({run for run, _ in epochs}) > 1:
        return None
    if not any(m != "health" and "." not in m for row in rows for m in row.scores):
        return None  # health alone chooses nothing
    from loraeval.gate.epochs import select_epoch

    gated = baseline.profile.gated if baseline is not None else None
    found = select_epoch(rows, gated)
    return replace(
        found, reason=axis_words(found.reason, axis),
        trend_reason=axis_words(found.trend_reason, axis),
    )  # fmt: skip


def compared_parameters(
    baseline: Baseline, told: Mapping[str, Any] | Path
) -> ParameterComparison | None:
    """Compare the training parameters of the baseline's run with a checkpoint's, ``told`` as a
    run's folder keeps them or as its file.

    None where the baseline has none, or the file holds none that can be read.
    """
    if not baseline.parameters or (isinstance(told, Path) and not told.is_file()):
        return None
    from loraeval.checkpoints.compare import compare_parameters
    from loraeval.checkpoints.parameters import Parameters, training_parameters

    try:
        known = isinstance(told, Path)
        ours = training_parameters(told) if known else Parameters.from_json(told)  # type: ignore[arg-type]
        return compare_parameters([Parameters.from_json(dict(baseline.parameters)), ours])
    except LoraevalError:
        return None


def training_differences(baseline: Baseline, checkpoint: Path) -> list[str]:
    """Return the effective differences in training to the baseline's run, a sentence each."""
    from loraeval.checkpoints.compare import effective_differences

    comparison = compared_parameters(baseline, checkpoint)
    return effective_differences(comparison) if comparison is not None else []


def failed_differences(
    verdicts: Sequence[Verdict], compared: Mapping[Checkpoint, ParameterComparison]
) -> dict[Checkpoint, tuple[str, ...]]:
    """Return the effective differences in training of each checkpoint that failed."""
    from loraeval.checkpoints.compare import effective_differences

    failed = [v.checkpoint for v in verdicts if v.outcome == "fail"]
    return {c: tuple(effective_differences(compared[c])) for c in failed if c in compared}


def parameters_html(
    verdicts: Sequence[Verdict],
    compared: Mapping[Checkpoint, ParameterComparison],
    told: Mapping[Checkpoint, Mapping[str, Any]],
) -> str | None:
    """Return the differences in training parameters as escaped HTML, where both are known, and
    which blocks the LoRA moved, where the run's folder tells (``told``).

    The checkpoint compared is the first that failed, else the first.
    """
    from loraeval.checkpoints.norms import norms_from_json
    from loraeval.checkpoints.show import parameters_html as render
    from loraeval.report.block_chart import block_chart

    failed = [v.checkpoint for v in verdicts if v.outcome == "fail"]
    chosen = next((c for c in (*failed, *compared) if c in compared), None)
    if chosen is None:
        return None
    norms = norms_from_json(told.get(chosen, {}).get("moved"))
    return render(compared[chosen]) + ("" if norms is None else block_chart(norms, chosen.label))


def _hashes(run: Run) -> dict[str, str]:
    hashes: dict[str, Any] = {c.label: c.sha256 for c in run.checkpoints}
    hashes["encoder"] = ", ".join(sorted({row.encoder for row in run.rows if row.encoder}))
    hashes["recipe"] = ", ".join(sorted({row.recipe for row in run.rows if row.recipe}))
    if run.baseline is not None:
        hashes["baseline prompt set"] = run.baseline.prompt_digest
        hashes["baseline recipe"] = run.baseline.recipe_digest
        hashes["baseline encoder"] = run.baseline.encoder
    return {name: str(value) for name, value in hashes.items() if value}


def charts_of(
    folder: Path, rows: Sequence[ScoreRow], baseline: Baseline | None
) -> tuple[Path, Path] | None:
    """Write the epoch chart as PNG and SVG; None where the charts extra is not installed, or there
    is no chart of these rows.
    """
    from loraeval.report.charts import epoch_chart, save_chart

    view = baseline_view(baseline) if baseline is not None else None
    try:
        chart = epoch_chart(rows, baseline=view, selection=selection_of(rows, baseline))
    except (MissingExtraError, ScoresError):
        return None
    png, svg = save_chart(chart, folder, "epochs")
    return png, svg
