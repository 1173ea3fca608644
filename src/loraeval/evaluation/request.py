"""What was asked of a run, whichever door it came through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from loraeval.errors import UsageError
from loraeval.options import BY_NAME
from loraeval.outcome import Undecided

DEFAULT_STORE = ".loraeval/store"
"""Where renders are kept, relative to where the command runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The shared options with their values (``loraeval.options``), None where left to a default.

    ``checkpoints`` as typed. Paths are relative to ``here``, else to ``root`` (pytest's); ``door``
    says how options are spelled in messages.
    """

    checkpoints: tuple[str, ...] = ()
    baseline: str | None = None
    renders: str | None = None
    choose_epoch: bool = False
    out: str | None = None
    scorers: tuple[str, ...] | None = None
    reference: str | None = None
    encoder: str = "auto"
    lattice: tuple[int, int] | str | None = "caption"
    offline: bool = False
    base_model: str | None = None
    prompts: str | None = None
    recipe: str | None = None
    seeds: tuple[int, ...] = ()
    store: str = DEFAULT_STORE
    devices: str = "auto"
    workers: int | None = None
    ray: str | None = None
    batch_size: int | None = None
    compile: str = "auto"
    alpha: float | None = None
    power: float | None = None
    max_images: int | None = None
    min_images: int | None = None
    bad_share: float | None = None
    strict: bool = False
    allow_partial: bool = False
    inconclusive: Undecided | None = None
    here: Path = Path()
    root: Path = Path()
    door: Literal["command line", "pytest"] = "command line"

    @classmethod
    def of(cls, values: Mapping[str, Any], **more: Any) -> Self:
        """Return the request of option ``values`` by field name, of which those that were given are
        there, and of ``more`` fields. Names of no field are passed over.
        """
        names = {item.name for item in fields(cls)}
        given = {name: value for name, value in values.items() if name in names}
        return cls(**{**given, **more})

    def flag(self, name: str) -> str:
        """Return how this door spells the option called ``name``.

        >>> Request().flag("base-model"), Request(door="pytest").flag("out")
        ('--base-model', '--lora-report')
        """
        return f"--{name}" if self.door == "command line" else BY_NAME[name].pytest_flag

    def path(self, text: str) -> Path:
        """Return the path that ``text`` names from ``here``, else from ``root``, else as typed."""
        for folder in (self.here, self.root):
            if (folder / text).exists():
                return folder / text
        return self.here / text

    def existing(self, text: str | None) -> str | None:
        """Return ``text`` as a path where one exists, else as it is: a name or a hub id."""
        if text is None:
            return None
        path = self.path(text)
        return str(path) if path.exists() else text

    @property
    def store_folder(self) -> Path:
        """Where renders are kept."""
        return self.path(self.store)

    @property
    def out_folder(self) -> Path | None:
        """Where the run's folder is written, None for nowhere."""
        return None if self.out is None else self.here / self.out

    def to_json(self) -> dict[str, Any]:
        """Return what was asked for as plain JSON values, defaults and places left out."""
        plain = Request()
        return {
            item.name: list(value) if isinstance(value, tuple) else value
            for item in fields(self)
            if item.name not in ("here", "root", "door")
            and (value := getattr(self, item.name)) != getattr(plain, item.name)
        }

    def refuse(self, names: tuple[str, ...], why: str) -> None:
        """Raise ``UsageError`` naming those of ``names`` that were given although they do nothing
        here.
        """
        plain = Request()
        fields_of = {name: BY_NAME[name].field for name in names}
        given = [n for n, f in fields_of.items() if getattr(self, f) != getattr(plain, f)]
        if given:
            raise UsageError(f"{', '.join(map(self.flag, given))}: {why}")
