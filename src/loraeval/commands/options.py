"""Options that several commands share, and the records they become."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.errors import UsageError
from loraeval.outcome import UNDECIDED

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.evaluation.panels import PanelChoice
    from loraeval.evaluation.setup import RenderChoice

MAX_SEEDS = 1000
"""More seeds a prompt than this are a typing error."""

MAX_SEED_DIGITS = 18
"""A seed of so many digits surely fits the 64 bits that random generators take."""


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

    names = SCORERS
    if args.scorers is not None:
        names = tuple(n.strip() for n in args.scorers.split(","))
    return PanelChoice(
        scorers=names,
        encoder=args.encoder,
        reference=args.reference,
        lattice=parse_lattice(args.lattice),
        offline=args.offline,
    )


def check_out(path: Path | None, *, folder: bool, option: str = "--out") -> None:
    """Raise ``UsageError`` where results cannot be written to ``path``, before any long work."""
    if path is None:
        return
    if folder and path.exists() and not path.is_dir():
        raise UsageError(f"{option}: expected a folder, {path} is a file; choose another place")
    if not folder and path.is_dir():
        raise UsageError(f"{option}: expected a file, {path} is a folder; name a file in it")
    above = path if folder else path.parent
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(
            f"{option} {path}: cannot write here ({above} takes no new files); choose another place"
        )


def optional_baseline(name: str | None) -> Baseline | None:
    """Read the baseline called ``name``, None where none was named."""
    if name is None:
        return None
    from loraeval.baselines import read_baseline

    return read_baseline(name)


def add_render_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to render."""
    group = parser.add_argument_group("how it is rendered")
    group.add_argument(
        "--base-model", metavar="PATH_OR_ID", help="diffusers folder, .safetensors file or hub id"
    )
    group.add_argument("--prompts", metavar="SET", help="a set of prompts/, or a path")
    group.add_argument("--recipe", metavar="NAME", help="one of recipes/, or a path")
    group.add_argument("--seeds", metavar="LIST", help="comma-separated, a-b for a range")
    group.add_argument("--store", type=Path, metavar="DIR", help="store of renders")
    group.add_argument(
        "--devices", default="auto", metavar="LIST", help="auto, cpu, or cuda:0,cuda:1"
    )
    group.add_argument("--workers", type=int, metavar="N", help="use N of the devices")
    group.add_argument("--ray", metavar="ADDRESS", help="render through Ray: local, or a cluster")
    group.add_argument("--batch-size", type=int, metavar="N", help="default: what memory allows")
    group.add_argument(
        "--compile",
        default="auto",
        choices=("auto", "always", "never"),
        help="torch.compile (default auto)",
    )


def render_choice(args: argparse.Namespace) -> RenderChoice:
    """Return the choice that the options of ``add_render_arguments`` make."""
    from loraeval.evaluation.setup import DEFAULT_STORE, RenderChoice

    return RenderChoice(
        base_model=args.base_model,
        prompts=args.prompts,
        recipe=args.recipe,
        seeds=parse_seeds(args.seeds) if args.seeds else (),
        store=args.store or Path(DEFAULT_STORE),
        devices=args.devices,
        workers=args.workers,
        ray=args.ray,
        batch_size=args.batch_size,
        compile=args.compile,
        offline=args.offline,
    )


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read ``1,2,5-8`` as (1, 2, 5, 6, 7, 8); raise ``UsageError`` for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(
                f"--seeds: expected whole numbers like 1,2,5-8, found {part.strip()!r}"
            )
        if max(map(len, (first.strip(), last.strip()))) > MAX_SEED_DIGITS:
            raise UsageError(
                f"--seeds: expected seeds below 10 to the power {MAX_SEED_DIGITS}, "
                f"found {part.strip()!r}"
            )
        found = range(int(first), int(last if dash else first) + 1)
        if not found or len(seeds) + len(found) > MAX_SEEDS:
            raise UsageError(f"--seeds: expected 1 to {MAX_SEEDS} seeds, found {text!r}")
        seeds.extend(found)
    return tuple(dict.fromkeys(seeds))


def add_gate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that decide how sure the gate must be, and what undecided means."""
    group = parser.add_argument_group("how sure the gate must be")
    group.add_argument("--alpha", type=float, metavar="RATE", help="error rate (default 0.05)")
    group.add_argument("--power", type=float, metavar="RATE", help="wanted power (default 0.8)")
    group.add_argument(
        "--max-images", type=int, metavar="N", help="stop after N images a checkpoint"
    )
    group.add_argument("--min-images", type=int, metavar="N", help="no verdict before N images")
    group.add_argument(
        "--inconclusive",
        choices=UNDECIDED,
        help="what an undecided gate counts as; skip is neither, exit code 3 (default skip)",
    )
