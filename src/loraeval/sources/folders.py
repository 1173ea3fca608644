"""Images that exist already, taken to ``Render`` records with what is known of their origin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from loraeval.errors import ImageError, InputError, PromptError
from loraeval.outside.text import clean, read_text
from loraeval.prompts.building import build_prompt
from loraeval.prompts.kohya_folder import (
    IMAGE_SUFFIXES,
    caption_of_image,
    check_inside,
    image_entries,
    listing,
)
from loraeval.prompts.sample_lines import parse_sample_lines, sample_id
from loraeval.records import Prompt, PromptSet, Render
from loraeval.sources.manifest import read_renders
from loraeval.sources.problems import NOWHERE, file_problem, nameless, shown_name

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
        return [_plain(source, source.parent, _Known(prompts))]
    raise ImageError(
        f"{clean(source)}: not an image by its ending and no renders manifest (.jsonl); "
        f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}"
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """The prompts that images may stand for, or why they cannot be read."""

    prompts: PromptSet | None = None
    problem: str | None = None

    @property
    def by_id(self) -> dict[str, Prompt]:
        return self.prompts.by_id() if self.prompts else {}


def _of_folder(folder: Path, prompts: PromptSet | None) -> list[Render]:
    images = image_entries(folder, ImageError)
    manifest = folder / _MANIFEST_NAME
    root = folder.resolve()
    if not any(file_problem(image, root) is None for image in images):
        if _is_file(manifest):
            check_inside(manifest, folder, InputError)
            return read_renders(manifest, prompts)
        images = [path for path in images if path.is_symlink() or not path.is_dir()]
        images += _images_below(folder, 1)
    if not images:
        raise ImageError(
            f"{clean(folder)}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}), found none"
        )
    samples = {image: match for image in images if (match := _sample_match(image.stem))}
    known = _Known(prompts)
    of_samples = known if prompts or not samples else _sample_prompts(folder)
    renders = [
        _checked(
            _sample(image, folder, samples[image], of_samples)
            if image in samples
            else _plain(image, folder, known),
            root,
        )
        for image in images
    ]
    if all(render.problem for render in renders):
        more = f" ({len(renders)} images of this folder are like that)" if renders[1:] else ""
        first = renders[0]
        raise ImageError(f"{clean(folder)}: no image to read; {first.name}: {first.problem}{more}")
    return renders


def _images_below(folder: Path, depth: int) -> Iterator[Path]:
    for path in listing(folder, ImageError):
        if path.is_dir() and not path.is_symlink():
            yield from image_entries(path, ImageError)
            if depth < _MAX_DEPTH:
                yield from _images_below(path, depth + 1)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _checked(render: Render, root: Path) -> Render:
    """Return ``render`` with its problem, if its file or its name is one."""
    name, problem = shown_name(render.name)
    problem = problem or file_problem(render.image, root)
    if problem is None:
        return render
    return replace(render, name=name, image=NOWHERE, problem=problem)


def _sample_match(stem: str) -> re.Match[str] | None:
    return _SAMPLE.fullmatch(stem) or _SAMPLE_OLD.fullmatch(stem)


def _sample_prompts(folder: Path) -> _Known:
    path = folder / _SAMPLE_PROMPTS
    if not path.is_symlink() and not path.exists():
        return _Known()
    try:
        check_inside(path, folder, PromptError)
        return _Known(parse_sample_lines(read_text(path, PromptError), "sample", clean(path)))
    except PromptError as error:
        return _Known(problem=str(error))


def _sample(image: Path, root: Path, match: re.Match[str], known: _Known) -> Render:
    index, epoch, step = int(match["index"]), match["epoch"], match["step"]
    name = clean(match["name"] or root.resolve().name or "sample")
    prompts = known.prompts.prompts if known.prompts else ()
    if known.prompts is not None and index >= len(prompts):
        raise InputError(
            f"{clean(image)}: the trainer's prompt number {index}, but the prompt set "
            f"{clean(known.prompts.name)} has {len(prompts)}; give the set that was sampled"
        )
    return Render(
        image=image,
        name=image.relative_to(root).as_posix(),
        run=name,
        prompt=prompts[index] if prompts else nameless(clean(image), sample_id(index)),
        checkpoint=f"{name}-{epoch}" if epoch else f"{name}-step{int(step):08d}",
        epoch=int(epoch) if epoch else None,
        seed=int(match["seed"]) if match["seed"] else None,
        prompt_problem=known.problem,
    )


def _plain(image: Path, root: Path, known: _Known) -> Render:
    name = image.relative_to(root).as_posix()
    folders = (*root.resolve().parts[-2:], *PurePosixPath(name).parts[:-1])
    epochs = [found for part in folders if (found := _EPOCH_FOLDER.fullmatch(part))]
    runs = [part for part in folders[2:] if not _EPOCH_FOLDER.fullmatch(part)]
    homes = [part for part in folders[:2] if not _EPOCH_FOLDER.fullmatch(part)]
    prompt, seed, problem = _prompt_of(image, root, known.by_id)
    return Render(
        image=image,
        name=name,
        run=clean("/".join(runs) or (homes[-1] if homes else "images")),
        prompt=prompt,
        epoch=int(epochs[-1][1]) if epochs else None,
        seed=seed,
        prompt_problem=problem,
    )


def _prompt_of(
    image: Path, root: Path, known: dict[str, Prompt]
) -> tuple[Prompt, int | None, str | None]:
    """Return the prompt of an image by its name in ``known``, else by its caption, else one
    without text; the seed that its name tells; and what keeps its caption from being read.
    """
    if image.stem in known:
        return known[image.stem], None, None
    for match in _SEED_TAIL.finditer(image.stem):
        if match.end() == len(image.stem) and image.stem[: match.start()] in known:
            return known[image.stem[: match.start()]], int(match[1]), None
    prompt = nameless(clean(image), image.stem)
    try:
        caption = caption_of_image(image, root, PromptError)
        if caption:
            prompt = build_prompt(clean(image), prompt_id=prompt.id, text=caption)
    except PromptError as error:
        return prompt, None, str(error)
    return prompt, None, None
