"""Checkpoints as renders name them: run, epoch, hash; what cannot be rendered is refused here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from loraeval.checkpoints import anatomy as anatomies
from loraeval.checkpoints import series
from loraeval.errors import CheckpointError
from loraeval.records import Family
from loraeval.render.plan import BASE_MODEL, CheckpointRef
from loraeval.render.store import Store


def describe(
    checkpoints: Iterable[Path | str | None], family: Family, store: Store
) -> list[CheckpointRef]:
    """Return how renders name each checkpoint; None is the base model.

    Run and epoch come from the series that a file belongs to in its folder. Raises
    ``CheckpointError`` for the first file that is no LoRA, of another family, of a kind that cannot
    be rendered, or with NaN in it, before anything is rendered.
    """
    refs = []
    labels: dict[Path, dict[Path, tuple[str, int | None]]] = {}
    for item in checkpoints:
        if item is None:
            refs.append(BASE_MODEL)
            continue
        path = Path(item)
        found = anatomies.read_anatomy(path)
        # Where no tensor tells the family, the shapes decide when the LoRA is applied.
        if found.family == "unknown":
            found = replace(found, family=family)
        anatomies.check_loadable(found, family)
        folder = path.resolve().parent
        if folder not in labels:
            labels[folder] = _folder_labels(folder)
        run, epoch = labels[folder].get(path.resolve()) or _own_label(path)
        refs.append(CheckpointRef(path.resolve(), store.file_sha256(path), run, epoch, path.name))
    return refs


def _folder_labels(folder: Path) -> dict[Path, tuple[str, int | None]]:
    try:
        found = series.find_series(folder)
    except CheckpointError:
        return {}
    return {
        item.path.resolve(): (run.name, item.epoch) for run in found for item in run.checkpoints
    }


def _own_label(path: Path) -> tuple[str, int | None]:
    run = series.find_series(path)[0]
    return run.name, run.checkpoints[0].epoch
