"""From what a user typed to checkpoint files: a file, a glob, a folder of epochs."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from loraeval.errors import CheckpointError
from loraeval.outside.text import clean, distinct_tails

MOST_FILES = 5000
"""Files of a folder beyond which it is no folder of one run: each costs a look at its header."""

_OTHER_KINDS = (".ckpt", ".pt", ".pth", ".bin")
"""Weights that are never opened: reading them runs code."""


def expand(
    text: str, here: Path, *, found: bool = False, refused: dict[Path, str] | None = None
) -> list[Path]:
    """Return the checkpoint files that ``text`` names: a file, a glob, or a folder of epochs.

    A folder's damaged files are among them, so that they fail; what holds no LoRA is not. With a
    dictionary for ``refused`` every ``.safetensors`` file of a folder is there, and those that
    cannot be gated also in it, each with the reason.
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
        return _expand_folder(path, text, refused)
    if path.is_file():
        return [path]  # "name[v2].safetensors" is a file's name before it is a pattern
    matches = _matches(text, here)
    if matches:
        return matches
    if found and text.endswith(".safetensors") and "*" not in text and "?" not in text:
        return [path]
    raise CheckpointError(
        f"{text}: expected a LoRA file, a glob or a folder of epochs, found nothing there"
    )


def _matches(text: str, here: Path) -> list[Path]:
    """Return what the pattern ``text`` finds from ``here``. Brackets may be a pattern's or a
    name's: what either reading finds is meant, so that nothing goes ungated.
    """
    found: set[Path] = set()
    for pattern in (text, text.replace("[", "[[]")):
        if glob.has_magic(pattern):
            matches = glob.glob(pattern, root_dir=here, recursive=True)  # noqa: PTH207
            found.update(here / match for match in matches)
    return sorted(found)


def _expand_folder(folder: Path, text: str, refused: dict[Path, str] | None) -> list[Path]:
    """Return a folder's epochs in training order, then what of it cannot be gated."""
    from loraeval.checkpoints.series import find_series
    from loraeval.checkpoints.series_files import lora_paths

    files = [path for path, _ in islice(lora_paths(folder), MOST_FILES + 1)]
    if len(files) > MOST_FILES:
        raise CheckpointError(
            f"{text}: expected the folder of one run, found more than {MOST_FILES} .safetensors "
            "files in it; name some of them with a glob"
        )
    try:
        series = find_series(folder)
    except CheckpointError:
        if not files or refused is None:
            raise
        series = []
    epochs = [item.path for run in series for item in run.checkpoints]
    known = {path.resolve() for path in epochs}
    others = {path: _why_not(path) for path in files if path.resolve() not in known}
    if refused is None:
        return epochs + [path for path, why in others.items() if why is not NO_LORA]
    refused |= others
    return epochs + list(others)


NO_LORA = "it holds no LoRA of a kind that is known here"


def _why_not(path: Path) -> str:
    from loraeval.checkpoints.header import read_header

    if path.is_symlink() and not path.exists():
        return "it is a link to nothing"
    try:
        read_header(path)
    except CheckpointError as error:
        return str(error)
    return NO_LORA


def not_looked_at(texts: Sequence[str], here: Path) -> list[str]:
    """Return a line for each folder among ``texts`` that holds weights of other kinds, or folders
    that are not searched: what of it no gate will look at.
    """
    from loraeval.checkpoints.file_names import place_of

    lines = []
    for text in dict.fromkeys(texts):
        folder = here / text
        if not text.strip() or not folder.is_dir():
            continue
        inside = sorted(islice(folder.iterdir(), 4 * MOST_FILES))
        loud = [p.name for p in inside if p.suffix != ".safetensors" == p.suffix.lower()]
        other = [p.name for p in inside if p.suffix.lower() in _OTHER_KINDS and p.is_file()]
        inner = [p.name for p in inside if p.is_dir() and place_of(p.name) is None]
        parts = [_listed([*(f"{n} (rename it to .safetensors)" for n in loud), *other])]
        parts.append(f"sub-folders {_listed(inner)}" if inner else "")
        told = "; ".join(part for part in parts if part)
        if told:
            lines.append(clean(f"{text}: not looked at: {told}", 1000))
    return lines


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def _whole(path: Path) -> Path:
    """Return the file itself; a link to nothing keeps its own name."""
    dead = path.is_symlink() and not path.exists()
    return path.absolute() if dead else path.resolve()


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


def expand_all(
    texts: Sequence[str],
    here: Path,
    *,
    found: bool = False,
    refused: dict[Path, str] | None = None,
) -> dict[str, Path]:
    """Return every checkpoint named by ``texts``, by its name, in order, none twice; ``found`` and
    ``refused`` as ``expand`` has them.

    A name is the file's; where two files share it, the folders that tell them apart stand before
    it.
    """
    paths = [path for text in texts for path in expand(text, here, found=found, refused=refused)]
    unique = list(dict.fromkeys(_whole(path) for path in paths))
    if refused is not None:
        refused |= {_whole(path): why for path, why in refused.items()}
    return dict(zip(distinct_tails([path.as_posix() for path in unique]), unique, strict=True))
