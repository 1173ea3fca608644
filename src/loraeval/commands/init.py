"""Write the files that a project needs: pytest.ini, a prompt set, a CI workflow.

Three questions, or their options: which base model, which folder the trainer saves into, which
style. Nothing that exists is written over without --force. The last line is the next command.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loraeval.errors import UsageError

if TYPE_CHECKING:
    from loraeval.evaluation.project_files import Project
    from loraeval.records import Prompt

QUESTIONS = {
    "base_model": "base model to render with (a diffusers folder, a .safetensors file or a hub id)",
    "checkpoints": "folder that the trainer saves LoRA files into",
    "style": "style",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval init``."""
    parser.add_argument("--name", metavar="NAME", help="of baseline and prompts (default: folder)")
    parser.add_argument("--base-model", metavar="PATH_OR_ID", help=QUESTIONS["base_model"])
    parser.add_argument("--checkpoints", metavar="DIR", help=QUESTIONS["checkpoints"])
    parser.add_argument("--style", metavar="PROFILE", help="a profile: see loraeval profile list")
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="DIR",
        help="training images with captions: the prompts are taken from them",
    )
    parser.add_argument("--ci", choices=("github", "gitlab"), help="write the service's workflow")
    parser.add_argument("--force", action="store_true", help="write over files that exist")


def run(args: argparse.Namespace) -> int:
    """Write the files and print the next command; return 0."""
    from loraeval.baselines import read_profile
    from loraeval.evaluation.project_files import Project, files_of
    from loraeval.outside.files import write_text_atomically
    from loraeval.outside.text import clean

    answers = _answers(args)
    read_profile(Path(answers["style"]))  # an unknown one is refused with the names there are
    name = args.name or Path.cwd().name.replace(" ", "_")
    project = Project(name=name, ci=args.ci, **answers)
    files = files_of(project, _captions(args.reference))
    there = [path for path in files if Path(path).exists()]
    if there and not args.force:
        raise UsageError(
            f"expected to write new files, found {', '.join(there)}; move them away, or write over "
            "them with --force"
        )
    if (elsewhere := _settings_elsewhere()) is not None:
        print(f"{elsewhere} holds pytest's settings; add these there (pytest.ini is not written):")
        print("\n".join(f"  {line}" for line in files["pytest.ini"].splitlines()[1:]))
        files = {path: text for path, text in files.items() if path != "pytest.ini"}
    for path, text in files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(Path(path), text)
        print(f"wrote {clean(path)}")
    print("next, with the checkpoint that you trust:")
    for line in _next(project, args.reference):
        print(f"  {line}")
    return 0


def _answers(args: argparse.Namespace) -> dict[str, str]:
    """Return the three answers, asked for on a terminal; else all that is missing at once."""
    given = {key: getattr(args, key) for key in QUESTIONS}
    missing = [key for key, value in given.items() if not value]
    if missing and not sys.stdin.isatty():
        options = ", ".join(f"--{key.replace('_', '-')}" for key in missing)
        raise UsageError(f"expected three answers, found no terminal to ask on; give {options}")
    for key in missing:
        if key == "style":
            print(f"styles: {', '.join(_profiles())}")
        given[key] = input(f"{QUESTIONS[key]}: ").strip()
        if not given[key]:
            raise UsageError(f"expected an answer; give --{key.replace('_', '-')}, or type one")
    return given


def _profiles() -> list[str]:
    from loraeval.baselines.profile import shipped_profiles

    return sorted(shipped_profiles())


def _captions(folder: Path | None) -> list[Prompt]:
    if folder is None:
        return []
    from loraeval.prompts.sets import read_prompts

    return list(read_prompts(folder).prompts)


def _settings_elsewhere() -> str | None:
    """Return the file that already holds pytest's settings, which a new pytest.ini would hide."""
    for name, mark in (("pyproject.toml", "[tool.pytest.ini_options]"), ("tox.ini", "[pytest]"),
                       ("setup.cfg", "[tool:pytest]")):  # fmt: skip
        path = Path(name)
        if path.is_file() and mark in path.read_text(encoding="utf-8", errors="replace"):
            return name
    return None


def _next(project: Project, reference: Path | None) -> list[str]:
    good = f"{project.checkpoints.rstrip('/')}/NAME.safetensors"
    render = ["loraeval", "run", good, "--base-model", project.base_model, "--prompts"]
    render += [project.name, "--seeds", "1-4", "--out", "runs/golden"]
    if reference is not None:
        render += ["--reference", str(reference)]
    freeze = ["loraeval", "baseline", "freeze", project.name, "--scores"]
    freeze += ["runs/golden/scores.jsonl", "--profile", project.style]
    return [shlex.join(render), shlex.join(freeze), f"pytest --checkpoint {project.checkpoints}"]
