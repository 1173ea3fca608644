"""What a baseline holds, as lines for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loraeval.baselines import Baseline


def baseline_text(baseline: Baseline) -> str:
    """Return what ``loraeval baseline show`` prints."""
    prompts = len({row.prompt_id for row in baseline.rows})
    seeds = len({row.seed for row in baseline.rows if row.seed is not None})
    profile = baseline.profile
    lattice = "none" if profile.lattice is None else f"{profile.lattice[0]}x{profile.lattice[1]}"
    reference = profile.reference or "none"
    if baseline.reference_file is not None:
        reference = f"features in {baseline.reference_file.name}"
    lines = [
        f"{baseline.name}: {len(baseline.rows)} images, {prompts} prompts, {seeds} known seeds",
        f"profile {profile.name}: lattice {lattice}, reference {reference}",
        f"prompts {baseline.prompt_digest or 'unknown'}",
        f"recipe {baseline.recipe_digest or 'unknown'}",
        f"encoder {baseline.encoder or 'none'}",
        margins_text(baseline),
    ]
    lines += [f"{key}: {value}" for key, value in baseline.provenance.items()]
    if baseline.parameters:
        lines.append(_parameters_text(baseline))
    return "\n".join(lines)


def _parameters_text(baseline: Baseline) -> str:
    """Say how many of the run's training parameters were given, defaults and gaps apart."""
    from loraeval.checkpoints.parameters import Parameters
    from loraeval.errors import CheckpointError

    try:
        values = Parameters.from_json(dict(baseline.parameters)).values.values()
    except CheckpointError:  # a table that somebody wrote by hand
        return f"training parameters: {len(baseline.parameters)} entries"
    given = sum(entry.source not in ("default", "not stored") for entry in values)
    defaults = sum(entry.source == "default" for entry in values)
    return f"training parameters: {given} given, {defaults} at sd-scripts' defaults"


def margins_text(baseline: Baseline) -> str:
    """Return one line a gated metric: its mean, its margin, and what the margin means."""
    width = max(len(metric) for metric in baseline.profile.gated)
    lines = []
    for metric in baseline.profile.gated:
        values = [v for row in baseline.rows if (v := row.scores.get(metric)) is not None]
        mean = f"{sum(values) / len(values):.3f}" if values else "-"
        margin = baseline.margins[metric]
        accepted = f"{margin:.3f}" if margin else "-"
        words = baseline.margin_words.get(metric, "")
        lines.append(f"  {metric:<{width}}  mean {mean}  margin {accepted:>5}  {words}")
    return "\n".join(lines)
