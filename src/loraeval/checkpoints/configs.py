"""Configurations of sd-scripts and musubi-tuner: ``--config_file`` and ``--dataset_config``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loraeval.checkpoints.script_facts import (
    ScriptFacts,
    assign,
    beside,
    leave_open,
    parse_toml,
    read_text,
)
from loraeval.checkpoints.table import ParameterSpec, parameter_table, training_scripts
from loraeval.checkpoints.values import canonical, shown
from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

MUSUBI_MODULES = {
    "networks.lora_wan": "wan_train_network.py",
    "networks.lora_framepack": "fpack_train_network.py",
    "networks.lora_qwen_image": "qwen_image_train_network.py",
    "networks.lora_zimage": "zimage_train_network.py",
    "networks.lora_flux_2": "flux_2_train_network.py",
    "networks.lora_kandinsky": "kandinsky5_train_network.py",
    "networks.lora_hv_1_5": "hv_1_5_train_network.py",
    "networks.lora_krea2": "krea2_train_network.py",
    "networks.lora_hidream_o1": "hidream_o1_train_network.py",
    "networks.lora_ideogram4": "ideogram4_train_network.py",
}  # fmt: skip
_SD_MODULES = {
    "networks.lora_sd3": "sd3_train_network.py", "networks.lora_lumina": "lumina_train_network.py",
    "networks.lora_anima": "anima_train_network.py",
    "networks.lora_hunyuan_image": "hunyuan_image_train_network.py",
}  # fmt: skip

_NEAR: dict[str, str] = {
    "batch_size": "train_batch_size", "bucket_resolution": "resolution", "lr": "learning_rate",
    "epoch": "max_train_epochs", "epochs": "max_train_epochs", "dim": "network_dim",
    "alpha": "network_alpha", "optimizer": "optimizer_type", "num_repeats": "the folder's name",
}  # fmt: skip

DATASET = {
    "batch_size": "train_batch_size", "num_repeats": "repeats", "resolution": "resolution",
    **{name: name for name in (
        "bucket_no_upscale", "bucket_reso_steps", "enable_bucket", "max_bucket_reso",
        "min_bucket_reso", "color_aug", "face_crop_aug_range", "flip_aug", "random_crop",
        "shuffle_caption", "keep_tokens", "keep_tokens_separator", "secondary_separator",
        "caption_separator", "enable_wildcard", "token_warmup_min", "token_warmup_step",
        "caption_prefix", "caption_suffix", "caption_dropout_rate",
        "caption_dropout_every_n_epochs", "caption_tag_dropout_rate", "alpha_mask",
        "caption_extension", "resize_interpolation",
    )},
}  # fmt: skip
"""What a data-set configuration may hold, by the names of parameters."""

_ASIDE = {
    "subsets", "image_dir", "class_tokens", "metadata_file", "is_reg", "cache_info",
    "conditioning_data_dir", "cache_directory", "image_directory", "image_jsonl_file",
    "video_directory", "video_jsonl_file", "control_directory", "validation_split",
    "validation_seed", "network_multiplier", "custom_attributes", "target_frames",
    "frame_extraction", "frame_stride", "frame_sample", "max_frames", "source_fps",
    "control_resolution", "no_resize_control", "multiple_target",
}  # fmt: skip


def config_facts(path: Path, tree: dict[str, Any]) -> ScriptFacts:
    """Return what a configuration of sd-scripts or musubi-tuner says; its files are followed."""
    facts = settings_facts(path, "TOML configuration", tree)
    follow(facts, {}, ())
    return facts


def settings_facts(path: Path, kind: str, tree: dict[str, Any]) -> ScriptFacts:
    """Return what a table of settings says: sections mean nothing to the trainers, later keys win.

    Raises ``CheckpointError`` where no parameter stands in it.
    """
    facts = ScriptFacts(path, kind)
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(value if isinstance(value, dict) else {key: value})
    _name_script(facts, flat)
    table = parameter_table()
    for key, value in flat.items():
        spec = table.get(key)
        if spec is None or not spec.flag:
            facts.ignored[key] = _why_ignored(key)
            continue
        if isinstance(value, str) and value.startswith("${"):
            leave_open(facts, key, value)
            continue
        assign(facts, spec, value, typed=False)
        if key in ("dataset_config", "config_file") and isinstance(value, str):
            facts.config_files.append(value)
        _warn_of_traps(facts, key, value)
    if not facts.values:
        raise CheckpointError(f"{clean(path)}: no parameter of sd-scripts stands in it")
    return facts


def _name_script(facts: ScriptFacts, flat: Mapping[str, Any]) -> None:
    """Name the training script where the settings leave only one."""
    module = str(flat.get("network_module"))
    if module in MUSUBI_MODULES or "dit" in flat:
        facts.program = "musubi-tuner"
        facts.trainer = MUSUBI_MODULES.get(module)
    elif module in _SD_MODULES:
        facts.trainer = _SD_MODULES[module]
    elif module == "networks.lora_flux":
        facts.trainer = "flux_train_network.py"
    if facts.trainer is None:
        takers = [
            name for name, script in training_scripts().items()
            if script.program == facts.program
            and all(key in script.flags for key in flat if key in parameter_table())
        ]  # fmt: skip
        facts.trainer = takers[0] if len(takers) == 1 else None


def _why_ignored(key: str) -> str:
    near = _NEAR.get(key)
    hint = f"; {near} is the one that counts" if near else ""
    return f"unknown key, sd-scripts ignores it silently{hint}"


def _warn_of_traps(facts: ScriptFacts, key: str, value: object) -> None:
    if key == "resolution" and not isinstance(value, str):
        facts.warnings.append(
            f'resolution = {clean(value)}: sd-scripts stops, it wants text such as "512,512"'
        )
    if key == "in_json" and value == "":
        facts.warnings.append(
            'in_json = "": even an empty text switches to the fine-tuning data set'
        )
    if key == "sample_prompts" and not isinstance(value, str):
        facts.warnings.append("sample_prompts: the name of a file is expected")


def follow(
    facts: ScriptFacts, written: Mapping[str, str], settings: Sequence[dict[str, Any]]
) -> None:
    """Read the configuration files that ``facts`` names: beside the script, ``written`` by it, or
    built by a notebook's cells (``settings``). What a file would hold that is not there is open.
    """
    table = parameter_table()
    for flag in ("config_file", "dataset_config"):
        given = facts.values.get(flag) or facts.unresolved.get(flag)
        if not isinstance(given, str):
            continue
        tree = _tree_of(facts, given, written)
        if tree is None and flag == "config_file" and len(settings) == 1:
            tree = dict(settings[0])
        if tree is None:
            facts.missing.append(given)
            facts.warnings.append(f"the configuration {clean(given)} is not beside the script")
            if flag == "config_file":
                facts.complete = False
            else:
                for name in DATASET.values():
                    if table[name].flag:
                        said = facts.values.get(name)
                        told = f" (the command says {shown(said)})" if said is not None else ""
                        leave_open(facts, name, f"{given}{told}")
        elif flag == "config_file":
            _merge(facts, settings_facts(facts.path, "TOML configuration", tree))
        else:
            _take_dataset(facts, tree)


def _tree_of(facts: ScriptFacts, given: str, written: Mapping[str, str]) -> dict[str, Any] | None:
    """Return a configuration by the name in the command, ``.toml`` left out or not."""
    name = given.replace("\\", "/").rstrip("/").rpartition("/")[2]
    for place, text in written.items():
        if place.replace("\\", "/").rpartition("/")[2] in (name, f"{name}.toml"):
            return parse_toml(facts.path, text)
    found = beside(facts.path, given, ".toml")
    if found is not None:
        return parse_toml(found, read_text(found))
    return None


def _merge(facts: ScriptFacts, base: ScriptFacts) -> None:
    """The command line wins over its configuration."""
    facts.values = {**base.values, **facts.values}
    facts.values = {k: v for k, v in facts.values.items() if k not in facts.unresolved}
    facts.ignored = {**base.ignored, **facts.ignored}
    facts.unresolved = {
        **{k: v for k, v in base.unresolved.items() if k not in facts.values}, **facts.unresolved
    }  # fmt: skip
    facts.warnings += base.warnings


def is_dataset(tree: Mapping[str, Any]) -> bool:
    """Whether a TOML file is a data-set configuration."""
    return isinstance(tree.get("datasets"), list)


def dataset_facts(path: Path, tree: dict[str, Any]) -> ScriptFacts:
    """Read a ``--dataset_config`` file by itself."""
    facts = ScriptFacts(path, "data-set configuration", complete=False)
    _take_dataset(facts, tree)
    return facts


def _take_dataset(facts: ScriptFacts, tree: Mapping[str, Any]) -> None:
    """Put a data-set configuration into ``facts``: it wins over the command line.

    Values are those of the training subsets, listed where they differ; a subset of regularisation
    images changes none of them.
    """
    for key, value in _unknown_keys(tree):
        facts.ignored[key] = (
            f"no key of a data-set configuration, the trainer stops (it holds {clean(value, 40)})"
        )
    found: dict[str, list[Any]] = {}
    for merged in _subsets(tree):
        if merged.get("is_reg") is True:
            facts.values.setdefault("num_reg_images", None)
            continue
        for key, value in merged.items():
            name = DATASET.get(key)
            if name is not None:
                found.setdefault(name, []).append(canonical(name, value))
    facts.values.pop("num_reg_images", None)
    table = parameter_table()
    for name, values in found.items():
        distinct = list(dict.fromkeys(values))
        if len(distinct) == 1:
            assign(facts, _unchecked(table[name]), distinct[0], typed=False)
        else:
            facts.values[name] = " / ".join(shown(value) for value in distinct)
            facts.unresolved.pop(name, None)
            facts.warnings.append(f"{name} differs between subsets: all values are listed")


def _unchecked(spec: ParameterSpec) -> ParameterSpec:
    return ParameterSpec(spec.name, spec.group, spec.effect, spec.flag, spec.type)


def _levels(tree: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    general = tree.get("general")
    base = general if isinstance(general, dict) else {}
    datasets = tree.get("datasets")
    for dataset in datasets if isinstance(datasets, list) else ():
        if not isinstance(dataset, dict):
            continue
        subsets = dataset.get("subsets")
        rows = (
            [row for row in subsets if isinstance(row, dict)] if isinstance(subsets, list) else []
        )
        yield {**base, **dataset}, rows


def _subsets(tree: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each subset with what its data set and ``general`` give it."""
    for base, rows in _levels(tree):
        for row in rows or [{}]:
            yield {**{k: v for k, v in base.items() if k != "subsets"}, **row}


def _unknown_keys(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for base, rows in _levels(tree):
        for row in [base, *rows]:
            for key, value in row.items():
                if key not in DATASET and key not in _ASIDE:
                    yield key, value
