"""The files of a series, one by one: what metadata, name and folder tell of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loraeval.checkpoints.file_names import (
    GENERIC,
    Place,
    guessed_axis,
    place_of,
    plain_number,
)
from loraeval.checkpoints.header import Header

_UNSUFFIXED = {"last", "epoch", "at"}
"""What sd-scripts calls its files where no output name is given."""


@dataclass(slots=True)
class SeriesFile:
    """One LoRA file. ``run`` is its name without what numbers it; ``numbers`` holds the counts of
    its metadata; ``place`` what its name or its folder tells; ``guessed`` that a bare number was
    taken for an epoch or a step.
    """

    header: Header
    run: str = ""
    epoch: int | None = None
    step: int | None = None
    place: Place | None = None
    guessed: bool = False
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file."""
        return self.header.path

    @property
    def suffixed(self) -> bool:
        """Whether its name numbers it."""
        return self.place is not None or self.guessed

    @property
    def shown(self) -> str:
        """Its name, with the folder's before it where all files of a run are called alike."""
        name = self.path.name
        return f"{self.path.parent.name}/{name}" if self.path.stem.lower() in GENERIC else name

    @property
    def counts_steps(self) -> bool:
        """Whether it was saved at a step rather than at the end of an epoch."""
        return self.place is not None and self.place.step is not None


def lora_paths(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the ``.safetensors`` files of a folder, and those in its folders whose names number
    them (``checkpoint-500``, ``epoch10``); True where the file lies in such a folder.
    """
    for path in sorted(folder.glob("*.safetensors")):
        if not path.is_dir():
            yield path, False
    for inner in sorted(folder.iterdir()):
        if place_of(inner.name) is not None and inner.is_dir() and not inner.is_symlink():
            for path in sorted(inner.glob("*.safetensors")):
                if not path.is_dir():
                    yield path, True


def describe(header: Header) -> SeriesFile:
    """Return what metadata and names tell of a file, metadata first."""
    file = SeriesFile(header)
    path = header.path.absolute()
    place, file.run = place_of_path(path)
    file.place = place
    if place is not None:
        file.epoch, file.step = place.epoch, place.step
    file.numbers = recorded_counts(header.metadata)
    file.epoch = file.numbers.get("epoch", file.epoch)
    file.step = file.numbers.get("step", file.step)
    return file


def place_of_path(path: Path) -> tuple[Place | None, str]:
    """Return where a checkpoint's name, else its folder's, puts it, and the name of its run.

    >>> place_of_path(Path("/out/my/checkpoint-500/pytorch_lora_weights.safetensors"))[1]
    'my'
    """
    place = place_of(path.stem)
    if place is not None:
        return place, place.run or path.parent.name
    above = place_of(path.parent.name)
    generic = path.stem.lower() in GENERIC
    if above is not None:
        run = above.run or path.parent.parent.name if generic else path.stem
        return above, run
    return None, path.parent.name if generic else path.stem


def recorded_counts(metadata: Mapping[str, str]) -> dict[str, int]:
    """Return ``epoch``, ``epochs`` (of the whole run) and ``step`` as far as metadata tell:
    sd-scripts' and musubi-tuner's keys, ai-toolkit's ``training_info``, ``global_step``.
    """
    found = {}
    for name, key in (("epoch", "ss_epoch"), ("step", "ss_steps"), ("epochs", "ss_num_epochs")):
        value = _count(metadata.get(key))
        if value is not None:
            found[name] = value
    try:
        info = json.loads(metadata.get("training_info", "{}")[:10_000])
    except (ValueError, RecursionError):
        info = {}
    step = info.get("step") if isinstance(info, dict) else None
    if "step" not in found and isinstance(step, int) and not isinstance(step, bool) and step >= 0:
        found["step"] = step
    written = _count(metadata.get("global_step"))  # SimpleTuner's
    if "step" not in found and written is not None:
        found["step"] = written
    return found


def group_key(file: SeriesFile) -> tuple[str, ...]:
    """Return what files of one run share."""
    metadata = file.header.metadata
    session = metadata.get("ss_session_id", "None")
    if session != "None":
        return ("session", session)
    if metadata.get("ss_training_started_at", "None") != "None":
        return ("start", metadata.get("ss_output_name", ""), metadata["ss_training_started_at"])
    title = metadata.get("ss_output_name") or metadata.get("modelspec.title", "")
    if title and title != "None":
        return ("title", title)
    return ("stem", "" if file.run in _UNSUFFIXED else file.run)


def guess_numbers(files: Iterable[SeriesFile]) -> None:
    """Take bare numbers for epochs or steps where two or more alike files of one name have them.

    Alike means the same tensors of the same shapes: two different LoRAs are no series.
    """
    stems: dict[tuple[Path, str, frozenset[object]], list[tuple[SeriesFile, int]]] = {}
    for file in files:
        found = plain_number(file.path.stem)
        if found is None or file.suffixed or file.epoch is not None or file.step is not None:
            continue
        shapes = frozenset((i.name, i.shape) for i in file.header.tensors.values())
        stems.setdefault((file.path.parent, found[0], shapes), []).append((file, found[1]))
    for (_, stem, _), members in stems.items():
        numbers = [number for _, number in members]
        if len(set(numbers)) < 2:
            continue
        axis = guessed_axis(numbers)
        for file, number in members:
            file.run, file.guessed = stem, True
            if axis == "step":
                file.step = number
            else:
                file.epoch = number


def adopt_the_nameless(
    groups: dict[tuple[str, ...], list[SeriesFile]],
) -> dict[tuple[str, ...], list[SeriesFile]]:
    """A lone ``last.safetensors`` without metadata joins the only other nameless series."""
    lone = groups.get(("stem", ""))
    others = [key for key in groups if key[0] == "stem" and key[1]]
    if lone is not None and len(others) == 1:
        groups = {key: list(members) for key, members in groups.items() if key != ("stem", "")}
        groups[others[0]] += lone
    return groups


def _count(text: str | None) -> int | None:
    """Return a metadata string as a count, None where it is none ("None", text, absurd size)."""
    return int(text) if text is not None and text.isdecimal() and len(text) < 16 else None
