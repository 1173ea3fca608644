"""From tensor names to modules: which loader's naming a key follows and what it holds.

Kohya and LyCORIS keys are ``lora_unet_<path with underscores>.<suffix>``; diffusers and PEFT keys
are ``unet.<dotted path>.<suffix>``. A key that fits neither is kept as unknown, never dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from loraeval.checkpoints.header import TensorInfo

KINDS: dict[str, str] = {
    "lora_down.weight": "lora", "lora_up.weight": "lora", "lora_mid.weight": "tucker",
    "lora.down.weight": "diffusers", "lora.up.weight": "diffusers",
    "lora_linear_layer.down.weight": "diffusers", "lora_linear_layer.up.weight": "diffusers",
    "lora_A.weight": "peft", "lora_B.weight": "peft",
    "lora_A.default.weight": "peft", "lora_B.default.weight": "peft",
    "dora_scale": "dora", "lora_magnitude_vector": "dora", "lora_magnitude_vector.weight": "dora",
    "hada_w1_a": "loha", "hada_w1_b": "loha", "hada_w2_a": "loha", "hada_w2_b": "loha",
    "hada_t1": "loha", "hada_t2": "loha",
    "lokr_w1": "lokr", "lokr_w1_a": "lokr", "lokr_w1_b": "lokr",
    "lokr_w2": "lokr", "lokr_w2_a": "lokr", "lokr_w2_b": "lokr", "lokr_t2": "lokr",
    "oft_blocks": "oft", "oft_diag": "oft", "rescale": "oft",
    "a1.weight": "glora", "a2.weight": "glora", "b1.weight": "glora", "b2.weight": "glora",
    "on_input": "ia3", "diff": "full", "diff_b": "full", "w_norm": "norm", "b_norm": "norm",
    "alpha": "alpha", "bias": "bias", "weight": "weight",
}  # fmt: skip
"""Key suffix to what it betrays. ``weight`` alone is IA3 beside ``on_input``, else unknown."""

_LONGEST_FIRST = sorted(KINDS, key=len, reverse=True)

_PREFIXES: tuple[tuple[str, str], ...] = (
    ("lora_unet_", "unet"), ("lora_te1_", "te1"), ("lora_te2_", "te2"), ("lora_te3_", "te3"),
    ("lora_te_", "te"), ("lora_transformer_", "transformer"), ("oft_unet_", "unet"),
    ("unet.", "unet"), ("text_encoder_2.", "te2"), ("text_encoder_3.", "te3"),
    ("text_encoder.", "te"), ("transformer.", "transformer"), ("diffusion_model.", "transformer"),
    ("lycoris_text_model_", "te"), ("lycoris_", "unet"),
)  # fmt: skip

STRANGE_PREFIXES: tuple[tuple[str, str], ...] = (
    ("model.diffusion_model.", "a full checkpoint"),
    ("first_stage_model.", "a full checkpoint"),
    ("cond_stage_model.", "a full checkpoint"),
    ("conditioner.embedders.", "a full checkpoint"),
    ("bundle_emb.", "a LoRA with bundled embeddings"),
    ("emb_params", "a textual inversion"),
    ("clip_l", "a textual inversion"),
    ("controlnet", "a ControlNet"),
    ("control_model.", "a ControlNet"),
    ("lllite_", "a ControlNet-LLLite"),
    ("decoder.", "a VAE"),
    ("down_blocks.", "a UNet of diffusers"),
)
"""Starts of keys that no LoRA has, and what such a file is."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key taken apart: ``component`` (unet, te, te1, te2, …), ``module`` with its prefix as
    written, ``suffix`` and what the suffix betrays (``kind``).
    """

    component: str
    module: str
    suffix: str
    kind: str


@dataclass(slots=True)
class Module:
    """The tensors of one trained layer by suffix."""

    name: str
    component: str
    tensors: dict[str, TensorInfo] = field(default_factory=dict)

    def first(self, *suffixes: str) -> TensorInfo | None:
        """Return the first tensor that is there, None where none is."""
        return next((self.tensors[name] for name in suffixes if name in self.tensors), None)

    @property
    def down(self) -> TensorInfo | None:
        """The matrix that takes the input down to the rank: shape (rank, inputs, …)."""
        return self.first(*_DOWN)

    @property
    def up(self) -> TensorInfo | None:
        """The matrix that starts at zero in training: shape (outputs, rank, …)."""
        return self.first(*_UP)

    @property
    def rank(self) -> int | None:
        """Rank of the update, None where the kind has none (full, OFT, norms, IA3)."""
        for tensor, axis in ((self.down, 0), (self.first("hada_w1_b"), 0),
                             (self.first("lokr_w2_b", "lokr_w1_b"), 0)):  # fmt: skip
            if tensor is not None and tensor.shape:
                return tensor.shape[axis]
        return None

    @property
    def inputs(self) -> int | None:
        """Input channels of the layer, None where the tensors do not tell."""
        for tensor in (self.down, self.first("hada_w1_b")):
            if tensor is not None and len(tensor.shape) > 1:
                return tensor.shape[1]
        one = self.first("lokr_w1", "lokr_w1_b")
        two = self.first("lokr_w2", "lokr_w2_b")
        if one is not None and two is not None and min(len(one.shape), len(two.shape)) > 1:
            return one.shape[1] * two.shape[1]
        diff = self.first("diff")
        return diff.shape[1] if diff is not None and len(diff.shape) > 1 else None

    @property
    def kernel(self) -> int:
        """Width of the convolution kernel, 0 for a linear layer."""
        tensor = self.first(*_DOWN, "diff")
        return tensor.shape[2] if tensor is not None and len(tensor.shape) == 4 else 0


_DOWN = ("lora_down.weight", "lora_A.weight", "lora_A.default.weight", "lora.down.weight",
         "lora_linear_layer.down.weight")  # fmt: skip
_UP = ("lora_up.weight", "lora_B.weight", "lora_B.default.weight", "lora.up.weight",
       "lora_linear_layer.up.weight")  # fmt: skip


def split_key(name: str) -> Key | None:
    """Take a tensor name apart; None where it follows no known naming."""
    path = name.removeprefix("base_model.model.")
    component = next((part for prefix, part in _PREFIXES if path.startswith(prefix)), None)
    module, _, suffix = path.partition(".")  # kohya's module names hold no dots
    if suffix not in KINDS:
        suffix = next((end for end in _LONGEST_FIRST if path.endswith(end)), "")
        module = path[: -len(suffix) - 1]
    if component is None or not suffix or not module:
        return None
    return Key(component, module, suffix, KINDS[suffix])


def group_modules(
    tensors: Iterable[TensorInfo],
) -> tuple[dict[str, Module], dict[str, int], list[str]]:
    """Return modules by name, how many keys betray each kind, and the names that fit nothing."""
    modules: dict[str, Module] = {}
    kinds: dict[str, int] = {}
    unknown: list[str] = []
    for info in tensors:
        key = split_key(info.name)
        if key is None:
            unknown.append(info.name)
            continue
        kinds[key.kind] = kinds.get(key.kind, 0) + 1
        module = modules.setdefault(key.module, Module(key.module, key.component))
        module.tensors[key.suffix] = info
    return modules, kinds, unknown


def strange_file(names: Iterable[str]) -> str | None:
    """Say what a file without LoRA keys is, where its keys betray it."""
    for name in names:
        for prefix, what in STRANGE_PREFIXES:
            if name.startswith(prefix):
                return what
    return None
