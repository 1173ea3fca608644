"""Pictures and captions for training, made once by all cores and kept as arrays.

A caption is kept as tokens with the number of the tag that each belongs to, so that training can
drop and shuffle tags on the GPU without touching text.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from demo.models import LENGTH, build_tokenizer
from loraeval.testing.portraits import Scene, render_illustration, render_photo, scene
from loraeval.testing.portraits_wear import HEADWEAR
from loraeval.testing.portraits_words import COLOUR_WORDS, nearest_name, to_rgb

TAGS = 16
"""Most tags a caption may have."""

ROOM = 96
"""Tokens kept a caption before dropping and cutting to one chunk."""

STYLE_TAGS = ("pixel art", "24x24")
"""The style's words, the first two tags of every caption."""


@dataclass
class Captions:
    """Captions as arrays: ``tokens`` and ``tags`` [n, ROOM] (-1 where empty), the ``colours``
    [n, TAGS, 3] in 0..1 that the tags name (NaN where none).
    """

    tokens: torch.Tensor
    tags: torch.Tensor
    colours: torch.Tensor

    def to(self, device: str) -> Captions:
        """Move to a device."""
        return Captions(self.tokens.to(device), self.tags.to(device), self.colours.to(device))


def tokenize(captions: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn captions, given as lists of tags, into the three arrays of ``Captions``."""
    tokenizer = build_tokenizer()
    tokens = np.full((len(captions), ROOM), -1, np.int16)
    tags = np.full((len(captions), ROOM), -1, np.int8)
    colours = np.full((len(captions), TAGS, 3), np.nan, np.float16)
    for row, caption in enumerate(captions):
        at = 0
        pieces = tokenizer([tag + "," for tag in caption], add_special_tokens=False).input_ids
        for number, (tag, ids) in enumerate(zip(caption, pieces, strict=True)):
            if at + len(ids) > ROOM:
                break
            tokens[row, at : at + len(ids)] = ids
            tags[row, at : at + len(ids)] = number
            at += len(ids)
            if "#" in tag:
                colours[row, number] = np.array(to_rgb(tag[tag.index("#") :][:7])) / 255
    return tokens, tags, colours


def _make(task: tuple[str, int, int, int]) -> None:
    folder, first, start, stop = task
    count = len(np.load(f"{folder}/photos.npy", mmap_mode="r"))
    arrays = _open(Path(folder), count, "r+")
    captions = []
    for i in range(start, stop):
        portrait = scene(first + i)
        drawn = i % 10 == 9
        arrays["photos"][i] = render_illustration(portrait) if drawn else render_photo(portrait)
        arrays["cells"][i] = portrait.cells
        arrays["drawn"][i] = drawn
        arrays["solid"][i] = portrait.background_kind == "solid"
        arrays["facts"][i] = facts_of(portrait)
        captions.append(tags_of(portrait))
    arrays["tokens"][start:stop], arrays["tags"][start:stop], arrays["colours"][start:stop] = (
        tokenize(captions)
    )
    for array in arrays.values():
        array.flush()


def facts_of(portrait: Scene) -> tuple[int, int, int, int]:
    """Return the colour words of backdrop, hair and clothing and the headwear, as numbers."""
    back, hair, cloth = (
        tuple(COLOUR_WORDS).index(nearest_name(portrait.colours[part], COLOUR_WORDS))
        for part in ("background", "hair", "clothing")
    )
    hat = portrait.genes.headwear[0]
    return back, hair, cloth, tuple(HEADWEAR).index(hat) if hat != "none" else -1


def tags_of(portrait: Scene) -> list[str]:
    """Return the tags of a portrait's caption; the first two are the style's."""
    return portrait.caption.split(", ")


_SHAPES: dict[str, tuple[tuple[int, ...], type]] = {
    "photos": ((96, 96, 3), np.uint8),
    "cells": ((24, 24, 3), np.uint8),
    "drawn": ((), np.bool_),
    "solid": ((), np.bool_),
    "facts": ((4,), np.int8),
    "tokens": ((ROOM,), np.int16),
    "tags": ((ROOM,), np.int8),
    "colours": ((TAGS, 3), np.float16),
}


def _open(folder: Path, count: int, mode: str) -> dict[str, np.memmap]:
    return {
        name: np.lib.format.open_memmap(
            folder / f"{name}.npy",
            mode=mode,
            **({"dtype": kind, "shape": (count, *shape)} if mode == "w+" else {}),
        )
        for name, (shape, kind) in _SHAPES.items()
    }


def make(folder: Path, count: int, first: int, workers: int) -> dict[str, torch.Tensor]:
    """Draw ``count`` scenes from seed ``first`` on, with all cores; return arrays as tensors.

    One scene in ten is drawn as an illustration, the rest as photographs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _open(folder, count, "w+")
    step = max(1, min(256, count // workers))
    tasks = [(str(folder), first, i, min(i + step, count)) for i in range(0, count, step)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for _ in pool.imap_unordered(_make, tasks):
            pass
    return load(folder)


def load(folder: Path) -> dict[str, torch.Tensor]:
    """Return the arrays that ``make`` left in the folder."""
    return {name: torch.from_numpy(np.load(folder / f"{name}.npy")) for name in _SHAPES}


@dataclass(frozen=True)
class Marks:
    """Token numbers that captions are put together with."""

    begin: int
    end: int
    comma: int
    bracket_comma: int
    bracket: int
    style: torch.Tensor
    photo: torch.Tensor
    drawn: torch.Tensor


def marks(device: str) -> Marks:
    """Return the marks of the demo tokenizer."""
    tokenizer = build_tokenizer()

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    return Marks(
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        ids(",")[0],
        ids("),")[0],
        ids(")")[0],
        torch.tensor(ids("pixel art, 24x24,"), device=device),
        torch.tensor(ids("photograph,"), device=device),
        torch.tensor(ids("illustration,"), device=device),
    )


def assemble(
    tokens: torch.Tensor,
    tags: torch.Tensor,
    colours: torch.Tensor,
    mark: Marks,
    *,
    keep_tokens: int = 0,
    shuffle: torch.Tensor | bool = True,
    drop_tag: torch.Tensor | float = 0.0,
    drop_caption: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shuffle and drop tags and return ``(input_ids [b, 77], colour [b, 77, 3])``.

    ``keep_tokens`` counts tags that stay first and stay in; ``shuffle`` may be per caption
    (bool [b]); ``drop_tag`` a probability, or one a tag ([b, TAGS]). ``colour`` holds, at the
    last token of each tag that names a colour, that colour, and NaN elsewhere.
    """
    b, room = tokens.shape
    device = tokens.device
    order = torch.rand(b, TAGS, device=device)
    number = torch.arange(TAGS, device=device).float()
    shuffle = torch.as_tensor(shuffle, device=device).reshape(-1, 1)
    order = torch.where(shuffle, order, number / TAGS)
    order[:, :keep_tokens] = number[:keep_tokens] - TAGS
    order = order.argsort(1).argsort(1).float()
    dropped = torch.rand(b, TAGS, device=device) < drop_tag
    dropped[:, :keep_tokens] = False
    tag = tags.long().clamp(min=0)
    gone = (tags < 0) | dropped.gather(1, tag)
    gone |= torch.rand(b, 1, device=device) < drop_caption
    place = order.gather(1, tag) * room + torch.arange(room, device=device)
    # A tag's tokens share a rank and two tags never do, so sorting keeps each tag whole.
    by = torch.where(gone, torch.inf, place).argsort(1)[:, : LENGTH - 2]
    kept = ~gone.gather(1, by)
    count = kept.sum(1)
    body = torch.where(kept, tokens.gather(1, by).long(), mark.end)
    last = (count - 1).clamp(min=0)[:, None]
    final = body.gather(1, last)
    final = torch.where(final == mark.bracket_comma, mark.bracket, final)
    final = torch.where(final == mark.comma, mark.end, final)
    body = body.scatter(1, last, torch.where(count[:, None] > 0, final, mark.end))
    ids = torch.full((b, LENGTH), mark.end, device=device)
    ids[:, 0] = mark.begin
    ids[:, 1:-1] = body
    ends = (body == mark.bracket_comma) | (body == mark.bracket)
    named = colours.float().gather(1, tag.gather(1, by)[..., None].expand(-1, -1, 3))
    target = torch.full((b, LENGTH, 3), torch.nan, device=device)
    target[:, 1:-1] = torch.where(ends[..., None] & kept[..., None], named, torch.nan)
    return ids, target
