"""Compare the training parameters of runs: what differs, and whether it can matter.

A difference is **effective** where both runs act on it; **inert** where it has no effect in one of
the runs, so that copying the value over would change nothing (the difference is then that of the
parameter which switches it off); **storage** where only the file, speed or memory change;
**unknown** where a run does not tell. The first run is the one that others are compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loraeval.checkpoints.inert import inert_reason
from loraeval.checkpoints.literature import EVIDENCE, Evidence
from loraeval.checkpoints.parameters import Parameters, ParameterValue
from loraeval.checkpoints.table import GROUPS, ParameterSpec, parameter_table, training_scripts
from loraeval.checkpoints.truths import truths_of
from loraeval.checkpoints.values import Value, number, same, shown, shown_as
from loraeval.errors import UsageError

Effect = Literal["same", "effective", "inert", "storage", "unknown"]

_STRENGTH: dict[Effect, int] = {
    "same": 0, "storage": 1, "unknown": 2, "inert": 3, "effective": 4
}  # fmt: skip

_FALL_BACK = ("unet_lr", "text_encoder_lr")
"""Rates that are learning_rate where they are not given: its difference is not told again."""

_WHOLE = {"min_timestep": 0, "max_timestep": 1000}
"""What "not given" means for the timesteps that are trained."""

_MEANS = {"max_token_length": "75", "save_precision": "fp32"}

_DERIVED = {
    "scale", "base_model_version", "training_script", "text_encoder_trained", "conv_rank", "dora",
    "caption_fingerprint", "total_batch_size", "base_model_hash", "images",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One parameter over all runs; ``reason`` explains an effect other than ``same``."""

    name: str
    group: str
    values: tuple[ParameterValue, ...]
    effect: Effect
    reason: str = ""

    @property
    def changed(self) -> bool:
        """Whether any two runs differ, or may."""
        return self.effect != "same"


@dataclass(frozen=True, slots=True)
class ParameterComparison:
    """The table: ``rows`` in group order, ``truths`` as sentences, ``confounding`` on causes."""

    runs: tuple[Parameters, ...]
    rows: tuple[Row, ...]
    truths: tuple[str, ...]
    confounding: str
    evidence: tuple[tuple[str, Evidence | None], ...]

    @property
    def differences(self) -> tuple[Row, ...]:
        """Rows that differ."""
        return tuple(row for row in self.rows if row.changed)

    @property
    def headline(self) -> str:
        """The answer in a line: how many effective differences are known, and which."""
        names = [name for name, _ in self.evidence]
        unknown = sum(row.effect == "unknown" and _told(row) for row in self.rows)
        tail = f"; {unknown} parameters are not known for every run" if unknown else ""
        if not names:
            return f"No effective difference is known{tail}."
        word = "difference" if len(names) == 1 else "differences"
        return f"{len(names)} effective {word}: {', '.join(names)}{tail}."

    @property
    def equal(self) -> tuple[str, ...]:
        """Names of what is known and the same in all runs, whether given or a default."""
        return tuple(
            row.name for row in self.rows
            if row.effect == "same" and all(value.known for value in row.values)
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON object."""
        return {
            "headline": self.headline,
            "runs": [run.name for run in self.runs],
            "rows": [
                {
                    "parameter": row.name, "group": row.group, "effect": row.effect,
                    "reason": row.reason,
                    "values": [
                        {"value": v.value, "source": v.source, "detail": v.detail,
                         "conflicts": [[c.value, c.source, c.detail] for c in v.conflicts]}
                        for v in row.values
                    ],
                }
                for row in self.rows
            ],
            "truths": list(self.truths),
            "confounding": self.confounding,
            "evidence": [
                {"parameter": name, "effect": item.effect if item else None,
                 "sources": list(item.sources) if item else []}
                for name, item in self.evidence
            ],
        }  # fmt: skip


def compare_parameters(runs: Sequence[Parameters]) -> ParameterComparison:
    """Compare two or more runs; the first is the reference. ``UsageError`` for fewer."""
    if len(runs) < 2:
        raise UsageError("comparing needs two runs; for one use: loraeval inspect FILE")
    order = list(GROUPS)
    rows = [_row(spec, runs) for spec in parameter_table().values()]
    kept = sorted((row for row in rows if row is not None), key=lambda row: order.index(row.group))
    causes = [row.name for row in kept if row.effect == "effective" and is_cause(row.name)]
    causes.sort(key=lambda name: -(EVIDENCE[name].weight if name in EVIDENCE else 0))
    return ParameterComparison(
        tuple(runs), tuple(kept), tuple(truths_of(runs)),
        _confounding(causes, [row for row in kept if row.effect == "unknown" and _told(row)]),
        tuple((name, EVIDENCE.get(name)) for name in causes),
    )  # fmt: skip


def effective_differences(comparison: ParameterComparison) -> list[str]:
    """Return one line per effective difference, most telling first, for a gate's failure: such as
    ``resolution: 512x512 -> 1024x1024``.
    """
    rows = {row.name: row for row in comparison.rows}
    return [
        f"{name}: " + " -> ".join(dict.fromkeys(shown_value(v, name) for v in rows[name].values))
        for name, _ in comparison.evidence
    ]


def is_cause(name: str) -> bool:
    """Whether a difference in ``name`` is a choice of its own rather than derived from others."""
    return name not in _DERIVED


def shown_value(entry: ParameterValue, name: str = "") -> str:
    """Return a value for a table: ``?`` where it is not known, ``? (64?)`` with a claim, and what
    "not given" means where that is a number.
    """
    text = shown_as(name, entry.value) if entry.known else "?"
    if entry.known and entry.value is None and name in _MEANS:
        text = f"– ({_MEANS[name]})"
    others = [shown_as(name, claim.value) for claim in entry.conflicts]
    return text + (f" ({', '.join(f'{other}?' for other in others)})" if others else "")


def meant(name: str, run: Parameters) -> Value:
    """Return what sd-scripts makes of a value: fallbacks followed, other words for off undone."""
    value = run[name]
    if name in ("unet_lr", "text_encoder_lr") and value is None:
        return run["learning_rate"]
    if name == "max_token_length" and value is None:
        return 75
    if name in _WHOLE and value is None and run.known(name):
        return _WHOLE[name]
    if name == "save_precision" and value is None:
        return "float"
    if name in ("noise_offset", "min_snr_gamma", "multires_noise_iterations") and not number(value):
        return None
    return value


def _row(spec: ParameterSpec, runs: Sequence[Parameters]) -> Row | None:
    missing = ParameterValue(None, "not stored", "not known")
    values = tuple(run.values.get(spec.name, missing) for run in runs)
    if not any(value.known or value.conflicts for value in values):
        return None
    effect: Effect = "same"
    reason = ""
    for run in runs[1:]:
        found, why = _difference(spec, runs[0], run)
        if _STRENGTH[found] > _STRENGTH[effect]:
            effect, reason = found, why
    return Row(spec.name, spec.group, values, effect, reason)


def _difference(spec: ParameterSpec, a: Parameters, b: Parameters) -> tuple[Effect, str]:
    name = spec.name
    silent = next((run for run in (a, b) if not run.known(name)), None)
    if silent is not None:
        if spec.effect != "learned" or (name in _DERIVED and name not in silent.values):
            return "same", ""
        other = b if silent is a else a
        if spec.flag and name not in silent.values and _no_such_flag(name, silent):
            if not other.known(name) or other.values[name].source == "default":
                return "same", ""
            return "inert", f"{silent['training_script']} takes no such flag"
        return "unknown", f"{silent.name} does not tell"
    if same(meant(name, a), meant(name, b)) or (
        name in _FALL_BACK and a[name] is None and b[name] is None
    ):
        return "same", ""
    if spec.effect == "stored":
        return "storage", "how the file is stored, not what was learned"
    if spec.effect == "speed":
        return "storage", "speed and memory, not what was learned"
    if spec.effect == "label":
        return "storage", "a name or a measurement"
    if name == "network_alpha" and a["scale"] is not None and same(a["scale"], b["scale"]):
        return "inert", f"alpha / dim is {shown(a['scale'])} in both: the scaling did not change"
    for run in (a, b):
        why = inert_reason(name, run)
        if why is not None:
            return "inert", f"no effect in {run.name}: {why}"
    return "effective", ""


def _no_such_flag(name: str, run: Parameters) -> bool:
    """Whether the training script of a run is known and does not take the flag ``name``."""
    script = training_scripts().get(str(run["training_script"]))
    return script is not None and name not in script.flags


def _told(row: Row) -> bool:
    """Whether any run says more of it than sd-scripts' default."""
    return any(value.known and value.source != "default" for value in row.values)


def _confounding(causes: Sequence[str], unknown: Sequence[Row]) -> str:
    tail = f" Not known for every run: {len(unknown)} more." if unknown else ""
    if not causes:
        return "No effective difference is known." + tail
    if len(causes) == 1:
        return f"One effective parameter differs: {causes[0]}.{tail}"
    return (
        f"Confounded: {len(causes)} effective parameters changed at once "
        f"({', '.join(causes)}), so these runs can not tell which of them made the difference. "
        f"What follows is ordered by what the literature supports, which is not proof.{tail}"
    )
