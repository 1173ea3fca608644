"""The modules of a LoRA file, and where they belong in a pipeline. Pure; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from loraeval.checkpoints.family import REFUSED
from loraeval.checkpoints.keys import UNKNOWN, split_key
from loraeval.errors import CheckpointError
from loraeval.families import rendering_of
from loraeval.families.names import Names, Target, names_of
from loraeval.render.adapters import HALVES, LoraModule, is_whole, kind_of

_KINDS = {
    "oft": "OFT", "norm": "trained norms", "ia3": "IA3", "full": "full weight difference",
    "glora": "GLoRA", "bias": "a trained bias", "lora-bias": "a trained bias",
    "weight": "IA3 or a whole weight",
    "peft-other": "an adapter of PEFT that is no LoRA", "embedding": "a LoRA of embeddings",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Placed:
    """What a layer gets of a module: all of its rows, or, where the file stacks the rows of several
    layers (``beside``, in their order) in one matrix, those of its own.
    """

    module: LoraModule
    target: Target
    beside: tuple[Target, ...]

    @property
    def name(self) -> str:
        """The module's name in the file."""
        return self.module.name


def group_keys(keys: Iterable[str], where: str = "LoRA") -> dict[str, LoraModule]:
    """Return the modules of a LoRA file by the name they have in it.

    Raises ``CheckpointError`` that starts with ``where`` and names the keys for an adapter of an
    unsupported kind, a key that fits no naming, a module that is not whole, and no module.
    """
    found: dict[str, dict[str, str]] = {}
    places: dict[str, tuple[str, str]] = {}
    strange: list[str] = []
    kinds: set[str] = set()
    for name in keys:
        key = split_key(name)
        if key is None or key.component == UNKNOWN or key.kind in REFUSED:
            strange.append(name)
            if key is not None and key.kind in _KINDS:
                kinds.add(_KINDS[key.kind])
        else:
            found.setdefault(key.module, {})[key.role] = name
            places[key.module] = key.component, key.path
    if strange:
        listed = ", ".join(sorted(kinds))
        what = f"{listed} is not supported" if kinds else "keys of no known LoRA format"
        raise CheckpointError(f"{where}: {what}: {_some(strange)}")
    torn = [name for name, roles in found.items() if not is_whole(roles)]
    if torn:
        parts = HALVES[kind_of(found[torn[0]])]
        raise CheckpointError(f"{where}: modules without {parts}: {_some(torn)}")
    if not found:
        raise CheckpointError(f"{where}: expected a LoRA, found no tensor of one")
    return {name: LoraModule(name, roles, *places[name]) for name, roles in found.items()}


def module_names(components: Mapping[str, Iterable[str]], family: str) -> Names:
    """Return every name that a LoRA file may use, as ``split_key`` reads it, with the layers.

    ``components`` maps the pipeline's denoiser and text encoders to the paths of their linear and
    convolution layers.
    """
    table: Names = {}
    for component, paths in components.items():
        table.update(names_of(rendering_of(family), component, paths))
    return table


def match(
    modules: Mapping[str, LoraModule], table: Names, where: str = "LoRA"
) -> dict[tuple[str, str], Placed]:
    """Return what each layer (component, module path) of the pipeline gets of a file.

    Raises ``CheckpointError`` if even one module has no place there or two share one: nothing is
    dropped.
    """
    placed: dict[tuple[str, str], Placed] = {}
    missing = []
    for name, module in modules.items():
        targets = table.get((module.part, module.path), ())
        spots = [(target.component, target.path) for target in targets]
        if not spots or any(spot in placed for spot in spots):
            missing.append(name)
            continue
        for spot, target in zip(spots, targets, strict=True):
            placed[spot] = Placed(module, target, targets)
    if missing:
        raise CheckpointError(
            f"{where}: {len(missing)} of its {len(modules)} modules have no place in the base "
            f"model "
            f"(another family, or a kind that is not supported): {_some(missing)}"
        )
    return placed


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
