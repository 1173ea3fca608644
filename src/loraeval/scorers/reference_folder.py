"""Which images of a reference folder are the style: kohya's training folders are looked into.

Trainers keep images in ``10_name/`` folders, masks beside them, and pictures of the class for
regularisation in folders of their own; only the first are the style.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from loraeval.images.reading import IMAGE_EXTENSIONS
from loraeval.outside.text import clean

REPEATS = re.compile(r"[0-9]{1,4}_.+")
"""kohya's folders: how often an image is shown, and words of the class."""

_REGULARISATION = re.compile(
    r"(?:reg|regs|regularisation|regularization|class|class_images)(?:[-_ ].*)?"
    r"|[0-9]{1,4}_(?:reg|regularisation|regularization)(?:[-_ ].*)?", re.IGNORECASE
)  # fmt: skip
_MASKS = re.compile(r"(?:mask|masks|conditioning|control|depth)(?:[-_ ].*)?", re.IGNORECASE)
_MASK_NAME = re.compile(r".*[-_](?:mask|masklabel|condlabel)", re.IGNORECASE)


def reference_folders(given: Path) -> list[Path]:
    """Return the folders of ``--reference``: one, or several with the system's separator of paths
    between them (``a:b``), relative ones beside the first.
    """
    if given.is_dir():
        return [given]
    first, *more = str(given).split(os.pathsep)
    return [Path(first), *(Path(first).parent / part for part in more if part)]


def reference_images(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the images of a reference folder in order, and a line on each kind left out.

    Images right in the folder count, and those of ``10_name`` folders in it. Where there are
    neither, its other folders are looked into, one level deep, without those of masks and of
    regularisation images.
    """
    left: dict[str, list[Path]] = {}
    paths = list(_images(folder, left))
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    inner = [path for path in inner if not path.name.startswith(".")]
    repeats = [path for path in inner if REPEATS.fullmatch(path.name)]
    for place in repeats or ([] if paths else inner):
        if _REGULARISATION.fullmatch(place.name):
            left.setdefault("a folder of regularisation images", []).append(place)
        elif _MASKS.fullmatch(place.name):
            left.setdefault("a folder of masks", []).append(place)
        else:
            paths += _images(place, left)
    if repeats:
        for place in inner:
            for what, pattern in (("a folder of regularisation images", _REGULARISATION),
                                  ("a folder of masks", _MASKS)):  # fmt: skip
                if place not in repeats and pattern.fullmatch(place.name):
                    left.setdefault(what, []).append(place)
    return paths, [_line(what, places) for what, places in left.items()]


def _images(folder: Path, left: dict[str, list[Path]]) -> Iterator[Path]:
    found = sorted(
        path for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_EXTENSIONS and not path.name.startswith(".")
    )  # fmt: skip
    for path in found:
        if _MASK_NAME.fullmatch(path.stem):
            left.setdefault("a mask", []).append(path)
        else:
            yield path


def _line(what: str, places: Sequence[Path]) -> str:
    count = f" ({len(places)} of that kind)" if len(places) > 1 else ""
    return f"{clean(places[0].name)} is left out of the reference: {what}{count}"
