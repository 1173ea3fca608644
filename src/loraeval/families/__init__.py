"""Base-model families: one file each, one table of all.

``FAMILIES[name]`` is the record of a family. What a family is rendered by, trained by, named by
and made of stands in its record; no other room tells families apart by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from loraeval.families import (
    chroma,
    flux,
    flux2,
    krea2,
    lumina2,
    qwen_image,
    sana,
    sd2,
    sd3,
    sd15,
    sdxl,
    z_image,
)
from loraeval.families.evidence import Layer, Naming, name_family, version_name
from loraeval.families.named import NAMED
from loraeval.families.record import Family, Layout, Rendering, Training

__all__ = [
    "DEFAULT", "FAMILIES", "Family", "Layer", "Layout", "Naming", "Rendering", "Training",
    "layout_of", "name_lora",
    "of_model_name", "of_pipeline", "of_training", "rendered", "rendering_of",
    "training_of",
]  # fmt: skip

_MODULES = (
    sd15, sd2, sdxl, flux, chroma, flux2, sd3, qwen_image, z_image, lumina2, krea2,
)  # fmt: skip

FAMILIES: dict[str, Family] = {
    family.name: family for family in (*(module.FAMILY for module in _MODULES), *NAMED, sana.FAMILY)
}
"""Every family by name. Where the layers of a file fit several, the first here is named."""

DEFAULT = sd15.FAMILY
"""What sd-scripts' ``train_network.py`` trains where nothing says otherwise."""


def rendered() -> tuple[str, ...]:
    """Return the names of the families that images can be made of."""
    return tuple(name for name, family in FAMILIES.items() if family.render is not None)


def rendering_of(name: str) -> Rendering:
    """Return how images of a family are made. Raises ``KeyError`` where they are not."""
    found = FAMILIES[name].render
    if found is None:
        raise KeyError(name)
    return found


def training_of(name: str) -> Training:
    """Return how a family is trained. Raises ``KeyError`` where that is not known."""
    found = FAMILIES[name].training
    if found is None:
        raise KeyError(name)
    return found


def layout_of(name: str) -> Layout:
    """Return the modules of a family. Raises ``KeyError`` where they are not known."""
    found = FAMILIES[name].layout
    if found is None:
        raise KeyError(name)
    return found


def of_pipeline(class_name: str, config: Mapping[str, Any] | None = None) -> Family | None:
    """Return the family that a pipeline class of diffusers belongs to, None where none is.

    ``config`` is its denoiser's configuration, which decides where families share a class.
    """
    found = None
    for family in FAMILIES.values():
        if family.render is not None and class_name in family.render.pipelines:
            told = family.render.told_by
            if told and all((config or {}).get(key) == value for key, value in told.items()):
                return family
            found = found or (None if told else family)
    return found


def name_lora(layers: Iterable[Layer], metadata: Mapping[str, str]) -> Naming:
    """Return which family a LoRA is of (``families.evidence``)."""
    return name_family(tuple(FAMILIES.values()), layers, metadata)


def of_training(text: object) -> Family | None:
    """Return the family that a training script or ``ss_base_model_version`` is of: the one whose
    own word for it is the longest start of ``text``; None where none starts it.

    >>> of_training("sdxl_train_network.py").name, of_training("sd_v1").name
    ('sdxl', 'sd15')
    """
    scripts = [
        family
        for family in FAMILIES.values()
        if family.training is not None and str(text or "") == family.training.script
    ]
    if scripts:
        return scripts[0]
    name = version_name(tuple(FAMILIES.values()), str(text or ""))
    return None if name is None else FAMILIES[name]


def of_model_name(text: object) -> Family:
    """Return the family that the name of a base model betrays, ``DEFAULT`` where none does.

    >>> of_model_name("sd_xl_base_1.0.safetensors").name
    'sdxl'
    """
    lower = str(text).lower()
    for family in FAMILIES.values():
        if family.training and any(word in lower for word in family.training.file_names):
            return family
    return DEFAULT
