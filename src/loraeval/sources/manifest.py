"""Renders manifests: JSON Lines, one image a line, with where it came from.

A line is ``{"image","run","epoch","prompt_id","prompt","negative_prompt","seed","steps",
"guidance_scale","width","height","base_model"}`` and, where known, ``checkpoint`` with its ``step``
and ``strength``, and ``recipe``; ``image``, ``run`` and ``prompt_id`` or ``prompt`` must be there.
Paths are relative to the manifest and stay within its folder.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from loraeval.errors import LoraevalError, PromptError, ScoresError
from loraeval.outside.text import clean, read_text
from loraeval.prompts.building import build_prompt
from loraeval.prompts.json_lines import each_object
from loraeval.prompts.kohya_folder import IMAGE_SUFFIXES
from loraeval.prompts.limits import MAX_ID, MAX_MANIFEST_BYTES, check_id
from loraeval.records import Prompt, PromptSet, Render
from loraeval.sources.problems import NOWHERE, file_problem, nameless

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
    "step": _WHOLE,
    "strength": _NUMBER,
}
"""The keys of a line and their types; further keys are ignored unless they look like a typo."""
UNKNOWN_RUN = "unknown"
"""The run of a row that does not say one: a broken line."""

MAX_REFUSED = 1000
"""A manifest with more rows that cannot be used is refused: its images lie elsewhere, or it is no
manifest."""

_LARGEST = {"epoch": 10**9, "step": 10**12, "seed": 2**64 - 1, "width": 1 << 16, "height": 1 << 16}
_STRONGEST = 100.0
"""Largest LoRA strength, of either sign."""


def read_renders(path: Path, prompts: PromptSet | None = None) -> list[Render]:
    """Return the renders of a manifest in its order; ``prompts`` may hold the prompts' texts.

    A row that cannot be used (no JSON object, an image that is missing, named twice or outside the
    manifest's folder, a prompt that is not in ``prompts`` or not the same there) becomes a render
    with a ``problem`` that names file and line; what it says of run, epoch and prompt is kept where
    that can be read, else the run is ``UNKNOWN_RUN``. Raises ``ScoresError`` for a manifest that is
    empty, has no row to use, or more than ``MAX_REFUSED`` that are none.
    """
    known = prompts.by_id() if prompts is not None else None
    root = path.parent.resolve()
    text = read_text(path, ScoresError, MAX_MANIFEST_BYTES, raw=True)
    renders: dict[str, Render] = {}
    refused: list[ScoresError] = []
    for where, row in each_object(text, clean(path), ScoresError):
        try:
            if isinstance(row, LoraevalError):
                raise row
            render = _render(row, known, path.parent, root, where)
            if render.name in renders:
                raise ScoresError(f"{where}: image {render.name} stands in the manifest twice")
        except ScoresError as error:
            refused.append(error)
            if len(refused) > MAX_REFUSED:
                raise ScoresError(
                    f"{clean(path)}: more than {MAX_REFUSED} rows cannot be used (first: "
                    f"{refused[0]})"
                ) from error
            line = f"{clean(path.name)}:{where.rpartition(':')[2]}"
            render = _refused(row if isinstance(row, dict) else {}, known, line, str(error))
            if render.name in renders:
                render = replace(render, name=line)
        renders[render.name] = render
    if not renders:
        raise ScoresError(f"{clean(path)}: expected at least one image, found none")
    if len(refused) == len(renders):
        more = f" ({len(refused)} rows are like that)" if refused[1:] else ""
        raise ScoresError(f"{refused[0]}{more}") from refused[0]
    return list(renders.values())


def _render(
    row: dict[str, Any], known: dict[str, Prompt] | None, folder: Path, root: Path, where: str
) -> Render:
    _check(row, where)
    name = _inside(row["image"], where)
    if (problem := file_problem(folder / name, root)) is not None:
        raise ScoresError(f"{where}: image {clean(name)}: {problem}")
    return Render(
        image=folder / name,
        name=name,
        run=row["run"],
        prompt=_prompt(row, known, name, where),
        checkpoint=row.get("checkpoint"),
        epoch=row.get("epoch"),
        seed=row.get("seed"),
        width=row.get("width"),
        height=row.get("height"),
        recipe=row.get("recipe"),
        step=row.get("step"),
        strength=row.get("strength"),
    )


def _refused(
    row: dict[str, Any], known: dict[str, Prompt] | None, line: str, problem: str
) -> Render:
    """Return the render that stands for a row that cannot be used, under its image's name where
    that is one, else under the name of its line.
    """

    def kept(key: str) -> Any:
        if key not in row:
            return None
        try:
            _check({"image": "", "run": "x", key: row[key]}, line)
        except ScoresError:
            return None
        return row[key]

    try:
        name = _inside(str(row.get("image", "")), line)
    except ScoresError:
        name = line
    try:
        prompt = _prompt(row, known, name, line) if row else nameless(line, line)
    except ScoresError:
        prompt = nameless(line, line)
    return Render(
        image=NOWHERE,
        name=name,
        run=kept("run") or UNKNOWN_RUN,
        prompt=prompt,
        checkpoint=kept("checkpoint"),
        epoch=kept("epoch"),
        seed=kept("seed"),
        recipe=kept("recipe"),
        step=kept("step"),
        strength=kept("strength"),
        problem=problem,
    )


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
        elif isinstance(value, (int, float)) and not _in_range(key, value):
            raise ScoresError(f"{where}: {key}={clean(value)} is out of range")
    for key in ("run", "checkpoint", "recipe"):
        text = row.get(key)
        if text is not None and (not text or len(text) > MAX_ID or not text.isprintable()):
            raise ScoresError(
                f"{where}: {key}={clean(repr(text))} must be 1 to {MAX_ID} printable characters"
            )


def _in_range(key: str, value: float) -> bool:
    if key == "strength":
        return abs(value) <= _STRONGEST
    return isinstance(value, float) or 0 <= value <= _LARGEST.get(key, 2**63)


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
