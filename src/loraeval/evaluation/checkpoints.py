"""From what a user typed to checkpoint files: a file, a glob, a folder of epochs."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from loraeval.errors import CheckpointError
from loraeval.outside.text import distinct_tails


def expand(text: str, here: Path, *, found: bool = False) -> list[Path]:
    """Return the checkpoint files that ``text`` names: a file, a glob, or a folder of epochs.

    A folder's damaged files are among them, so that they fail; what holds no LoRA is not.
    With ``found`` renders the file itself need not exist: its name says which renders are meant.
    Raises ``CheckpointError`` where nothing matches.
    """
    if not text.strip():
        raise CheckpointError(
            "--checkpoint: expected a LoRA file, a glob or a folder of epochs, found an empty text "
            "(a variable that is not set?)"
        )
    path = here / text
    if path.is_dir():
        from loraeval.checkpoints.series import find_series

        epochs = [c.path for series in find_series(path) for c in series.checkpoints]
        files = epochs + _unreadable(path)
        if not files:
            raise CheckpointError(f"{text}: expected the epochs of a run, found no LoRA in it")
        return files
    if path.is_file() or (found and not glob.has_magic(text)):
        return [path]
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207
    if not matches:
        raise CheckpointError(
            f"{text}: expected a LoRA file, a glob or a folder of epochs, found nothing there"
        )
    return matches


def _unreadable(folder: Path) -> list[Path]:
    """Return the folder's damaged files: each is to fail by name, not to be passed over."""
    from loraeval.checkpoints.header import read_header

    damaged = []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            if path.is_file():
                read_header(path)
        except CheckpointError:
            damaged.append(path)
    return damaged


def doubts(texts: Sequence[str], here: Path) -> list[str]:
    """Return what a person should look at before ``texts`` are taken for the epochs of a run.

    The same weights twice, files that do not fit together, sessions that share a name; for a
    folder also epochs that are missing, and that it holds more than one run.
    """
    from loraeval.checkpoints.series import find_series

    found: list[str] = []
    for text in dict.fromkeys(texts):
        path = here / text
        if path.is_dir():
            runs = find_series(path)
            names = list(dict.fromkeys(series.name for series in runs))
            if len(names) > 1:
                found.append(f"{text} holds the epochs of {len(names)} runs: {', '.join(names)}")
            found += [words for series in runs for words in series.warnings]
    files = [path for text in texts if not (here / text).is_dir() for path in expand(text, here)]
    if len(files) > 1:
        for series in find_series(files):
            found += [words for words in series.warnings if words not in series.missing]
    return list(dict.fromkeys(found))


def expand_all(texts: Sequence[str], here: Path, *, found: bool = False) -> dict[str, Path]:
    """Return every checkpoint named by ``texts``, by its name, in order, none twice.

    A name is the file's; where two files share it, the folders that tell them apart stand before
    it.
    """
    paths = [path for text in texts for path in expand(text, here, found=found)]
    unique = list(dict.fromkeys(path.resolve() for path in paths))
    return dict(zip(distinct_tails([path.as_posix() for path in unique]), unique, strict=True))
