"""The files that a project needs to gate its LoRAs: settings, prompts, a CI workflow. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loraeval.errors import UsageError
from loraeval.records import Prompt

STARTER_PROMPTS = 12
"""Prompts taken from a training set's captions, spread evenly over it."""

WORKFLOWS = {
    "github": ("github-gpu.yml", ".github/workflows/lora-gate.yml"),
    "gitlab": ("gitlab.yml", ".gitlab-ci.yml"),
}
"""CI service to the workflow that ships with loraeval and where the service looks for it."""


@dataclass(frozen=True, slots=True)
class Project:
    """What is asked of a user: ``name`` of the baseline and the prompt set, ``base_model`` to
    render with, ``checkpoints`` the folder that a trainer saves into, ``style`` the profile's
    name, ``ci`` the service or None.
    """

    name: str
    base_model: str
    checkpoints: str
    style: str
    ci: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise UsageError(
                f"--name: expected letters, digits, '.', '_' and '-' (it names folders), "
                f"found {self.name!r}"
            )


def settings_text(project: Project) -> str:
    """Return pytest.ini: with it ``pytest --checkpoint FILE`` needs no other option."""
    return (
        "[pytest]\n"
        f"lora_baseline = {project.name}\n"
        f"lora_base_model = {project.base_model}\n"
        f"lora_prompts = {project.name}\n"
        "lora_report = reports/gate\n"
    )


def prompts_text(project: Project, captions: Sequence[Prompt]) -> str:
    """Return the prompt set as TOML: from ``captions``, evenly spread, else two to replace."""
    chosen = spread(captions, STARTER_PROMPTS)
    lines = [
        "# Every checkpoint is rendered with these prompts; a baseline holds their scores.",
        "[set]",
        f"name = {json.dumps(project.name)}",
        "",
    ]
    if not chosen:
        lines.insert(1, "# These two are examples: write your own, with your trigger word.")
        texts = [("portrait", "a portrait, front view"), ("object", "a single object, centred")]
    else:
        texts = [(f"caption_{i:02d}", prompt.text) for i, prompt in enumerate(chosen, 1)]
    for name, text in texts:
        quoted = json.dumps(text, ensure_ascii=False)  # a basic string of TOML is one of JSON
        lines += ["[[prompt]]", f"id = {json.dumps(name)}", f"text = {quoted}", ""]
    return "\n".join(lines)


def spread(items: Sequence[Prompt], count: int) -> list[Prompt]:
    """Return at most ``count`` of ``items``, evenly spread, first and last included."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def workflow_text(template: str, project: Project) -> str:
    """Return the workflow with this project's values in the places that it tells people to set.

    Raises ``UsageError`` where the template has no such place: it is then not the one meant.
    """
    values = {
        "LORAS": f":(glob){project.checkpoints.rstrip('/')}/**/*.safetensors",
        "BASELINE": project.name,
        "BASE_MODEL": project.base_model,
    }
    text = template
    for key, value in values.items():
        place = re.search(rf"(?m)^\s*{key}:\s(.*)$", text)
        if place is None:
            raise UsageError(f"the workflow has no line {key}: to set; copy it by hand")
        text = text[: place.start(1)] + json.dumps(value) + text[place.end(1) :]
    folder = project.checkpoints.rstrip("/")
    return text.replace('"loras/**', f'"{folder}/**').replace("- loras/**", f"- {folder}/**")


def template_of(service: str) -> str:
    """Return the text of the workflow for a CI service, as it ships with loraeval."""
    here = Path(__file__).resolve()
    name = WORKFLOWS[service][0]
    for folder in (here.parents[1] / "ci", here.parents[3] / "docs" / "ci"):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8")
    raise UsageError(f"the workflow {name} is not in this installation; install loraeval anew")


def files_of(project: Project, captions: Sequence[Prompt]) -> Mapping[str, str]:
    """Return every file to write, by its path in the project."""
    files = {
        "pytest.ini": settings_text(project),
        f"prompts/{project.name}.toml": prompts_text(project, captions),
    }
    if project.ci is not None:
        files[WORKFLOWS[project.ci][1]] = workflow_text(template_of(project.ci), project)
    return files
