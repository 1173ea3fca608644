"""Freeze, list and show baselines.

A baseline is a folder of small text files in baselines/: the scores that a checkpoint is gated
against, and everything that decides whether others may be compared with them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.commands.baseline_text import baseline_text, margins_text
from loraeval.errors import BaselineError, PromptError, UsageError
from loraeval.outside.runner import quoted_json

if TYPE_CHECKING:
    from loraeval.baselines import Baseline, Profile
    from loraeval.records import ScoreRow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the three verbs and their options."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    freeze = verbs.add_parser("freeze", help="make a baseline from scores")
    freeze.add_argument("name", metavar="NAME", help="folder name in baselines/")
    freeze.add_argument("--scores", required=True, type=Path, metavar="FILE", help="scores file")
    freeze.add_argument(
        "--select", metavar="CONDITIONS", help="e.g. 'run=SD15_PERFECT,epoch=7-9' (default: all)"
    )
    freeze.add_argument("--profile", type=Path, metavar="FILE", help="TOML: what is gated, and how")
    freeze.add_argument(
        "--gated", metavar="METRICS", help="comma-separated, instead of the profile's"
    )
    freeze.add_argument("--prompts", metavar="SET", help="prompt set behind the images, to record")
    freeze.add_argument("--recipe", type=Path, metavar="FILE", help="recipe behind the images")
    freeze.add_argument(
        "--parameters", type=Path, metavar="FILE", help="JSON: the run's training parameters"
    )
    freeze.add_argument(
        "--reference", type=Path, metavar="FILE", help="JSON: features of the reference images"
    )
    freeze.add_argument(
        "--repeat",
        type=Path,
        metavar="FILE",
        help="scores of the same prompts and seeds made again on another machine",
    )
    freeze.add_argument("--source", metavar="TEXT", help="where the images came from, to record")
    freeze.add_argument(
        "--renders",
        metavar="DIR",
        help="folder that the images lie in, recorded so that reports can show them",
    )
    how = freeze.add_mutually_exclusive_group()
    how.add_argument("--merge", action="store_true", help="keep the old rows, add the new")
    how.add_argument("--replace", action="store_true", help="drop old rows that are not given")
    listing = verbs.add_parser("list", help="name the baselines there are")
    show = verbs.add_parser("show", help="say what a baseline holds")
    show.add_argument("name", metavar="NAME", help="name or folder")
    show.add_argument("--json", action="store_true", help="print JSON")
    for verb in (freeze, listing, show):
        verb.add_argument(
            "--root", type=Path, default=Path("baselines"), metavar="DIR", help="default baselines/"
        )


def run(args: argparse.Namespace) -> int:
    """Run the verb and return the exit code."""
    return {"freeze": _freeze, "list": _list, "show": _show}[args.verb](args)


def _freeze(args: argparse.Namespace) -> int:
    from loraeval.baselines import dropped_rows, freeze, merge_rows, write_baseline
    from loraeval.baselines import read_baseline as read
    from loraeval.evaluation.panels import say
    from loraeval.prompts.sets import read_prompts
    from loraeval.scores_file import read_scores

    if args.prompts:
        read_prompts(args.prompts)
    rows = read_scores(args.scores)
    folder = args.root / args.name
    old = read(folder) if (folder / "baseline.toml").is_file() and not args.replace else None
    profile = _profile(args, old)
    made = _made_by(args.scores, rows)
    facts: dict[str, Any] = {
        "prompt_set": args.prompts or made.get("prompt_set") or (old.prompt_set if old else None),
        "recipe": _recipe(args.recipe) or made.get("recipe") or (old.recipe if old else None),
        "parameters": _parameters(args.parameters) or (old.parameters if old else None),
        "reference_file": _existing(args.reference)
        or made.get("reference_file")
        or (old.reference_file if old else None),
        "provenance": _provenance(args, rows),
    }
    repeat = read_scores(args.repeat) if args.repeat else None
    new = freeze(args.name, rows, profile=profile, select=args.select, repeat=repeat, **facts)
    if old is not None and args.merge:
        joined = [
            replace(row, versions=new.versions, encoder=new.encoder) for row in merge_rows(old, new)
        ]
        both = f"{old.provenance.get('selection', '?')} + {new.provenance['selection']}"
        new = freeze(args.name, joined, profile=profile, repeat=repeat, **facts)
        new = replace(new, provenance={**new.provenance, "selection": both})
    elif old is not None and (lost := dropped_rows(old, new)):
        raise BaselineError(
            f"baseline {args.name} holds {len(lost)} rows that are not given (first: "
            f"{lost[0].image}); keep them with --merge, or drop them with --replace"
        )
    write_baseline(new, folder)
    print(f"{folder}: {len(new.rows)} images frozen")
    if new.reference_file is None and {"style", "style.memorisation"} & set(profile.gated):
        say(
            "style is gated and no reference features are frozen with it: freeze with "
            "--reference FILE, or give the reference images to every gate"
        )
    print(margins_text(new))
    return 0


def _list(args: argparse.Namespace) -> int:
    from loraeval.baselines import list_baselines, read_baseline

    names = list_baselines(args.root)
    if not names:
        print(
            f"no baseline in {args.root}/; make one with: "
            "loraeval baseline freeze NAME --scores SCORES"
        )
        return 0
    width = max(map(len, names))
    for name in names:
        try:
            found = read_baseline(name, args.root)
        except BaselineError as error:
            print(f"{name:<{width}}  unreadable: {error}")
            continue
        gated = ", ".join(found.profile.gated)
        print(f"{name:<{width}}  {len(found.rows):>4} images  gates {gated}")
    return 0


def _show(args: argparse.Namespace) -> int:
    from loraeval.baselines import read_baseline

    found = read_baseline(args.name, args.root)
    if args.json:
        print(quoted_json(json.dumps(_facts(found), indent=1, allow_nan=False)))
        return 0
    print(baseline_text(found))
    return 0


def _facts(baseline: Baseline) -> dict[str, Any]:
    from loraeval.baselines.profile import profile_to_mapping
    from loraeval.baselines.softened import softened

    return {
        "name": baseline.name,
        "images": len(baseline.rows),
        "profile": profile_to_mapping(baseline.profile),
        "margins": dict(baseline.margins),
        "margin_words": dict(baseline.margin_words),
        "softened": list(softened(baseline)),
        "prompt_set": baseline.prompt_set,
        "prompt_digest": baseline.prompt_digest,
        "recipe_digest": baseline.recipe_digest,
        "encoder": baseline.encoder,
        "versions": dict(baseline.versions),
        "repeat_noise": dict(baseline.repeat_noise),
        "provenance": dict(baseline.provenance),
        "parameters": dict(baseline.parameters),
    }


def _provenance(args: argparse.Namespace, rows: Sequence[ScoreRow]) -> dict[str, str]:
    from loraeval.evaluation.made_with import KEY, made_with

    facts = {"scores": args.scores.name}
    if (made := made_with(rows)) is not None:
        facts[KEY] = made
    if args.source:
        facts["source"] = args.source
    if args.renders:
        facts["renders"] = args.renders
    return facts


def _profile(args: argparse.Namespace, old: Baseline | None) -> Profile:
    from loraeval.baselines import Profile, read_profile

    profile = read_profile(args.profile) if args.profile else (old.profile if old else Profile())
    if not args.gated:
        return profile
    names = tuple(name.strip() for name in args.gated.split(",") if name.strip())
    kept = {metric: value for metric, value in profile.margins.items() if metric in names}
    return replace(profile, gated=names, margins=kept)


def _made_by(scores: Path, rows: Sequence[ScoreRow]) -> dict[str, Any]:
    """Return the recipe, prompt set and reference that ``loraeval run`` wrote beside its scores.

    Empty where nothing lies there, or where it is not what these rows were made by.
    """
    from loraeval.outside import json as strict_json
    from loraeval.outside.text import read_text
    from loraeval.prompts.sets import read_prompts
    from loraeval.scorers.reference import ReferenceSet

    made: dict[str, Any] = {}
    try:
        facts = strict_json.loads(read_text(scores.parent / "run.json", PromptError))
        if {row.recipe for row in rows} != {facts["recipe_digest"]}:
            return {}
        made["recipe"] = {key: v for key, v in facts["recipe"].items() if v is not None}
        if read_prompts(facts["prompt_set"]).digest == facts["prompt_digest"]:
            made["prompt_set"] = facts["prompt_set"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, PromptError):
        pass
    try:
        path = scores.parent / "reference.json"
        encoder = ReferenceSet.from_file(path).encoder
        if encoder in {row.encoder for row in rows}:
            made["reference_file"] = path
    except (OSError, ValueError, BaselineError):
        pass
    return made


def _recipe(path: Path | None) -> Mapping[str, Any] | None:
    if path is None:
        return None
    from dataclasses import asdict

    from loraeval.render.recipe import read_recipe

    return {key: value for key, value in asdict(read_recipe(path)).items() if value is not None}


def _parameters(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    from loraeval.outside import json as strict_json
    from loraeval.outside.text import read_text

    try:
        data = strict_json.loads(read_text(path, UsageError))
    except ValueError as error:
        raise UsageError(f"--parameters: {path} is not JSON ({error})") from error
    if not isinstance(data, dict):
        raise UsageError(f"--parameters: expected a JSON object in {path}")
    return data


def _existing(path: Path | None) -> Path | None:
    if path is not None and not path.is_file():
        raise UsageError(f"--reference: there is no file {path}")
    if path is not None:
        from loraeval.scorers.reference import ReferenceSet

        try:
            ReferenceSet.from_file(path)
        except BaselineError as error:
            raise UsageError(
                f"--reference: {path} holds no reference features; write them with: "
                "loraeval score SOURCE --reference DIR --save-reference FILE"
            ) from error
    return path
