"""Profiles: what is gated, and how, for one style. Another style is another profile."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from loraeval.baselines.toml import load_toml
from loraeval.errors import BaselineError
from loraeval.records import digest_of

GATED = ("palette", "grid", "style", "realism", "health")
"""The scorers that the default profile gates."""

PIXEL_GATED = (
    "palette",
    "palette.binding",
    "palette.background",
    "grid",
    "grid.size",
    "style",
    "style.copies",
    "realism",
    "health",
)
"""What is gated in a style with a lattice."""

SHARE = 0.2
"""Default meaning of a margin: a difference that people see in one image of five."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What is gated in one style.

    ``gated`` names the metrics; ``lattice`` is the expected pixel grid as (columns, rows), None
    for styles without one; ``size`` the expected (width, height) in pixels; ``margins`` maps a
    metric to the loss still accepted, in the metric's own unit, None or absent to derive it from
    the baseline's spread so that it is seen in a share ``share`` of the images; ``reference``
    names the set of reference images and ``encoder`` the encoder, None where any will do.

    Raises ``BaselineError`` for values outside their range.
    """

    name: str = "default"
    gated: tuple[str, ...] = GATED
    lattice: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    margins: Mapping[str, float | None] = field(default_factory=dict)
    share: float = SHARE
    reference: str | None = None
    encoder: str | None = None

    def __post_init__(self) -> None:
        if not self.gated or len(set(self.gated)) != len(self.gated):
            raise BaselineError(
                f"profile {self.name}: gated must name at least one metric, each once; "
                f"got {list(self.gated)}"
            )
        for metric, margin in self.margins.items():
            if metric not in self.gated:
                near = difflib.get_close_matches(metric, self.gated, 1)
                hint = f"; did you mean {near[0]}?" if near else f" ({', '.join(self.gated)})"
                raise BaselineError(
                    f"profile {self.name}: a margin for {metric}, which is not gated{hint}"
                )
            if margin is not None and not (math.isfinite(margin) and 0 < margin < 1):
                raise BaselineError(
                    f"profile {self.name}: the margin of {metric} must lie between 0 and 1, "
                    f"got {margin!r}"
                )
        if not 0 < self.share < 1:
            raise BaselineError(
                f"profile {self.name}: share must lie between 0 and 1, got {self.share!r}"
            )
        for label, pair in (("lattice", self.lattice), ("size", self.size)):
            if pair is not None and (len(pair) != 2 or min(pair) < 1):
                raise BaselineError(
                    f"profile {self.name}: {label} must be two whole numbers above 0, got {pair}"
                )

    @property
    def digest(self) -> str:
        """Digest of what changes a score: lattice, size, reference and encoder."""
        return digest_of([self.lattice, self.size, self.reference, self.encoder])


def profile_from_mapping(data: Mapping[str, Any], where: str) -> Profile:
    """Return the profile in ``data``, the table of a TOML file named ``where`` in messages.

    Raises ``BaselineError`` for an unknown key (naming the nearest) or a value of the wrong type.
    """
    known = [item.name for item in fields(Profile)]
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
            raise BaselineError(f"{where}: unknown key {key!r} in the profile{hint}")
    values: dict[str, Any] = dict(data)
    for key, kinds in _KINDS.items():
        value = values.get(key)
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise BaselineError(f"{where}: {key} = {value!r} has the wrong type")
    if any(not isinstance(name, str) for name in values.get("gated", ())):
        raise BaselineError(f"{where}: gated must be a list of metric names")
    for key in ("lattice", "size"):
        if any(not isinstance(part, int) for part in values.get(key) or ()):
            raise BaselineError(f"{where}: {key} must be two whole numbers, got {values[key]!r}")
    values["margins"] = _margins(values.get("margins", {}), where)
    for key in ("gated", "lattice", "size"):
        if values.get(key) is not None:
            values[key] = tuple(values[key])
    return Profile(**values)


def _margins(table: Mapping[str, Any], where: str) -> dict[str, float | None]:
    for metric, margin in table.items():
        if margin != "derive" and (
            isinstance(margin, bool) or not isinstance(margin, (int, float))
        ):
            raise BaselineError(
                f'{where}: the margin of {metric} must be a number or "derive", got {margin!r}'
            )
    return {
        metric: None if margin == "derive" else float(margin) for metric, margin in table.items()
    }


def profile_to_mapping(profile: Profile) -> dict[str, Any]:
    """Return ``profile`` as a TOML table: what is None is left out."""
    table: dict[str, Any] = {"name": profile.name, "gated": list(profile.gated)}
    if profile.lattice is not None:
        table["lattice"] = list(profile.lattice)
    if profile.size is not None:
        table["size"] = list(profile.size)
    table["share"] = profile.share
    if profile.reference is not None:
        table["reference"] = profile.reference
    if profile.encoder is not None:
        table["encoder"] = profile.encoder
    if profile.margins:
        table["margins"] = {
            metric: "derive" if margin is None else margin
            for metric, margin in profile.margins.items()
        }
    return table


def read_profile(path: Path) -> Profile:
    """Read a profile from a TOML file: its ``[profile]`` table, or the whole file.

    A name without an ending is looked for in ``recipes/profiles`` of the working directory and of
    loraeval itself. Raises ``BaselineError`` where the file is missing, broken or not a profile.
    """
    path = _find(path)
    data = load_toml(path, "a profile")
    table = data.get("profile", data)
    if not isinstance(table, dict):
        raise BaselineError(f"{path}: [profile] must be a table")
    return profile_from_mapping({"name": path.stem, **table}, str(path))


def _find(path: Path) -> Path:
    if path.suffix or path.is_file() or path.name != str(path):
        return path
    known = shipped_profiles()
    if path.name not in known:
        raise BaselineError(
            f"no profile called {path}; known are: {', '.join(sorted(known)) or 'none'}; "
            "or give a TOML file"
        )
    return known[path.name]


def shipped_profiles() -> dict[str, Path]:
    """Return the profiles by name: those of ``recipes/profiles`` here, and loraeval's own."""
    here = Path(__file__).resolve()
    above = [Path("recipes"), here.parents[1] / "render" / "recipes", here.parents[3] / "recipes"]
    return {item.stem: item for root in above[::-1] for item in root.glob("profiles/*.toml")}


_KINDS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "gated": (list, tuple),
    "lattice": (list, tuple),
    "size": (list, tuple),
    "margins": (dict,),
    "share": (int, float),
    "reference": (str,),
    "encoder": (str,),
}
