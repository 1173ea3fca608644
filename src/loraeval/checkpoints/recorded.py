"""Take training parameters out of the metadata that sd-scripts writes into a LoRA file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from loraeval.checkpoints.table import parameter_table
from loraeval.checkpoints.values import Value, canonical, number, optimizer

Recorded = dict[str, tuple[Value, str]]
"""Parameter name to its canonical value and the metadata key that holds it."""

_SPECIAL = {
    "optimizer_type", "optimizer_args", "use_8bit_adam", "use_lion_optimizer", "repeats", "images",
    "caption_fingerprint", "captions_read", "caption_tokens_at_least", "min_timestep",
    "max_timestep", "v_parameterization", "conv_rank", "dora", "train_data_dir", "reg_data_dir",
    "in_json", "dataset_repeats", "dataset_config", "scale_weight_norms_", "metadata_title",
}  # fmt: skip

_FROM_SUBSETS = {
    "color_aug", "flip_aug", "random_crop", "shuffle_caption", "keep_tokens",
    "keep_tokens_separator", "secondary_separator", "enable_wildcard", "caption_prefix",
    "caption_suffix",
}  # fmt: skip
_FROM_DATASETS = {
    "batch_size_per_device": "train_batch_size", "resolution": "resolution",
    "enable_bucket": "enable_bucket", "min_bucket_reso": "min_bucket_reso",
    "max_bucket_reso": "max_bucket_reso",
}  # fmt: skip

# One piece of text that CLIP's tokenizer never joins with its neighbours: a run of letters, one
# digit, or a run of other signs. Each costs at least one token.
_PIECE = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|(?:[^\w\s]|_)+", re.IGNORECASE)


def has_full_metadata(metadata: Mapping[str, str]) -> bool:
    """Tell whether sd-scripts recorded the run (rather than only ``--no_metadata``'s minimum)."""
    return "ss_learning_rate" in metadata or "ss_optimizer" in metadata


def recorded_values(metadata: Mapping[str, str]) -> Recorded:
    """Return what the metadata says of each parameter; broken tables in it are passed over."""
    values: Recorded = {}
    for name, spec in parameter_table().items():
        if name in _SPECIAL:
            continue
        for key in spec.keys:
            if key in metadata:
                values[name] = (canonical(name, _unlisted(metadata[key])), key)
                break
    values.update(_from_datasets(metadata))
    values.update(_special(metadata))
    return values


def token_lower_bound(text: str) -> int:
    """Return a number of CLIP tokens that ``text`` needs at least, without a vocabulary.

    Every run of letters, every digit and every run of signs is at least one token.

    >>> token_lower_bound("hair (#c06148)")
    9
    """
    return sum(1 for _ in _PIECE.finditer(text))


def _unlisted(text: str) -> str:
    """``[5e-05]``, as a list of one is recorded, is 5e-05."""
    match = re.fullmatch(r"\[\s*([^\[\],]+)\s*\]", text)
    return match[1] if match else text


def _json(text: str | None) -> Any:
    try:
        return json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        return None


def _special(metadata: Mapping[str, str]) -> Iterator[tuple[str, tuple[Value, str]]]:
    if "ss_optimizer" in metadata:
        kind, arguments = optimizer(metadata["ss_optimizer"])
        yield "optimizer_type", (kind, "ss_optimizer")
        if arguments is not None:
            arguments = " ".join(sorted(arguments.split(",")))
        yield "optimizer_args", (arguments, "ss_optimizer")
    low, _, high = metadata.get("modelspec.timestep_range", "").partition(",")
    if number(high) is not None:
        yield "min_timestep", (number(low), "modelspec.timestep_range")
        yield "max_timestep", (number(high), "modelspec.timestep_range")
    if "modelspec.prediction_type" in metadata:
        kind = metadata["modelspec.prediction_type"]
        yield "v_parameterization", (kind == "v", "modelspec.prediction_type")
    elif "ss_base_model_version" in metadata:
        ends = metadata["ss_base_model_version"].endswith("_v")
        yield "v_parameterization", (ends, "ss_base_model_version")
    if "ss_output_name" not in metadata and "modelspec.title" in metadata:
        yield (
            "output_name",
            (canonical("", metadata["modelspec.title"]), "modelspec.title"),
        )
    yield from _folders(metadata)
    yield from _captions(metadata)


def _folders(metadata: Mapping[str, str]) -> Iterator[tuple[str, tuple[Value, str]]]:
    folders = _json(metadata.get("ss_dataset_dirs"))
    if not isinstance(folders, dict):
        return
    rows = [row for row in folders.values() if isinstance(row, dict)]
    images = [number(row.get("img_count")) for row in rows]
    repeats = sorted({str(number(row.get("n_repeats"))) for row in rows})
    if rows and all(isinstance(count, int) for count in images):
        yield "images", (sum(count for count in images if count), "ss_dataset_dirs")
        yield "repeats", (canonical("repeats", " ".join(repeats)), "ss_dataset_dirs")
    yield "train_data_dir", (" ".join(sorted(map(str, folders)))[:1000], "ss_dataset_dirs")


def _captions(metadata: Mapping[str, str]) -> Iterator[tuple[str, tuple[Value, str]]]:
    table = _json(metadata.get("ss_tag_frequency"))
    if not isinstance(table, dict) or not table:
        return
    key = "ss_tag_frequency"
    inner = [tags for tags in table.values() if isinstance(tags, dict)]
    texts = sorted(json.dumps(tags, sort_keys=True) for tags in inner)
    yield "caption_fingerprint", (hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16], key)
    folders = _json(metadata.get("ss_dataset_dirs"))
    folders = folders if isinstance(folders, dict) else {}
    unread = [_is_class_word(name, tags, folders.get(name)) for name, tags in table.items()]
    yield "captions_read", (not all(unread), key)
    counts = [
        (tag, count) for tags in inner for tag, count in tags.items() if isinstance(count, int)
    ]
    images = sum(
        row["img_count"] for row in folders.values()
        if isinstance(row, dict) and isinstance(row.get("img_count"), int)
    )  # fmt: skip
    if images > 0:
        # A comma stands between tags, so one token less than tags per caption.
        tokens = sum((token_lower_bound(tag) + 1) * count for tag, count in counts) - images
        yield "caption_tokens_at_least", (max(0, tokens // images), key)


def _is_class_word(folder: str, tags: Any, row: Any) -> bool:
    """One tag that is the folder's class words, on every image: no caption file was read."""
    if not isinstance(tags, dict) or len(tags) != 1:
        return False
    words = folder.partition("_")[2].strip().lower()
    tag, count = next(iter(tags.items()))
    images = row.get("img_count") if isinstance(row, dict) else count
    return bool(str(tag).strip().lower() == words and count == images)


def _from_datasets(metadata: Mapping[str, str]) -> Iterator[tuple[str, tuple[Value, str]]]:
    datasets = _json(metadata.get("ss_datasets"))
    if not isinstance(datasets, list):
        return
    yield "dataset_config", ("given", "ss_datasets")
    found: dict[str, list[Value]] = {}
    for dataset in datasets:
        if not isinstance(dataset, dict):
            continue
        for key, name in _FROM_DATASETS.items():
            if key in dataset:
                found.setdefault(name, []).append(canonical(name, dataset[key]))
        subsets = dataset.get("subsets")
        for subset in subsets if isinstance(subsets, list) else ():
            for name in _FROM_SUBSETS & subset.keys() if isinstance(subset, dict) else ():
                found.setdefault(name, []).append(canonical(name, subset[name]))
    for name, values in found.items():
        distinct = list(dict.fromkeys(values))
        joined = distinct[0] if len(distinct) == 1 else " / ".join(map(str, distinct))
        yield name, (joined, "ss_datasets")
