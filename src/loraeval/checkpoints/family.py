"""Name the format and the base family of a LoRA from its keys and shapes, with the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from loraeval.checkpoints.header import Header
from loraeval.checkpoints.naming import KINDS, Module, strange_file
from loraeval.outside.text import clean

if TYPE_CHECKING:
    from loraeval.checkpoints.anatomy import Component

# First match wins: a DoRA also has LoRA keys, a LyCORIS preset may mix kinds.
_ORDER = ("dora", "loha", "lokr", "oft", "glora", "ia3", "full", "norm", "tucker")
_REFUSED = {"oft", "glora", "ia3", "full", "norm", "weight", "bias"}
_BY_WIDTH = {768: "sd15", 1024: "sd2", 2048: "sdxl"}
_BY_VERSION = (
    ("sdxl", "sdxl"),
    ("sd_v1", "sd15"),
    ("sd_v2", "sd2"),
    ("sd3", "sd3"),
    ("flux", "flux"),
)


def format_of(
    header: Header, modules: Mapping[str, Module], kinds: Mapping[str, int], unknown: Sequence[str]
) -> tuple[str, str]:
    """Return the format's name and what betrays it."""
    strange = strange_file(unknown)
    if strange and not modules:
        return "unknown", f"{strange} (keys such as {clean(unknown[0])})"
    for kind in _ORDER:
        if kinds.get(kind):
            example = next(s for m in modules.values() for s in m.tensors if KINDS[s] == kind)
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


def family_of(metadata: Mapping[str, str], modules: Mapping[str, Module]) -> tuple[str, str]:
    """Return the family and what betrays it; tensors decide before metadata."""
    for name in modules:
        if "double_blocks" in name or "single_transformer_blocks" in name:
            return "flux", "double_blocks"
        if "joint_blocks" in name:
            return "sd3", "joint_blocks"
    for module in modules.values():
        path = module.name.replace(".", "_").replace("_processor", "")
        if path.endswith("attn2_to_k") and module.inputs is not None:
            family = _BY_WIDTH.get(module.inputs, "unknown")
            return family, f"attn2_to_k reads states {module.inputs} wide"
    for module in modules.values():
        path = module.name.replace(".", "_")
        if module.component == "te2" or "input_blocks" in path or "output_blocks" in path:
            return "sdxl", f"the module {clean(module.name)}"
        if path.endswith("proj_in") and module.kernel == 1:
            return "sd15", "proj_in is a 1x1 convolution"
    version = metadata.get("ss_base_model_version", "") or metadata.get(
        "modelspec.architecture", ""
    )
    for start, family in (
        *_BY_VERSION,
        ("stable-diffusion-xl", "sdxl"),
        ("stable-diffusion-v1", "sd15"),
    ):
        if version.startswith(start):
            return family, f"the metadata names {clean(version)}"
    return _family_without_unet(modules)


def _family_without_unet(modules: Mapping[str, Module]) -> tuple[str, str]:
    parts = {module.component for module in modules.values()}
    if "te1" in parts:
        return "sdxl", "keys of text encoder 1 of 2"
    widths = {m.inputs for m in modules.values() if m.name.endswith(("q_proj", "k_proj", "v_proj"))}
    if parts == {"te"} and widths == {768}:
        return "sd15 or sdxl", "only a text encoder that both families share, and no metadata"
    return "unknown", "no module that tells the families apart"


def unsupported_keys(modules: Mapping[str, Module]) -> tuple[str, ...]:
    """Return the keys of adapters that the renderer does not merge into weights."""
    return tuple(
        info.name
        for module in modules.values()
        for suffix, info in module.tensors.items()
        if KINDS[suffix] in _REFUSED
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
    if names and "unet" not in names:
        yield "only text encoders were trained"
    elif names == {"unet"}:
        yield "only the UNet was trained: prompts mean what they mean in the base model"
    if "lora_alpha" in metadata and not any(part.alphas for part in parts):
        yield (
            "lora_alpha stands in the metadata by itself, where no program that is known looks for "
            "it: the scale is 1"
        )
    if not metadata:
        yield "no metadata: training parameters can be read from the tensors only"
