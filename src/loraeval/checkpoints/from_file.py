"""Training parameters of a LoRA file: tensors, metadata, then a script, then the defaults."""

from __future__ import annotations

import math
import re
from pathlib import Path

from loraeval.checkpoints.anatomy import Anatomy, anatomy_of
from loraeval.checkpoints.facts import RunFacts
from loraeval.checkpoints.header import read_header
from loraeval.checkpoints.parameters import (
    Claim,
    Parameters,
    ParameterValue,
    finish_entries,
    with_claim,
)
from loraeval.checkpoints.recorded import has_full_metadata, recorded_values
from loraeval.checkpoints.scripts import ScriptFacts
from loraeval.checkpoints.table import ParameterSpec, default_of, parameter_table
from loraeval.checkpoints.values import Value, same
from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

_PRECISION = {"F16": "fp16", "BF16": "bf16", "F32": "float"}
_MODULES = {"kohya": "networks.lora", "locon": "networks.lora"}
_VERSIONS = {"sd15": "sd_v1", "sdxl": "sdxl_base_v1-0", "sd2": "sd_v2"}


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
    recorded = recorded_values(anatomy.metadata)
    full = has_full_metadata(anatomy.metadata)
    derived = dict(_derived(anatomy))
    entries: dict[str, ParameterValue] = {}
    for name, spec in parameter_table().items():
        entry = _entry(name, spec, derived, recorded, facts, full=full)
        if entry is not None:
            entries[name] = entry
    if "training_script" not in entries:
        script = "sdxl_train_network.py" if anatomy.family == "sdxl" else "train_network.py"
        if anatomy.family in ("sd15", "sd2", "sdxl"):
            entries["training_script"] = ParameterValue(script, "derived", "the base family")
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


def _entry(
    name: str,
    spec: ParameterSpec,
    derived: dict[str, tuple[Value, str]],
    recorded: dict[str, tuple[Value, str]],
    facts: ScriptFacts | None,
    *,
    full: bool,
) -> ParameterValue | None:
    found: list[ParameterValue] = []
    if name in derived:
        found.append(ParameterValue(derived[name][0], "derived", derived[name][1]))
    if name in recorded:
        found.append(ParameterValue(recorded[name][0], "recorded", recorded[name][1]))
    if facts is not None and name in facts.values:
        found.append(ParameterValue(facts.values[name], "script", clean(facts.path.name)))
    if found:
        entry = found[0]
        for weaker in found[1:]:
            if not (weaker.source == "recorded" and _agree(name, entry.value, weaker.value)):
                entry = with_claim(entry, Claim(weaker.value, weaker.source, weaker.detail))
        return entry
    if not spec.flag:
        return None
    if spec.keys and full:
        detail = "not in the metadata, so sd-scripts' default"
        return ParameterValue(default_of(spec), "default", detail)
    if facts is not None and facts.complete and name not in facts.unresolved:
        detail = f"sd-scripts' default; not given in {clean(facts.path.name)}"
        return ParameterValue(default_of(spec), "default", detail)
    why = "sd-scripts does not record it" if not spec.keys else "the file has no training metadata"
    return ParameterValue(None, "not stored", why)


def _agree(name: str, a: Value, b: Value) -> bool:
    if name == "base_model_version":
        return str(b).startswith(str(a)) or "/" in str(b)
    return same(a, b)


def _derived(anatomy: Anatomy) -> list[tuple[str, tuple[Value, str]]]:
    """What the tensors and the neighbouring file names say."""
    unet = next((part for part in anatomy.components if part.name == "unet"), anatomy.components[0])
    rows: list[tuple[str, tuple[Value, str]]] = [
        ("file_size", (anatomy.file_bytes, "the file")),
    ]
    if anatomy.format in _MODULES:
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
    rows += [
        ("dora", (anatomy.format == "dora", "names of the tensors")),
        ("text_encoder_trained", (anatomy.trains_text_encoder, "tensors of the text encoders")),
        ("network_train_unet_only", (names == {"unet"}, "names of the tensors")),
        ("network_train_text_encoder_only", ("unet" not in names, "names of the tensors")),
    ]
    if unet.convolutions:
        rows.append(("conv_rank", (_conv_rank(anatomy), "3x3 kernels")))
    if anatomy.family in _VERSIONS:
        rows.append(("base_model_version", (_VERSIONS[anatomy.family], anatomy.family_evidence)))
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
    """Every how many epochs sd-scripts saved, by the numbers in the names of the same series."""
    stem = re.sub(r"-(\d{6}|step\d{8})$", "", path.stem)
    pattern = re.compile(re.escape(stem) + r"-(\d{6})\.safetensors")
    try:
        names = [pattern.fullmatch(item.name) for item in path.parent.iterdir()]
    except OSError:
        return None
    epochs = [int(match[1]) for match in names if match]
    return (math.gcd(*epochs) or None) if len(epochs) > 1 else None
