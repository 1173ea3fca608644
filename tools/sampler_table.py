"""Write docs/samplers.md out of the table that recipes are read by:
``python tools/sampler_table.py``.
"""

from __future__ import annotations

from pathlib import Path

from loraeval.render.samplers import OPTIONS, SAMPLERS, SCHEDULES, draws_noise

PAGE = Path(__file__).resolve().parent.parent / "docs" / "samplers.md"
HEAD = """# Samplers

A recipe's `scheduler` takes a sampler's name, alone or with a noise schedule behind it
(`dpmpp_2m_karras`), as ComfyUI writes it. What A1111 writes (`DPM++ 2M Karras`) and sd-scripts
(`k_euler_a`) is read too, and so are diffusers' class names. Whatever it was called, the recipe
holds the class and its options, and one digest. `base` takes the base model's own scheduler.

This page is written by `python tools/sampler_table.py` from the table that recipes are read by.

| sampler | also | diffusers' class | with | noise schedules | draws noise |
| --- | --- | --- | --- | --- | --- |
"""
TAIL = """
Samplers that draw noise in their steps draw it per image, from the image's own seed, on the CPU:
an image is the same whatever it shares a batch with. An option of `scheduler_options` that the
class does not take is refused, with the nearest one that it does.

| noise schedule | is |
| --- | --- |
"""


def page() -> str:
    """Return the whole page."""
    rows = []
    for name, sampler in SAMPLERS.items():
        able = [
            word for word, options in SCHEDULES.items()
            if set(options) <= OPTIONS[sampler.scheduler]
        ]  # fmt: skip
        noisy = "yes" if draws_noise(sampler.scheduler, sampler.options) else ""
        cells = (
            f"`{name}`", _codes(sampler.aliases), f"`{sampler.scheduler}`",
            _options(sampler.options), _codes(able), noisy,
        )  # fmt: skip
        rows.append(f"| {' | '.join(cells)} |")
    schedules = [f"| `{word}` | {_options(options)} |" for word, options in SCHEDULES.items()]
    return HEAD + "\n".join(rows) + "\n" + TAIL + "\n".join(schedules) + "\n"


def _codes(words: object) -> str:
    return ", ".join(f"`{word}`" for word in words)  # type: ignore[attr-defined]


def _options(options: object) -> str:
    pairs = options.items()  # type: ignore[attr-defined]
    return ", ".join(f"`{key} = {str(value).lower() if value is True else value}`"
                     for key, value in pairs)  # fmt: skip


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
