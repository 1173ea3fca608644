"""Sample prompts in tables: sd-scripts' TOML and JSON, OneTrainer's and SimpleTuner's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loraeval.errors import PromptError
from loraeval.outside import json as strict_json
from loraeval.outside.text import clean
from loraeval.prompts.building import build_prompt, build_set
from loraeval.prompts.image_metadata import is_image_metadata, of_image_metadata
from loraeval.prompts.limits import MAX_PROMPTS
from loraeval.prompts.sample_lines import sample_id, scheduler_note
from loraeval.records import Prompt, PromptSet

_NUMBERS = {
    "seed": "seed", "width": "width", "height": "height", "sample_steps": "steps",
    "steps": "steps", "diffusion_steps": "steps", "scale": "guidance_scale",
    "cfg_scale": "guidance_scale", "guidance": "guidance_scale",
}  # fmt: skip
"""The trainers' names of a prompt's numbers, and ours."""

_SAMPLERS = ("sample_sampler", "noise_scheduler", "guidance_scale", "controlnet_image")


def is_sample_table(tree: Any) -> bool:
    """Whether a TOML tree is sd-scripts' sample prompts: ``[prompt]`` with ``subset``."""
    prompt = tree.get("prompt") if isinstance(tree, Mapping) else None
    return isinstance(prompt, Mapping) and isinstance(prompt.get("subset"), list)


def of_sample_table(tree: Mapping[str, Any], name: str, where: str) -> PromptSet:
    """Return the prompts of sd-scripts' TOML: each subset with what ``[prompt]`` gives to all."""
    head = {key: value for key, value in tree["prompt"].items() if key != "subset"}
    return _rows([{**head, **_table(row, where)} for row in tree["prompt"]["subset"]], name, where)


def parse_json(text: str, name: str, where: str) -> PromptSet:
    """Return the prompts of a JSON file: a list of sample prompts, SimpleTuner's library of names
    and prompts, or sd-scripts' ``meta_lat.json``.

    Raises ``PromptError`` that says what to write instead for any other JSON.
    """
    try:
        tree = strict_json.loads(text)
    except ValueError as error:
        raise PromptError(f"{where}: not valid JSON ({clean(error)})") from error
    if isinstance(tree, list):
        return _rows([_table(row, where) for row in tree], name, where)
    if isinstance(tree, dict) and is_image_metadata(tree):
        return of_image_metadata(tree, name, where)
    if isinstance(tree, dict) and tree and all(isinstance(v, str) for v in tree.values()):
        prompts = [
            build_prompt(f"{where}: {clean(key, 60)}", prompt_id=key, text=value)
            for key, value in list(tree.items())[: MAX_PROMPTS + 1]
        ]
        return build_set(name, prompts, where)
    raise PromptError(
        f"{where}: no prompts that are known; write a list of tables, each with a prompt: "
        '[{"prompt": "a cat", "seed": 1}], or give a .toml or .txt prompt set'
    )


def _table(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise PromptError(
            f"{where}: expected tables with a prompt, found {clean(repr(row), 60)}; "
            'write {"prompt": "…"} for it'
        )
    return row


def _rows(rows: Sequence[dict[str, Any]], name: str, where: str) -> PromptSet:
    prompts: list[Prompt] = []
    notes: list[str] = []
    for number, row in enumerate(rows[: MAX_PROMPTS + 1]):
        here = f"{where}: prompt number {number + 1}"
        if row.get("enabled") is False:  # OneTrainer's check box
            continue
        if "prompt" not in row:
            raise PromptError(f"{here}: prompt is missing; give each table a prompt")
        overrides = {}
        for key, value in row.items():
            if key in _NUMBERS and value is not None and not (key == "seed" and value == -1):
                whole = isinstance(value, float) and value.is_integer()
                field = _NUMBERS[key]
                overrides[field] = int(value) if whole and field != "guidance_scale" else value
        if row.get("random_seed") is True:
            overrides.pop("seed", None)
        notes += [scheduler_note(key) for key in _SAMPLERS if row.get(key) is not None]
        prompts.append(
            build_prompt(
                here, prompt_id=sample_id(len(prompts)), text=row["prompt"],
                negative=row.get("negative_prompt") or "", overrides=overrides,
            )
        )  # fmt: skip
    return build_set(name, prompts, where, tuple(dict.fromkeys(notes)))
