"""What a LoRA file is: format, family, modules, ranks, scales, what was trained, and is it whole.

``read_anatomy`` looks at the header and a few tensors; a file of at most ``AUTO_BYTES``, or any
with ``deep=True``, is read whole once: hash, NaN and zeros are then certain, not sampled.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from loraeval.checkpoints import family as naming
from loraeval.checkpoints.header import Header, TensorInfo, read_header, read_scalars
from loraeval.checkpoints.keys import DENOISER
from loraeval.checkpoints.layout import lora_modules
from loraeval.checkpoints.modules import Module, group_modules
from loraeval.checkpoints.scale import module_scale, peft_alphas
from loraeval.checkpoints.scan import Scan, scan_all, scan_some
from loraeval.errors import CheckpointError
from loraeval.families import FAMILIES
from loraeval.outside.text import clean
from loraeval.records import FamilyName

AUTO_BYTES = 128 << 20
"""Files up to this size are read whole without being asked."""

HashState = Literal["matches", "differs", "absent", "not checked", "other scheme"]


@dataclass(frozen=True, slots=True)
class Component:
    """One trained part: ``unet``, ``te`` (SD 1.5) or ``te1`` and ``te2`` (SDXL).

    ``ranks``, ``alphas`` and ``scales`` map each value to its number of modules; scale is
    alpha / rank, the factor on the update (1 where the file has no alpha). ``trained`` is False
    where every up matrix that was read is zero, None where the format has none.
    """

    name: str
    modules: int
    convolutions: int
    ranks: Mapping[int, int]
    alphas: Mapping[float, int]
    scales: Mapping[float, int]
    parameters: int
    trained: bool | None


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Everything ``read_anatomy`` found; ``*_evidence`` says what betrays it.

    ``family`` is a family's name (``loraeval.families``), several joined by ``or`` (a
    text-encoder-only file can not tell), or ``unknown``; ``fits`` are all families whose layers
    these may be. ``unsupported`` lists keys that are not merged.
    ``expected_bytes`` is what the size formula gives for these modules and ranks, None where the
    modules are not those of sd-scripts. ``checked`` tells whether zeros and NaN were looked for in
    all tensors or in a sample.
    """

    path: Path
    file_bytes: int
    header_bytes: int
    format: str
    format_evidence: str
    family: str
    family_evidence: str
    components: tuple[Component, ...]
    dtypes: Mapping[str, int]
    unsupported: tuple[str, ...]
    unknown_keys: tuple[str, ...]
    nonfinite: tuple[str, ...]
    checked: Literal["all", "sample"]
    hash_state: HashState
    hash_recorded: str | None
    hash_computed: str | None
    resized: str | None
    merged: str | None
    expected_bytes: int | None
    size_note: str
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    conv_ranks: tuple[int, ...] = ()
    fits: tuple[str, ...] = ()

    @property
    def module_counts(self) -> dict[str, int]:
        """Modules by component, to compare with what a loader attached."""
        return {part.name: part.modules for part in self.components}

    @property
    def ranks(self) -> dict[int, int]:
        """Rank to number of modules over all components."""
        total: Counter[int] = Counter()
        for part in self.components:
            total.update(part.ranks)
        return dict(sorted(total.items()))

    @property
    def dtype(self) -> str | None:
        """The dtype of the weights, None where several are mixed."""
        kinds = [kind for kind in self.dtypes if not kind.startswith("I")]
        return kinds[0] if len(kinds) == 1 else None

    @property
    def trains_text_encoder(self) -> bool:
        """Whether a text encoder's keys are there and not all zero."""
        return any(part.name.startswith("te") and part.trained for part in self.components)

    @property
    def uniform_scale(self) -> bool:
        """Whether every component has one alpha / rank; diffusers loads others wrongly."""
        return all(len(part.scales) <= 1 for part in self.components)


def read_anatomy(path: str | Path, *, deep: bool | None = None) -> Anatomy:
    """Read what a LoRA file is. ``deep`` reads all numbers; None decides by the file's size.

    Raises ``CheckpointError`` where the file is not safetensors (see ``read_header``); a file that
    is safetensors but no LoRA is described with format ``unknown``.
    """
    return anatomy_of(read_header(path), deep=deep)


def anatomy_of(header: Header, *, deep: bool | None = None) -> Anatomy:
    """Do what ``read_anatomy`` does for a header that is read already."""
    if deep is None:
        deep = header.data_bytes <= AUTO_BYTES
    modules, kinds, unknown = group_modules(header.tensors.values())
    kind, kind_evidence = naming.format_of(header, modules, kinds, unknown)
    named = naming.family_of(header.metadata, modules)
    family = named.family
    scan = scan_all(header) if deep else scan_some(header, _worth_a_look(modules))
    alphas, bad_alphas = _alphas(header, modules)
    parts = tuple(
        _component(name, members, alphas, scan, header.metadata)
        for name, members in sorted(_by_component(modules, family).items(), key=_unet_first)
    )
    recorded = header.metadata.get("sshs_model_hash")
    expected, size_note = _expected_bytes(header, modules, family, kind)
    return Anatomy(
        path=header.path, file_bytes=header.file_bytes, header_bytes=header.header_bytes,
        format=kind, format_evidence=kind_evidence, family=family, family_evidence=named.evidence,
        fits=named.fit,
        components=parts,
        dtypes=dict(Counter(info.dtype for info in header.tensors.values())),
        unsupported=naming.unsupported_keys(modules), unknown_keys=tuple(unknown),
        nonfinite=tuple(sorted({*scan.nonfinite, *bad_alphas})),
        checked="all" if deep else "sample",
        hash_state=_hash_state(recorded, scan.sha256), hash_recorded=recorded,
        hash_computed=scan.sha256, resized=_resized(header.metadata, parts),
        merged=_merged(header.metadata), expected_bytes=expected, size_note=size_note,
        notes=tuple(naming.notes_on(header.metadata, parts)), metadata=header.metadata,
        conv_ranks=tuple(sorted({m.rank for m in modules.values() if m.rank and m.kernel > 1})),
    )  # fmt: skip


def check_loadable(anatomy: Anatomy, family: FamilyName) -> None:
    """Return quietly if the file may be rendered on a ``family`` pipeline.

    Raises ``CheckpointError`` with one line where it may not: no LoRA, a kind or keys that
    are not merged, another family, nothing in it, or numbers that are not finite.
    """
    name = clean(anatomy.path.name)
    if anatomy.format == "unknown" or not anatomy.components:
        raise CheckpointError(f"{name}: expected a LoRA, found {anatomy.format_evidence}")
    if anatomy.unsupported:
        shown = ", ".join(clean(key) for key in anatomy.unsupported[:3])
        raise CheckpointError(
            f"{name}: expected a LoRA, LoCon, LoHa, LoKr or DoRA, found {anatomy.format}: "
            f"{len(anatomy.unsupported)} of its keys can not be rendered ({shown} …)"
        )
    if anatomy.unknown_keys:
        raise CheckpointError(
            f"{name}: {len(anatomy.unknown_keys)} keys belong to no LoRA module, "
            f"such as {clean(anatomy.unknown_keys[0])}"
        )
    if family not in (anatomy.family, *anatomy.fits):
        raise CheckpointError(
            f"{name}: this is a LoRA for {anatomy.family} ({anatomy.family_evidence}), "
            f"the base model is {family}; give the base model that it was trained on"
        )
    if anatomy.nonfinite:
        raise CheckpointError(
            f"{name}: {len(anatomy.nonfinite)} tensors hold NaN or infinity, such as "
            f"{clean(anatomy.nonfinite[0])}; the training run diverged, use an earlier epoch"
        )


def _unet_first(item: tuple[str, list[Module]]) -> tuple[bool, str]:
    return item[0].startswith("te"), item[0]


def _by_component(modules: Mapping[str, Module], family: str) -> dict[str, list[Module]]:
    parts: dict[str, list[Module]] = {}
    rename: dict[str, str] = {}
    if family in FAMILIES:
        rename = {DENOISER: FAMILIES[family].denoiser, **FAMILIES[family].text_names}
    for module in modules.values():
        parts.setdefault(rename.get(module.component, module.component), []).append(module)
    return parts


def _worth_a_look(modules: Mapping[str, Module]) -> list[TensorInfo]:
    """Return up and down matrices spread over each component, text encoders first."""
    parts: dict[str, list[Module]] = {}
    for module in modules.values():
        parts.setdefault(module.component, []).append(module)
    chosen: list[TensorInfo] = []
    for share in (0.0, 0.5, 1.0, 0.25, 0.75):
        for members in parts.values():
            module = members[round(share * (len(members) - 1))]
            chosen += [info for info in (module.up, module.down) if info is not None]
    return list({info.name: info for info in chosen}.values())


def _alphas(header: Header, modules: Mapping[str, Module]) -> tuple[dict[str, float], list[str]]:
    keys = {m.tensors["alpha"].name: m.name for m in modules.values() if "alpha" in m.tensors}
    values = read_scalars(header, keys)
    finite = {keys[name]: value for name, value in values.items() if math.isfinite(value)}
    return finite, [name for name, value in values.items() if not math.isfinite(value)]


def _component(
    name: str,
    modules: list[Module],
    alphas: Mapping[str, float],
    scan: Scan,
    metadata: Mapping[str, str],
) -> Component:
    ranks: Counter[int] = Counter()
    values: Counter[float] = Counter()
    scales: Counter[float] = Counter()
    looked = zero = 0
    of_adapter = peft_alphas(metadata)
    for module in modules:
        rank, alpha = module.rank, alphas.get(module.name)
        if rank:
            ranks[rank] += 1
            scales[module_scale(module.name, rank, alpha, of_adapter)] += 1
        if alpha is not None:
            values[alpha] += 1
        if module.up is not None and module.up.name in scan.seen:
            looked += 1
            zero += module.up.name in scan.zero
    return Component(
        name, len(modules), sum(module.kernel > 1 for module in modules),
        dict(sorted(ranks.items())),
        dict(sorted(values.items())), dict(sorted(scales.items())),
        sum(info.items for m in modules for key, info in m.tensors.items() if key != "alpha"),
        zero < looked if looked else None,
    )  # fmt: skip


def _hash_state(recorded: str | None, computed: str | None) -> HashState:
    if recorded is None:
        return "absent"
    if recorded.startswith("0x"):
        return "other scheme"
    if computed is None:
        return "not checked"
    return "matches" if recorded == computed else "differs"


def _resized(metadata: Mapping[str, str], parts: tuple[Component, ...]) -> str | None:
    if metadata.get("ss_training_comment", "").startswith("dimension is resized"):
        return "ss_training_comment says that the rank was resized"
    recorded = metadata.get("ss_network_dim", "None")
    if recorded == "Dynamic":
        return "ss_network_dim is Dynamic, as resize_lora writes it"
    ranks = {rank for part in parts for rank in part.ranks}
    if recorded.isdecimal() and ranks and int(recorded[:9]) not in ranks:
        found = ", ".join(map(str, sorted(ranks)))
        return f"recorded rank {int(recorded[:9])}, but the tensors have {found}"
    return None


def _merged(metadata: Mapping[str, str]) -> str | None:
    if "modelspec.merged_from" in metadata:
        return "modelspec.merged_from names the files it was merged from"
    return None


def _expected_bytes(
    header: Header, modules: Mapping[str, Module], family: str, kind: str
) -> tuple[int | None, str]:
    """Size by formula: header + bytes per item * (sum of rank * parameters per rank + alphas)."""
    known_family = FAMILIES.get(family)
    if kind not in ("kohya", "locon") or known_family is None or known_family.layout is None:
        return None, "no formula for this format"
    known = lora_modules(family, locon=True)
    strangers = [name for name in modules if name not in known]
    if strangers:
        return None, f"{len(strangers)} modules are not in sd-scripts' networks"
    weights = sum(known[name].parameters_per_rank * (m.rank or 0) for name, m in modules.items())
    sizes = {"F16": 2, "BF16": 2, "F32": 4}
    kinds = Counter(info.dtype for info in header.tensors.values() if info.dtype in sizes)
    if len(kinds) != 1:
        return None, "weights of several dtypes"
    alphas = [m.tensors["alpha"] for m in modules.values() if "alpha" in m.tensors]
    total = header.header_bytes + sizes[next(iter(kinds))] * weights
    total += sum(info.end - info.start for info in alphas)
    same = "as the formula gives" if total == header.file_bytes else "not what the formula gives"
    return total, same
