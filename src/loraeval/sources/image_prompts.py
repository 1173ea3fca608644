"""Which prompt an image shows: told by its name, by the program that made it, by its caption."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from loraeval.errors import PromptError
from loraeval.outside.text import clean
from loraeval.prompts.building import build_prompt
from loraeval.prompts.kohya_folder import caption_of_image
from loraeval.prompts.sample_lines import sample_id
from loraeval.records import Prompt, PromptSet
from loraeval.sources.generation import Generation
from loraeval.sources.problems import nameless
from loraeval.sources.sample_names import is_prompt_folder, prompt_folder_text, prompt_number

_SEED_TAIL = re.compile(r"[-_](?:seed|s)?[-_]?([0-9]{1,19})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Known:
    """The prompts that images may stand for, or why they cannot be read."""

    prompts: PromptSet | None = None
    problem: str | None = None

    @property
    def by_id(self) -> dict[str, Prompt]:
        """The prompts by id."""
        return self.prompts.by_id() if self.prompts else {}


def of_number(
    image: Path, prompts: tuple[Prompt, ...], index: int | None, folder: str, label: str
) -> Prompt:
    """Return the prompt that a trainer numbers ``index``, or that its folder spells out."""
    if prompts and index is not None:
        return prompts[index]
    text = prompt_folder_text(folder)
    prompt_id = label or (sample_id(index) if index is not None else image.stem)
    if text:
        return build_prompt(clean(image), prompt_id=prompt_id, text=text)
    return nameless(clean(image), prompt_id)


def prompt_of(
    image: Path, root: Path, known: Known, made: Generation | None, *, numbered: bool
) -> tuple[Prompt, int | None, str | None]:
    """Return the prompt of an image: by its name in ``known``, by what its program wrote into it,
    by its number in a folder of an epoch, by its caption, else one without text; the seed; and
    what keeps its caption from being read.
    """
    by_id = known.by_id
    seed = made.seed if made is not None else None
    if image.stem in by_id:
        return by_id[image.stem], seed, None
    for match in _SEED_TAIL.finditer(image.stem):
        if match.end() == len(image.stem) and image.stem[: match.start()] in by_id:
            return by_id[image.stem[: match.start()]], int(match[1]) if seed is None else seed, None
    if made is not None and made.prompt:
        try:
            return _of_text(image, by_id, made), seed, None
        except PromptError as error:
            return nameless(clean(image), made.prompt_id), seed, str(error)
    folder = image.parent.name if image.parent != root else ""
    index = prompt_number(image.stem, folder) if numbered or is_prompt_folder(folder) else None
    if index is not None:
        prompts = known.prompts.prompts if known.prompts else ()
        if index < len(prompts) or not prompts:
            return of_number(image, prompts, index, folder, ""), None, None
    prompt = nameless(clean(image), image.stem)
    try:
        caption = caption_of_image(image, root, PromptError)
        if caption:
            prompt = build_prompt(clean(image), prompt_id=prompt.id, text=caption)
    except PromptError as error:
        return prompt, None, str(error)
    return prompt, _seed_of_name(image.stem), None


def _of_text(image: Path, by_id: dict[str, Prompt], made: Generation) -> Prompt:
    """Return the known prompt of the same text, else one of its own."""
    for prompt in by_id.values():
        if prompt.text == made.prompt:
            return prompt
    return build_prompt(
        clean(image), prompt_id=made.prompt_id, text=made.prompt, negative=made.negative
    )


def _seed_of_name(stem: str) -> int | None:
    """A1111 names its images by a counter and the seed (``00000-1234567890``)."""
    match = re.fullmatch(r"[0-9]{5}-([0-9]{1,19})", stem, re.ASCII)
    return int(match[1]) if match else None
