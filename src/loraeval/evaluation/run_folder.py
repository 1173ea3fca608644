"""A run as a folder, the same for every door, and all that a report needs.

``run.json`` says what was asked and made (format, request, recipe, prompts with their texts, order,
gate options, checkpoints with their training parameters), ``renders.jsonl`` what each image is,
``scores.jsonl`` its scores, ``verdicts.json`` what the gate said; the images lie under their names,
the baseline with its images in ``baseline/``. ``run.json`` is written last and holds the digests of
the others: a folder that a killed writer left is told from a whole one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from loraeval.errors import InputError, LoraevalError, UsageError
from loraeval.evaluation.stored_run import (
    checkpoint_from_json,
    checkpoint_to_json,
    prompt_to_json,
    verdict_from_json,
    verdict_to_json,
)
from loraeval.outside import json as strict_json
from loraeval.outside.files import show_file, write_text_atomically
from loraeval.outside.text import clean, read_text
from loraeval.records import (
    Caption,
    Checkpoint,
    Prompt,
    PromptSet,
    Recipe,
    Render,
    ScoreRow,
    Verdict,
)
from loraeval.scores_file import read_scores, write_scores

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.evaluation.gate_run import GateRun
    from loraeval.evaluation.request import Request
    from loraeval.gate import GateOptions
    from loraeval.gate.epochs import EpochSelection

FORMAT = 1
"""Goes up when a reader of before could not read the folder rightly."""

FACTS, RENDERS, SCORES, VERDICTS = "run.json", "renders.jsonl", "scores.jsonl", "verdicts.json"
BASELINE = "baseline"
"""Sub-folder of the baseline; its images lie in ``images`` there."""

MAX_BYTES = 256 << 20
"""A larger file of a run's folder is refused."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run's folder holds.

    ``verdicts`` are empty where nothing was gated; ``rows`` in the order in which they were
    scored. ``prompts`` maps prompt id to text in the order of the set; ``images`` maps a row's
    image to its file, where that is at hand. ``parameters`` are the training parameters of each
    checkpoint that has some, as JSON values. ``facts`` is all of ``run.json``.
    """

    rows: tuple[ScoreRow, ...]
    verdicts: tuple[Verdict, ...] = ()
    baseline: Baseline | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, Path] = field(default_factory=dict)
    golden: Path | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[Checkpoint, Mapping[str, Any]] = field(default_factory=dict)
    checkpoints: tuple[Checkpoint, ...] = ()
    selection: EpochSelection | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def write_gate(
    folder: Path,
    verdicts: Sequence[Verdict],
    pairs: Iterable[tuple[Render, ScoreRow]],
    baseline: Baseline,
    *,
    request: Request,
    options: GateOptions,
    recipe: Recipe | None = None,
    prompts: PromptSet | None = None,
    files: Mapping[Checkpoint, Path] | None = None,
    order: Sequence[tuple[str, int]] = (),
    selection: EpochSelection | None = None,
) -> None:
    """Write a gated run into ``folder``: ``verdicts`` and the images with their scores that they
    rest on. ``prompts`` is the set that was rendered, ``files`` maps checkpoints to their files.
    """
    files = files or {}
    found: dict[tuple[str, str], tuple[Render, ScoreRow]] = {}
    for render, row in pairs:
        found.setdefault((render.name, row.run), (render, row))
    renders = [render for render, _ in found.values()]
    begin(folder)
    write_renders(folder, renders)
    if found:
        write_scores(folder / SCORES, (row for _, row in found.values()))
    told = json.dumps([verdict_to_json(item) for item in verdicts], indent=1, allow_nan=False)
    write_text_atomically(folder / VERDICTS, told)
    _write_baseline(folder / BASELINE, baseline)
    known = prompts.prompts if prompts is not None else (render.prompt for render in renders)
    finish(
        folder,
        kind="gate",
        request=request.to_json(),
        recipe=None if recipe is None else asdict(recipe),
        recipe_digest=None if recipe is None else recipe.digest,
        prompt_set=baseline.prompt_set if prompts is None else prompts.name,
        prompt_digest=baseline.prompt_digest if prompts is None else prompts.digest,
        prompts=texts_of(known),
        order=[list(pair) for pair in order],
        options=asdict(options),
        checkpoints=[facts_of(v.checkpoint, files.get(v.checkpoint)) for v in verdicts],
        baseline={"name": baseline.name},
        selection=None if selection is None else asdict(selection),
    )


def write_runs(
    folder: Path,
    runs: Sequence[GateRun],
    baseline: Baseline,
    *,
    raced: Iterable[tuple[Render, ScoreRow]] = (),
    **more: Any,
) -> None:
    """Write what ``runs`` came to; ``raced`` are further images with their scores, that a choice
    among epochs rested on, and ``more`` is as in ``write_gate``.
    """
    pairs = [pair for run in runs for pair in zip(run.renders, run.rows, strict=True)]
    write_gate(
        folder,
        [run.verdict for run in runs],
        [*pairs, *raced],
        baseline,
        recipe=runs[0].recipe if runs else None,
        prompts=runs[0].prompts if runs else None,
        order=runs[0].order if runs else (),
        **more,
    )


def begin(folder: Path) -> None:
    """Make ``folder``, and no whole run of it while its files are written anew."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACTS).unlink(missing_ok=True)
    for name in (SCORES, VERDICTS):
        (folder / name).unlink(missing_ok=True)


def write_renders(folder: Path, renders: Sequence[Render]) -> None:
    """Write the manifest of ``renders`` and let each image appear at its name.

    Raises ``UsageError`` for two images of one name, and for a name that leads out of the folder.
    """
    _show_images(renders, folder)
    lines = (json.dumps(manifest_row(r), ensure_ascii=False) + "\n" for r in renders)
    write_text_atomically(folder / RENDERS, lines)


def finish(folder: Path, **facts: Any) -> None:
    """Write ``run.json``, with which the folder is whole."""
    from loraeval import __version__
    from loraeval.checkpoints.header import file_sha256

    written = [name for name in (RENDERS, SCORES, VERDICTS) if (folder / name).exists()]
    tree = {
        "format": FORMAT,
        "loraeval": __version__,
        "engine": "built-in" if facts.get("recipe") is not None else None,
        "with": [],
        **facts,
        "files": {name: file_sha256(folder / name) for name in written},
    }
    write_text_atomically(folder / FACTS, json.dumps(tree, indent=1, allow_nan=False) + "\n")


def manifest_row(render: Render) -> dict[str, object]:
    """Return one line of a renders manifest, as ``loraeval score`` reads it."""
    return {
        "image": render.name,
        "run": render.run,
        "checkpoint": render.checkpoint,
        "epoch": render.epoch,
        "prompt_id": render.prompt.id,
        "prompt": render.prompt.text,
        "negative_prompt": render.prompt.negative,
        "seed": render.seed,
        "width": render.width,
        "height": render.height,
        "recipe": render.recipe,
        "step": render.step,
        "strength": render.strength,
    }


def known_renders(folder: Path, rows: Sequence[ScoreRow]) -> list[Render]:
    """Return what is known of the images of ``rows``: of the manifest in ``folder``, where there
    is one; an image that does not lie there has a problem that says so.
    """
    from loraeval.sources.manifest import read_renders
    from loraeval.sources.problems import NOWHERE

    told: dict[str, Render] = {}
    with contextlib.suppress(LoraevalError):
        told = {render.name: render for render in read_renders(folder / RENDERS)}
    found = []
    for row in rows:
        file = _inside(folder, row.image)
        prompt = (
            told[row.image].prompt if row.image in told else Prompt(row.prompt_id, "", Caption(""))
        )
        found.append(
            Render(
                image=file or NOWHERE,
                name=row.image,
                run=row.run,
                prompt=replace(prompt, id=row.prompt_id),
                checkpoint=row.checkpoint,
                epoch=row.epoch,
                seed=row.seed,
                recipe=row.recipe,
                problem=None if file is not None else "the image file is not at hand",
                step=row.step,
                strength=row.strength,
            )
        )
    return found


def read_run(folder: Path) -> Run:
    """Read a run's folder; those of releases before 0.2, which have no format, as far as they go.

    Raises ``InputError`` for what is none, for one that a killed writer left, and for one of a
    later format.
    """
    path = folder / FACTS
    if not path.is_file() and not (folder / VERDICTS).is_file():
        raise InputError(
            f"{clean(folder)}: expected the folder of a run ({FACTS}), found none; a run that was "
            "killed leaves none, run it again"
        )
    facts = _object(path) if path.is_file() else {}
    if facts.get("format", 0) not in range(FORMAT + 1):
        raise InputError(
            f"{clean(path)}: written in format {clean(facts['format'])}, this release reads up to "
            f"{FORMAT}; update loraeval"
        )
    _check_whole(folder, facts)
    try:
        return _run_of(folder, facts)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{clean(path)}: not the facts of a run ({type(error).__name__} {clean(error)}); run "
            "it again"
        ) from error


def _run_of(folder: Path, facts: Mapping[str, Any]) -> Run:
    from loraeval.baselines import read_baseline

    rows = tuple(read_scores(folder / SCORES)) if (folder / SCORES).exists() else ()
    verdicts: tuple[Verdict, ...] = ()
    if (folder / VERDICTS).is_file():
        told = strict_json.loads(read_text(folder / VERDICTS, InputError, MAX_BYTES))
        verdicts = tuple(verdict_from_json(item) for item in told)
    home = folder / BASELINE
    baseline = read_baseline(home) if (home / "baseline.toml").is_file() else None
    known = [item for item in facts.get("checkpoints", ()) if isinstance(item, dict)]
    records = [(checkpoint_from_json(item["checkpoint"]), item) for item in known]
    golden = home / "images"
    return Run(
        rows=rows,
        verdicts=verdicts,
        baseline=baseline,
        prompts={item["id"]: item["text"] for item in facts.get("prompts", ())},
        images={row.image: place for row in rows if (place := _inside(folder, row.image))},
        golden=golden if golden.is_dir() else None,
        recipe=facts.get("recipe") or {},
        parameters={c: item["parameters"] for c, item in records if item.get("parameters")},
        checkpoints=tuple(c for c, _ in records),
        selection=_selection(facts.get("selection")),
        facts=facts,
    )


def _selection(told: Mapping[str, Any] | None) -> EpochSelection | None:
    """Return the choice that a run kept, None where it left the choice to its scores."""
    if told is None:
        return None
    from loraeval.gate.epochs import EpochSelection, EpochSummary

    known = {item.name for item in fields(EpochSummary)}
    epochs = tuple(
        EpochSummary(**{k: _tuples(v) for k, v in item.items() if k in known})
        for item in told["epochs"]
    )
    excluded = {int(epoch): why for epoch, why in told["excluded"].items()}
    plain = {name: _tuples(value) for name, value in told.items()}
    return EpochSelection(**{**plain, "epochs": epochs, "excluded": excluded})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _inside(folder: Path, name: str) -> Path | None:
    """Return the image's file where it lies in ``folder``, None where it does not."""
    from loraeval.report.pictures import find_image

    return find_image(folder, name)


def _check_whole(folder: Path, facts: Mapping[str, Any]) -> None:
    from loraeval.checkpoints.header import file_sha256

    for name, digest in dict(facts.get("files", {})).items():
        path = folder / PurePosixPath(name).name
        if not path.is_file() or file_sha256(path) != digest:
            raise InputError(
                f"{clean(path)}: not what {FACTS} beside it was written for: another run or an "
                "editor has written here; run it again"
            )


def _object(path: Path) -> dict[str, Any]:
    try:
        tree = strict_json.loads(read_text(path, InputError, MAX_BYTES))
    except ValueError as error:
        raise InputError(f"{clean(path)}: expected a JSON object ({clean(error)})") from error
    if not isinstance(tree, dict):
        raise InputError(f"{clean(path)}: expected a JSON object, found {type(tree).__name__}")
    return tree


def texts_of(prompts: Iterable[Prompt]) -> list[dict[str, Any]]:
    """Return the prompts as ``run.json`` keeps them, in order, none twice."""
    once = {prompt.id: prompt for prompt in prompts}
    return [prompt_to_json(prompt) for prompt in once.values()]


def facts_of(checkpoint: Checkpoint, file: Path | None) -> dict[str, Any]:
    """Return what the folder keeps of a checkpoint: its record, and how it was trained."""
    from loraeval.checkpoints.norms import moved
    from loraeval.checkpoints.parameters import training_parameters

    parameters = None
    if file is not None and file.is_file():
        with contextlib.suppress(LoraevalError):
            parameters = training_parameters(file).to_json()
            parameters["moved"] = moved(file)
    return {"checkpoint": checkpoint_to_json(checkpoint), "parameters": parameters}


def _write_baseline(folder: Path, baseline: Baseline) -> None:
    """Write ``baseline`` and those of its images that are at hand; reference features, which no
    report shows, are left out.
    """
    from loraeval.baselines import write_baseline
    from loraeval.evaluation.reporting import images_of
    from loraeval.report.pictures import find_image

    write_baseline(replace(baseline, reference_file=None), folder)
    home = images_of(baseline)
    for row in baseline.rows if home is not None else ():
        file = find_image(home, row.image) if home is not None else None
        place = folder / "images" / row.image
        if file is not None and not place.exists():
            show_file(file, place)


def _show_images(renders: Sequence[Render], folder: Path) -> None:
    placed: dict[str, Path] = {}
    for render in renders:
        if render.problem is not None:
            continue
        if placed.setdefault(render.name, render.image) != render.image:
            raise UsageError(
                f"two checkpoints have the file name {render.checkpoint}; "
                "render them into different folders (--out)"
            )
        if ".." in PurePosixPath(render.name).parts:
            raise UsageError(f"{render.checkpoint!r} cannot name a folder; rename the checkpoint")
    for name, image in placed.items():
        place = folder / name
        if not place.exists() or not place.samefile(image):
            show_file(image, place)
