"""Images that exist already, taken to ``Render`` records with what is known of their origin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from loraeval.checkpoints.file_names import place_of
from loraeval.errors import ImageError, InputError, PromptError
from loraeval.images.png_text import PngText
from loraeval.outside.text import clean, read_text
from loraeval.prompts.kohya_folder import (
    IMAGE_SUFFIXES,
    check_inside,
    image_entries,
    listing,
)
from loraeval.prompts.sample_lines import parse_sample_lines
from loraeval.records import PromptSet, Render
from loraeval.sources.generation import Generation, generation_of
from loraeval.sources.image_prompts import Known, of_number, prompt_of
from loraeval.sources.manifest import read_renders
from loraeval.sources.problems import NOWHERE, file_problem, shown_name
from loraeval.sources.sample_names import (
    SampleName,
    is_prompt_folder,
    is_sheet_name,
    is_sheet_size,
    prompt_number,
    sample_name,
)

_MANIFEST_SUFFIXES = (".jsonl", ".ndjson")
_MANIFEST_NAME = "renders.jsonl"
_SAMPLE_PROMPTS = "prompt.txt"
_MAX_DEPTH = 4


class Renders(list[Render]):
    """Renders in order, with a line on each image that was left out."""

    left_out: tuple[str, ...] = ()


def find_renders(source: Path, prompts: PromptSet | None = None) -> list[Render]:
    """Return the images of ``source`` as renders, in a stable order, none of them decoded.

    ``source`` is a renders manifest (JSON Lines), one image, or a folder: of a trainer's sample
    images (``sample_names``: epoch or step, and the number that picks the prompt of ``prompts``,
    or of the ``prompt.txt`` beside them), of images that A1111 or ComfyUI made (prompt, seed and
    LoRA stand in the PNG), of images with caption files, or of plain images. Without images of its
    own, a folder's subfolders are searched, and those named like ``epoch07`` or ``checkpoint-500``
    give the epoch or step. Sheets of many pictures are left out (``Renders.left_out`` tells).
    ``prompts`` gives the prompts by id: a manifest's ``prompt_id``, else the file's name with or
    without a seed behind it. An image of unknown prompt gets one with empty text, so that what
    needs a prompt is unscored. ``Render.name`` is relative to the source, with ``/``.

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
        made = None
        if (
            source.suffix.lower() == ".png"
            and file_problem(source, source.parent.resolve()) is None
        ):
            made = generation_of(source)[0]
        return [_plain(source, source.parent, Known(prompts), made)]
    raise ImageError(
        f"{clean(source)}: not an image by its ending and no renders manifest (.jsonl); "
        f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}"
    )


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
    made = {
        image: generation_of(image)
        for image in images
        if image.suffix.lower() == ".png" and file_problem(image, root) is None
    }
    sheets = [image for image in images if _is_sheet(image, *made.get(image, (None, None)))]
    images = [image for image in images if image not in set(sheets)]
    if not images:
        raise ImageError(
            f"{clean(folder)}: only sheets of many pictures ({sheets[0].name}, for one)"
        )
    samples = {image: found for image in images if (found := sample_name(image.stem))}
    known = Known(prompts)
    of_samples = known if prompts or not samples else _sample_prompts(folder)
    renders = Renders(
        _checked(
            _sample(image, folder, samples[image], of_samples)
            if image in samples
            else _plain(image, folder, known, made.get(image, (None, None))[0]),
            root,
        )
        for image in images
    )
    if sheets:
        shown = clean(sheets[0].relative_to(folder).as_posix())
        renders.left_out = (f"{len(sheets)} sheets of many pictures are left out (first: {shown})",)
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


def _is_sheet(image: Path, made: Generation | None, found: PngText | None) -> bool:
    if is_sheet_name(image.stem, image.parent.name):
        return True
    if made is None or found is None or made.width is None or made.height is None or made.enlarged:
        return False
    return is_sheet_size((found.width, found.height), (made.width, made.height))


def _sample_prompts(folder: Path) -> Known:
    path = folder / _SAMPLE_PROMPTS
    if not path.is_symlink() and not path.exists():
        return Known()
    try:
        check_inside(path, folder, PromptError)
        return Known(parse_sample_lines(read_text(path, PromptError), "sample", clean(path)))
    except PromptError as error:
        return Known(problem=str(error))


def _sample(image: Path, root: Path, found: SampleName, known: Known) -> Render:
    parts = PurePosixPath(image.relative_to(root).as_posix()).parts[:-1]
    folder = parts[-1] if parts else ""
    index = found.index if found.index is not None else prompt_number("", folder)
    homes = [part for part in parts if not is_prompt_folder(part)]
    name = clean(found.run or (homes[-1] if homes else "") or root.resolve().name or "sample")
    prompts = known.prompts.prompts if known.prompts else ()
    if known.prompts is not None and index is not None and index >= len(prompts):
        raise InputError(
            f"{clean(image)}: the trainer's prompt number {index}, but the prompt set "
            f"{clean(known.prompts.name)} has {len(prompts)}; give the set that was sampled"
        )
    return Render(
        image=image,
        name=image.relative_to(root).as_posix(),
        run=name,
        prompt=of_number(image, prompts, index, folder, found.label),
        checkpoint=f"{name}-{found.epoch:06d}"
        if found.step is None
        else f"{name}-step{found.step:08d}",
        epoch=found.epoch,
        step=found.step,
        seed=found.seed,
        prompt_problem=known.problem,
    )


def _plain(image: Path, root: Path, known: Known, made: Generation | None = None) -> Render:
    name = image.relative_to(root).as_posix()
    folders = (*root.resolve().parts[-2:], *PurePosixPath(name).parts[:-1])
    places = [(part, place_of(part)) for part in folders]
    told = [place for _, place in places if place is not None]
    place = told[-1] if told else None
    runs = [part for part, found in places[2:] if found is None and not is_prompt_folder(part)]
    homes = [part for part, found in places[:2] if found is None]
    run = "/".join(runs) or (place.run if place is not None else "")
    run = run or (homes[-1] if homes else "images")
    checkpoint = None
    lora = made.lora if made is not None else None
    if lora is not None:
        checkpoint, found = lora
        if found is not None:
            run, place = found.run or run, found
        else:
            run = checkpoint
    prompt, seed, problem = prompt_of(image, root, known, made, numbered=place is not None)
    return Render(
        image=image,
        name=name,
        run=clean(run),
        prompt=prompt,
        checkpoint=clean(checkpoint) if checkpoint else None,
        epoch=place.epoch if place is not None else None,
        step=place.step if place is not None else None,
        seed=seed,
        width=made.width if made is not None else None,
        height=made.height if made is not None else None,
        strength=made.loras[0][1] if made is not None and len(made.loras) == 1 else None,
        prompt_problem=problem,
    )
