"""Captions of a data set in one file: Hugging Face's metadata.jsonl and .csv, meta_lat.json."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from typing import Any

from loraeval.errors import PromptError
from loraeval.outside.text import clean
from loraeval.prompts.building import build_prompt, build_set
from loraeval.prompts.limits import MAX_PROMPTS, MAX_TEXT
from loraeval.records import Prompt, PromptSet

_TEXT = ("text", "caption", "prompt", "image_caption", "description")
"""Names of the column with the caption, the first that is there counts."""


def of_rows(rows: Iterable[tuple[str, Mapping[str, Any]]], name: str, where: str) -> PromptSet:
    """Return a prompt a row of an image folder's metadata; the image's name is the id.

    Raises ``PromptError`` where a row has no caption, saying which columns are looked for.
    """
    prompts: list[Prompt] = []
    for here, row in rows:
        text = next((row[key] for key in _TEXT if row.get(key)), None)
        if text is None:
            raise PromptError(
                f"{here}: no caption; name its column one of {', '.join(_TEXT)}, "
                "or give the folder with a caption file beside each image"
            )
        prompts.append(build_prompt(here, prompt_id=_id(row["file_name"]), text=text))
        if len(prompts) > MAX_PROMPTS:
            raise PromptError(f"{where}: more than {MAX_PROMPTS} prompts; split the set")
    return build_set(name, prompts, where)


def parse_csv(text: str, name: str, where: str) -> PromptSet:
    """Return the prompts of a metadata.csv with the columns file_name and text (or caption)."""
    reader = csv.DictReader(io.StringIO(text))
    try:
        if reader.fieldnames is None or "file_name" not in reader.fieldnames:
            raise PromptError(
                f"{where}: expected a first line with the columns file_name and text, found "
                f"{clean(repr(reader.fieldnames), 80)}; write that line"
            )
        rows = [(f"{where}:{number}", row) for number, row in enumerate(reader, 2)]
    except csv.Error as error:
        raise PromptError(f"{where}: not readable as CSV ({clean(error)})") from error
    return of_rows(rows, name, where)


def is_image_metadata(tree: Mapping[str, Any]) -> bool:
    """Whether a JSON tree is sd-scripts' metadata of images: tables with caption or tags."""
    return bool(tree) and all(
        isinstance(row, dict) and {"caption", "tags", "train_resolution"} & row.keys()
        for row in tree.values()
    )


def of_image_metadata(tree: Mapping[str, Any], name: str, where: str) -> PromptSet:
    """Return a prompt an image: caption and tags joined, as the trainer joins them. An image
    without either is passed over; ``PromptError`` where none has one.
    """
    prompts = []
    for key, row in list(tree.items())[: MAX_PROMPTS + 1]:
        parts = [row.get("caption"), row.get("tags")]
        text = ", ".join(part.strip() for part in parts if isinstance(part, str) and part.strip())
        if text:
            here = f"{where}: {clean(key, 60)}"
            prompts.append(build_prompt(here, prompt_id=_id(key), text=text[:MAX_TEXT]))
    if not prompts:
        raise PromptError(
            f"{where}: no image has a caption or tags; write them with sd-scripts' merge tools, or "
            "give the folder with a caption file beside each image"
        )
    return build_set(name, prompts, where)


def _id(path: Any) -> Any:
    """Return the name of an image without folder and ending, as caption folders have it."""
    if not isinstance(path, str):
        return path
    last = re.split(r"[/\\]", path)[-1]
    stem, dot, ending = last.rpartition(".")
    return stem if dot and len(ending) <= 5 and stem else last
