"""Options that several commands share, and the records they become."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.evaluation.panels import PanelChoice


def add_panel_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose scorers, encoder, reference and lattice."""
    group = parser.add_argument_group("what is measured")
    group.add_argument(
        "--scorers",
        metavar="NAMES",
        help="comma-separated (default: palette,grid,style,realism,health)",
    )
    group.add_argument(
        "--reference", type=Path, metavar="DIR", help="images in the style, for style"
    )
    group.add_argument(
        "--encoder",
        default="auto",
        metavar="SPEC",
        help="auto, none, efficientnet-lite0, open_clip:NAME/TAG, or a local folder (default auto)",
    )
    group.add_argument(
        "--lattice",
        default="caption",
        metavar="CxR",
        help="expected cells, e.g. 24x24; none; or caption: as each prompt says (default)",
    )
    group.add_argument("--offline", action="store_true", help="make no request at all")


def panel_choice(args: argparse.Namespace) -> PanelChoice:
    """Return the choice that the options of ``add_panel_arguments`` make."""
    from loraeval.evaluation.panels import SCORERS, PanelChoice, parse_lattice

    names = tuple(n.strip() for n in args.scorers.split(",")) if args.scorers else SCORERS
    return PanelChoice(
        scorers=names,
        encoder=args.encoder,
        reference=args.reference,
        lattice=parse_lattice(args.lattice),
        offline=args.offline,
    )


def optional_baseline(name: str | None) -> Baseline | None:
    """Read the baseline called ``name``, None where none was named."""
    if name is None:
        return None
    from loraeval.baselines import read_baseline

    return read_baseline(name)
