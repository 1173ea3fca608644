"""Base models: where one lies, which family it is, and the hash that stands for it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from loraeval import families
from loraeval.errors import CheckpointError
from loraeval.outside.offline import offline_asked
from loraeval.outside.text import read_text
from loraeval.records import FamilyName
from loraeval.render.base_checks import check_folder_unet, check_single_file
from loraeval.render.base_files import PARTS, index_pieces, loaded_files, weight_files
from loraeval.render.base_safety import check_folder, pickles_allowed
from loraeval.render.prediction import Prediction, of_file, of_options

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
MAX_JSON_BYTES = 4 << 20
"""A longer configuration of a base model is refused unread."""


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
        if families.rendering_of(family.name).denoiser == "unet":
            check_folder_unet(base, read_json(config))
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


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in ``path``. Raises ``CheckpointError`` for anything else."""
    try:
        value = json.loads(read_text(path, CheckpointError, MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot read this configuration ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return value


def _from_hub(base_model: str, offline: bool) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        found = Path(snapshot_download(base_model, local_files_only=True))
        if _is_whole(found):
            return found
    except (LocalEntryNotFoundError, OSError):
        pass
    if offline_asked(offline):
        raise CheckpointError(
            f"{base_model}: not in the local hub cache, or not all that is loaded of it, and "
            f"nothing may be fetched (offline); fetch it first with: hf download {base_model}"
        )
    try:
        wanted = loaded_files(HfApi().list_repo_files(base_model))
        return Path(snapshot_download(base_model, allow_patterns=wanted))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise CheckpointError(f"{base_model}: cannot fetch this base model ({error})") from error


def _is_whole(folder: Path) -> bool:
    """Return whether a cached model has the weights of every part that its index names."""
    if not (folder / "model_index.json").is_file():
        return False
    index = read_json(folder / "model_index.json")
    names = [path.relative_to(folder).as_posix() for path in folder.glob("*/*")]
    for part in PARTS:
        named = index.get(part)
        if not isinstance(named, list) or None in named:
            continue
        files = weight_files(names, part)
        for name in files:
            if name.endswith(".json"):
                pieces = index_pieces(read_text(folder / name, CheckpointError, MAX_JSON_BYTES))
                files = [*files, *(f"{part}/{piece}" for piece in pieces)]
        if not files or not all((folder / name).is_file() for name in files):
            return pickles_allowed()
    return True
