"""Name the format and the base family of a LoRA from its keys and shapes, with the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from loraeval.checkpoints.header import Header
from loraeval.checkpoints.keys import UNKNOWN, strange_file
from loraeval.checkpoints.modules import Module
from loraeval.families import Layer, Naming, name_lora
from loraeval.outside.text import clean

if TYPE_CHECKING:
    from loraeval.checkpoints.anatomy import Component

# First match wins: a DoRA also has LoRA keys, a LyCORIS preset may mix kinds.
_ORDER = ("dora", "loha", "lokr", "oft", "glora", "ia3", "full", "norm", "peft-other", "embedding",
          "tucker")  # fmt: skip
REFUSED = frozenset({
    "oft", "glora", "ia3", "full", "norm", "weight", "bias", "lora-bias", "peft-other", "embedding",
})  # fmt: skip
"""Kinds of tensors that are not merged into weights."""


def format_of(
    header: Header, modules: Mapping[str, Module], kinds: Mapping[str, int], unknown: Sequence[str]
) -> tuple[str, str]:
    """Return the format's name and what betrays it."""
    strange = strange_file(unknown)
    if strange and not modules:
        return "unknown", f"{strange} (keys such as {clean(unknown[0])})"
    if modules and all(module.component == UNKNOWN for module in modules.values()):
        key = _a_key(next(iter(modules.values())))
        return "unknown", (
            f"a LoRA whose naming is not known (keys such as {clean(key)}); convert it to "
            "kohya's, PEFT's or diffusers' names"
        )
    for kind in _ORDER:
        if kinds.get(kind):
            example = next(
                info.name.rpartition(m.name)[2].lstrip(".")
                for m in modules.values()
                for role, info in m.tensors.items()
                if m.kinds[role] == kind
            )
            name = "locon" if kind == "tucker" else kind
            return name, f"{kinds[kind]} keys such as .{example}"
    if kinds.get("lora"):
        if any(module.kernel > 1 for module in modules.values()):
            return "locon", "lora_down.weight with 3x3 kernels"
        return "kohya", "lora_down.weight and lora_up.weight with kohya's prefixes"
    if kinds.get("peft"):
        return "peft", "lora_A.weight and lora_B.weight"
    if kinds.get("diffusers"):
        return "diffusers", "lora.down.weight and lora.up.weight"
    if not header.tensors:
        return "unknown", "a file without tensors"
    names = [*unknown, *header.tensors]
    return "unknown", f"{strange or 'no LoRA keys'} (keys such as {clean(names[0])})"


def family_of(metadata: Mapping[str, str], modules: Mapping[str, Module]) -> Naming:
    """Return which family the file is of and what betrays it (``families.evidence``)."""
    layers = (
        Layer(m.component, m.path, m.name, m.inputs, m.outputs, m.kernel) for m in modules.values()
    )
    return name_lora(layers, metadata)


def _a_key(module: Module) -> str:
    return next(iter(module.tensors.values())).name


def unsupported_keys(modules: Mapping[str, Module]) -> tuple[str, ...]:
    """Return the keys of adapters that the renderer does not merge into weights."""
    return tuple(
        info.name
        for module in modules.values()
        for role, info in module.tensors.items()
        if module.kinds[role] in REFUSED
    )


def notes_on(metadata: Mapping[str, str], parts: Sequence[Component]) -> Iterator[str]:
    """Yield sentences on what a person should know before using the file."""
    for part in parts:
        if part.trained is False:
            yield (
                f"{part.name}: keys are there, but every up matrix that was read is zero: "
                "this part was not trained"
            )
        if len(part.ranks) > 1:
            shown = ", ".join(f"{rank} ({count})" for rank, count in part.ranks.items())
            yield f"{part.name}: ranks differ by module: {shown}"
        if len(part.scales) > 1:
            yield (
                f"{part.name}: alpha / rank differs by module; plain diffusers would apply wrong "
                "scales, loraeval folds the scale into the weights first"
            )
    names = {part.name for part in parts}
    texts = {name for name in names if name.startswith("te")}
    if names and names == texts:
        yield "only text encoders were trained"
    elif names and not texts:
        yield "only the UNet was trained: prompts mean what they mean in the base model"
    if "lora_alpha" in metadata and not any(part.alphas for part in parts):
        yield (
            "lora_alpha stands in the metadata by itself, where no program that is known looks for "
            "it: the scale is 1"
        )
    if not metadata:
        yield "no metadata: training parameters can be read from the tensors only"
