"""A kohya training folder as a prompt set: ``NAME.txt`` (or ``.caption``) beside ``NAME.png``."""

from __future__ import annotations

import os
import re
from pathlib import Path

from loraeval.errors import LoraevalError, PromptError
from loraeval.outside.text import clean, read_text
from loraeval.prompts.building import build_prompt, build_set
from loraeval.prompts.limits import MAX_CAPTION_BYTES, MAX_PROMPTS
from loraeval.records import Prompt, PromptSet

IMAGE_SUFFIXES = frozenset([".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"])
"""File endings that count as images, in lower case."""
CAPTION_SUFFIXES = (".txt", ".caption")
_REPEATS = re.compile(r"[0-9]{1,4}_.+")
MAX_FILES = 200_000


def read_caption_folder(folder: Path) -> PromptSet:
    """Return one prompt a captioned image, id = file name without its ending, in name order.

    sd-scripts' ``N_name`` folders inside are read too. As the trainer does, only the first line
    of a caption counts. The images themselves are not opened.

    Raises ``PromptError`` where no image has a caption, and for captions that are unreadable or
    lie outside the folder: their number, and the first. A set without them would be another set:
    its digest would not be that of the set the user named, and a gate would render less than it
    was asked to. For images that exist already ``loraeval.sources`` goes on without the caption.
    """
    prompts: list[Prompt] = []
    bad: list[PromptError] = []
    inner = [path for path in listing(folder, PromptError) if _is_repeats(path)]
    for place in [folder, *inner]:
        for image in image_entries(place, PromptError):
            name = image.stem if place == folder else f"{place.name}/{image.stem}"
            try:
                caption = caption_of_image(image, folder, PromptError) if _is_file(image) else None
                if caption is not None:
                    prompts.append(build_prompt(clean(image), prompt_id=name, text=caption))
            except PromptError as error:
                bad.append(error)
            if len(prompts) + len(bad) > MAX_PROMPTS:
                raise PromptError(f"{clean(folder)}: more than {MAX_PROMPTS} captioned images")
    if bad:
        count = f" ({len(bad)} captions of this folder cannot be used)" if len(bad) > 1 else ""
        raise PromptError(f"{bad[0]}{count}") from bad[0]
    if not prompts:
        raise PromptError(
            f"{clean(folder)}: expected images with captions (NAME.png and NAME.txt), found none"
        )
    return build_set(folder.resolve().name or "captions", prompts, clean(folder))


def listing(folder: Path, error: type[LoraevalError]) -> list[Path]:
    """Return what lies in ``folder``, hidden files left out, in name order."""
    try:
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    found.append(folder / entry.name)
                if len(found) > MAX_FILES:
                    raise error(f"{folder}: more than {MAX_FILES} files; split the folder")
    except OSError as cause:
        raise error(f"{clean(folder)}: cannot read the folder ({cause.strerror})") from cause
    return sorted(found)


def image_entries(folder: Path, error: type[LoraevalError]) -> list[Path]:
    """Return what is called like an image right in ``folder``, in name order, whatever it is."""
    return [path for path in listing(folder, error) if path.suffix.lower() in IMAGE_SUFFIXES]


def caption_of_image(image: Path, root: Path, error: type[LoraevalError]) -> str | None:
    """Return the first line of the caption beside ``image``, None where there is no caption.

    Raises ``error`` for a caption that is no text file, or lies outside ``root``.
    """
    for suffix in CAPTION_SUFFIXES:
        path = image.with_suffix(suffix)
        if path.is_symlink() or path.exists():
            check_inside(path, root, error)
            lines = read_text(path, error, MAX_CAPTION_BYTES).strip().splitlines()
            return lines[0].strip() if lines else None
    return None


def check_inside(path: Path, root: Path, error: type[LoraevalError]) -> None:
    """Raise ``error`` if ``path``, links followed, lies outside ``root``."""
    if not path.is_symlink():
        return
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a ring
        inside = False
    if not inside:
        raise error(f"{clean(path)}: links out of {clean(root)}; copy the file in")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _is_repeats(path: Path) -> bool:
    return bool(_REPEATS.fullmatch(path.name)) and path.is_dir() and not path.is_symlink()
