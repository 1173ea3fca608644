"""Look at what you have, and say what to keep.

FOLDER holds images of a run (a trainer's sample folder, outputs of a UI, a folder an epoch, a
renders manifest), or LoRA files, which are rendered first: then name --base-model and --prompts.
Runs, epochs or steps, prompts and seeds are found from names and files. What can be measured on
these images is measured, the rest is named with its reason. No baseline is needed; the last line
says how to make one of what is kept.

Exit codes: 0 something to keep, 1 nothing is good, 3 it cannot be told.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.commands.options import add_options, check_out, names_of, request_of
from loraeval.errors import ImageError, UsageError
from loraeval.outcome import FAIL, INCONCLUSIVE, PASS

if TYPE_CHECKING:
    from loraeval.evaluation.first_look import RunAdvice
    from loraeval.evaluation.panels import PanelChoice
    from loraeval.evaluation.request import Request
    from loraeval.records import Render, ScoreRow
    from loraeval.scorers.panel import Panel

CODES = {"keep": PASS, "cannot be told": INCONCLUSIVE, "none": FAIL}
"""Exit code of each decision; of several runs the first of this order that there is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval try``."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="images or LoRA files")
    parser.add_argument(
        "--out",
        dest="page",
        type=Path,
        metavar="DIR",
        help="the report's folder (default loraeval-try/FOLDER)",
    )
    add_options(parser, *names_of("what is measured", "how it is rendered"))


def run(args: argparse.Namespace) -> int:
    """Score what is there, write the report, print the advice; return its exit code."""
    from loraeval.evaluation.first_look import advise, measurable
    from loraeval.outside.files import write_text_atomically
    from loraeval.report.summary import summary_table
    from loraeval.scores_file import write_scores

    out = args.page or Path("loraeval-try") / (args.folder.resolve().name or "folder")
    check_out(out, folder=True)
    rows, renders, panel = _from_loras(args, out) if _holds_loras(args.folder) else _scored(args)
    write_scores(out / "scores.jsonl", rows)
    if panel.reference is not None:
        write_text_atomically(out / "reference.json", panel.reference.to_json() + "\n")
    sight = measurable(rows)
    advice = advise(rows, sight)
    page = _report(out, rows, renders, advice)
    print(summary_table(rows, sight.metrics))
    for name, reason in sight.left_out.items():
        print(f"  not judged by {name}: {reason}")
    print()
    for item in advice:
        print(item.sentence)
    print(f"report: {page}")
    kept = next((item for item in advice if item.decision == "keep"), None)
    if kept is not None:
        print(f"to gate later epochs against it:\n  {_freeze(kept, out, sight.metrics, panel)}")
    decisions = {item.decision for item in advice}
    return next(code for decision, code in CODES.items() if decision in decisions)


def _holds_loras(folder: Path) -> bool:
    """Whether ``folder`` is a folder with LoRA files and no images of its own."""
    from loraeval.prompts.kohya_folder import IMAGE_SUFFIXES

    if not folder.is_dir():
        return False
    suffixes = {path.suffix.lower() for path in folder.iterdir() if path.is_file()}
    return ".safetensors" in suffixes and not suffixes & set(IMAGE_SUFFIXES)


def _scored(args: argparse.Namespace) -> tuple[list[ScoreRow], list[Render], Panel]:
    from loraeval.evaluation.panels import build_panel, say, score_renders
    from loraeval.prompts.sets import read_prompts
    from loraeval.sources import find_renders, problem_words

    request = request_of(args)
    prompts = read_prompts(request.prompts) if request.prompts else None
    renders = find_renders(args.folder, prompts)
    for words in problem_words(renders):
        say(words)
    panel = build_panel(_choice(request), None, quiet=False)
    return list(score_renders(panel, renders)), renders, panel


def _from_loras(args: argparse.Namespace, out: Path) -> tuple[list[ScoreRow], list[Render], Panel]:
    """Render every checkpoint of the folder, then score. All that is missing is named at once."""
    from loraeval.evaluation.checkpoints import expand_all
    from loraeval.evaluation.full_run import render_and_score
    from loraeval.evaluation.panels import build_panel
    from loraeval.evaluation.setup import choose_prompts, choose_recipe, make_renderer
    from loraeval.sources import find_renders

    request = request_of(args)
    missing = [
        words
        for given, words in (
            (
                request.base_model,
                "--base-model (a diffusers folder, a .safetensors file or a hub id)",
            ),
            (request.prompts, "--prompts (a set of prompts/, or a file of your trainer's)"),
        )
        if given is None
    ]
    if missing:
        raise UsageError(
            f"{args.folder}: expected what is needed to render its LoRA files; give "
            f"{' and '.join(missing)}"
        )
    paths = expand_all([str(args.folder)], Path.cwd())
    prompts = choose_prompts(request, None)
    panel = build_panel(_choice(request), None, quiet=False)
    with make_renderer(request, choose_recipe(request, None)) as renderer:
        rows = render_and_score(renderer, panel, list(paths.values()), prompts, out)
    return rows, list(find_renders(out / "renders.jsonl", prompts)), panel


def _choice(request: Request) -> PanelChoice:
    """Return the panel's choice: without a reference no encoder is loaded unless asked for."""
    from loraeval.evaluation.setup import panel_choice

    choice = panel_choice(request)
    wants = request.reference is not None or request.encoder != "auto"
    if wants or request.scorers is not None:
        return choice
    scorers = tuple(name for name in choice.scorers if name != "style")
    return replace(choice, scorers=scorers, encoder="none")


def _report(
    out: Path, rows: Sequence[ScoreRow], renders: Sequence[Render], advice: Sequence[RunAdvice]
) -> Path:
    from loraeval import __version__
    from loraeval.report.data import RunReport
    from loraeval.report.html import write_report

    if not rows:
        raise ImageError("expected images to look at, found none")
    versions = {name: version for row in rows for name, version in row.versions.items()}
    names = [item.run for item in advice]
    data = RunReport(
        title=", ".join(names[:4]) + (" …" if len(names) > 4 else ""),
        rows=tuple(rows),
        selection=advice[0].selection if len(advice) == 1 else None,
        image_files={render.name: render.image for render in renders if render.problem is None},
        prompts={r.prompt.id: r.prompt.text for r in renders if r.prompt.text},
        versions={"loraeval": __version__, **versions},
    )
    return write_report(out, data)


def _freeze(kept: RunAdvice, out: Path, metrics: Sequence[str], panel: Panel) -> str:
    words = ["loraeval", "baseline", "freeze", _name(kept.run), "--scores"]
    words += [str(out / "scores.jsonl"), "--select", f"run={kept.run},{kept.axis}={kept.place}"]
    words += ["--gated", ",".join(metrics)]
    if panel.reference is not None:
        words += ["--reference", str(out / "reference.json")]
    return shlex.join(words)


def _name(run: str) -> str:
    """Return ``run`` as a folder's name for a baseline."""
    kept = "".join(c if c.isalnum() or c in "._-" else "_" for c in run).strip("._-")
    return kept or "mine"
