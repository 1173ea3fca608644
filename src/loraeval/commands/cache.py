"""Show what the store of renders holds, and prune it.

loraeval cache                                 what is there, by run
loraeval cache --prune --older-than 30         remove what was not used for 30 days
loraeval cache --prune --run NAME              remove the renders of a run
loraeval cache --prune --max-gb 5              remove the longest unused until 5 GB are left
loraeval cache --check                         read every file; remove damaged ones

Pruning and checking also remove the unfinished files of runs that were killed.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.errors import UsageError
from loraeval.outside.files import remove_unfinished

if TYPE_CHECKING:
    from loraeval.render.store import Store
    from loraeval.render.store_file import StoreRow

_DAY = 86400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--store", type=Path, default=Path(".loraeval/store"), metavar="DIR")
    parser.add_argument("--prune", action="store_true", help="remove renders that the options name")
    parser.add_argument("--older-than", type=float, metavar="DAYS", help="not used for so long")
    parser.add_argument("--run", metavar="NAME", help="of this run only")
    parser.add_argument("--recipe", metavar="DIGEST", help="of this recipe only")
    parser.add_argument("--max-gb", type=float, metavar="GB", help="keep the store below this size")
    parser.add_argument("--dry-run", action="store_true", help="say what would go, remove nothing")
    parser.add_argument("--check", action="store_true", help="read every file, remove damaged ones")
    parser.add_argument("--json", action="store_true", help="write the overview as JSON")


def run(args: argparse.Namespace) -> int:
    """Show, check or prune the store; return 0."""
    for option, limit in (("--older-than", args.older_than), ("--max-gb", args.max_gb)):
        if limit is not None and not 0 <= limit < math.inf:  # a negative one would remove all
            raise UsageError(f"{option}: expected a number of 0 or more, found {limit:g}")
    if not (args.store / "index.sqlite3").is_file():
        raise UsageError(f"{args.store}: no store of renders here; loraeval run makes one")
    from loraeval.render.store import Store

    store = Store(args.store)
    rows = [row for row in store.rows() if args.run is None or row.run == args.run]
    rows = [row for row in rows if args.recipe is None or row.recipe == args.recipe]
    if args.check:
        return _check(store, rows)
    if args.prune:
        return _prune(store, rows, args)
    print(json.dumps(overview(rows)) if args.json else _table(args.store, rows))
    return 0


def overview(rows: Iterable[StoreRow]) -> list[dict[str, object]]:
    """Return one entry a run and recipe: images, bytes, epochs, faults, days since last use."""
    groups: dict[tuple[str, str], list[StoreRow]] = {}
    for row in rows:
        groups.setdefault((row.run or "?", row.recipe), []).append(row)
    return [
        {
            "run": run,
            "recipe": recipe,
            "images": len(members),
            "bytes": sum(row.bytes for row in members),
            "epochs": sorted({row.epoch for row in members if row.epoch is not None}),
            "faults": sum(row.health in ("black", "nan") for row in members),
            "unused_days": round((time.time() - max(row.used for row in members)) / _DAY, 2),
        }
        for (run, recipe), members in sorted(groups.items())
    ]


def choose(
    rows: Iterable[StoreRow], now: float, older_than: float | None, max_gb: float | None
) -> list[StoreRow]:
    """Return the rows to remove, the longest unused first: those unused for ``older_than`` days, or
    as many as bring the rest below ``max_gb`` (10⁹ bytes); all of them where neither is given.
    """
    ordered = sorted(rows, key=lambda row: (row.used, row.key))
    if older_than is None and max_gb is None:
        return ordered
    left = sum(row.bytes for row in ordered)
    gone = []
    for row in ordered:
        old = older_than is not None and now - row.used > older_than * _DAY
        large = max_gb is not None and left > max_gb * 1e9
        if old or large:
            gone.append(row)
            left -= row.bytes
    return gone


def _prune(store: Store, rows: list[StoreRow], args: argparse.Namespace) -> int:
    if args.older_than is None and args.max_gb is None and args.run is None and not args.recipe:
        raise UsageError("--prune needs --older-than, --max-gb, --run or --recipe to say what goes")
    gone = choose(rows, time.time(), args.older_than, args.max_gb)
    unfinished = ""
    if not args.dry_run:
        store.forget(row.key for row in gone)
        unfinished = _unfinished(store)
    verb = "would remove" if args.dry_run else "removed"
    print(f"{verb} {len(gone)} renders, {sum(row.bytes for row in gone) / 1e6:.1f} MB{unfinished}")
    return 0


def _check(store: Store, rows: list[StoreRow]) -> int:
    damaged = [row.key for row in rows if store.find(row.key) is None]
    store.forget(damaged)
    unfinished = _unfinished(store)
    print(f"{len(rows)} renders read, {len(damaged)} damaged or missing and removed{unfinished}")
    return 0


def _unfinished(store: Store) -> str:
    """Remove what killed runs left half written; return the words that say so, if any."""
    gone = remove_unfinished(store.folder, deep=True)
    return f"; {len(gone)} unfinished files of killed runs removed" if gone else ""


def _table(folder: Path, rows: list[StoreRow]) -> str:
    lines = [f"{folder}: {len(rows)} renders, {sum(row.bytes for row in rows) / 1e6:.1f} MB"]
    found = overview(rows)
    if found:
        lines.append(f"{'run':<28} {'recipe':<16} {'images':>7} {'MB':>8} {'faults':>6}  epochs")
    for item in found:
        epochs = item["epochs"]
        assert isinstance(epochs, list)
        span = f"{epochs[0]}-{epochs[-1]}" if epochs else "-"
        megabytes = float(str(item["bytes"])) / 1e6
        lines.append(
            f"{item['run']!s:<28} {item['recipe']} {item['images']:>7} {megabytes:>8.1f} "
            f"{item['faults']:>6}  {span}"
        )
    return "\n".join(lines)
