"""Count CLIP tokens of caption files, to see what ``max_token_length`` cuts off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median

from loraeval.checkpoints.parameters import ParameterValue
from loraeval.errors import CheckpointError, MissingExtraError
from loraeval.outside.text import clean

MAX_CAPTION_BYTES = 64 << 10
MAX_CAPTIONS = 100_000

LIMITS = (75, 150, 225)
"""What ``max_token_length`` can be."""


def caption_lengths(folder: Path) -> dict[str, ParameterValue]:
    """Return parameters that describe the captions (``*.txt``, ``*.caption``) of a folder:
    minimum, median and maximum of CLIP tokens without start and end, and how many exceed 75, 225.

    Needs the tokenizer of open_clip (``MissingExtraError`` without it); ``CheckpointError`` where
    the folder holds no captions.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{clean(folder)}: expected a folder of caption files")
    files = sorted([*folder.rglob("*.txt"), *folder.rglob("*.caption")])[:MAX_CAPTIONS]
    texts = [text for text in map(_read, files) if text]
    if not texts:
        raise CheckpointError(f"{clean(folder)}: no captions (.txt or .caption) in this folder")
    encode = encoder()
    counts = sorted(len(encode(text)) for text in texts)
    values: dict[str, int | float] = {
        "images": len(counts),
        "caption_tokens_min": counts[0],
        "caption_tokens_median": median(counts),
        "caption_tokens_max": counts[-1],
        **{f"captions_over_{limit}": sum(c > limit for c in counts) for limit in LIMITS},
    }
    detail = f"CLIP tokens of {len(counts)} captions in {clean(folder.name)}"
    return {name: ParameterValue(value, "derived", detail) for name, value in values.items()}


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_CAPTION_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def encoder() -> Callable[[str], list[int]]:
    """Return CLIP's tokenizer: text to token ids, without start and end."""
    try:
        from loraeval.torchvision_ops import install

        install()
        from open_clip.tokenizer import SimpleTokenizer
    except ImportError as error:
        raise MissingExtraError("open_clip", "clip", "counting caption tokens") from error
    encode: Callable[[str], list[int]] = SimpleTokenizer().encode
    return encode
