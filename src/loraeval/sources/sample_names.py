"""Names that trainers give their sample images: run, epoch or step, prompt, seed.

The folders above an image are told by the table of checkpoints' names
(``loraeval.checkpoints.file_names``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SampleName:
    """What the name of a sample image tells; ``run`` is empty where it names none."""

    run: str
    epoch: int | None
    step: int | None
    index: int | None
    seed: int | None = None
    label: str = ""


_WHEN = r"[0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{2}-[0-9]{2}-[0-9]{2}"
_COUNT = r"(?:e(?P<epoch>[0-9]{6})|(?P<step>[0-9]{6,9}))"
_SEED = r"(?:_(?P<seed>[0-9]{1,19}))?"
_RUN = r"(?:(?P<run>.{1,200})_)?"

PATTERNS: tuple[tuple[str, str], ...] = (
    ("sd-scripts, musubi-tuner", rf"{_RUN}{_COUNT}_(?P<index>[0-9]{{2,4}})_[0-9]{{14}}{_SEED}"),
    ("sd-scripts before 2024", rf"{_RUN}[0-9]{{14}}_{_COUNT}_(?P<index>[0-9]{{2,4}}){_SEED}"),
    ("ai-toolkit", r"[0-9]{10,16}__(?P<step>[0-9]{9})_(?P<index>[0-9]{1,4})"),
    ("OneTrainer",
     rf".{{0,100}}?{_WHEN}-training-sample-(?P<step>[0-9]{{1,9}})-(?P<epoch>[0-9]{{1,6}})-[0-9]+"),
    ("SimpleTuner",
     r"step_(?P<step>[0-9]{1,9})_(?P<label>.{1,100})_(?P<index>[0-9]{1,4})_[0-9]{2,5}x[0-9]{2,5}"),
)  # fmt: skip
"""Who writes such names, and the pattern of the whole name without its ending."""

_COMPILED = [(who, re.compile(pattern, re.ASCII)) for who, pattern in PATTERNS]
_NUMBERED = re.compile(r"(?:(?:validation|sample|image|img|prompt)[-_ ]?)?([0-9]{1,5})", re.ASCII)
_PROMPT_FOLDER = re.compile(r"prompt_([0-9]{1,6})", re.ASCII)
_ONETRAINER_FOLDER = re.compile(r"([0-9]{1,4}) - (.{1,300})", re.ASCII)


def sample_name(stem: str) -> SampleName | None:
    """Return what the name of a sample image tells, None for any other name."""
    if len(stem) > 300:
        return None
    for _, pattern in _COMPILED:
        match = pattern.fullmatch(stem)
        if match is not None:
            found = match.groupdict()

            def count(name: str, of: dict[str, str | None] = found) -> int | None:
                value = of.get(name)
                return int(value) if value else None

            return SampleName(
                found.get("run") or "", count("epoch"), count("step"), count("index"),
                count("seed"), (found.get("label") or "").replace("validation", ""),
            )  # fmt: skip
    return None


def prompt_number(stem: str, folder: str = "") -> int | None:
    """Return the number of the prompt that a bare number (``validation_0``) or its folder
    (``prompt_0003``, ``0 - red hair``) stands for.
    """
    for pattern in (_PROMPT_FOLDER, _ONETRAINER_FOLDER):
        match = pattern.fullmatch(folder)
        if match is not None:
            return int(match[1])
    match = _NUMBERED.fullmatch(stem)
    return int(match[1]) if match else None


def prompt_folder_text(folder: str) -> str:
    """Return the prompt in the name of OneTrainer's folders (``0 - red hair``), else nothing."""
    match = _ONETRAINER_FOLDER.fullmatch(folder)
    return match[2].strip() if match else ""


def is_prompt_folder(folder: str) -> bool:
    """Whether a folder stands for a prompt rather than a run."""
    return bool(_PROMPT_FOLDER.fullmatch(folder) or _ONETRAINER_FOLDER.fullmatch(folder))


_SHEET = re.compile(
    r"(?:.*[-_ ])?(?:xyz?[-_ ]?(?:grid|plot)|grid|contact[-_ ]?sheet|prompt[-_ ]?matrix|montage)"
    r"(?:[-_ ].*|[0-9]*)",
    re.IGNORECASE,
)


def is_sheet_name(stem: str, folder: str = "") -> bool:
    """Whether a name, or the folder it lies in, is that of a sheet of many pictures."""
    in_grids = folder.lower() in ("txt2img-grids", "img2img-grids", "grids")
    return len(stem) < 300 and (in_grids or _SHEET.fullmatch(stem) is not None)


def is_sheet_size(shown: tuple[int, int], asked: tuple[int, int]) -> bool:
    """Whether a picture of ``shown`` pixels is several of the size ``asked`` for, side by side:
    whole multiples, not the same in both directions (that would be an enlargement).
    """
    (width, height), (one_width, one_height) = shown, asked
    if min(one_width, one_height) < 64 or width % one_width or height % one_height:
        return False
    columns, rows = width // one_width, height // one_height
    return columns != rows and columns * rows > 1
