"""What keeps images and captions from being read: found before anybody opens them, told once."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Sequence
from pathlib import Path

from loraeval.errors import PromptError
from loraeval.outside.text import clean
from loraeval.prompts.building import build_prompt
from loraeval.prompts.limits import check_id
from loraeval.records import Prompt, Render

NOWHERE = Path(os.devnull)
"""``Render.image`` of what must not be opened: whoever forgets to ask for ``problem`` reads
nothing."""

MAX_NAME = 500
"""Characters of a name in a scores file at most."""


def file_problem(path: Path, root: Path) -> str | None:
    """Say why the image file ``path`` must not be opened; None where it may.

    ``root`` is the resolved folder that it must lie in, links followed. What is no regular file (a
    folder, a pipe that would never end) is not opened either. Nothing is read.
    """
    try:
        found = path.resolve()
        if not found.is_relative_to(root):
            return f"it links out of {clean(root.name or root)}; copy the file in"
        mode = found.stat().st_mode
    except RuntimeError:
        return "it is a link in a ring"
    except FileNotFoundError:
        return "it links to a file that is not there" if path.is_symlink() else "it is not there"
    except (OSError, ValueError) as error:
        return f"it cannot be read ({clean(getattr(error, 'strerror', None) or error)})"
    if stat.S_ISREG(mode):
        return None
    kind = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device"
    return f"expected an image file, found {kind}"


def shown_name(name: str) -> tuple[str, str | None]:
    """Return ``name`` as a scores file may hold it, and why the file must be renamed, if so."""
    if name.isprintable() and len(name) <= MAX_NAME:
        return name, None
    data = os.fsencode(name)
    why = "is longer than a scores file takes" if name.isprintable() else "cannot be shown"
    try:
        data.decode()
    except UnicodeDecodeError:
        why = "is not UTF-8"
    short = clean(name, MAX_NAME - 10)
    return f"{short}-{zlib.crc32(data):08x}", f"the file's name {why}; rename it"


def nameless(where: str, prompt_id: str) -> Prompt:
    """Return a prompt without text; where ``prompt_id`` can be none it is shortened to one."""
    try:
        name = check_id(prompt_id, where)
    except PromptError:
        plain = clean(prompt_id, 150).replace("\\", "_").replace("/", "_").strip(" .")
        name = f"{plain}-{zlib.crc32(prompt_id.encode('utf-8', 'surrogatepass')):08x}"
    return build_prompt(where, prompt_id=name, text="", empty=True)


def problem_words(renders: Sequence[Render]) -> list[str]:
    """Return what is to be said of ``renders`` that cannot be scored, or not in full; a sentence
    for the images and one for the captions, with the number and the first of each.
    """
    images = [r for r in renders if r.problem is not None]
    captions = [r for r in renders if r.prompt_problem is not None]
    words = list(getattr(renders, "left_out", ()))
    if images:
        words.append(
            f"{len(images)} of {len(renders)} images are not read and stay unscored (first: "
            f"{images[0].name}: {images[0].problem})"
        )
    if captions:
        words.append(
            f"{len(captions)} of {len(renders)} images are scored without a prompt (first: "
            f"{captions[0].name}: {captions[0].prompt_problem})"
        )
    return words
