"""Which family a LoRA is of: told from the names and widths of its layers and from its metadata.

Every family says by what signs its layers are known. A sign is *sure* where no other family has
such a layer, else it fits several, and the metadata decide among them. What the layers say for sure
is never overruled by metadata, which merging and renaming leave behind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from loraeval.families.record import Family, Sign


@dataclass(frozen=True, slots=True)
class Layer:
    """A trained layer: ``component`` (``unet`` for any denoiser, ``te``, ``te1``, …), ``path`` with
    underscores, ``name`` as the file writes it, channels in and out (None: not told), ``kernel``.
    """

    component: str
    path: str
    name: str
    inputs: int | None = None
    outputs: int | None = None
    kernel: int = 0


@dataclass(frozen=True, slots=True)
class Naming:
    """What a file was found to be: ``family``, the ``evidence``, and every family that its layers
    ``fit`` (more than one where they leave it open).
    """

    family: str
    evidence: str
    fit: tuple[str, ...]


def name_family(
    families: Sequence[Family], layers: Iterable[Layer], metadata: Mapping[str, str]
) -> Naming:
    """Return what family a LoRA is of; ``unknown`` where neither layers nor metadata tell."""
    sure: dict[str, str] = {}
    open_: dict[str, str] = {}
    listed = list(layers)
    denoiser = [layer for layer in listed if layer.component == "unet"]
    for family in families:
        for layer in denoiser or listed:  # text encoders are shared: they tell only when alone
            for sign in family.signs:
                if not _fits(sign, layer):
                    continue
                found = sure if sign.sure else open_
                if family.name not in found:
                    width = f", {layer.inputs} channels wide" if sign.inputs else ""
                    found[family.name] = f"the layer {layer.name[:80]}{width}"
    named, key = _named(families, metadata)
    if sure:
        name = named if named in sure else next(iter(sure))
        return Naming(name, sure[name], tuple(sure))
    if named is not None:
        return Naming(named, key, (named,))
    if open_:
        return _among(open_, listed)
    return Naming("unknown", "no module that tells the families apart", ())


def version_name(families: Sequence[Family], text: str) -> str | None:
    """Return the family whose own word is the longest start of ``text``, words parted by dashes.

    >>> version_name([], "flux-1-dev/lora")
    """
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    words = [
        (len(word), family.name)
        for family in families
        for word in family.versions
        if plain.startswith(word)
    ]
    return max(words)[1] if words else None


def _fits(sign: Sign, layer: Layer) -> bool:
    if not re.fullmatch(sign.component, layer.component):
        return False
    if sign.inputs and layer.inputs not in sign.inputs:
        return False
    if sign.ratio is not None and (not layer.inputs or layer.outputs != sign.ratio * layer.inputs):
        return False
    if sign.kernel is not None and layer.kernel != sign.kernel:
        return False
    where = layer.name if r"\." in sign.pattern or "lora_" in sign.pattern else layer.path
    return re.search(sign.pattern, where) is not None


def _among(fit: dict[str, str], layers: Sequence[Layer]) -> Naming:
    names = tuple(fit)
    if all(layer.component != "unet" for layer in layers) and len(names) > 1:
        why = "only text encoders that these families share, and no metadata"
        return Naming(" or ".join(names), why, names)
    evidence = fit[names[0]]
    if len(names) > 1:
        evidence += f"; no metadata, and {', '.join(names[1:])} have such layers too"
    return Naming(names[0], evidence, names)


def _named(families: Sequence[Family], metadata: Mapping[str, str]) -> tuple[str | None, str]:
    """Return the family that the metadata name, and the sentence that says so."""
    for key in ("ss_base_model_version", "modelspec.architecture", "ss_network_module"):
        text = metadata.get(key, "")
        if key == "ss_network_module":
            text = text.removeprefix("networks.").removeprefix("lora_").removeprefix("loha_")
        if (name := version_name(families, text)) is not None:
            return name, f"the metadata name {text[:80]} ({key})"
    try:
        model = json.loads(metadata.get("ot_config", "{}")).get("model_type")
    except (ValueError, AttributeError, RecursionError):
        model = None
    if isinstance(model, str) and (name := version_name(families, model)) is not None:
        return name, f"the metadata name {model[:80]} (ot_config)"
    return None, ""
