"""Which modules sd-scripts trains in SD 1.5 and SDXL, from the shape of the models.

The names are kohya's: diffusers block names for SD 1.5 (``down_blocks_0_attentions_0``), the
original Stability block names for SDXL (``input_blocks_4_1``). Nothing is read from a file: the
structure of the networks is regular, so a few rules give all 264 and 986 modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loraeval.records import Family


@dataclass(frozen=True, slots=True)
class ModuleShape:
    """One trainable layer: ``inputs`` and ``outputs`` in channels, ``kernel`` 0 for a linear layer,
    1 or 3 for a convolution of that width.
    """

    inputs: int
    outputs: int
    kernel: int = 0

    @property
    def parameters_per_rank(self) -> int:
        """Weights that one unit of rank adds: a column down and a column up."""
        return self.inputs * max(1, self.kernel) ** 2 + self.outputs


TEXT_ENCODERS = {
    "sd15": {"te": (12, 768)},
    "sdxl": {"te1": (12, 768), "te2": (32, 1280)},
}
"""Component name to (layers, width) of each family's text encoders."""

CROSS_ATTENTION = {"sd15": 768, "sdxl": 2048}
"""Width of the text states that the UNet attends to: it betrays the family of a LoRA file."""

COMPONENTS = {"sd15": ("unet", "te"), "sdxl": ("unet", "te1", "te2")}
"""Component names by family, as kohya's prefixes name them."""

# Attention blocks: name, channels, transformer layers.
_ATTENTION: dict[str, list[tuple[str, int, int]]] = {
    "sd15": [
        *(
            (f"down_blocks_{b}_attentions_{i}", (320, 640, 1280)[b], 1)
            for b in range(3)
            for i in range(2)
        ),
        ("mid_block_attentions_0", 1280, 1),
        *(
            (f"up_blocks_{b}_attentions_{i}", (1280, 640, 320)[b - 1], 1)
            for b in (1, 2, 3)
            for i in range(3)
        ),
    ],
    "sdxl": [
        *((f"input_blocks_{i}_1", 640, 2) for i in (4, 5)),
        *((f"input_blocks_{i}_1", 1280, 10) for i in (7, 8)),
        ("middle_block_1", 1280, 10),
        *((f"output_blocks_{i}_1", 1280, 10) for i in range(3)),
        *((f"output_blocks_{i}_1", 640, 2) for i in (3, 4, 5)),
    ],
}

# Residual blocks: name, channels in, channels out.
_RESIDUAL: dict[str, list[tuple[str, int, int]]] = {
    "sd15": [
        *(
            (f"down_blocks_{b}_resnets_{i}", before if i == 0 else after, after)
            for b, (before, after) in enumerate([(320, 320), (320, 640), (640, 1280), (1280, 1280)])
            for i in range(2)
        ),
        *((f"mid_block_resnets_{i}", 1280, 1280) for i in range(2)),
        *(
            (f"up_blocks_{b}_resnets_{i}", before, after)
            for b, (after, befores) in enumerate(
                [
                    (1280, (2560, 2560, 2560)),
                    (1280, (2560, 2560, 1920)),
                    (640, (1920, 1280, 960)),
                    (320, (960, 640, 640)),
                ]
            )
            for i, before in enumerate(befores)
        ),
    ],
    "sdxl": [
        *(
            (f"input_blocks_{i}_0", before, after)
            for i, before, after in [
                (1, 320, 320), (2, 320, 320), (4, 320, 640),
                (5, 640, 640), (7, 640, 1280), (8, 1280, 1280),
            ]
        ),
        ("middle_block_0", 1280, 1280),
        ("middle_block_2", 1280, 1280),
        *(
            (f"output_blocks_{i}_0", before, after)
            for i, (before, after) in enumerate(
                [
                    (2560, 1280), (2560, 1280), (1920, 1280),
                    (1920, 640), (1280, 640), (960, 640),
                    (960, 320), (640, 320), (640, 320),
                ]
            )
        ),
    ],
}  # fmt: skip

# Layers that halve or double the picture: name, channels.
_RESAMPLERS: dict[str, list[tuple[str, int]]] = {
    "sd15": [
        *((f"down_blocks_{b}_downsamplers_0_conv", (320, 640, 1280)[b]) for b in range(3)),
        *((f"up_blocks_{b}_upsamplers_0_conv", (1280, 1280, 640)[b]) for b in range(3)),
    ],
    "sdxl": [
        ("input_blocks_3_0_op", 320),
        ("input_blocks_6_0_op", 640),
        ("output_blocks_2_2_conv", 1280),
        ("output_blocks_5_2_conv", 640),
    ],
}

# What the two namings call the layers of a residual block.
_RESIDUAL_LAYERS = {
    "sd15": ("conv1", "time_emb_proj", "conv2", "conv_shortcut"),
    "sdxl": ("in_layers_2", "emb_layers_1", "out_layers_3", "skip_connection"),
}


def lora_modules(family: Family, *, locon: bool = False) -> dict[str, ModuleShape]:
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


def parameters_per_rank(family: Family, component: str) -> int:
    """Return the weights that one unit of rank adds to ``component`` in ``networks.lora``."""
    return sum(
        shape.parameters_per_rank
        for name, shape in lora_modules(family).items()
        if component_of(name) == component
    )


def _text_encoder_modules(family: Family) -> Iterator[tuple[str, ModuleShape]]:
    for component, (layers, width) in TEXT_ENCODERS[family].items():
        for layer in range(layers):
            stem = f"lora_{component}_text_model_encoder_layers_{layer}"
            for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                yield f"{stem}_self_attn_{name}", ModuleShape(width, width)
            yield f"{stem}_mlp_fc1", ModuleShape(width, 4 * width)
            yield f"{stem}_mlp_fc2", ModuleShape(4 * width, width)


def _attention_modules(family: Family) -> Iterator[tuple[str, ModuleShape]]:
    text = CROSS_ATTENTION[family]
    projection = 1 if family == "sd15" else 0  # SD 1.5 projects with 1x1 convolutions
    for block, width, layers in _ATTENTION[family]:
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


def _convolution_modules(family: Family) -> Iterator[tuple[str, ModuleShape]]:
    first, time, second, shortcut = _RESIDUAL_LAYERS[family]
    for block, before, after in _RESIDUAL[family]:
        stem = f"lora_unet_{block}"
        yield f"{stem}_{first}", ModuleShape(before, after, 3)
        yield f"{stem}_{time}", ModuleShape(1280, after)
        yield f"{stem}_{second}", ModuleShape(after, after, 3)
        if before != after:
            yield f"{stem}_{shortcut}", ModuleShape(before, after, 1)
    for name, width in _RESAMPLERS[family]:
        yield f"lora_unet_{name}", ModuleShape(width, width, 3)
