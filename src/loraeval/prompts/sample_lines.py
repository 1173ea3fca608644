"""sd-scripts' sample-prompt files: ``text --n negative --w 512 --h 512 --d 42 --s 30 --l 7.5``,
and the lines of A1111's prompts from file: ``--prompt "text" --negative_prompt "…" --steps 20``.

One prompt a line, in the order that the sample images' numbers follow; lines that start with
``#`` and empty lines are skipped, as the trainer does. The same text with another ``--d`` is
another prompt of the set.
"""

from __future__ import annotations

import re
import shlex

from loraeval.errors import PromptError
from loraeval.outside.text import clean, nearest
from loraeval.prompts.building import build_prompt, build_set
from loraeval.prompts.limits import MAX_PROMPTS
from loraeval.records import Prompt, PromptSet

_NUMBERS = {
    "w": ("width", int),
    "h": ("height", int),
    "d": ("seed", int),
    "s": ("steps", int),
    "l": ("guidance_scale", float),
}
_SCHEDULER = "ss"
_OTHER = ("g", "f", "fs", "ci", "cn", "ctr", "pp", "rn", "am", "i", "of", "cs")


def parse_sample_lines(text: str, name: str, where: str) -> PromptSet:
    """Return the prompts of a sample-prompt file, ids ``sample_00``, ``sample_01`` and so on.

    Raises ``PromptError`` naming file and line for an unknown option, a value of the wrong type
    or range, an empty prompt, a file without prompts.
    """
    prompts: list[Prompt] = []
    notes: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if len(prompts) >= MAX_PROMPTS:
            raise PromptError(f"{where}: more than {MAX_PROMPTS} prompts; split the set")
        read = _a1111 if line.lstrip().startswith("--prompt") else _prompt
        prompts.append(read(line.strip(), len(prompts), f"{where}:{number}", notes))
    return build_set(name, prompts, where, tuple(dict.fromkeys(notes)))


def sample_id(index: int) -> str:
    """Return the id of the prompt that the trainer numbers ``index`` in its sample images."""
    return f"sample_{index:02d}"


def _prompt(line: str, index: int, where: str, notes: list[str]) -> Prompt:
    text, *options = (" " + line).split(" --")
    negative = ""
    overrides: dict[str, object] = {}
    given: set[str] = set()
    for option in options:
        key, _, value = option.strip().partition(" ")
        key, value = key.lower(), value.strip()
        if key in given:
            raise PromptError(f"{where}: --{key} stands twice")
        given.add(key)
        if key == "n":
            negative = value
        elif key in _NUMBERS:
            field, kind = _NUMBERS[key]
            overrides[field] = _number(value, kind, key, where)
        elif key in (_SCHEDULER, *_OTHER):
            notes.append(scheduler_note(f"--{key}"))
        else:
            raise PromptError(
                f"{where}: unknown option --{clean(key, 40)}; {nearest(key, ['n', *_NUMBERS])}"
            )
    return build_prompt(
        where, prompt_id=sample_id(index), text=text, negative=negative, overrides=overrides
    )


_A1111 = {
    "steps": ("steps", int), "cfg_scale": ("guidance_scale", float), "seed": ("seed", int),
    "width": ("width", int), "height": ("height", int),
}  # fmt: skip
_A1111_OTHER = ("sampler_name", "sampler_index", "sd_model", "styles", "batch_size", "n_iter",
                "subseed", "subseed_strength", "restore_faces", "tiling", "scheduler",
                "do_not_save_grid", "do_not_save_samples", "outpath_samples", "outpath_grids",
                "prompt_for_display", "seed_resize_from_h", "seed_resize_from_w")  # fmt: skip


def _a1111(line: str, index: int, where: str, notes: list[str]) -> Prompt:
    """Read a line of A1111's prompts from file, quoted as a shell would have it."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise PromptError(
            f'{where}: a quotation mark is not closed; write --prompt "text" on one line'
        ) from error
    given: dict[str, str] = {}
    position = 0
    while position < len(words):
        key = words[position].removeprefix("--")
        if not words[position].startswith("--") or position + 1 >= len(words) or key in given:
            raise PromptError(
                f"{where}: {clean(words[position], 40)} stands alone or twice; write each option "
                'once with its value, as in --prompt "a cat" --steps 20'
            )
        given[key] = words[position + 1]
        position += 2
    overrides: dict[str, object] = {}
    for key, value in given.items():
        if key in _A1111:
            if key == "seed" and value == "-1":
                continue
            field, kind = _A1111[key]
            overrides[field] = _number(value, kind, key, where)
        elif key in _A1111_OTHER:
            notes.append(scheduler_note(f"--{key}"))
        elif key not in ("prompt", "negative_prompt"):
            known = ["prompt", "negative_prompt", *_A1111]
            raise PromptError(f"{where}: unknown option --{clean(key, 40)}; {nearest(key, known)}")
    return build_prompt(
        where, prompt_id=sample_id(index), text=given["prompt"],
        negative=given.get("negative_prompt", ""), overrides=overrides,
    )  # fmt: skip


def scheduler_note(option: str) -> str:
    """Say that an option is left to the recipe."""
    return f"{option} is not the prompt's: what it sets is taken from the recipe instead"


def _number(value: str, kind: type, key: str, where: str) -> int | float:
    pattern = r"[0-9]{1,20}" if kind is int else r"[0-9]{0,9}\.?[0-9]{1,9}"
    if not re.fullmatch(pattern, value, re.ASCII):
        raise PromptError(f"{where}: --{key} needs a number, found {clean(repr(value))}")
    return kind(value)  # type: ignore[no-any-return]
