"""Order checkpoint files into series: one training run, its epochs in training order.

Metadata decides first (session, output name, steps, epoch), file names second: sd-scripts writes
``NAME-000007.safetensors``, ``NAME-step00001200.safetensors`` and, for the last epoch, no suffix at
all, which a lexical sort would put in front. Folders of optimizer state and samples are ignored.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mode

from loraeval.checkpoints.header import Header, read_header
from loraeval.checkpoints.naming import split_key
from loraeval.checkpoints.same_weights import same_weights
from loraeval.errors import CheckpointError
from loraeval.outside.text import clean

_STEP = re.compile(r"^(?P<stem>.*?)-step(?P<step>\d{8})$")
_EPOCH = re.compile(r"^(?P<stem>.*?)-(?P<epoch>\d{6})$")
_RENAMED = re.compile(r"^(?P<stem>.*?)[-_ ]?(?:epoch|ep|e)[-_ ]?(?P<epoch>\d{1,6})$", re.IGNORECASE)
_UNSUFFIXED = {"last", "epoch", "at"}


@dataclass(frozen=True, slots=True)
class SeriesCheckpoint:
    """One saved state of a run. ``epoch`` counts completed epochs from 1 and ``step`` optimizer
    steps, each None where neither metadata nor name tells; ``name`` is the file's name.
    """

    path: Path
    epoch: int | None
    step: int | None
    name: str
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """One run in training order. ``gaps`` are the epochs missing between those that are there and
    up to the run's last, ``warnings`` sentences on what a person should look at, ``missing`` those
    of them that speak of files which are not there.
    """

    name: str
    checkpoints: tuple[SeriesCheckpoint, ...]
    gaps: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    epochs: int | None = None
    missing: tuple[str, ...] = ()


@dataclass(slots=True)
class _File:
    header: Header
    stem: str = ""
    epoch: int | None = None
    step: int | None = None
    by_name: bool = False
    suffixed: bool = False
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.header.path


def find_series(source: str | Path | Iterable[str | Path]) -> list[Series]:
    """Order a folder, a file or several of them into series, sorted by name.

    In a folder only its own ``*.safetensors`` count, and files that are no LoRA are passed over
    with a warning; a file named itself must be readable. Raises ``CheckpointError`` where nothing
    is found or a named file can not be read.
    """
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    files: dict[Path, _File] = {}
    skipped: list[str] = []
    for item in map(Path, sources):
        if item.is_dir():
            for path in sorted(item.glob("*.safetensors")):
                if path.is_dir():
                    continue
                try:
                    _add(files, path)
                except CheckpointError as error:
                    skipped.append(str(error))
        else:
            _add(files, item)
    if not files:
        shown = ", ".join(clean(item) for item in sources) or "nothing"
        raise CheckpointError(
            f"expected LoRA files (.safetensors) or a folder of them, found none in {shown}"
            + (f"; {skipped[0]}" if skipped else "")
        )
    groups: dict[tuple[str, ...], list[_File]] = {}
    for file in files.values():
        groups.setdefault(_group(file), []).append(file)
    groups = _adopt_the_nameless(groups)
    names = Counter(_name(members) for members in groups.values())
    result = [_series(members, names, skipped) for members in groups.values()]
    return sorted(result, key=lambda series: (series.name, str(series.checkpoints[0].path)))


def _add(files: dict[Path, _File], path: Path) -> None:
    if path.resolve() in files:
        return
    header = read_header(path)
    if not any(split_key(name) for name in header.tensors):
        raise CheckpointError(f"{clean(path)}: passed over, it holds no LoRA")
    files[path.resolve()] = _describe(header)


def _number(text: str | None) -> int | None:
    """Return a metadata string as a count, None where it is none ("None", text, absurd size)."""
    return int(text) if text is not None and text.isdecimal() and len(text) < 16 else None


def _describe(header: Header) -> _File:
    file = _File(header, stem=header.path.stem)
    for pattern in (_STEP, _EPOCH, _RENAMED):
        match = pattern.match(header.path.stem)
        if match:
            found = match.groupdict()
            file.stem = found["stem"] or header.path.parent.name
            file.epoch = _number(found.get("epoch"))
            file.step = _number(found.get("step"))
            file.by_name, file.suffixed = True, True
            break
    metadata = header.metadata
    for key in ("ss_epoch", "ss_steps", "ss_num_epochs"):
        value = _number(metadata.get(key))
        if value is not None:
            file.numbers[key] = value
    if "ss_epoch" in file.numbers:
        saved = file.numbers["ss_epoch"]
        # A step save records the epochs completed so far, which is what its name can not tell.
        file.epoch = saved
    file.step = file.numbers.get("ss_steps", file.step)
    return file


def _group(file: _File) -> tuple[str, ...]:
    metadata = file.header.metadata
    session = metadata.get("ss_session_id", "None")
    if session != "None":
        return ("session", session)
    if metadata.get("ss_training_started_at", "None") != "None":
        return ("start", metadata.get("ss_output_name", ""), metadata["ss_training_started_at"])
    title = metadata.get("ss_output_name") or metadata.get("modelspec.title", "")
    if title and title != "None":
        return ("title", title)
    return ("stem", "" if file.stem in _UNSUFFIXED else file.stem)


def _adopt_the_nameless(
    groups: dict[tuple[str, ...], list[_File]],
) -> dict[tuple[str, ...], list[_File]]:
    """A lone ``last.safetensors`` without metadata joins the only other nameless series."""
    lone = groups.get(("stem", ""))
    others = [key for key in groups if key[0] == "stem" and key[1]]
    if lone is not None and len(others) == 1:
        groups = {key: list(members) for key, members in groups.items() if key != ("stem", "")}
        groups[others[0]] += lone
    return groups


def _name(members: Sequence[_File]) -> str:
    for file in members:
        for key in ("ss_output_name", "modelspec.title"):
            title = file.header.metadata.get(key, "None")
            if title not in ("None", ""):
                return clean(title)
    return clean(mode(file.stem for file in members))


def _series(members: list[_File], names: Counter[str], skipped: Sequence[str]) -> Series:
    epochs = max((f.numbers["ss_num_epochs"] for f in members if "ss_num_epochs" in f.numbers),
                 default=None)  # fmt: skip
    highest = max((f.epoch for f in members if f.epoch is not None), default=0)
    last = _find_last(members, epochs)
    known = sorted({file.epoch for file in members if file.epoch})
    if last is not None and last.epoch is None and len(known) > 1 and _spacing(known, None) == 1:
        last.epoch = highest + 1  # a file for every epoch, and the last without its number
    ordered = sorted(members, key=lambda file: _order(file, last))
    name = _name(members)
    duplicates = dict(same_weights([file.header for file in ordered]))
    warnings = [*skipped, *duplicates.values(), *_doubts(ordered, name, names, epochs)]
    missing = []
    if last is None and (epochs or len(ordered) > 1):
        missing.append(f"{name}: the file of the last epoch is missing")
    kept = [file for file in ordered if file.path not in duplicates]
    saved = sorted({f.epoch for f in kept if f.epoch is not None and not _is_step_save(f)})
    gaps = _gaps(saved, epochs)
    if gaps:
        shown = ", ".join(map(str, gaps[:8])) + (" …" if len(gaps) > 8 else "")
        missing.append(f"{name}: no file for epoch {shown}")
    return Series(
        name,
        tuple(
            SeriesCheckpoint(file.path, file.epoch, file.step, file.path.name, file is last)
            for file in kept
        ),
        gaps,
        tuple(warnings + missing),
        epochs,
        tuple(missing),
    )


def _is_step_save(file: _File) -> bool:
    return _STEP.match(file.path.stem) is not None


def _find_last(members: Sequence[_File], epochs: int | None) -> _File | None:
    """The file of the last epoch: by ``ss_epoch`` = ``ss_num_epochs``, else the unsuffixed one."""
    done = [f for f in members if epochs and f.epoch == epochs and not _is_step_save(f)]
    if done:
        return max(done, key=lambda file: not file.suffixed)
    plain_names = [file for file in members if not file.suffixed and not file.numbers]
    return plain_names[0] if len(plain_names) == 1 and len(members) > 1 else None


def _order(file: _File, last: _File | None) -> tuple[float, float, str, bool, bool, str]:
    step = file.numbers.get("ss_steps")
    unknown = float("inf")
    return (
        float(step) if step is not None else unknown if file is last else -1.0,
        float(file.epoch) if file.epoch is not None else unknown,
        "" if file.step is None else f"{file.step:020d}",
        file is last,
        not file.suffixed,
        file.header.metadata.get("modelspec.date", "") or f"{file.path.stat().st_mtime:020.3f}",
    )


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
    files: Sequence[_File], name: str, names: Counter[str], epochs: int | None
) -> Iterator[str]:
    if names[name] > 1:
        yield f"{name}: {names[name]} training sessions carry this name; they are kept apart"
    if len({f.numbers.get("ss_num_epochs", epochs) for f in files}) > 1:
        yield f"{name}: the files disagree on the number of epochs"
    if len({frozenset((i.name, i.shape) for i in f.header.tensors.values()) for f in files}) > 1:
        yield f"{name}: the files differ in modules or ranks; they may not be one run"


def describe_position(path: Path, metadata: Mapping[str, str]) -> str | None:
    """Say where a file stands in its run ("epoch 7 of 10, step 3549"), None where nothing tells.

    Reads no other file: metadata first, then the file's own name.
    """
    found = {key: _number(metadata.get(f"ss_{key}")) for key in ("epoch", "num_epochs", "steps")}
    if found["epoch"] is not None:
        parts = [f"epoch {found['epoch']}"]
        if found["num_epochs"] is not None:
            parts[0] += f" of {found['num_epochs']}"
        if found["steps"] is not None:
            parts.append(f"step {found['steps']}")
        return ", ".join(parts) + " (metadata)"
    for pattern, word in ((_STEP, "step"), (_EPOCH, "epoch"), (_RENAMED, "epoch")):
        match = pattern.match(path.stem)
        if match:
            return f"{word} {int(match[word])} (file name)"
    return None
