"""Images that exist already, taken to ``Render`` records with what is known of their origin."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from loraeval.errors import ImageError, InputError
from loraeval.prompts.building import build_prompt
from loraeval.prompts.kohya_folder import (
    IMAGE_SUFFIXES,
    caption_of_image,
    check_inside,
    images_in,
    listing,
)
from loraeval.prompts.limits import clean, read_text
from loraeval.prompts.sample_lines import parse_sample_lines, sample_id
from loraeval.records import Prompt, PromptSet, Render
from loraeval.sources.manifest import read_renders

_MANIFEST_SUFFIXES = (".jsonl", ".ndjson")
_MANIFEST_NAME = "renders.jsonl"
_SAMPLE_PROMPTS = "prompt.txt"
_MAX_DEPTH = 4

# [NAME_]e000003_00_20250101123456[_42] by epoch, [NAME_]000500_00_20250101123456[_42] by step;
# sd-scripts before 2024 wrote the time first.
_SAMPLE = re.compile(
    r"(?:(?P<name>.{1,200})_)?(?:e(?P<epoch>[0-9]{6})|(?P<step>[0-9]{6,9}))_(?P<index>[0-9]{2,4})"
    r"_[0-9]{14}(?:_(?P<seed>[0-9]{1,19}))?",
)
_SAMPLE_OLD = re.compile(
    r"(?:(?P<name>.{1,200})_)?[0-9]{14}_(?:e(?P<epoch>[0-9]{6})|(?P<step>[0-9]{6,9}))"
    r"_(?P<index>[0-9]{2,4})(?:_(?P<seed>[0-9]{1,19}))?",
)
_EPOCH_FOLDER = re.compile(r"(?:epoch|ep|e)[-_ ]?([0-9]{1,6})", re.IGNORECASE)
_SEED_TAIL = re.compile(r"[-_](?:seed|s)?[-_]?([0-9]{1,19})", re.IGNORECASE)


def find_renders(source: Path, prompts: PromptSet | None = None) -> list[Render]:
    """Return the images of ``source`` as renders, in a stable order, none of them opened.

    ``source`` is a renders manifest (JSON Lines), one image, or a folder: of a trainer's sample
    images (``NAME_e000003_00_20250101123456_42.png``: a series by epoch, or by step in the
    checkpoint's name; the number after the epoch picks the prompt of ``prompts``, or of the
    ``prompt.txt`` beside them), of images with caption files, or of plain images. Without images
    of its own, a folder's subfolders are searched, and those named like ``epoch07`` give the
    epoch. ``prompts`` gives the prompts by id: a manifest's ``prompt_id``, else the file's name
    with or without a seed behind it. An image of unknown prompt gets one with empty text, so that
    what needs a prompt is unscored. ``Render.name`` is relative to the source, with ``/``.

    Raises ``InputError`` (one sentence, with file and line for a manifest) where the source is
    missing, empty, not an image, or leads out of its folder.
    """
    try:
        is_folder, is_file = source.is_dir(), source.is_file()
    except (OSError, ValueError):  # a name too long, a NUL
        is_folder = is_file = False
    if is_folder:
        return _of_folder(source, prompts)
    if not is_file:
        raise InputError(
            f"{clean(source)}: expected a renders manifest, an image or a folder of images; "
            "there is no such file"
        )
    if source.suffix.lower() in _MANIFEST_SUFFIXES:
        return read_renders(source, prompts)
    if source.suffix.lower() in IMAGE_SUFFIXES:
        return [_plain(source, source.parent, _by_id(prompts))]
    raise ImageError(
        f"{clean(source)}: not an image by its ending and no renders manifest (.jsonl); "
        f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}"
    )


def _of_folder(folder: Path, prompts: PromptSet | None) -> list[Render]:
    images = images_in(folder, ImageError)
    if not images and (folder / _MANIFEST_NAME).is_file():
        return read_renders(folder / _MANIFEST_NAME, prompts)
    if not images:
        images = list(_images_below(folder, folder, 1))
    if not images:
        raise ImageError(
            f"{clean(folder)}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}), found none"
        )
    samples = {image: match for image in images if (match := _sample_match(image.stem))}
    by_id = _by_id(prompts)
    if not samples:
        return [_plain(image, folder, by_id) for image in images]
    known = prompts or _sample_prompts(folder)
    return [
        _sample(image, folder, samples[image], known)
        if image in samples
        else _plain(image, folder, by_id)
        for image in images
    ]


def _images_below(folder: Path, root: Path, depth: int) -> Iterator[Path]:
    for path in listing(folder, ImageError):
        if path.is_dir() and not path.is_symlink():
            yield from images_in(path, ImageError)
            if depth < _MAX_DEPTH:
                yield from _images_below(path, root, depth + 1)


def _sample_match(stem: str) -> re.Match[str] | None:
    return _SAMPLE.fullmatch(stem) or _SAMPLE_OLD.fullmatch(stem)


def _sample_prompts(folder: Path) -> PromptSet | None:
    path = folder / _SAMPLE_PROMPTS
    if not path.is_file():
        return None
    check_inside(path, folder, InputError)
    return parse_sample_lines(read_text(path), "sample", clean(path))


def _sample(image: Path, root: Path, match: re.Match[str], known: PromptSet | None) -> Render:
    index, epoch, step = int(match["index"]), match["epoch"], match["step"]
    name = match["name"] or root.resolve().name or "sample"
    if known is not None and index >= len(known.prompts):
        raise InputError(
            f"{clean(image)}: the trainer's prompt number {index}, but the prompt set "
            f"{clean(known.name)} has {len(known.prompts)}; give the set that was sampled"
        )
    return Render(
        image=image,
        name=_name(image, root),
        run=name,
        prompt=known.prompts[index] if known else _nameless(sample_id(index), image),
        checkpoint=f"{name}-{epoch}" if epoch else f"{name}-step{int(step):08d}",
        epoch=int(epoch) if epoch else None,
        seed=int(match["seed"]) if match["seed"] else None,
    )


def _by_id(prompts: PromptSet | None) -> dict[str, Prompt]:
    return prompts.by_id() if prompts else {}


def _plain(image: Path, root: Path, known: dict[str, Prompt]) -> Render:
    name = _name(image, root)
    folders = (*root.resolve().parts[-2:], *PurePosixPath(name).parts[:-1])
    epochs = [found for part in folders if (found := _EPOCH_FOLDER.fullmatch(part))]
    runs = [part for part in folders[2:] if not _EPOCH_FOLDER.fullmatch(part)]
    homes = [part for part in folders[:2] if not _EPOCH_FOLDER.fullmatch(part)]
    prompt, seed = _prompt_of(image, root, known)
    return Render(
        image=image,
        name=name,
        run="/".join(runs) or (homes[-1] if homes else "images"),
        prompt=prompt,
        epoch=int(epochs[-1][1]) if epochs else None,
        seed=seed,
    )


def _prompt_of(image: Path, root: Path, known: dict[str, Prompt]) -> tuple[Prompt, int | None]:
    """Return the prompt of an image by its name in ``known``, else by its caption, else none."""
    if image.stem in known:
        return known[image.stem], None
    for match in _SEED_TAIL.finditer(image.stem):
        if match.end() == len(image.stem) and image.stem[: match.start()] in known:
            return known[image.stem[: match.start()]], int(match[1])
    caption = caption_of_image(image, root, InputError)
    if caption:
        return _guarded(
            image, lambda: build_prompt(clean(image), prompt_id=image.stem, text=caption)
        ), None
    return _nameless(image.stem, image), None


def _nameless(prompt_id: str, image: Path) -> Prompt:
    return _guarded(
        image, lambda: build_prompt(clean(image), prompt_id=prompt_id, text="", empty=True)
    )


def _guarded(image: Path, build: Callable[[], Prompt]) -> Prompt:
    """Build a prompt; a file name that cannot be an id is the image's fault."""
    try:
        return build()
    except InputError as error:
        raise ImageError(f"{error} (rename {clean(image.name)})") from error


def _name(image: Path, root: Path) -> str:
    name = image.relative_to(root).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ImageError(
            f"{clean(os.fsencode(image))}: the file's name is not UTF-8; rename it"
        ) from error
    return name
