"""Put a panel together: which scorers, which encoder, which reference features."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.errors import MissingExtraError, UsageError
from loraeval.outside.offline import offline_asked
from loraeval.records import Render, ScoreRow

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.errors import ImageError
    from loraeval.images.picture import Picture
    from loraeval.scorers.encoders import Encoder
    from loraeval.scorers.panel import Panel
    from loraeval.scorers.reference import ReferenceSet
    from loraeval.scorers.style import FurtherView

SCORERS = ("palette", "grid", "style", "realism", "health")
"""The scorers that run when nobody asks for others."""


@dataclass(frozen=True, slots=True)
class PanelChoice:
    """What the user asked for; ``build_panel`` turns it into a panel.

    ``encoder`` is ``auto``, ``none``, an encoder spec, or several separated by commas;
    ``reference`` a folder of images in the style; ``lattice`` (columns, rows), None for no lattice,
    ``"caption"`` for the one that a prompt names ("24x24").
    """

    scorers: tuple[str, ...] = SCORERS
    encoder: str = "auto"
    reference: Path | None = None
    lattice: tuple[int, int] | str | None = "caption"
    size: tuple[int, int] | None = None
    offline: bool = False


def build_panel(choice: PanelChoice, baseline: Baseline | None = None, *, quiet: bool) -> Panel:
    """Return the panel for ``choice``; a baseline's profile fills what the user left open.

    An encoder is loaded where a scorer declares that it needs one, or where the user names one.
    Where none is at hand and none was asked for, the panel has none: what needs one is unscored and
    says so. Raises ``UsageError`` for an unknown scorer or encoder and
    ``MissingExtraError`` where an encoder that was asked for cannot run.
    """
    from loraeval.scorers.panel import Panel
    from loraeval.scorers.registry import load_scorers, want_encoder

    named = choice.encoder not in ("auto", "none")
    if baseline is not None:
        choice = _filled_from(choice, baseline)
    encoder = None
    first, *more = (part.strip() for part in choice.encoder.split(","))
    choice = replace(choice, encoder=first)
    if choice.encoder != "none" and (named or want_encoder(choice.scorers)):
        encoder = _encoder(choice, baseline, quiet)
    further = [_further(spec, choice, quiet) for spec in more]
    return Panel(
        scorers=tuple(load_scorers(choice.scorers, encoder, further)),
        lattice=choice.lattice if not isinstance(choice.lattice, str) else None,
        lattice_from_caption=choice.lattice == "caption",
        size=choice.size,
        encoder=encoder,
        reference=_reference(choice, baseline, encoder, quiet),
    )


def _further(spec: str, choice: PanelChoice, quiet: bool) -> FurtherView:
    """Return one more encoder with the reference images as it sees them, where there are any.

    A baseline holds the features of its own encoder only: others need ``--reference``.
    """
    from loraeval.scorers.encoders import label_of
    from loraeval.scorers.style import FurtherView

    if spec in ("", "auto", "none"):
        raise UsageError(
            f"--encoder: expected names of encoders after the first comma, found {spec!r}"
        )
    encoder = _encoder(replace(choice, encoder=spec), None, quiet)
    if encoder is None:
        raise UsageError(f"--encoder: {spec} cannot be loaded")
    return FurtherView(label_of(encoder.id), encoder, _reference(choice, None, encoder, quiet))


def _filled_from(choice: PanelChoice, baseline: Baseline) -> PanelChoice:
    profile = baseline.profile
    encoder = choice.encoder
    if encoder == "auto" and profile.encoder is not None:
        encoder = _where_it_lies(profile.encoder, baseline)
    scorers = tuple(dict.fromkeys([*choice.scorers, *(m.split(".")[0] for m in profile.gated)]))
    size = choice.size or profile.size
    return replace(choice, lattice=profile.lattice, size=size, scorers=scorers, encoder=encoder)


def _where_it_lies(spec: str, baseline: Baseline) -> str:
    """Return an encoder's folder as seen from here, else from the baseline's project.

    A spec that is no folder's path is returned as it is. Raises ``UsageError`` for a folder that
    lies in neither place.
    """
    roots = [Path()]
    if baseline.folder is not None:
        roots += baseline.folder.resolve().parents[1:2]
    found = next((str(root / spec) for root in roots if (root / spec).is_dir()), None)
    if found is None and "/" in spec and ":" not in spec:
        raise UsageError(
            f"the baseline {baseline.name} was scored with the encoder in {spec}, a folder of its "
            "own project, which is not here; give the folder with --encoder (--lora-encoder)"
        )
    return found or spec


def _encoder(choice: PanelChoice, baseline: Baseline | None, quiet: bool) -> Encoder | None:
    from loraeval.scorers.encoders import load_encoder, resolve_encoder

    offline = offline_asked(choice.offline)
    try:
        spec = resolve_encoder(
            choice.encoder, baseline=baseline.encoder if baseline else None, offline=offline
        )
        encoder = load_encoder(spec, offline=offline)
    except MissingExtraError as error:
        if choice.encoder != "auto":
            raise
        say(f"no encoder: {error}", quiet)
        return None
    if choice.encoder == "auto":
        say(f"encoder: {encoder.id}", quiet)
    return encoder


def _reference(
    choice: PanelChoice, baseline: Baseline | None, encoder: Encoder | None, quiet: bool
) -> ReferenceSet | None:
    from loraeval.scorers.reference import ReferenceSet
    from loraeval.scorers.reference_folder import reference_folders, reference_images

    if choice.reference is not None:
        folders = reference_folders(choice.reference)
        for folder in folders:
            if not folder.is_dir():
                raise UsageError(
                    f"{folder}: expected a folder of images in the style (--reference)"
                )
            for line in reference_images(folder)[1]:
                say(line, quiet)
        if encoder is not None:
            lattice = choice.lattice if isinstance(choice.lattice, tuple) else None
            left_out: list[ImageError] = []
            try:
                return ReferenceSet.from_folder(
                    folders,
                    encoder,
                    progress=not quiet,
                    lattice=lattice,
                    unreadable=left_out.append,
                )
            finally:
                if left_out:
                    count = f"{len(left_out)} reference images"
                    say(f"{count} cannot be read and are left out (first: {left_out[0]})", quiet)
    elif baseline is not None and baseline.reference_file is not None:
        return ReferenceSet.from_file(baseline.reference_file)
    return None


def say(text: str, quiet: bool = False) -> None:
    """Print a remark on standard error, where it does not mix with results."""
    if not quiet:
        print(f"loraeval: {text}", file=sys.stderr)


def show_progress() -> bool:
    """Say whether a progress bar belongs here: on a terminal, and not in CI."""
    return sys.stderr.isatty() and not os.environ.get("CI")


def score_renders(
    panel: Panel,
    renders: Sequence[Render],
    seen: Callable[[Render, Picture], None] | None = None,
) -> Iterator[ScoreRow]:
    """Yield the scores of ``renders`` in order, with a progress bar on a terminal."""
    from tqdm import tqdm

    yield from tqdm(
        panel.score(renders, seen),
        total=len(renders),
        unit="image",
        desc="scoring",
        disable=not show_progress(),
    )
