"""Training parameters of a LoRA file: tensors, metadata, then a script, then the defaults.

A default is claimed where sd-scripts wrote the file and would have recorded another value, or
where a script was given of which every word was understood. For a trainer that is not known
nothing is claimed beyond what stands in the file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from loraeval.checkpoints.anatomy import Anatomy, anatomy_of
from loraeval.checkpoints.configs import DATASET
from loraeval.checkpoints.facts import RunFacts
from loraeval.checkpoints.file_names import place_of
from loraeval.checkpoints.header import read_header
from loraeval.checkpoints.parameters import (
    Claim,
    Parameters,
    ParameterValue,
    finish_entries,
    with_claim,
)
from loraeval.checkpoints.recorded import has_full_metadata
from loraeval.checkpoints.script_facts import ScriptFacts
from loraeval.checkpoints.table import (
    ParameterSpec,
    default_of,
    parameter_table,
    training_scripts,
)
from loraeval.checkpoints.trainer import MUSUBI, SD_SCRIPTS, Trainer, trainer_of
from loraeval.checkpoints.trainers.in_files import values_of
from loraeval.checkpoints.values import Value, same
from loraeval.errors import CheckpointError
from loraeval.families import FAMILIES
from loraeval.outside.text import clean

_PRECISION = {"F16": "fp16", "BF16": "bf16", "F32": "float"}
_ADAPTERS = {
    "kohya": "lora", "peft": "lora", "diffusers": "lora", "locon": "locon", "loha": "loha",
    "lokr": "lokr", "oft": "oft", "glora": "glora", "ia3": "ia3", "full": "full", "dora": "lora",
}  # fmt: skip
_MODULES = {"kohya": "networks.lora", "locon": "networks.lora"}


def parameters_of_file(path: Path, facts: ScriptFacts | None = None) -> Parameters:
    """Return the parameters of one LoRA file; ``facts`` is what its script says, if at hand.

    Raises ``CheckpointError`` where the file is no safetensors file or holds no LoRA.
    """
    anatomy = anatomy_of(read_header(path), deep=False)
    return parameters_of_anatomy(anatomy, facts)


def parameters_of_anatomy(anatomy: Anatomy, facts: ScriptFacts | None = None) -> Parameters:
    """Do what ``parameters_of_file`` does for an anatomy that is read already."""
    path = anatomy.path
    if not anatomy.components:
        raise CheckpointError(f"{clean(path)}: expected a LoRA, found {anatomy.format_evidence}")
    trainer = trainer_of(anatomy.metadata)
    sources = _Sources(
        anatomy, trainer, dict(_derived(anatomy, trainer)), values_of(trainer, anatomy.metadata),
        facts,
    )  # fmt: skip
    entries: dict[str, ParameterValue] = {}
    for name, spec in parameter_table().items():
        entry = _entry(name, spec, sources)
        if entry is not None:
            entries[name] = entry
    if trainer.script is not None:
        key = "ss_base_model_version" if trainer.program == SD_SCRIPTS else trainer.evidence
        entries["training_script"] = ParameterValue(trainer.script, "derived", key)
    _name_trainer(entries, trainer, facts)
    if isinstance(facts, RunFacts):
        for name, value in facts.extras.items():
            entries.setdefault(name, ParameterValue(value, "stated", clean(facts.path.name)))
    finish_entries(entries)
    title = entries.get("output_name")
    name = str(title.value) if title is not None and title.value else path.stem
    warnings = list(facts.warnings) if facts is not None else []
    warnings += [text for text in (anatomy.resized, anatomy.merged) if text]
    return Parameters(
        clean(name), entries, tuple(warnings), facts.ignored if facts else {}, clean(path.name)
    )


@dataclass(frozen=True, slots=True)
class _Sources:
    anatomy: Anatomy
    trainer: Trainer
    derived: dict[str, tuple[Value, str]]
    recorded: dict[str, tuple[Value, str]]
    facts: ScriptFacts | None

    def absent(self, spec: ParameterSpec) -> str | None:
        """Say why a key that is not in the metadata means sd-scripts' default, None where it does
        not: sd-scripts writes all its keys, other trainers do not.
        """
        metadata = self.anatomy.metadata
        if self.trainer.program != SD_SCRIPTS or not spec.keys or not has_full_metadata(metadata):
            return None
        if "ss_datasets" in metadata and spec.name in DATASET.values():
            return None  # each data set has its own
        script = training_scripts().get(self.trainer.script or "")
        known = script is not None and spec.name in script.flags
        return "not in the metadata, so sd-scripts' default" if known else None

    def why_unknown(self, spec: ParameterSpec) -> str:
        """Say why nothing tells the value."""
        if self.facts is not None:
            return self.facts.why_unknown(spec.name)
        program = self.trainer.program
        if program not in (SD_SCRIPTS, MUSUBI):
            return "not in the file" if program is None else f"{program} does not record it here"
        if not has_full_metadata(self.anatomy.metadata):
            return "the file has no training metadata"
        return f"{program} does not record it"

    def applies(self, spec: ParameterSpec) -> bool:
        """Whether a flag is one of the training script, as far as that is known."""
        script = training_scripts().get(self.trainer.script or "")
        if self.facts is not None and self.facts.flags:
            return spec.name in self.facts.flags
        if script is not None:
            return spec.name in script.flags
        return self.trainer.program in (None, SD_SCRIPTS) and spec.name in (
            training_scripts()["train_network.py"].flags
        )


def _name_trainer(
    entries: dict[str, ParameterValue], trainer: Trainer, facts: ScriptFacts | None
) -> None:
    if trainer.program is not None:
        entries["trainer"] = ParameterValue(trainer.program, "recorded", trainer.evidence)
    elif facts is not None and facts.program is not None:
        entries["trainer"] = ParameterValue(facts.program, "script", clean(facts.path.name))
    if facts is not None and facts.trainer is not None and trainer.script is None:
        entries["training_script"] = ParameterValue(facts.trainer, "script", clean(facts.path.name))
    if trainer.version is not None:
        entries["trainer_version"] = ParameterValue(trainer.version, "recorded", trainer.evidence)


def _entry(name: str, spec: ParameterSpec, sources: _Sources) -> ParameterValue | None:
    derived, recorded, facts = sources.derived, sources.recorded, sources.facts
    found: list[ParameterValue] = []
    if name in derived:
        found.append(ParameterValue(derived[name][0], "derived", derived[name][1]))
    if name in recorded:
        found.append(ParameterValue(recorded[name][0], "recorded", recorded[name][1]))
    if facts is not None and name in facts.values:
        own = facts.own.get(name, name)
        detail = clean(facts.path.name) + ("" if own == name else f": {clean(own, 60)}")
        found.append(ParameterValue(facts.values[name], "script", detail))
    if found:
        entry = found[0]
        for weaker in found[1:]:
            if not (weaker.source == "recorded" and _agree(name, entry.value, weaker.value)):
                entry = with_claim(entry, Claim(weaker.value, weaker.source, weaker.detail))
        return entry
    if not spec.flag or not sources.applies(spec):
        return None
    absent = sources.absent(spec)
    if absent is not None:
        return ParameterValue(default_of(spec), "default", absent)
    default = facts.default(name) if facts is not None and name not in facts.unresolved else None
    if facts is not None and default is not None:
        detail = f"the default of {facts.program}; not given in {clean(facts.path.name)}"
        return ParameterValue(default_of(default), "default", detail)
    return ParameterValue(None, "not stored", sources.why_unknown(spec))


def _agree(name: str, a: Value, b: Value) -> bool:
    if name == "base_model_version":
        return str(b).startswith(str(a)) or "/" in str(b)
    return same(a, b)


def _derived(anatomy: Anatomy, trainer: Trainer) -> list[tuple[str, tuple[Value, str]]]:
    """What the tensors and the neighbouring file names say."""
    unet = next(
        (part for part in anatomy.components if not part.name.startswith("te")),
        anatomy.components[0],
    )
    rows: list[tuple[str, tuple[Value, str]]] = [
        ("file_size", (anatomy.file_bytes, "the file")),
    ]
    if anatomy.format in _ADAPTERS:
        rows.append(("adapter", (_ADAPTERS[anatomy.format], "names of the tensors")))
    if anatomy.format in _MODULES and trainer.program == SD_SCRIPTS:
        rows.append(("network_module", (_MODULES[anatomy.format], "names of the tensors")))
    if unet.ranks:
        plain_rank = max(unet.ranks, key=lambda rank: unet.ranks[rank])
        rows.append(("network_dim", (plain_rank, "shape of lora_down")))
    if len(unet.alphas) == 1:
        rows.append(("network_alpha", (next(iter(unet.alphas)), "alpha tensors")))
    if len(unet.scales) == 1:
        rows.append(("scale", (next(iter(unet.scales)), "alpha / rank of the tensors")))
    if anatomy.dtype in _PRECISION:
        rows.append(("save_precision", (_PRECISION[anatomy.dtype], "dtype of the tensors")))
    names = {part.name for part in anatomy.components}
    texts = {name for name in names if name.startswith("te")}
    rows += [
        ("dora", (anatomy.format == "dora", "names of the tensors")),
        ("text_encoder_trained", (anatomy.trains_text_encoder, "tensors of the text encoders")),
        ("network_train_unet_only", (not texts, "names of the tensors")),
        ("network_train_text_encoder_only", (texts == names, "names of the tensors")),
    ]
    if unet.convolutions:
        rows.append(("conv_rank", (_conv_rank(anatomy), "3x3 kernels")))
    family = FAMILIES.get(anatomy.family)
    if family is not None and family.training is not None:
        rows.append(("base_model_version", (family.training.version, anatomy.family_evidence)))
    every = _saved_every(anatomy.path)
    if every is not None:
        rows.append(("save_every_n_epochs", (every, "the numbers of the files beside it")))
    return [
        (name, (int(v) if isinstance(v, float) and v.is_integer() else v, why))
        for name, (v, why) in rows
    ]


def _conv_rank(anatomy: Anatomy) -> Value:
    return next((shape for shape in anatomy.conv_ranks), None)


def _saved_every(path: Path) -> int | None:
    """Every how many epochs was saved, by the numbers in the names of the same series."""
    place = place_of(path.stem)
    run = place.run if place is not None else path.stem
    try:
        names = [item.stem for item in path.parent.iterdir() if item.suffix == ".safetensors"]
    except OSError:
        return None
    places = [found for name in names[:10_000] if (found := place_of(name)) is not None]
    epochs = {p.epoch for p in places if p.run == run and p.epoch and p.step is None}
    return (math.gcd(*epochs) or None) if len(epochs) > 1 else None
