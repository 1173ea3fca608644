"""Read the settings that the kohya_ss GUI saves as JSON, whose names differ from sd-scripts'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loraeval.checkpoints.scripts import ScriptFacts, assign
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
}

_UNSET_BY_ZERO = {
    "noise_offset", "min_snr_gamma", "clip_skip", "seed", "multires_noise_iterations",
    "multires_noise_discount", "adaptive_noise_scale", "max_train_steps", "save_every_n_steps",
    "lr_warmup_steps", "network_dropout", "scale_weight_norms", "ip_noise_gamma", "vae_batch_size",
    "save_last_n_steps", "save_last_n_epochs", "max_timestep", "min_timestep", "text_encoder_lr",
    "unet_lr",
}  # fmt: skip

_MODULES = {
    "Standard": "networks.lora", "Kohya LoCon": "networks.lora", "Kohya DyLoRA": "networks.dylora",
    "LoRA-FA": "networks.lora_fa",
}  # fmt: skip

_MULTIRES = ("multires_noise_iterations", "multires_noise_discount")
_OFFSET = ("noise_offset", "noise_offset_random_strength", "adaptive_noise_scale")


def gui_facts(path: Path, tree: dict[str, Any]) -> ScriptFacts:
    """Return what the GUI would pass on to sd-scripts.

    Zero and empty text mean "not given" there, numbers may be text, ``lr_warmup`` is a percentage,
    and the kind of noise offset that is not chosen is left out. Raises ``CheckpointError`` where
    the object is no GUI file.
    """
    if "LoRA_type" not in tree and "pretrained_model_name_or_path" not in tree:
        raise CheckpointError(f"{clean(path)}: expected the kohya_ss GUI's JSON, found other keys")
    facts = ScriptFacts(path, "GUI settings")
    sdxl = tree.get("sdxl") in (True, "True", "true")
    facts.trainer = "sdxl_train_network.py" if sdxl else "train_network.py"
    table = parameter_table()
    chosen = str(tree.get("noise_offset_type", "Original"))
    left_out = _MULTIRES if chosen == "Original" else _OFFSET
    for key, value in tree.items():
        name = _NAMES.get(key, key)
        spec = table.get(name) if name else None
        if spec is None or not spec.flag or value is None or value == "" or value is False:
            continue
        if name in left_out:
            if number(value):
                facts.ignored[key] = f"noise_offset_type is {clean(chosen)}, so it is left out"
            continue
        if name in _UNSET_BY_ZERO and number(value) == 0:
            continue
        if name in ("xformers", "mem_eff_attn", "sdpa"):
            _attention(facts, name, value)
            continue
        assign(
            facts,
            spec,
            value.split() if spec.list and isinstance(value, str) else value,
            typed=False,
        )
    _network(facts, tree)
    _schedule(facts, tree)
    if not facts.values:
        raise CheckpointError(f"{clean(path)}: no parameter of sd-scripts stands in it")
    return facts


def _attention(facts: ScriptFacts, name: str, value: object) -> None:
    facts.values[value if value in ("xformers", "sdpa") else name] = True


def _network(facts: ScriptFacts, tree: dict[str, Any]) -> None:
    kind = str(tree.get("LoRA_type", "Standard"))
    facts.values["network_module"] = _MODULES.get(
        kind, "lycoris.kohya" if kind.startswith("LyCORIS") else kind
    )
    words = [] if facts.values["network_module"] != "lycoris.kohya" else [
        f"algo={kind.partition('/')[2].lower()}"
    ]  # fmt: skip
    if "LoCon" in kind or kind.startswith("LyCORIS"):
        words += [f"{k}={tree[k]}" for k in ("conv_dim", "conv_alpha") if number(tree.get(k))]
    if words:
        facts.values["network_args"] = " ".join(sorted(words))


def _schedule(facts: ScriptFacts, tree: dict[str, Any]) -> None:
    percent = number(tree.get("lr_warmup"))
    if percent and "lr_warmup_steps" not in facts.values:
        facts.unresolved["lr_warmup_steps"] = f"{percent} % of the steps"
    if tree.get("lr_scheduler") == "cosine_with_restarts" and not tree.get(
        "lr_scheduler_num_cycles"
    ):
        facts.values["lr_scheduler_num_cycles"] = facts.values.get("max_train_epochs") or 1
