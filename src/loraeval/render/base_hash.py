"""The hash that stands for a base model: of the weights and settings that are loaded, and no more.

A part's weights are hashed tensor by tensor, without their names: a folder and a single file of the
same weights have one hash. Two models whose tensors are equal and stand in other places would have
one hash too. Settings are compared by what differs from diffusers' defaults.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.outside import json
from loraeval.records import digest_of
from loraeval.render.base_configs import clip_tokenizer, part_config
from loraeval.render.base_files import PARTS, TOKENIZERS, weight_files

if TYPE_CHECKING:
    from loraeval.checkpoints.header import Header, TensorInfo
    from loraeval.render.store import Store

VERSION = "1"
_SINGLE = {
    "model.diffusion_model.": "unet", "first_stage_model.": "vae",
    "cond_stage_model.transformer.": "text_encoder",
    "conditioner.embedders.0.transformer.": "text_encoder",
    "conditioner.embedders.1.model.": "text_encoder_2",
}  # fmt: skip
_NOT_LOADED = ("position_ids", "logit_scale", "attn_mask", "model_ema.")
_TEXT = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "projection_dim", "hidden_act", "layer_norm_eps", "vocab_size", "max_position_embeddings",
)  # fmt: skip
_PROBE = "a red Hat, №5 don't <|endoftext|> 1234 naïve 日本 ☃ !?"


def hash_of(base: Path, family: str, store: Store | None = None) -> str:
    """Return the 64 hex digits that stand for a located base model of ``family``.

    With a ``store`` a file's part of it is computed once (``Store.file_digest``).
    """

    def kept(path: Path, what: str, compute: Callable[[Path], str]) -> str:
        name = f"{what} {VERSION}"
        return compute(path) if store is None else store.file_digest(path, name, compute)

    rows: list[object] = []
    if base.is_file():
        rows.append(kept(base, "single", _single))
        configs = {part: part_config(family, part) for part in _configured(family)}
        rows.append(kept(base, f"configs {family}", lambda _: _settings(configs)))
        return hashlib.sha256(digest_of(rows).encode()).hexdigest()
    names = [path.relative_to(base).as_posix() for path in base.glob("*/*") if path.is_file()]
    tensors: dict[str, list[str]] = {}
    for part in PARTS:
        files = [name for name in weight_files(names, part) if name.endswith(".safetensors")]
        if not files:  # pickles, where the user asked for them
            files = [n for n in names if n.startswith(f"{part}/") and n.endswith(".bin")]
        if files:
            tensors[part] = sorted(
                line for name in files for line in kept(base / name, "tensors", _tensors).split()
            )
    rows.append(digest_of(tensors))
    configs = {}
    for part in (*PARTS, "scheduler"):
        file = "scheduler_config.json" if part == "scheduler" else "config.json"
        if (base / part / file).is_file():
            configs[part] = json.loads((base / part / file).read_text(encoding="utf-8"))
    rows.append(_settings(configs, base))
    return hashlib.sha256(digest_of(rows).encode()).hexdigest()


def _configured(family: str) -> list[str]:
    from loraeval.families import rendering_of

    return [*rendering_of(family).configs]


def _tensors(path: Path) -> str:
    """Return the digests of a part's tensors, in order, with spaces between."""
    from loraeval.checkpoints.header import file_sha256, read_header

    if path.suffix != ".safetensors":
        return file_sha256(path)
    return " ".join(sorted(_digests(read_header(path))))


def _digests(header: Header, part: str = "", prefix: str = "") -> Iterator[str]:
    for name, info in header.tensors.items():
        if name.startswith(prefix) and not any(word in name for word in _NOT_LOADED):
            yield from _digest(header, info, open_clip=prefix != "" and part == "text_encoder_2")


def _digest(header: Header, info: TensorInfo, *, open_clip: bool) -> Iterator[str]:
    from loraeval.checkpoints.header import iterate_data

    if open_clip and info.name.endswith(("in_proj_weight", "in_proj_bias", "text_projection")):
        data = b"".join(iterate_data(header, info))
        if info.name.endswith("text_projection"):  # its rows are diffusers' columns
            import numpy as np

            size = len(data) // info.items
            cells = np.frombuffer(data, np.uint8).reshape(*info.shape, size)
            pieces = [np.ascontiguousarray(cells.transpose(1, 0, 2)).tobytes()]
        else:  # queries, keys and values in one
            third = len(data) // 3
            pieces = [data[start : start + third] for start in range(0, len(data), third)]
        for piece in pieces:
            yield hashlib.sha256(info.dtype.encode() + piece).hexdigest()[:32]
        return
    digest = hashlib.sha256(info.dtype.encode())
    for chunk in iterate_data(header, info):
        digest.update(chunk)
    yield digest.hexdigest()[:32]


def _single(path: Path) -> str:
    from loraeval.checkpoints.header import file_sha256, read_header

    if path.suffix != ".safetensors":
        return file_sha256(path)
    header = read_header(path)
    tensors: dict[str, list[str]] = {}
    for prefix, part in _SINGLE.items():
        if found := sorted(_digests(header, part, prefix)):
            tensors[part] = sorted([*tensors.get(part, []), *found])
    return digest_of(tensors)


def _settings(configs: dict[str, dict[str, Any]], base: Path | None = None) -> str:
    """Return the digest of what parts are told besides their weights, where it is no default."""
    from loraeval.render.sd_load import import_diffusers

    diffusers, told = import_diffusers(), {}
    for part, config in configs.items():
        if part.startswith("text_encoder"):
            told[part] = {key: config.get(key) for key in _TEXT}
            continue
        kind = getattr(diffusers, str(config.get("_class_name")), None)
        usual = {} if kind is None else {
            name: item.default for name, item in inspect.signature(kind.__init__).parameters.items()
        }  # fmt: skip
        told[part] = {
            key: value for key, value in config.items()
            if not key.startswith("_") and _plain(usual.get(key, ...)) != _plain(value)
        } | {"class": config.get("_class_name")}  # fmt: skip
        if part == "vae":
            told[part].pop("sample_size", None)  # of its training
    return digest_of([told, _tokenizers(base, sum(part.startswith("text") for part in configs))])


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _tokenizers(base: Path | None, count: int) -> list[object]:
    """Return how the tokenizers take a probe, and what they pad with."""
    from loraeval import torchvision_ops

    torchvision_ops.install()
    from transformers import CLIPTokenizer

    found: list[object] = []
    for index, name in enumerate(TOKENIZERS[:count]):
        if base is None:
            tokenizer = clip_tokenizer("!" if index else "<|endoftext|>")
        elif (base / name).is_dir():
            tokenizer = CLIPTokenizer.from_pretrained(base / name, local_files_only=True)
        else:
            continue
        ids = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
        found.append([list(ids), len(tokenizer), tokenizer.pad_token_id])
    return found
