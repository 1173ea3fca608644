"""What a baseline holds, as lines for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loraeval.baselines import Baseline


def baseline_text(baseline: Baseline) -> str:
    """Return what ``loraeval baseline show`` prints."""
    from loraeval.baselines.softened import softened

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
        *promises_text(baseline),
    ]
    lines += [f"softened: {note}" for note in softened(baseline)]
    lines += [f"{key}: {value}" for key, value in baseline.provenance.items()]
    if baseline.parameters:
        lines.append(_parameters_text(baseline))
    return "\n".join(lines)


def promises_text(baseline: Baseline) -> list[str]:
    """Return what a PASS against ``baseline`` promises, what it takes, and r, a line each."""
    from loraeval.baselines.margins import golden_lacking
    from loraeval.baselines.shared_luck import shared_part
    from loraeval.baselines.shares import SHARES, score_of
    from loraeval.gate import GateOptions
    from loraeval.gate.bad import bad_level, fewest_images

    options = GateOptions()
    fewest = fewest_images(options.bad_share, options.alpha)
    points = f"{100 * options.bad_share:g} of 100"
    promise = (
        f"a PASS promises that no mean has fallen by its margin and that no more than {points} "
        f"further images are bad; nothing passes before {fewest} images, whatever the method, as "
        f"fewer show none of {points} too often; a FAIL does not wait"
    )
    lines = [promise]
    runs = {(row.run, row.epoch) for row in baseline.rows}
    if len(runs) > 1:
        lines.append(f"{len(runs)} checkpoints: a candidate is held against their mean")
    for metric in baseline.profile.gated:
        if metric == "health":
            continue
        values = [v for row in baseline.rows if (v := score_of(row, metric)) is not None]
        told = []
        if metric not in SHARES:
            level = bad_level(values)
            if level.level is None:
                told.append(f"no promise about bad images: {level.why}")
            else:
                low, high = level.interval()
                told.append(
                    f"bad below {level.level:.3f}: {level.count} of {level.images} golden images "
                    f"({low:.1%} to {high:.1%})"
                )
            lacking = golden_lacking(baseline.rows, metric, baseline.margins[metric])
            if lacking:
                told.append(f"about {lacking} golden images lacking: nobody passes")
        shared = shared_part(baseline.rows, metric)
        told.append(
            "r unknown" if shared is None else f"r {shared[0]:.2f} from {shared[1]} pairs of images"
        )
        lines.append(f"  {metric}: {'; '.join(told)}")
    return lines


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
