"""Read the settings that the kohya_ss GUI saves as JSON, whose names differ from sd-scripts'.

The tables are facts read from the GUI (v26.0.0): which module and which network arguments each of
its LoRA types stands for, and for which fields zero or empty text means "not given".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loraeval.checkpoints.configs import follow
from loraeval.checkpoints.flag_words import read_flags
from loraeval.checkpoints.script_facts import ScriptFacts, assign
from loraeval.checkpoints.shell.posix import posix_script
from loraeval.checkpoints.table import parameter_table
from loraeval.checkpoints.values import number
from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

_NAMES = {
    "optimizer": "optimizer_type",
    "max_resolution": "resolution",
    "epoch": "max_train_epochs",
    "lora_network_weights": "network_weights",
    "num_cpu_threads_per_process": None,
    "flux1_clip_l": "clip_l", "flux1_t5xxl": "t5xxl", "flux1_ae": "ae",
    "sd3_clip_l": "clip_l", "sd3_t5xxl": "t5xxl", "lumina_ae": "ae",
    "network_args": None, "lr_warmup_steps": None, "max_train_epochs": None,
}  # fmt: skip

_UNSET_BY_ZERO = {
    "noise_offset", "min_snr_gamma", "clip_skip", "seed", "multires_noise_iterations",
    "multires_noise_discount", "adaptive_noise_scale", "max_train_steps", "save_every_n_steps",
    "save_every_n_epochs", "lr_warmup_steps", "network_dropout", "scale_weight_norms",
    "ip_noise_gamma", "vae_batch_size", "save_last_n_steps", "save_last_n_epochs", "max_timestep",
    "min_timestep", "text_encoder_lr", "unet_lr", "v_pred_like_loss", "sample_every_n_steps",
    "sample_every_n_epochs", "max_train_epochs", "save_last_n_steps_state",
    "save_last_n_epochs_state",
}  # fmt: skip

_SCRIPTS = (
    ("sdxl", "sdxl_train_network.py"), ("flux1_checkbox", "flux_train_network.py"),
    ("sd3_checkbox", "sd3_train_network.py"),
    ("hunyuan_image_checkbox", "hunyuan_image_train_network.py"),
    ("anima_checkbox", "anima_train_network.py"), ("lumina_checkbox", "lumina_train_network.py"),
)  # fmt: skip
"""The model's check box and the training script, in the GUI's order."""

_BY_TYPE = {
    "Flux1": "flux_train_network.py", "Flux1 OFT": "flux_train_network.py",
    "HunyuanImage-2.1": "hunyuan_image_train_network.py", "Anima": "anima_train_network.py",
    "Lumina": "lumina_train_network.py",
}  # fmt: skip
"""Types that only one script can train."""

_BLOCKS = ("down_lr_weight", "mid_lr_weight", "up_lr_weight", "block_lr_zero_threshold",
           "block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas", "rank_dropout",
           "module_dropout")  # fmt: skip
_FLUX = ("img_attn_dim", "img_mlp_dim", "img_mod_dim", "single_dim", "txt_attn_dim", "txt_mlp_dim",
         "txt_mod_dim", "single_mod_dim", "in_dims", "train_double_block_indices",
         "train_single_block_indices", "split_qkv", "train_t5xxl", "rank_dropout",
         "module_dropout")  # fmt: skip
_DROPOUTS = ("rank_dropout", "module_dropout")

MODULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "Standard": ("networks.lora", _BLOCKS),
    "Kohya LoCon": ("networks.lora", _BLOCKS),
    "Kohya DyLoRA": ("networks.dylora", ("conv_dim", "conv_alpha", *_BLOCKS, "unit")),
    "Kohya LoHa": ("networks.loha", ("conv_dim", "conv_alpha", "use_tucker", *_DROPOUTS)),
    "Kohya LoKr": ("networks.lokr", ("conv_dim", "conv_alpha", "use_tucker", "factor", *_DROPOUTS)),
    "LoRA-FA": ("networks.lora_fa", _BLOCKS),
    "Flux1": ("networks.lora_flux", _FLUX),
    "Flux1 OFT": ("networks.oft_flux", ("enable_all_linear",)),
    "HunyuanImage-2.1": ("networks.lora_hunyuan_image", _DROPOUTS),
    "Anima": ("networks.lora_anima", _DROPOUTS),
    "Lumina": ("networks.lora_lumina", _DROPOUTS),
}
"""LoRA type to module and the network arguments that are passed where they are not empty."""

_CONV = ("conv_dim", "conv_alpha")
_ALL = (*_CONV, "use_tucker", "rank_dropout", "bypass_mode", "dora_wd", "module_dropout",
        "use_scalar", "rank_dropout_scale", "train_norm")  # fmt: skip

LYCORIS: dict[str, tuple[str, tuple[str, ...]]] = {
    "LoCon": ("locon", _ALL),
    "LyCORIS/LoCon": ("locon", _ALL),
    "LyCORIS/LoHa": ("loha", _ALL),
    "LyCORIS/LoKr": ("lokr", (*_CONV, "rank_dropout", "bypass_mode", "dora_wd", "module_dropout",
                              "factor", "use_cp", "use_tucker", "use_scalar", "decompose_both",
                              "rank_dropout_scale", "train_norm")),
    "LyCORIS/BOFT": ("boft", (*_CONV, "module_dropout", "use_tucker", "rank_dropout",
                              "rank_dropout_scale", "train_norm")),
    "LyCORIS/Diag-OFT": ("diag-oft", (*_CONV, "module_dropout", "use_tucker", "rank_dropout",
                                      "rank_dropout_scale", "constrain", "rescaled",
                                      "train_norm")),
    "LyCORIS/DyLoRA": ("dylora", (*_CONV, "use_tucker", "unit", "rank_dropout", "module_dropout",
                                  "train_norm")),
    "LyCORIS/GLoRA": ("glora", (*_CONV, "use_tucker", "rank_dropout", "module_dropout",
                                "rank_dropout_scale", "train_norm")),
    "LyCORIS/iA3": ("ia3", (*_CONV, "train_on_input")),
    "LyCORIS/Native Fine-Tuning": ("full", ("rank_dropout", "module_dropout",
                                            "rank_dropout_scale", "train_norm")),
}  # fmt: skip
"""LoRA type to LyCORIS' algorithm and the network arguments that the GUI passes as they stand."""

_RENAMED = {"constrain": "constraint", "unit": "block_size"}

_MULTIRES = ("multires_noise_iterations", "multires_noise_discount")
_OFFSET = ("noise_offset", "noise_offset_random_strength", "adaptive_noise_scale")


def fits(tree: Mapping[str, Any]) -> bool:
    """Whether a tree holds the GUI's settings."""
    return "LoRA_type" in tree or (
        "pretrained_model_name_or_path" in tree
        and bool({"max_resolution", "lr_warmup", "flux1_checkbox", "sdxl", "epoch"} & tree.keys())
    )


def gui_facts(path: Path, tree: dict[str, Any]) -> ScriptFacts:
    """Return what the GUI would pass on to sd-scripts.

    Zero and empty text mean "not given" there, numbers may be text, ``lr_warmup`` is a percentage,
    and the kind of noise offset that is not chosen is left out. A field that is not in the file is
    at the GUI's own default, which is not claimed. Raises ``CheckpointError`` where the object is
    no GUI file.
    """
    if not fits(tree):
        raise CheckpointError(f"{clean(path)}: expected the kohya_ss GUI's JSON, found other keys")
    kind = str(tree.get("LoRA_type", "Standard"))
    facts = ScriptFacts(path, "GUI settings", complete=False)
    facts.trainer = _BY_TYPE.get(kind) or next(
        (script for key, script in _SCRIPTS if _on(tree.get(key))), "train_network.py"
    )
    table = parameter_table()
    chosen = str(tree.get("noise_offset_type", "Original"))
    left_out = _MULTIRES if chosen == "Original" else _OFFSET
    for key, value in tree.items():
        name = _NAMES.get(key, key)
        spec = table.get(name) if name else None
        if spec is None or not spec.flag:
            continue
        if name in left_out:
            if number(value):
                facts.ignored[key] = f"noise_offset_type is {clean(chosen)}, so it is left out"
            facts.at_default.add(spec.name)
        elif value in (None, "", False) or (name in _UNSET_BY_ZERO and number(value) == 0):
            facts.at_default.add(spec.name)
        elif name in ("xformers", "mem_eff_attn", "sdpa"):
            facts.values[str(value) if value in ("xformers", "sdpa") else spec.name] = True
        else:
            words = value.split() if spec.list and isinstance(value, str) else value
            assign(facts, spec, words, typed=False)
            facts.own[spec.name] = key
    _network(facts, tree, kind)
    _duration(facts, tree)
    _more(facts, tree)
    if not facts.values:
        raise CheckpointError(f"{clean(path)}: no parameter of sd-scripts stands in it")
    facts.at_default -= facts.values.keys() | facts.unresolved.keys()
    return facts


def _on(value: object) -> bool:
    return value in (True, "True", "true", 1)


def _network(facts: ScriptFacts, tree: Mapping[str, Any], kind: str) -> None:
    words: list[str] = []
    if kind in LYCORIS:
        algorithm, names = LYCORIS[kind]
        module = "lycoris.kohya"
        words.append(f"algo={algorithm}")
        if tree.get("LyCORIS_preset") not in (None, ""):
            words.append(f"preset={tree['LyCORIS_preset']}")
        words += [
            f"{_RENAMED.get(name, name)}={tree[name]}" for name in names
            if tree.get(name) not in (None, "")
        ]  # fmt: skip
    elif kind in MODULES:
        module, names = MODULES[kind]
        if kind == "Standard" and facts.trainer == "sd3_train_network.py":
            module = "networks.lora_sd3"
        if kind == "Kohya LoCon":
            words += [f"{name}={tree[name]}" for name in _CONV if tree.get(name) is not None]
        words += [
            f"{name}={tree[name]}" for name in names
            if tree.get(name) not in (None, "", False) and number(tree[name]) != 0
        ]  # fmt: skip
    else:
        facts.unresolved["network_module"] = f"LoRA_type {kind}"
        facts.warnings.append(f"LoRA_type {clean(kind)} is not known: its module is not claimed")
        return
    facts.values["network_module"] = module
    facts.own["network_module"] = "LoRA_type"
    words += _loraplus(tree)
    if words:
        facts.values["network_args"] = " ".join(sorted(words))
    else:
        facts.at_default.add("network_args")
    _trained(facts, tree)


def _loraplus(tree: Mapping[str, Any]) -> list[str]:
    names = ("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")
    return [f"{name}={tree[name]}" for name in names if number(tree.get(name))]


def _trained(facts: ScriptFacts, tree: Mapping[str, Any]) -> None:
    """A rate of zero for one part alone means that only the other is trained."""
    if not {"unet_lr", "text_encoder_lr"} <= tree.keys():
        return
    unet, text = number(tree["unet_lr"]) or 0, number(tree["text_encoder_lr"]) or 0
    if bool(unet) is not bool(text):
        name = "network_train_unet_only" if unet else "network_train_text_encoder_only"
        facts.values[name] = True
        facts.at_default.discard(name)


def _duration(facts: ScriptFacts, tree: Mapping[str, Any]) -> None:
    if number(tree.get("max_train_epochs")):
        facts.values["max_train_epochs"] = number(tree["max_train_epochs"])
    steps, percent = number(tree.get("lr_warmup_steps")), number(tree.get("lr_warmup"))
    if steps:
        facts.values["lr_warmup_steps"] = steps
    elif percent:
        facts.unresolved["lr_warmup_steps"] = f"{percent} % of the steps"
    elif "lr_warmup" in tree:
        facts.values["lr_warmup_steps"] = 0
    if "lr_scheduler_num_cycles" in tree and tree["lr_scheduler_num_cycles"] in (None, ""):
        facts.at_default.discard("lr_scheduler_num_cycles")
        epochs = facts.values.get("max_train_epochs")
        if epochs is not None:
            facts.values["lr_scheduler_num_cycles"] = epochs
            facts.own["lr_scheduler_num_cycles"] = "epoch, since its own field is empty"


def _more(facts: ScriptFacts, tree: Mapping[str, Any]) -> None:
    """Flags that were typed by hand come last, and win; a data-set configuration is followed."""
    text = tree.get("additional_parameters")
    if isinstance(text, str) and text.strip():
        for command in posix_script(text).commands[:1]:
            read_flags(facts, command.words)
    follow(facts, {}, ())
