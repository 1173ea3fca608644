"""Checkpoints as renders name them: run, epoch, hash; what cannot be rendered is refused here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from loraeval.checkpoints import anatomy as anatomies
from loraeval.checkpoints import series
from loraeval.checkpoints.header import Header, adapter_config, read_header, with_config
from loraeval.errors import CheckpointError
from loraeval.records import FamilyName
from loraeval.render.known_files import look
from loraeval.render.plan import BASE_MODEL, CheckpointRef
from loraeval.render.store import Store

_IDLE = "it changes nothing: every up matrix that was read is zero; was it saved whole?"
_Label = tuple[str, int | None, int | None]
"""Run, epoch and step."""


@dataclass(slots=True)
class Labels:
    """What is known of the checkpoints of one family, each file read and each folder ordered once.

    A file that was written anew (``known_files.look``), or has just been, is read again.
    """

    family: FamilyName
    store: Store
    told: Callable[[Header], tuple[str, ...]] | None = None
    """Returns the notes on a file by its header, or raises ``CheckpointError``."""
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What is to be said of each file, by its name."""
    _known: dict[Path, tuple[str, CheckpointRef]] = field(default_factory=dict)
    _folders: dict[Path, dict[Path, _Label]] = field(default_factory=dict)

    def describe(self, checkpoints: Iterable[Path | str | None]) -> list[CheckpointRef]:
        """Return how renders name each checkpoint; None is the base model.

        Run, epoch and step come from the series that a file belongs to in its folder. Raises
        ``CheckpointError`` for the first file that is no LoRA, of another family, of a kind that
        cannot be rendered, or with NaN in it, before anything is rendered.
        """
        return [BASE_MODEL if item is None else self._ref(Path(item)) for item in checkpoints]

    def _ref(self, path: Path) -> CheckpointRef:
        whole = path.resolve()
        state, settled = _look(whole)
        if state is not None and whole in self._known and self._known[whole][0] == state:
            return self._known[whole][1]
        found = anatomies.read_anatomy(path)
        # Where no tensor tells the family, the shapes decide when the LoRA is applied.
        if found.family == "unknown":
            found = replace(found, family=self.family)
        anatomies.check_loadable(found, self.family)
        if self.told is not None:
            idle = [part.trained is False for part in found.components]
            inert = (f"{path.name}: {_IDLE}",) if idle and all(idle) else ()
            self.notes[path.name] = (*inert, *self.told(read_header(path)))
        if whole not in self._folders.get(whole.parent, {}):  # unseen, or saved since
            self._folders[whole.parent] = _folder_labels(whole.parent)
        run, epoch, step = self._folders[whole.parent].get(whole) or _own_label(path)
        sha256 = with_config(self.store.file_sha256(path), adapter_config(path))
        ref = CheckpointRef(whole, sha256, run, epoch, path.name, step)
        if state is not None and settled:
            self._known[whole] = (state, ref)
        return ref


def describe(
    checkpoints: Iterable[Path | str | None], family: FamilyName, store: Store
) -> list[CheckpointRef]:
    """Return how renders name each checkpoint; see ``Labels.describe``."""
    return Labels(family, store).describe(checkpoints)


def _look(path: Path) -> tuple[str | None, bool]:
    try:
        return look(path)
    except OSError:
        return None, False  # reading it says why


def _folder_labels(folder: Path) -> dict[Path, _Label]:
    try:
        found = series.find_series(folder)
    except CheckpointError:
        return {}
    return {
        item.path.resolve(): (run.name, item.epoch, item.step)
        for run in found
        for item in run.checkpoints
    }


def _own_label(path: Path) -> _Label:
    run = series.find_series(path)[0]
    return run.name, run.checkpoints[0].epoch, run.checkpoints[0].step
