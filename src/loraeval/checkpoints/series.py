"""Order checkpoint files into series: one training run, its epochs or steps in training order.

Metadata decides first (session, output name, steps, epoch), the table of names (``file_names``)
second: sd-scripts writes ``NAME-000007.safetensors``, and for the last epoch no suffix at all,
which a lexical sort would put in front; others write ``checkpoint-500/NAME`` or
``epoch10/adapter_model``. Bare numbers (``my-01``) and times of files are guesses, and said to be.
Folders of optimizer state and samples are ignored.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mode
from typing import Literal

from loraeval.checkpoints.header import read_header
from loraeval.checkpoints.keys import split_key
from loraeval.checkpoints.same_weights import same_weights
from loraeval.checkpoints.series_files import (
    SeriesFile,
    adopt_the_nameless,
    describe,
    group_key,
    guess_numbers,
    lora_paths,
    place_of_path,
    recorded_counts,
)
from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

_SD_SCRIPTS = "sd-scripts or musubi-tuner"

Axis = Literal["epoch", "step"]
"""What the checkpoints of a run are numbered by."""


@dataclass(frozen=True, slots=True)
class SeriesCheckpoint:
    """One saved state of a run. ``epoch`` counts completed epochs from 1 and ``step`` optimizer
    steps, each None where neither metadata nor name tells; ``name`` is the file's name, with its
    folder's before it where all files of the run are called alike.
    """

    path: Path
    epoch: int | None
    step: int | None
    name: str
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """One run in training order. ``axis`` is what tells its checkpoints apart, None for a single
    file that nothing numbers. ``gaps`` are the epochs missing between those that are there and up
    to the run's last, ``warnings`` sentences on what a person should look at, ``missing`` those of
    them that speak of files which are not there. ``guessed`` says that the numbers are a guess.
    """

    name: str
    checkpoints: tuple[SeriesCheckpoint, ...]
    gaps: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    epochs: int | None = None
    missing: tuple[str, ...] = ()
    axis: Axis | None = None
    guessed: bool = False


def find_series(source: str | Path | Iterable[str | Path]) -> list[Series]:
    """Order a folder, a file or several of them into series, sorted by name.

    In a folder its own ``*.safetensors`` count and those of its folders whose names number them
    (``checkpoint-500``, ``epoch10``); files that are no LoRA are passed over, with a warning where
    they lie in the folder itself; a file named itself must be readable. Raises ``CheckpointError``
    where nothing is found or a named file can not be read.
    """
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    files: dict[Path, SeriesFile] = {}
    skipped: list[str] = []
    for item in map(Path, sources):
        if item.is_dir():
            for path, inner in lora_paths(item):
                try:
                    _add(files, path)
                except CheckpointError as error:
                    if not inner:
                        skipped.append(str(error))
        else:
            _add(files, item)
    if not files:
        shown = ", ".join(clean(item) for item in sources) or "nothing"
        raise CheckpointError(
            f"expected LoRA files (.safetensors) or a folder of them, found none in {shown}"
            + (f"; {skipped[0]}" if skipped else "")
        )
    guess_numbers(files.values())
    groups: dict[tuple[str, ...], list[SeriesFile]] = {}
    for file in files.values():
        groups.setdefault(group_key(file), []).append(file)
    groups = adopt_the_nameless(groups)
    names = Counter(_name(members) for members in groups.values())
    result = [_series(members, names, skipped) for members in groups.values()]
    return sorted(result, key=lambda series: (series.name, str(series.checkpoints[0].path)))


def _add(files: dict[Path, SeriesFile], path: Path) -> None:
    if path.resolve() in files:
        return
    header = read_header(path)
    if not any(split_key(name) for name in header.tensors):
        raise CheckpointError(f"{clean(path)}: passed over, it holds no LoRA")
    files[path.resolve()] = describe(header)


def _name(members: Sequence[SeriesFile]) -> str:
    for file in members:
        for key in ("ss_output_name", "modelspec.title"):
            title = file.header.metadata.get(key, "None")
            if title not in ("None", ""):
                return clean(title)
    return clean(mode(file.run for file in members))


def _series(members: list[SeriesFile], names: Counter[str], skipped: Sequence[str]) -> Series:
    epochs = max((f.numbers["epochs"] for f in members if "epochs" in f.numbers), default=None)
    highest = max((f.epoch for f in members if f.epoch is not None), default=0)
    last = _find_last(members, epochs)
    known = sorted({file.epoch for file in members if file.epoch})
    of_sd_scripts = all(f.place.trainer == _SD_SCRIPTS for f in members if f.place is not None)
    guessed = any(file.guessed for file in members)
    if (
        last is not None and last.epoch is None and len(known) > 1
        and of_sd_scripts and not guessed and _spacing(known, None) == 1
    ):  # fmt: skip
        last.epoch = highest + 1  # a file for every epoch, and the last without its number
    ordered = sorted(members, key=lambda file: _order(file, last))
    name = _name(members)
    duplicates = dict(same_weights([file.header for file in ordered]))
    kept = [file for file in ordered if file.path not in duplicates]
    axis = _axis([file for file in kept if file is not last] or kept)
    warnings = [*skipped, *duplicates.values(), *_doubts(ordered, name, names, epochs)]
    warnings += _guesses(kept, name, last, axis)
    missing = []
    if last is None and of_sd_scripts and (epochs or (len(ordered) > 1 and not guessed)):
        missing.append(f"{name}: the file of the last epoch is missing")
    saved = sorted({f.epoch for f in kept if f.epoch is not None and not f.counts_steps})
    gaps = _gaps(saved, epochs) if axis == "epoch" else ()
    if gaps:
        shown = ", ".join(map(str, gaps[:8])) + (" …" if len(gaps) > 8 else "")
        missing.append(f"{name}: no file for epoch {shown}")
    return Series(
        name,
        tuple(
            SeriesCheckpoint(file.path, file.epoch, file.step, file.shown, file is last)
            for file in kept
        ),
        gaps,
        tuple(warnings + missing),
        epochs,
        tuple(missing),
        axis,
        guessed,
    )


def _axis(files: Sequence[SeriesFile]) -> Axis | None:
    """Steps where a name counts them or no epoch is known, else epochs."""
    if any(f.step is not None and (f.counts_steps or f.epoch is None) for f in files):
        return "step"
    return "epoch" if any(f.epoch is not None for f in files) else None


def _find_last(members: Sequence[SeriesFile], epochs: int | None) -> SeriesFile | None:
    """The file of the last epoch: by the recorded number of epochs, else the one whose name has no
    number, if no other was saved after it.
    """
    done = [f for f in members if epochs and f.epoch == epochs and not f.counts_steps]
    if done:
        return max(done, key=lambda file: not file.suffixed)
    plain = [f for f in members if not f.suffixed and not {"epoch", "epochs"} & f.numbers.keys()]
    if len(plain) != 1 or len(members) < 2:
        return None
    latest = max((f.step for f in members if f.step is not None), default=0)
    return plain[0] if plain[0].step is None or plain[0].step >= latest else None


def _order(
    file: SeriesFile, last: SeriesFile | None
) -> tuple[float, float, str, bool, bool, str, str]:
    step = file.numbers.get("step")
    unknown = float("inf")
    return (
        float(step) if step is not None else unknown if file is last else -1.0,
        float(file.epoch) if file.epoch is not None else unknown,
        "" if file.step is None else f"{file.step:020d}",
        file is last,
        not file.suffixed,
        file.header.metadata.get("modelspec.date", ""),
        f"{file.path.stat().st_mtime:020.3f}",
    )


def _guesses(
    files: Sequence[SeriesFile], name: str, last: SeriesFile | None, axis: Axis | None
) -> Iterator[str]:
    """Say what of the order is a guess."""
    if any(file.guessed for file in files):
        shown = next(file.shown for file in files if file.guessed)
        yield (
            f"{name}: the number in {clean(shown)} is taken for its {axis}; "
            "no metadata tells, so this is a guess"
        )
    keys = [_order(file, last) for file in files]
    dated = Counter(key[:5] for key in keys)
    timed = Counter(key[:6] for key in keys)
    if any(count > 1 for count in timed.values()):
        yield f"{name}: only the times of the files order some of them; names and metadata do not"
    elif any(count > 1 for count in dated.values()):
        yield f"{name}: only the dates in their metadata order some of the files"
    mixed = {file.counts_steps for file in files if file.suffixed and not file.numbers}
    if len(mixed) > 1:
        yield f"{name}: some files count epochs and others steps, and nothing relates the two"


def _spacing(saved: Sequence[int], epochs: int | None) -> int:
    """Every how many epochs a file was saved: sd-scripts saves at the multiples, and the last."""
    return math.gcd(*(epoch for epoch in saved if epoch != epochs)) or 1


def _gaps(saved: Sequence[int], epochs: int | None) -> tuple[int, ...]:
    """Epochs missing at the regular spacing in which the others were saved."""
    if len(saved) < 2:
        return ()
    every, end = _spacing(saved, epochs), max(saved[-1], epochs or 0)
    due = {*range(every, min(end, 10_000) + 1, every)}
    return tuple(sorted((due | ({epochs} if epochs else set())) - set(saved)))


def _doubts(
    files: Sequence[SeriesFile], name: str, names: Counter[str], epochs: int | None
) -> Iterator[str]:
    if names[name] > 1:
        yield f"{name}: {names[name]} training sessions carry this name; they are kept apart"
    if len({f.numbers.get("epochs", epochs) for f in files}) > 1:
        yield f"{name}: the files disagree on the number of epochs"
    if len({frozenset((i.name, i.shape) for i in f.header.tensors.values()) for f in files}) > 1:
        yield f"{name}: the files differ in modules or ranks; they may not be one run"


def describe_position(path: Path, metadata: Mapping[str, str]) -> str | None:
    """Say where a file stands in its run ("epoch 7 of 10, step 3549"), None where nothing tells.

    Reads no other file: metadata first, then the name of the file or of its folder.
    """
    found = recorded_counts(metadata)
    if found:
        parts = []
        if "epoch" in found:
            parts.append(f"epoch {found['epoch']}")
            if "epochs" in found:
                parts[0] += f" of {found['epochs']}"
        if "step" in found:
            parts.append(f"step {found['step']}")
        if parts:
            return ", ".join(parts) + " (metadata)"
    place, _ = place_of_path(path.absolute())
    return f"{place.words} (file name)" if place is not None else None
