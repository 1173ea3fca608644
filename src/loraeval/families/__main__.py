"""Print the table of base-model families as Markdown: ``python -m loraeval.families``."""

from __future__ import annotations

import sys

from loraeval.families import FAMILIES, Family, Rendering

HEAD = "| family | name | rendered by | names of a LoRA's layers | default recipe | tested |"


def table() -> str:
    """Return the table of all families, those that are rendered first."""
    rows = sorted(FAMILIES.values(), key=lambda family: family.render is None)
    lines = [HEAD, "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join(lines + [_row(family) for family in rows]) + "\n"


def _row(family: Family) -> str:
    rendering = family.render
    if rendering is None:
        cells = ["not rendered: named, and refused in one sentence", "–", "–", "naming"]
    else:
        cells = [_engine(rendering), _names(rendering), _recipe(rendering), _test(rendering)]
    return "| " + " | ".join([family.title, f"`{family.name}`", *cells]) + " |"


def _engine(rendering: Rendering) -> str:
    how = "own loop" if rendering.prompt_tokens is None else "diffusers' loop"
    return f"{', '.join(f'`{name}`' for name in rendering.pipelines)} ({how})"


def _names(rendering: Rendering) -> str:
    own = " and the original code" if rendering.layers or rendering.names else ""
    return f"diffusers{own}, dotted or with underscores"


def _recipe(rendering: Rendering) -> str:
    negative = {"true": "negative prompt", "embedded": "no negative prompt",
                "by model": "no negative prompt"}[rendering.guided]  # fmt: skip
    return f"{rendering.steps} steps, guidance {rendering.guidance:g}, {negative}"


def _test(rendering: Rendering) -> str:
    if rendering.prompt_tokens is None:
        return "tiny shapes, images of diffusers, LoRAs of sd-scripts' names"
    return "tiny shapes, images and LoRA weights of diffusers"


if __name__ == "__main__":
    sys.stdout.write(table())
