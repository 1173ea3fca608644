"""Write the experiments that would separate confounded differences: one change a run.

Each is the reference run with a single parameter of the other run, in the syntax of its own
trainer, with what it would show and what it would cost.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from loraeval.checkpoints.compare import ParameterComparison, is_cause, shown_value
from loraeval.checkpoints.parameters import Parameters
from loraeval.checkpoints.plan_syntax import settings_text, takes
from loraeval.checkpoints.schedule import steps_of
from loraeval.checkpoints.table import parameter_table
from loraeval.checkpoints.values import Value, number, shown
from loraeval.families import DEFAULT, of_model_name, of_training, training_of

TRAINING_PASSES = 4
"""Forward, recomputed forward (gradient checkpointing) and a backward of twice the work."""

DEFAULT_TFLOPS = 60.0
"""Sustained TFLOP/s assumed for a rented 24 to 80 GB card where no time was recorded."""

ASSUMED_REPEATS = 10


@dataclass(frozen=True, slots=True)
class Experiment:
    """One run: ``command`` is ready for sd-scripts but for paths that are not recorded,
    ``gpu_hours`` an estimate or None, ``basis`` what the estimate stands on.
    """

    name: str
    change: str
    command: str
    shows: str
    gpu_hours: float | None
    basis: str


def plan_experiments(
    comparison: ParameterComparison, *, other: int = 1, tflops: float = DEFAULT_TFLOPS
) -> list[Experiment]:
    """Return single-change runs between the first run and ``comparison.runs[other]``.

    Order: what the literature supports most comes first. A parameter that only a claim gives
    (a rank concluded from a file size) is planned with each claimed value. ``tflops`` is the
    sustained speed of the card to plan for.
    """
    base, changed = comparison.runs[0], comparison.runs[other]
    rows = {row.name: row for row in comparison.rows}
    names = [name for name, _ in comparison.evidence]
    names += [
        row.name for row in comparison.rows
        if row.effect == "unknown" and is_cause(row.name) and row.values[other].conflicts
    ]  # fmt: skip
    experiments: list[Experiment] = []
    for name in names:
        if not (parameter_table()[name].flag or base["trainer"]) or not takes(base, name):
            continue
        entry = rows[name].values[other]
        values = [entry.value] if entry.known else [claim.value for claim in entry.conflicts]
        experiments += [
            _experiment(base, changed, name, value, tflops)
            for value in dict.fromkeys(values)
            if value != base[name]
        ]
    return experiments


def training_command(run: Parameters, changes: dict[str, Value] | None = None) -> str:
    """Return the sd-scripts command of a run, one flag a line; defaults are left out."""
    changes = changes or {}
    values = {**{name: entry.value for name, entry in run.values.items()}, **changes}
    family = of_model_name(values.get("pretrained_model_name_or_path"))
    lines = [f"accelerate launch {training_of(family.name).script}"]
    for name, spec in parameter_table().items():
        entry = run.values.get(name)
        given = name in changes or (
            entry is not None and entry.known and entry.source not in ("default", "not stored")
        )
        if not spec.flag or not given or values.get(name) is None:
            continue
        if spec.effect == "label" and name != "output_name":
            continue
        if name == "resolution":
            values[name] = str(values[name]).replace("x", ",")
        flag = _flag(name, values[name], is_switch=spec.type == "switch", is_list=spec.list)
        if flag:
            lines.append(flag)
    lines += [f'--{name}="${{{name.upper()}:?}}"' for name in ("train_data_dir", "output_dir")]
    return " \\\n  ".join(lines)


def gpu_hours(
    run: Parameters, *, tflops: float, repeats: int | None = None
) -> tuple[float | None, str]:
    """Return an estimate of GPU-hours and what it stands on.

    samples * 4 passes * TFLOP of a pass (in proportion to the pixels) / sustained TFLOP/s.
    """
    steps = steps_of(run, repeats)
    width, _, height = str(run["resolution"] or "").partition("x")
    pixels = (number(width) or 0) * (number(height) or 0)
    if steps is None or not pixels:
        return None, "images, repeats, batch, epochs or resolution are not known"
    training = (of_training(run["training_script"]) or DEFAULT).training
    if training is None or training.forward_tflop is None:
        return None, "the work of a step is not known for this family"
    work = training.forward_tflop * pixels / training.native_size**2 * TRAINING_PASSES
    hours = steps.samples * work / tflops / 3600
    note = f", with {repeats} repeats assumed" if run["repeats"] is None else ""
    return hours, f"{steps.samples} samples at {tflops:g} TFLOP/s sustained{note}"


def _flag(name: str, value: Value, *, is_switch: bool, is_list: bool) -> str | None:
    if is_switch:
        return f"--{name}" if value is True else None
    if is_list:
        return f"--{name} " + " ".join(shlex.quote(word) for word in str(value).split())
    text = shown(value) if isinstance(value, float) else str(value)
    return f"--{name}={shlex.quote(text)}"


def _experiment(
    base: Parameters, changed: Parameters, name: str, value: Value, tflops: float
) -> Experiment:
    title = f"{base.name}_{name}_{shown(value)}"
    title = "".join(c if c.isalnum() or c in "._-" else "-" for c in title)
    changes: dict[str, Value] = {name: value, "output_name": title}
    entries = dict(base.values)
    if name == "network_dim" and isinstance(value, int):
        scale = base["scale"]
        if isinstance(scale, (int, float)):  # the same scale, so that only capacity changes
            changes["network_alpha"] = scale * value
    entries[name] = changed.values.get(name, entries[name])
    if name == "pretrained_model_name_or_path" and "training_script" in changed.values:
        entries["training_script"] = changed.values["training_script"]
    planned = Parameters(title, entries)
    hours, basis = gpu_hours(planned, tflops=tflops, repeats=ASSUMED_REPEATS)
    before = shown_value(base.values[name], name) if name in base.values else "–"
    extra = ", alpha moved with it so that the scale stays" if "network_alpha" in changes else ""
    shows = (
        f"If it passes {base.name}'s gate, {name} alone is not what made {changed.name} worse; "
        f"if it fails on the scorers that fell for {changed.name}, {name} is enough to explain it."
    )
    family = of_model_name(value)
    if name == "pretrained_model_name_or_path" and family is not DEFAULT:
        size = training_of(family.name).native_size
        shows += (
            f" {family.title} is made for about {size} x {size} pixels: read a failure below that "
            "with care."
        )
    return Experiment(
        title,
        f"{name}: {before} -> {shown(value)}{extra}",
        settings_text(base, changes) or training_command(base, changes),
        shows,
        hours,
        basis,
    )
