"""The one grammar of LoRA keys, for ``inspect``, the gatekeeper and the renderer alike.

A key is ``<prefix><path of the layer>.<suffix>``. The prefix says which part of the pipeline the
layer is in, the suffix what the tensor is to it. kohya's and LyCORIS' names write the path with
underscores, all others with dots; for both the layer is known by its path with underscores, so
that every way of writing one name leads to one layer. A key with a suffix of a LoRA whose prefix is
not known belongs to a LoRA of unknown naming; a key with neither is kept as unknown, never dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

DENOISER = "unet"
"""The part of a LoRA that changes the denoiser, whether a UNet or a transformer."""

UNKNOWN = "unknown"
"""The part of a key whose suffix is a LoRA's and whose prefix no known naming has."""

_PREFIXES: tuple[tuple[str, str], ...] = (
    ("lora_prior_unet_", DENOISER), ("lora_unet_", DENOISER), ("lora_transformer_", DENOISER),
    ("lora_prior_te_", "te"), ("lora_te1_", "te1"), ("lora_te2_", "te2"), ("lora_te3_", "te3"),
    ("lora_te4_", "te4"), ("lora_te_", "te"), ("oft_unet_", DENOISER), ("oft_te1_", "te1"),
    ("oft_te2_", "te2"), ("oft_te_", "te"), ("lycoris_text_model_", "te"), ("lycoris_", DENOISER),
    ("model.diffusion_model.", DENOISER), ("diffusion_model.", DENOISER), ("unet.", DENOISER),
    ("lora_unet.", DENOISER), ("transformer.", DENOISER), ("prior.", DENOISER),
    ("lora_te1.", "te1"), ("lora_te2.", "te2"), ("lora_te3.", "te3"), ("lora_te.", "te"),
    ("text_encoder_2.", "te2"), ("text_encoder_3.", "te3"), ("text_encoder_4.", "te4"),
    ("text_encoder.", "te"), ("text_encoders.clip_l.transformer.", "te1"),
    ("text_encoders.clip_g.transformer.", "te2"), ("text_encoders.t5xxl.transformer.", "te3"),
    ("text_encoders.", "te"), ("clip_l.", "te1"), ("clip_g.", "te2"), ("t5xxl.", "te3"),
    ("te1.", "te1"), ("te2.", "te2"), ("te.", "te"),
)  # fmt: skip
_BARE = re.compile(
    r"(?P<denoiser>(?:down_blocks|up_blocks|mid_block|input_blocks|middle_block|output_blocks|conv_in"
    r"|conv_out|time_embedding|time_embed|add_embedding|label_emb|single_transformer_blocks"
    r"|transformer_blocks|double_blocks|single_blocks|joint_blocks|blocks|layers|noise_refiner"
    r"|context_refiner|double_stream_blocks|single_stream_blocks|img_in|txt_in|x_embedder"
    r"|context_embedder|caption_projection|final_layer|proj_out|norm_out|time_text_embed"
    r"|llm_adapter|distilled_guidance_layer"
    r"|txtfusion|text_fusion|tmlp|tproj|txtmlp|first|last|time_in|vector_in|guidance_in)\.)|(?P<te>text_model\.|encoder\.layers\.)"
)  # fmt: skip
"""Paths that some programs write without a prefix (``save_attn_procs``, PEFT's own files)."""

_SUFFIXES: tuple[tuple[str, str, str], ...] = (
    # pattern, role, kind
    (r"lora_down\.weight", "down", "lora"), (r"lora_up\.weight", "up", "lora"),
    (r"lora_mid\.weight", "mid", "tucker"),
    (r"lora\.down\.weight", "down", "diffusers"), (r"lora\.up\.weight", "up", "diffusers"),
    (r"lora_linear_layer\.down\.weight", "down", "diffusers"),
    (r"lora_linear_layer\.up\.weight", "up", "diffusers"),
    (r"lora_A(?:\.(?!weight$)[\w-]+)?(?:\.weight)?", "down", "peft"),
    (r"lora_B(?:\.(?!weight$|bias$)[\w-]+)?(?:\.weight)?", "up", "peft"),
    (r"lora_magnitude_vector(?:\.[\w-]+)?(?:\.weight)?", "magnitude", "dora"),
    (r"dora_scale", "dora_scale", "dora"),
    (r"hada_(?:w[12]_[ab]|t[12])", "", "loha"),
    (r"lokr_(?:w[12](?:_[ab])?|t2)", "", "lokr"),
    (r"oft_(?:blocks|diag|R(?:\.[\w-]+)?(?:\.weight)?)|boft_(?:R|s)(?:\.[\w-]+)?|rescale", "",
    "oft"),
    (r"[ab][12]\.weight", "", "glora"), (r"on_input|ia3_l(?:\.[\w-]+)?", "", "ia3"),
    (r"diff|diff_b|set_weight", "", "full"), (r"w_norm|b_norm", "", "norm"),
    (r"vera_lambda_[bd](?:\.[\w-]+)?|hra_u(?:\.[\w-]+)?|shira_weight|bone\.weight", "",
    "peft-other"),
    (r"lora_embedding_[AB](?:\.[\w-]+)?", "", "embedding"),
    (r"lora_bias|lora_B(?:\.[\w-]+)?\.bias|lora_(?:up|down)\.bias|lora_A(?:\.[\w-]+)?\.bias", "",
    "lora-bias"),
    (r"alpha|lora_alpha", "alpha", "alpha"), (r"bias", "bias", "bias"), (r"weight", "weight",
    "weight"),
)  # fmt: skip
_SUFFIX = [
    (re.compile(rf"(?P<path>.+)\.(?P<suffix>{pattern})"), role, kind)
    for pattern, role, kind in _SUFFIXES
]
_PROCESSOR = re.compile(
    r"(?P<path>.+)\.processor\.(?P<linear>\w+?)_lora(?P<number>\d?)\.(?P<role>down|up)\.weight"
)
_NOT_ALONE = ("alpha", "bias", "weight")
"""Kinds that other files have as well: they betray a LoRA only below a known prefix, and what is
called ``weight`` or ``bias`` only below one that no model's own keys have."""
_OWN = ("lora_", "oft_", "lycoris_")
_WRAPPERS = re.compile(r"^(?:base_model\.model\.|_orig_mod\.|module\.)+")
"""What PEFT, torch.compile and data parallel training put before a path."""

KINDS = tuple(dict.fromkeys(kind for _, _, kind in _SUFFIXES))
"""What a suffix may betray, ``diffusers`` and ``peft`` being plain LoRA in other words."""

STRANGE_PREFIXES: tuple[tuple[str, str], ...] = (
    ("model.diffusion_model.", "a full checkpoint"),
    ("first_stage_model.", "a full checkpoint"),
    ("cond_stage_model.", "a full checkpoint"),
    ("conditioner.embedders.", "a full checkpoint"),
    ("bundle_emb.", "a LoRA with bundled embeddings"),
    ("emb_params", "a textual inversion"),
    ("clip_l", "a textual inversion"),
    ("clip_g", "a textual inversion"),
    ("t5xxl", "a textual inversion"),
    ("controlnet", "a ControlNet"),
    ("control_model.", "a ControlNet"),
    ("lllite_", "a ControlNet-LLLite"),
    ("ip_adapter.", "an IP-Adapter"),
    ("image_proj", "an IP-Adapter"),
    ("decoder.", "a VAE"),
    ("encoder.conv_in", "a VAE"),
    ("down_blocks.", "a UNet of diffusers"),
    ("double_blocks.", "a transformer without its pipeline"),
    ("single_transformer_blocks.", "a transformer without its pipeline"),
    ("transformer_blocks.", "a transformer without its pipeline"),
    ("joint_blocks.", "a transformer without its pipeline"),
)
"""Starts of keys that no LoRA has, and what such a file is."""

_MOTION = ("motion_modules", "temporal_transformer")


@dataclass(frozen=True, slots=True)
class Key:
    """A key taken apart: ``component`` (``unet`` for any denoiser, ``te``, ``te1``, …, or
    ``unknown``), ``path`` of the layer with underscores, ``module`` the layer's name as the file
    writes it, ``role`` of the tensor in it (``down``, ``up``, ``alpha``, …), what the suffix
    betrays
    (``kind``) and the ``suffix`` as written.
    """

    component: str
    path: str
    module: str
    role: str
    kind: str
    suffix: str


def split_key(name: str) -> Key | None:
    """Take a tensor name apart; None where it has no suffix of a LoRA.

    >>> split_key("diffusion_model.blocks.0.attn.to_q.lora_A.default.weight").path
    'blocks_0_attn_to_q'
    >>> split_key("lora_unet_blocks_0_attn_to_q.lora_down.weight").path
    'blocks_0_attn_to_q'
    """
    found = _parts(name)
    if found is None:
        return None
    module, role, kind, suffix = found
    component, module, path = _component(module)
    if kind in _NOT_ALONE and (
        component == UNKNOWN or (kind != "alpha" and not module.startswith(_OWN))
    ):
        return None
    if any(word in path for word in _MOTION):
        return None
    return Key(component, path.replace(".", "_"), module, role, kind, suffix)


def strange_file(names: Iterable[str]) -> str | None:
    """Say what a file without LoRA keys is, where its keys betray it."""
    for name in names:
        if any(word in name for word in _MOTION):
            return "a motion module, not a LoRA of an image model"
        for prefix, what in STRANGE_PREFIXES:
            if name.startswith(prefix):
                return what
    return None


def _parts(name: str) -> tuple[str, str, str, str] | None:
    """Return module name as written, role, kind and suffix of a key."""
    if hit := _PROCESSOR.fullmatch(name):  # attention processors as diffusers once wrote them
        layer = f"{hit['path']}.{hit['linear']}{hit['number']}"
        if hit["linear"] == "to_out":
            layer = f"{hit['path']}.to_out.0"
        return layer, hit["role"], "diffusers", name[len(hit["path"]) + 1 :]
    for pattern, role, kind in _SUFFIX:
        if hit := pattern.fullmatch(name):
            suffix = hit["suffix"]
            return hit["path"], role or suffix, kind, suffix
    return None


def _component(module: str) -> tuple[str, str, str]:
    """Return the part of the pipeline that a module is in, its name, and its path there."""
    name = _WRAPPERS.sub("", module)
    for prefix, part in _PREFIXES:
        if name.startswith(prefix):
            return part, name, _WRAPPERS.sub("", name[len(prefix) :])
    if hit := _BARE.match(f"{name}."):
        return (DENOISER if hit["denoiser"] else "te"), name, name
    return UNKNOWN, name, name
