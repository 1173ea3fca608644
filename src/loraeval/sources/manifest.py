"""Renders manifests: JSON Lines, one image a line, with where it came from.

A line is ``{"image","run","epoch","prompt_id","prompt","negative_prompt","seed","steps",
"guidance_scale","width","height","base_model"}`` and, where known, ``checkpoint`` and ``recipe``;
``image``, ``run`` and ``prompt_id`` or ``prompt`` must be there. Paths are relative to the
manifest and stay within its folder.
"""

from __future__ import annotations

import difflib
from pathlib import Path, PurePosixPath
from typing import Any

from loraeval.errors import PromptError, ScoresError
from loraeval.prompts.building import build_prompt
from loraeval.prompts.json_lines import objects
from loraeval.prompts.kohya_folder import IMAGE_SUFFIXES
from loraeval.prompts.limits import MAX_ID, MAX_MANIFEST_BYTES, check_id, clean, read_text
from loraeval.records import Prompt, PromptSet, Render

_TEXT = (str, type(None))
_WHOLE = (int, type(None))
_NUMBER = (int, float, type(None))
FIELDS: dict[str, tuple[type, ...]] = {
    "image": (str,),
    "run": (str,),
    "epoch": _WHOLE,
    "checkpoint": _TEXT,
    "prompt_id": _TEXT,
    "prompt": _TEXT,
    "negative_prompt": _TEXT,
    "seed": _WHOLE,
    "steps": _WHOLE,
    "guidance_scale": _NUMBER,
    "width": _WHOLE,
    "height": _WHOLE,
    "base_model": _TEXT,
    "recipe": _TEXT,
}
"""The keys of a line and their types; further keys are ignored unless they look like a typo."""
_LARGEST = {"epoch": 10**9, "seed": 2**64 - 1, "width": 1 << 16, "height": 1 << 16}


def read_renders(path: Path, prompts: PromptSet | None = None) -> list[Render]:
    """Return the renders of a manifest in its order; ``prompts`` may hold the prompts' texts.

    Raises ``ScoresError`` naming file and line for a row that is none, an image that is missing,
    named twice or outside the manifest's folder, a prompt that is not in ``prompts`` or not the
    same there; ``ScoresError`` for an empty manifest.
    """
    known = prompts.by_id() if prompts is not None else None
    root = path.parent.resolve()
    text = read_text(path, ScoresError, MAX_MANIFEST_BYTES)
    renders: dict[str, Render] = {}
    for where, row in objects(text, clean(path), ScoresError):
        _check(row, where)
        name = _inside(row["image"], where)
        if name in renders:
            raise ScoresError(f"{where}: image {clean(name)} stands in the manifest twice")
        renders[name] = Render(
            image=_file(path.parent / name, root, name, where),
            name=name,
            run=row["run"],
            prompt=_prompt(row, known, name, where),
            checkpoint=row.get("checkpoint"),
            epoch=row.get("epoch"),
            seed=row.get("seed"),
            width=row.get("width"),
            height=row.get("height"),
            recipe=row.get("recipe"),
        )
    if not renders:
        raise ScoresError(f"{clean(path)}: expected at least one image, found none")
    return list(renders.values())


def _check(row: dict[str, Any], where: str) -> None:
    for key in ("image", "run"):
        if key not in row:
            raise ScoresError(f"{where}: {key} is missing, the line is no row of a manifest")
    for key, value in row.items():
        kinds = FIELDS.get(key)
        if kinds is None:
            close = difflib.get_close_matches(key[:60], FIELDS, n=1, cutoff=0.8)
            if close and close[0] not in row:
                raise ScoresError(
                    f"{where}: unknown key {clean(repr(key), 60)}; did you mean {close[0]}?"
                )
        elif isinstance(value, bool) or not isinstance(value, kinds):
            raise ScoresError(f"{where}: {key}={clean(repr(value))} has the wrong type")
        elif isinstance(value, int) and not 0 <= value <= _LARGEST.get(key, 2**63):
            raise ScoresError(f"{where}: {key}={clean(value)} is out of range")
    for key in ("run", "checkpoint", "recipe"):
        text = row.get(key)
        if text is not None and (not text or len(text) > MAX_ID or not text.isprintable()):
            raise ScoresError(
                f"{where}: {key}={clean(repr(text))} must be 1 to {MAX_ID} printable characters"
            )


def _inside(image: str, where: str) -> str:
    """Return the image's path in its plain form; refuse what could lead out of the folder."""
    parts = PurePosixPath(image).parts
    if (
        not parts
        or not image.isprintable()
        or "\\" in image
        or image.startswith("/")
        or ":" in parts[0]
        or ".." in parts
        or len(image) > 1000
    ):
        raise ScoresError(
            f"{where}: image {clean(repr(image))} must be a path within the manifest's folder"
        )
    name = PurePosixPath(image).as_posix()
    if PurePosixPath(name).suffix.lower() not in IMAGE_SUFFIXES:
        raise ScoresError(
            f"{where}: {clean(name)} is not an image by its ending; "
            f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return name


def _file(path: Path, root: Path, name: str, where: str) -> Path:
    try:
        found = path.is_file()
        inside = path.resolve().is_relative_to(root)
    except (OSError, ValueError, RuntimeError):  # a name too long, links in a ring
        found = inside = False
    if not found:
        raise ScoresError(f"{where}: image {clean(name)} is not there, relative to the manifest")
    if not inside:
        raise ScoresError(f"{where}: image {clean(name)} links out of the manifest's folder")
    return path


def _prompt(row: dict[str, Any], known: dict[str, Prompt] | None, name: str, where: str) -> Prompt:
    prompt_id, text = row.get("prompt_id"), row.get("prompt")
    try:
        if known is None:
            return build_prompt(
                where,
                prompt_id=PurePosixPath(name).stem if prompt_id is None else prompt_id,
                text=text or "",
                negative=row.get("negative_prompt"),
                empty=True,
            )
        prompt_id = check_id(prompt_id, where)
    except PromptError as error:
        raise ScoresError(str(error)) from error
    if prompt_id not in known:
        raise ScoresError(
            f"{where}: prompt {clean(repr(prompt_id))} is not in the prompt set; "
            "leave --prompts out to use the manifest's own prompts"
        )
    if text is not None and text.strip() != known[prompt_id].text:
        raise ScoresError(
            f"{where}: the text of prompt {clean(repr(prompt_id))} is another one in the prompt "
            "set; leave --prompts out to use the manifest's own prompts"
        )
    return known[prompt_id]
