"""Encoders by name beyond open_clip: timm's models, transformers' models, folders of either.

Weights are safetensors only and come from a folder, from the hub's cache, or from the hub where
the user typed the name and did not forbid it. No code of a repository is ever run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from loraeval.errors import InputError, MissingExtraError, UsageError
from loraeval.outside import json as strict_json
from loraeval.outside.text import clean, read_text
from loraeval.scorers._embed import TorchEncoder, sha256_of

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
MAX_CONFIG_BYTES = 1 << 20

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What transformers' image processors assume where a repository does not say."""


def timm_by_name(name: str, *, offline: bool) -> TorchEncoder:
    """Load ``timm:NAME`` (``NAME.TAG`` for given weights).

    Raises ``UsageError`` for a name that timm does not know, ``InputError`` for weights that are
    not at hand and may not be fetched.
    """
    import timm

    spec = f"timm:{name}"
    if ":" in name or not timm.is_model(name):
        near = timm.list_models(f"*{name.split('.')[0][:12]}*")[:5]
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise UsageError(f"timm knows no model {name!r}{hint}")
    known: Any = timm.models.get_pretrained_cfg(name)
    repository = known.hf_hub_id if known is not None else None
    if not repository:
        raise UsageError(f"timm has no weights on the hub for {name!r}; give a folder instead")
    weights = _file_of(repository, WEIGHTS, spec, offline=offline)
    return _timm(name, spec, known.to_dict(), weights)


def from_folder(folder: Path) -> TorchEncoder:
    """Load a model of timm or of transformers from a folder with its configuration and weights."""
    config = read_object(folder / CONFIG)
    weights = folder / WEIGHTS
    if config.get("auto_map"):
        raise InputError(
            f"{clean(folder)}: asks for code of its own (auto_map), which is never run"
        )
    if "architecture" in config:
        name = str(config["architecture"])
        if ":" in name:
            raise InputError(f"{clean(folder)}: its architecture would be fetched from a hub")
        preprocess = {**config, **dict(config.get("pretrained_cfg") or {})}
        return _timm(name, f"timm:{folder.resolve().name}", preprocess, weights)
    if "model_type" in config:
        preprocessor = folder / PREPROCESSOR
        held = read_object(preprocessor) if preprocessor.is_file() else {}
        return _transformers(str(folder), f"hf:{folder.resolve().name}", weights, config, held)
    raise InputError(f"{clean(folder / CONFIG)}: expected a model of timm or of transformers")


def hf_by_name(repository: str, *, offline: bool) -> TorchEncoder:
    """Load ``hf:OWNER/NAME``: a vision model of transformers (DINOv2, SigLIP, CLIP and so on)."""
    spec = f"hf:{repository}"
    files = {
        name: _file_of(repository, name, spec, offline=offline)
        for name in (CONFIG, WEIGHTS, PREPROCESSOR)
    }
    config = read_object(files[CONFIG])
    if config.get("auto_map"):
        raise InputError(f"{spec}: asks for code of its own (auto_map): never run")
    return _transformers(
        str(files[CONFIG].parent), spec, files[WEIGHTS], config, read_object(files[PREPROCESSOR])
    )


PREPROCESSOR = "preprocessor_config.json"


def read_object(path: Path) -> dict[str, Any]:
    """Return a JSON object; ``InputError`` where the file holds something else."""
    try:
        held = strict_json.loads(read_text(path, InputError, MAX_CONFIG_BYTES))
    except ValueError as error:
        raise InputError(f"{clean(path)}: expected a JSON object ({clean(error)})") from error
    if not isinstance(held, dict):
        raise InputError(f"{clean(path)}: expected a JSON object")
    return held


def _file_of(repository: str, name: str, spec: str, *, offline: bool) -> Path:
    """Return a file of a hub repository: from the cache, else fetched where that is allowed."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            return Path(found)
        if offline:
            raise InputError(
                f"{name} of {spec} is not in the cache and fetching is off; allow the network "
                "once, or give a folder that holds the model"
            )
        return Path(hf_hub_download(repository, name))
    except HFValidationError as error:
        raise UsageError(f"{spec}: expected OWNER/NAME of a hub repository") from error
    except OSError as error:
        raise InputError(f"{name} of {spec} cannot be fetched: {clean(error)}") from error


def _timm(name: str, spec: str, preprocess: dict[str, Any], weights: Path) -> TorchEncoder:
    import timm
    from safetensors.torch import load_file

    size = preprocess.get("input_size") or (3, 224, 224)
    try:
        model = timm.create_model(name, pretrained=False)
        model.load_state_dict(load_file(weights), strict=True)
    except Exception as error:  # a foreign file fails in any way there is
        raise InputError(f"{spec}: the weights do not load: {clean(error)}") from error
    model.eval()
    body: Any = model.forward_features
    head: Any = model.forward_head
    return TorchEncoder(
        id=f"{spec}@{sha256_of(weights)[:12]}",
        license=preprocess.get("license") or None,
        side=int(size[-1]),
        mean=_three(preprocess.get("mean"), IMAGENET_MEAN),
        std=_three(preprocess.get("std"), IMAGENET_STD),
        images=lambda batch: head(body(batch), pre_logits=True),
    )


def _transformers(
    place: str, spec: str, weights: Path, config: dict[str, Any], preprocess: dict[str, Any]
) -> TorchEncoder:
    try:
        from transformers import AutoModel
    except ImportError as error:
        raise MissingExtraError("transformers", "render", f"the encoder {spec}") from error
    try:
        model = AutoModel.from_pretrained(place, local_files_only=True, use_safetensors=True)
    except Exception as error:  # a foreign file fails in any way there is
        raise InputError(f"{spec}: not a model that transformers loads: {clean(error)}") from error
    model.eval()
    side = _side(preprocess) or int(config.get("image_size") or 224)

    def images(batch: torch.Tensor) -> torch.Tensor:
        if hasattr(model, "get_image_features"):
            found = model.get_image_features(pixel_values=batch)
        else:
            found = model(pixel_values=batch)
        if isinstance(found, torch.Tensor):
            return found
        pooled = getattr(found, "pooler_output", None)
        return pooled if pooled is not None else found.last_hidden_state[:, 0]  # type: ignore[no-any-return]

    return TorchEncoder(
        id=f"{spec}@{sha256_of(weights)[:12]}",
        license=None,
        side=side,
        mean=_three(preprocess.get("image_mean"), IMAGENET_MEAN),
        std=_three(preprocess.get("image_std"), IMAGENET_STD),
        images=images,
    )


def _side(preprocess: dict[str, Any]) -> int | None:
    """Return the side in pixels that an image processor crops or resizes to."""
    for key in ("crop_size", "size"):
        held = preprocess.get(key)
        if isinstance(held, int):
            return held
        if isinstance(held, dict):
            for name in ("height", "shortest_edge"):
                if isinstance(held.get(name), int):
                    return int(held[name])
    return None


def _three(held: Any, default: tuple[float, float, float]) -> tuple[float, float, float]:
    if isinstance(held, list | tuple) and len(held) == 3:
        return float(held[0]), float(held[1]), float(held[2])
    return default
