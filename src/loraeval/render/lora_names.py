"""LoRA keys taken apart, and matched with the modules of a pipeline. Pure; imports no torch.

Three ways of naming are read: kohya (``lora_unet_down_blocks_0_…_to_q.lora_down.weight``, for
SDXL with the block names of Stability's own code), diffusers and PEFT
(``unet.down_blocks.0.….to_q.lora_A.weight``), and diffusers' old attention processors
(``unet.….attn1.processor.to_q_lora.down.weight``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from loraeval.errors import CheckpointError
from loraeval.families import rendering_of
from loraeval.families.names import names_of
from loraeval.render.adapters import HALVES, LoraModule, is_whole, kind_of

_KOHYA = re.compile(
    r"(?P<module>lora_(?:unet|te1|te2|te)_\w+)\.(?P<role>lora_(?:down|up|mid)\.weight|alpha"
    r"|dora_scale|hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2))"
)
_DOTTED = re.compile(
    r"(?:base_model\.model\.)?(?P<component>unet|text_encoder_2|text_encoder)\.(?P<module>.+?)\."
    r"(?:(?P<ab>lora_[AB])(?:\.\w+)?\.weight"
    r"|(?:lora|lora_linear_layer)\.(?P<ud>down|up)\.weight|(?P<alpha>alpha)"
    r"|(?P<magnitude>lora_magnitude_vector)(?:\.\w+)?)"
)
_PROCESSOR = re.compile(
    r"(?:unet\.)?(?P<module>.+?)\.processor\.(?P<linear>to_q|to_k|to_v|to_out)_lora\."
    r"(?P<ud>down|up)\.weight"
)
_ROLES = {
    "lora_down.weight": "down", "lora_up.weight": "up", "lora_mid.weight": "mid",
    "lora_A": "down", "lora_B": "up",
}  # fmt: skip

UNSUPPORTED = {
    "oft_": "OFT", "w_norm": "trained norms", "b_norm": "trained norms", "on_input": "IA3",
    ".diff": "full weight difference", "a1.weight": "GLoRA", "b1.weight": "GLoRA",
}  # fmt: skip
"""Parts of keys that betray a kind of adapter which cannot be rendered faithfully here."""


def group_keys(keys: Iterable[str], where: str = "LoRA") -> dict[str, LoraModule]:
    """Return the modules of a LoRA file by the name they have in it.

    A dotted name starts with its component (``unet.``, ``text_encoder.``, ``text_encoder_2.``).
    Raises ``CheckpointError`` that starts with ``where`` and names the keys for an adapter of an
    unsupported kind, a key that fits no naming, a module that is not whole, and no module.
    """
    found: dict[str, dict[str, str]] = {}
    strange = []
    for key in keys:
        parsed = _parse(key)
        if parsed is None:
            strange.append(key)
        else:
            found.setdefault(parsed[0], {})[parsed[1]] = key
    if strange:
        kinds = sorted(
            {kind for part, kind in UNSUPPORTED.items() for key in strange if part in key}
        )
        what = f"{', '.join(kinds)} is not supported" if kinds else "keys of no known LoRA format"
        raise CheckpointError(f"{where}: {what}: {_some(strange)}")
    torn = [name for name, roles in found.items() if not is_whole(roles)]
    if torn:
        parts = HALVES[kind_of(found[torn[0]])]
        raise CheckpointError(f"{where}: modules without {parts}: {_some(torn)}")
    if not found:
        raise CheckpointError(f"{where}: expected a LoRA, found no tensor of one")
    return {name: LoraModule(name, roles) for name, roles in found.items()}


def module_names(
    components: Mapping[str, Iterable[str]], family: str
) -> dict[str, tuple[str, str]]:
    """Return every name that a LoRA file may use, mapped to (component, module path).

    ``components`` maps ``unet``, ``text_encoder`` and ``text_encoder_2`` to the paths of their
    linear and convolution layers. Text encoders are known with and without ``text_model``
    (transformers 5 dropped that level), SDXL's UNet by diffusers' and by Stability's names.
    """
    table: dict[str, tuple[str, str]] = {}
    for component, paths in components.items():
        for path in paths:
            for alias in names_of(rendering_of(family), component, path):
                table[alias] = (component, path)
    return table


def match(
    modules: Mapping[str, LoraModule], table: Mapping[str, tuple[str, str]], where: str = "LoRA"
) -> dict[tuple[str, str], LoraModule]:
    """Return the modules of a file by (component, module path) of the pipeline.

    Raises ``CheckpointError`` if even one has no place there or two share one: nothing is dropped.
    """
    placed: dict[tuple[str, str], LoraModule] = {}
    missing = []
    for name, module in modules.items():
        place = table.get(name)
        if place is None or place in placed:
            missing.append(name)
        else:
            placed[place] = module
    if missing:
        raise CheckpointError(
            f"{where}: {len(missing)} of its {len(modules)} modules have no place in the base "
            f"model "
            f"(another family, or a kind that is not supported): {_some(missing)}"
        )
    return placed


def _parse(key: str) -> tuple[str, str] | None:
    if any(part in key for part in UNSUPPORTED):
        return None
    if hit := _KOHYA.fullmatch(key):
        return hit["module"], _ROLES.get(hit["role"], hit["role"])
    if hit := _PROCESSOR.fullmatch(key):
        linear = "to_out.0" if hit["linear"] == "to_out" else hit["linear"]
        return f"unet.{hit['module']}.{linear}", hit["ud"]
    if hit := _DOTTED.fullmatch(key):
        if hit["alpha"] or hit["magnitude"]:
            role = "alpha" if hit["alpha"] else "magnitude"
        else:
            role = hit["ud"] or _ROLES[hit["ab"]]
        return f"{hit['component']}.{hit['module']}", role
    return None


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
