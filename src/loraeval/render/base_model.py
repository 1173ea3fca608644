"""Base models: where one lies, which family it is, and the hash that stands for it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval import families
from loraeval.errors import CheckpointError
from loraeval.outside.offline import offline_asked
from loraeval.outside.text import read_text
from loraeval.records import FamilyName, digest_of
from loraeval.render.base_checks import check_folder_unet, check_single_file
from loraeval.render.base_safety import check_folder, pickles_allowed
from loraeval.render.prediction import Prediction, of_file, of_options

if TYPE_CHECKING:
    from loraeval.render.store import Store

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_PARTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
_KEPT = (".safetensors", ".bin", ".json", ".txt")
MAX_JSON_BYTES = 4 << 20
"""A longer configuration of a base model is refused unread."""
HUB_FILES = [
    "model_index.json",
    "*/*.json",
    "*/*.txt",
    "*/diffusion_pytorch_model.safetensors",
    "*/model.safetensors",
]
"""What is fetched of a hub model: configurations and full-precision safetensors weights."""


def locate_base(base_model: str, *, offline: bool = False) -> Path:
    """Return the diffusers folder or single file that ``base_model`` names.

    A hub id is taken from the local cache; what is missing there is fetched, unless ``offline`` or
    ``HF_HUB_OFFLINE`` is set. Raises ``CheckpointError`` where there is nothing to load, for a
    pickled ``.ckpt`` (it can run code; ``LORAEVAL_ALLOW_CKPT=1`` loads it with weights only), and
    for a folder with pickled weights or code of its own.
    """
    path = Path(base_model).expanduser()
    if path.is_dir():
        if not (path / "model_index.json").is_file():
            raise CheckpointError(
                f"{path}: expected a diffusers folder, it has no model_index.json"
            )
        check_folder(path, read_json(path / "model_index.json"))
        return path
    if path.is_file():
        if path.suffix == ".safetensors":
            return path
        if path.suffix == ".ckpt" and pickles_allowed():
            return path
        raise CheckpointError(
            f"{path}: expected .safetensors; a pickle can run code when it is loaded, "
            "set LORAEVAL_ALLOW_CKPT=1 to load a .ckpt that you trust with weights only"
        )
    if _HUB_ID.fullmatch(base_model):
        return _from_hub(base_model, offline)
    raise CheckpointError(
        f"{base_model}: no such base model; give a diffusers folder, file or hub id"
    )


def base_family(base: Path, *, own_vae: bool = False) -> FamilyName:
    """Return the family of a located base model, from its configuration or its tensor names.

    Raises ``CheckpointError`` for anything but SD 1.x and SDXL text-to-image models, and for a
    single file without a VAE unless the recipe has its ``own_vae``.
    """
    if base.is_dir():
        name = str(read_json(base / "model_index.json").get("_class_name"))
        config = base / "unet" / "config.json"
        family = families.of_pipeline(name, read_json(config) if config.is_file() else None)
        if family is None:
            classes = [families.rendering_of(one).pipelines[0] for one in families.rendered()]
            raise CheckpointError(
                f"{base}: expected {' or '.join(classes)}, its model_index.json says {name}"
            )
        check_folder_unet(base, read_json(base / "unet" / "config.json"))
        return family.name
    if base.suffix == ".ckpt":
        return families.of_model_name(base.stem).name
    from loraeval.checkpoints.header import read_header

    tensors = read_header(base).tensors
    check_single_file(base, {name: info.shape for name, info in tensors.items()}, own_vae=own_vae)
    for one in families.rendered():
        starts = families.rendering_of(one).single_file
        if starts and any(name.startswith(starts) for name in tensors):
            return one
    known = " or ".join(
        families.FAMILIES[one].title
        for one in families.rendered()
        if families.rendering_of(one).single_file
    )
    raise CheckpointError(
        f"{base}: expected a whole {known} model, found no text encoder of either in it"
    )


def base_prediction(base: Path, *, chosen: bool = False) -> Prediction:
    """Return what a located base model says that it predicts. Raises ``CheckpointError`` where it
    contradicts itself, unless the recipe has ``chosen``.
    """
    if base.is_dir():
        path = base / "scheduler" / "scheduler_config.json"
        return of_options(read_json(path)) if path.is_file() else Prediction()
    try:
        return of_file(base)
    except CheckpointError:
        if not chosen:
            raise
        return Prediction()


def base_hash(base: Path, store: Store | None = None) -> str:
    """Return what stands for the base model in every key: a file's SHA-256, or for a folder the
    digest over the SHA-256 of each weight and configuration file of its parts.

    With a ``store`` a file is hashed once and then known by its size and modification time.
    """
    sha256 = store.file_sha256 if store is not None else _sha256
    if base.is_file():
        return sha256(base)
    rows = [[str(path.relative_to(base)), sha256(path)] for path in _files(base)]
    return hashlib.sha256(digest_of(sorted(rows)).encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in ``path``. Raises ``CheckpointError`` for anything else."""
    try:
        value = json.loads(read_text(path, CheckpointError, MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot read this configuration ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return value


def _files(base: Path) -> Iterator[Path]:
    for part in _PARTS:
        for path in sorted((base / part).glob("*")):
            if path.suffix in _KEPT and path.is_file():
                yield path


def _sha256(path: Path) -> str:
    from loraeval.checkpoints.header import file_sha256

    return file_sha256(path)


def _from_hub(base_model: str, offline: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(base_model, allow_patterns=HUB_FILES, local_files_only=True))
    except (LocalEntryNotFoundError, OSError):
        if offline_asked(offline):
            raise CheckpointError(
                f"{base_model}: not in the local hub cache, and nothing may be fetched (offline); "
                f"fetch it first with: hf download {base_model}"
            ) from None
    try:
        return Path(snapshot_download(base_model, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise CheckpointError(f"{base_model}: cannot fetch this base model ({error})") from error
