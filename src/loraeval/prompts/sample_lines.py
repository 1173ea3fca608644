"""sd-scripts' sample-prompt files: ``text --n negative --w 512 --h 512 --d 42 --s 30 --l 7.5``.

One prompt a line, in the order that the sample images' numbers follow; lines that start with
``#`` and empty lines are skipped, as the trainer does. The same text with another ``--d`` is
another prompt of the set.
"""

from __future__ import annotations

import re

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
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if len(prompts) >= MAX_PROMPTS:
            raise PromptError(f"{where}: more than {MAX_PROMPTS} prompts; split the set")
        prompts.append(_prompt(line.strip(), len(prompts), f"{where}:{number}"))
    return build_set(name, prompts, where)


def sample_id(index: int) -> str:
    """Return the id of the prompt that the trainer numbers ``index`` in its sample images."""
    return f"sample_{index:02d}"


def _prompt(line: str, index: int, where: str) -> Prompt:
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
            raise PromptError(
                f"{where}: --{key} is an option of sd-scripts that a prompt set cannot hold; "
                "set the scheduler and the like in the recipe and remove it here"
            )
        else:
            raise PromptError(
                f"{where}: unknown option --{clean(key, 40)}; {nearest(key, ['n', *_NUMBERS])}"
            )
    return build_prompt(
        where, prompt_id=sample_id(index), text=text, negative=negative, overrides=overrides
    )


def _number(value: str, kind: type, key: str, where: str) -> int | float:
    pattern = r"[0-9]{1,20}" if kind is int else r"[0-9]{0,9}\.?[0-9]{1,9}"
    if not re.fullmatch(pattern, value, re.ASCII):
        raise PromptError(f"{where}: --{key} needs a number, found {clean(repr(value))}")
    return kind(value)  # type: ignore[no-any-return]
