"""Which modules sd-scripts trains in a family, from the shape of its models.

The names are kohya's: diffusers block names for SD 1.5 (``down_blocks_0_attentions_0``), the
original Stability block names for SDXL (``input_blocks_4_1``). Nothing is read from a file: the
structure of the networks is regular, so a few rules give all 264 and 986 modules.
"""

from __future__ import annotations

from collections.abc import Iterator

from loraeval.families import layout_of
from loraeval.families.record import ModuleShape
from loraeval.records import FamilyName

__all__ = ["ModuleShape", "component_of", "lora_modules", "parameters_per_rank"]


def lora_modules(family: FamilyName, *, locon: bool = False) -> dict[str, ModuleShape]:
    """Return kohya's module names with their shapes, text encoders first.

    ``locon`` adds the convolutions and time projections that ``conv_dim`` trains as well.
    SD 1.5 has 72 + 192 modules (86 more with ``locon``), SDXL 72 + 192 + 722 (66 more).
    """
    modules = dict(_text_encoder_modules(family))
    modules.update(_attention_modules(family))
    if locon:
        modules.update(_convolution_modules(family))
    return modules


def component_of(module: str) -> str:
    """Return the component of a kohya module name: ``unet``, ``te``, ``te1`` or ``te2``."""
    return module.split("_", 2)[1]


def parameters_per_rank(family: FamilyName, component: str) -> int:
    """Return the weights that one unit of rank adds to ``component`` in ``networks.lora``."""
    return sum(
        shape.parameters_per_rank
        for name, shape in lora_modules(family).items()
        if component_of(name) == component
    )


def _text_encoder_modules(family: FamilyName) -> Iterator[tuple[str, ModuleShape]]:
    for component, (layers, width) in layout_of(family).text_encoders.items():
        for layer in range(layers):
            stem = f"lora_{component}_text_model_encoder_layers_{layer}"
            for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                yield f"{stem}_self_attn_{name}", ModuleShape(width, width)
            yield f"{stem}_mlp_fc1", ModuleShape(width, 4 * width)
            yield f"{stem}_mlp_fc2", ModuleShape(4 * width, width)


def _attention_modules(family: FamilyName) -> Iterator[tuple[str, ModuleShape]]:
    layout = layout_of(family)
    text, projection = layout.cross_attention, layout.projection
    for block, width, layers in layout.attention:
        stem = f"lora_unet_{block}"
        yield f"{stem}_proj_in", ModuleShape(width, width, projection)
        for layer in range(layers):
            inner = f"{stem}_transformer_blocks_{layer}"
            for number, states in ((1, width), (2, text)):
                yield f"{inner}_attn{number}_to_q", ModuleShape(width, width)
                yield f"{inner}_attn{number}_to_k", ModuleShape(states, width)
                yield f"{inner}_attn{number}_to_v", ModuleShape(states, width)
                yield f"{inner}_attn{number}_to_out_0", ModuleShape(width, width)
            yield f"{inner}_ff_net_0_proj", ModuleShape(width, 8 * width)
            yield f"{inner}_ff_net_2", ModuleShape(4 * width, width)
        yield f"{stem}_proj_out", ModuleShape(width, width, projection)


def _convolution_modules(family: FamilyName) -> Iterator[tuple[str, ModuleShape]]:
    layout = layout_of(family)
    first, time, second, shortcut = layout.residual_layers
    for block, before, after in layout.residual:
        stem = f"lora_unet_{block}"
        yield f"{stem}_{first}", ModuleShape(before, after, 3)
        yield f"{stem}_{time}", ModuleShape(1280, after)
        yield f"{stem}_{second}", ModuleShape(after, after, 3)
        if before != after:
            yield f"{stem}_{shortcut}", ModuleShape(before, after, 1)
    for name, width in layout.resamplers:
        yield f"lora_unet_{name}", ModuleShape(width, width, 3)
