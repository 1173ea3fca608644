"""Explain the profiles: what each gates, and for which style it is.

loraeval profile list            every profile that is found here, a line each
loraeval profile show NAME       what it gates, metric by metric, and what it expects
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval profile``."""
    kinds = parser.add_subparsers(dest="action", required=True, metavar="list|show")
    listing = kinds.add_parser("list", help="every profile that is found here, a line each")
    listing.add_argument("--json", action="store_true", help="print JSON")
    show = kinds.add_parser("show", help="what a profile gates and expects")
    show.add_argument("name", metavar="NAME", help="a profile's name, or a TOML file")
    show.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the profiles, or one; return 0."""
    from loraeval.baselines.profile import read_profile, shipped_profiles

    if args.action == "list":
        found = [_facts(path) for _, path in sorted(shipped_profiles().items())]
        if args.json:
            print(json.dumps(found, indent=1, ensure_ascii=True))
            return 0
        width = max((len(facts["name"]) for facts in found), default=0)
        for facts in found:
            print(f"{facts['name']:<{width}}  {facts['about'].split(chr(10))[0]}")
        return 0
    read_profile(Path(args.name))  # refuses an unknown name in a sentence
    facts = _facts(shipped_profiles().get(args.name, Path(args.name)))
    print(json.dumps(facts, indent=1, ensure_ascii=True) if args.json else _text(facts))
    return 0


def _facts(path: Path) -> dict[str, Any]:
    """Return what a profile's file says, with what each gated metric means."""
    from loraeval.baselines.profile import profile_to_mapping, read_profile
    from loraeval.errors import BaselineError
    from loraeval.outside.text import clean, read_text
    from loraeval.scorers.meanings import meaning_of

    profile = read_profile(path)
    lines = read_text(path, BaselineError).splitlines()
    about = []
    for line in lines:
        if not line.startswith("#"):
            break
        about.append(clean(line.removeprefix("#").strip(), 200))
    return {
        **profile_to_mapping(profile),
        "about": "\n".join(about),
        "meanings": {metric: meaning_of(metric) for metric in profile.gated},
    }


def _text(facts: dict[str, Any]) -> str:
    lines = [facts["name"], *(f"  {line}" for line in facts["about"].splitlines()), ""]
    width = max(map(len, facts["gated"]))
    lines.append("gated (1 is best; a checkpoint fails where one of these falls by its margin):")
    lines += [f"  {metric:<{width}}  {facts['meanings'][metric]}" for metric in facts["gated"]]
    lattice = facts.get("lattice")
    size = facts.get("size")
    lines += [
        "",
        f"lattice: {'none' if lattice is None else f'{lattice[0]}x{lattice[1]} cells'}",
        f"size: {'any' if size is None else f'{size[0]}x{size[1]} pixels'}",
        f"encoder: {facts.get('encoder') or 'any (--encoder)'}",
        "margins: "
        + (
            ", ".join(f"{metric} {value}" for metric, value in facts["margins"].items())
            if facts.get("margins")
            else "derived from the baseline's own spread when it is frozen"
        ),
    ]
    return "\n".join(lines)
