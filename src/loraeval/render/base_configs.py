"""The configurations of a family with CLIP encoders as diffusers writes them, without a hub.

A single-file base model holds weights only. ``write_configs`` writes the folder of configurations
that diffusers needs beside it. Widths and depths are the published ones, out of the family's
record; the tokenizer is CLIP's, built from the vocabulary that open_clip carries.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

from loraeval.errors import MissingExtraError
from loraeval.families import rendering_of
from loraeval.records import FamilyName


def part_config(family: FamilyName, part: str) -> dict[str, Any]:
    """Return the published configuration of a part: ``unet``, ``vae``, ``text_encoder``, …"""
    return dict(rendering_of(family).configs[part])


def write_configs(folder: Path, family: FamilyName) -> Path:
    """Write the configurations and tokenizers of a family below ``folder``; return ``folder``.

    Raises ``MissingExtraError`` where open_clip, which carries CLIP's vocabulary, is missing.
    """
    rendering = rendering_of(family)
    index: dict[str, Any] = {"_class_name": rendering.pipelines[0]}
    for part in ("unet", "vae", "scheduler"):
        config = part_config(family, part)
        index[part] = ["diffusers", config["_class_name"]]
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        _write(folder / part / name, config)
    for part in rendering.encoders:
        config = part_config(family, part)
        tokenizer = part.replace("text_encoder", "tokenizer")
        index[part] = ["transformers", config["architectures"][0]]
        index[tokenizer] = ["transformers", "CLIPTokenizer"]
        _write(folder / part / "config.json", config)
        pad = "!" if part == "text_encoder_2" else "<|endoftext|>"
        clip_tokenizer(pad).save_pretrained(folder / tokenizer)
    _write(folder / "model_index.json", index | dict(rendering.index))
    return folder


def clip_tokenizer(pad_token: str = "<|endoftext|>") -> Any:  # noqa: S107 - not a password
    """Return CLIP's tokenizer with 49408 entries, made of open_clip's vocabulary file."""
    from loraeval import torchvision_ops

    found = importlib.util.find_spec("open_clip")
    if found is None or found.origin is None:
        raise MissingExtraError("open_clip", "clip", "a single-file base model")
    torchvision_ops.install()
    from transformers import CLIPTokenizer

    path = Path(found.origin).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    merges: Any = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    letters = _byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77, pad_token=pad_token)


def _byte_letters() -> list[str]:
    """Return the 256 characters that stand for bytes in CLIP's vocabulary, in its order: the
    printable Latin-1 characters as themselves, the rest from U+0100 on.
    """
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + index) for index in range(len(rest))]


def _write(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
