"""From gated runs to files that people open: scores, verdicts, charts, the HTML page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.errors import LoraevalError, MissingExtraError, ScoresError
from loraeval.evaluation.gate_run import GateRun
from loraeval.evaluation.stored_run import verdict_to_json
from loraeval.outside.files import write_text_atomically
from loraeval.records import Checkpoint, ScoreRow
from loraeval.scores_file import write_scores

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.checkpoints.compare import ParameterComparison
    from loraeval.gate.epochs import EpochSelection
    from loraeval.records import PromptSet, Recipe, Verdict
    from loraeval.report.data import BaselineView, RunReport


def write_run_report(
    folder: Path,
    runs: Sequence[GateRun],
    baseline: Baseline,
    *,
    checkpoints: Mapping[Checkpoint, Path] | None = None,
    prompts: PromptSet | None = None,
    recipe: Recipe | None = None,
) -> Path:
    """Write ``scores.jsonl``, ``verdicts.json`` and the report of ``runs`` into ``folder``.

    Returns the page ``folder/index.html``. ``checkpoints`` maps a run's checkpoint to its
    file, so that the report can compare training parameters with the baseline's.
    """
    from loraeval.report.html import write_report

    rows = tuple(row for run in runs for row in run.rows)
    folder.mkdir(parents=True, exist_ok=True)
    if rows:
        write_scores(folder / "scores.jsonl", rows)
    verdicts = [verdict_to_json(run.verdict) for run in runs]
    write_text_atomically(folder / "verdicts.json", json.dumps(verdicts, indent=1))
    return write_report(folder, report_of(runs, rows, baseline, checkpoints or {}, prompts, recipe))


def report_of(
    runs: Sequence[GateRun],
    rows: tuple[ScoreRow, ...],
    baseline: Baseline,
    checkpoints: Mapping[Checkpoint, Path],
    prompts: PromptSet | None,
    recipe: Recipe | None,
) -> RunReport:
    """Return what the report of ``runs`` shows."""
    from dataclasses import asdict

    from loraeval.report.data import RunReport

    names = sorted({row.run for row in rows}) or [run.checkpoint.label for run in runs]
    return RunReport(
        title=", ".join(names[:4]) + (" …" if len(names) > 4 else ""),
        rows=rows,
        verdicts=tuple(run.verdict for run in runs),
        baseline=baseline_view(baseline),
        selection=selection_of(rows, baseline),
        image_files={
            row.image: path for run in runs for row, path in zip(run.rows, run.images, strict=True)
        },
        prompts={p.id: p.text for p in prompts.prompts} if prompts is not None else {},
        parameters_html=parameters_html([run.verdict for run in runs], baseline, checkpoints),
        differences=failed_differences([run.verdict for run in runs], baseline, checkpoints),
        recipe=asdict(recipe) if recipe is not None else dict(baseline.recipe or {}),
        versions=dict(rows[0].versions) if rows else {},
        hashes=_hashes(checkpoints, baseline),
        provenance=dict(baseline.provenance),
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
        images=_images_of(baseline),
    )


def _images_of(baseline: Baseline) -> Path | None:
    """Return the folder of the baseline's images, where it was recorded and is at hand."""
    recorded = baseline.provenance.get("renders")
    if not isinstance(recorded, str):
        return None
    roots = [Path()]
    if baseline.folder is not None:
        roots += baseline.folder.resolve().parents[1:2]
    return next((root / recorded for root in roots if (root / recorded).is_dir()), None)


def selection_of(rows: Sequence[ScoreRow], baseline: Baseline | None) -> EpochSelection | None:
    """Return which epoch to keep, None where the rows hold fewer than two epochs of one run."""
    epochs = {(row.run, row.epoch) for row in rows if row.epoch is not None}
    if len(epochs) < 2 or len({run for run, _ in epochs}) > 1:
        return None
    if not any(m != "health" and "." not in m for row in rows for m in row.scores):
        return None  # health alone chooses nothing
    from loraeval.gate.epochs import select_epoch

    gated = baseline.profile.gated if baseline is not None else None
    return select_epoch(rows, gated)


def compared_parameters(baseline: Baseline, checkpoint: Path) -> ParameterComparison | None:
    """Compare the training parameters of the baseline's run with the checkpoint's.

    None where the baseline has none, or the file holds none that can be read.
    """
    if not baseline.parameters or not checkpoint.is_file():
        return None
    from loraeval.checkpoints.compare import compare_parameters
    from loraeval.checkpoints.parameters import Parameters, training_parameters

    try:
        ours = training_parameters(checkpoint)
        return compare_parameters([Parameters.from_json(dict(baseline.parameters)), ours])
    except LoraevalError:
        return None


def training_differences(baseline: Baseline, checkpoint: Path) -> list[str]:
    """Return the effective differences in training to the baseline's run, a sentence each."""
    from loraeval.checkpoints.compare import effective_differences

    comparison = compared_parameters(baseline, checkpoint)
    return effective_differences(comparison) if comparison is not None else []


def failed_differences(
    verdicts: Sequence[Verdict], baseline: Baseline, checkpoints: Mapping[Checkpoint, Path]
) -> dict[Checkpoint, tuple[str, ...]]:
    """Return ``training_differences`` of each checkpoint that failed and whose file is there."""
    failed = [v.checkpoint for v in verdicts if v.outcome == "fail"]
    return {
        item: tuple(training_differences(baseline, checkpoints[item]))
        for item in failed
        if item in checkpoints
    }


def parameters_html(
    verdicts: Sequence[Verdict], baseline: Baseline, checkpoints: Mapping[Checkpoint, Path]
) -> str | None:
    """Return the differences in training parameters as escaped HTML, where both are known.

    The checkpoint compared is the first that failed, else the first.
    """
    from loraeval.checkpoints.show import parameters_html as render

    failed = [v.checkpoint for v in verdicts if v.outcome == "fail"]
    for item in [*failed, *checkpoints]:
        comparison = (
            compared_parameters(baseline, checkpoints[item]) if item in checkpoints else None
        )
        if comparison is not None:
            return render(comparison)
    return None


def _hashes(checkpoints: Mapping[Checkpoint, Path], baseline: Baseline) -> dict[str, str]:
    from loraeval.checkpoints.header import file_sha256

    hashes: dict[str, Any] = {
        item.label: item.sha256 or file_sha256(path)
        for item, path in checkpoints.items()
        if path.is_file()
    }
    hashes["prompt set"] = baseline.prompt_digest
    hashes["recipe"] = baseline.recipe_digest
    hashes["encoder"] = baseline.encoder
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
