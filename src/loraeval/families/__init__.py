"""Base-model families: one file each, one table of all.

``FAMILIES[name]`` is the record of a family. What a family is rendered by, trained by, named by
and made of stands in its record; no other room tells families apart by name.
"""

from __future__ import annotations

from loraeval.families import sd15, sdxl
from loraeval.families.record import Family, Layout, Rendering, Training

__all__ = [
    "DEFAULT", "FAMILIES", "Family", "Layout", "Rendering", "Training", "layout_of",
    "of_model_name", "of_pipeline", "of_training", "rendered", "rendering_of",
    "training_of",
]  # fmt: skip

FAMILIES: dict[str, Family] = {module.FAMILY.name: module.FAMILY for module in (sd15, sdxl)}
"""Every family by name."""

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


def of_pipeline(class_name: str) -> Family | None:
    """Return the family that a pipeline class of diffusers belongs to, None where none is."""
    for family in FAMILIES.values():
        if family.render is not None and class_name in family.render.pipelines:
            return family
    return None


def of_training(text: object) -> Family | None:
    """Return the family that a training script or ``ss_base_model_version`` is of: the one whose
    own name for it is the longest start of ``text``; None where none starts it.

    >>> of_training("sdxl_train_network.py").name, of_training("sd_v1").name
    ('sdxl', 'sd15')
    """
    starts = [
        (len(start), family.name)
        for family in FAMILIES.values()
        if family.training is not None
        for start in (family.training.script, *family.versions)
        if str(text or "").startswith(start)
    ]
    return FAMILIES[max(starts)[1]] if starts else None


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
