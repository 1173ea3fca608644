"""Portraits written to disk: the demo's training folder, held-out portraits, a prompt set.

``python -m loraeval.testing.portraits_files training FOLDER`` writes the portraits that the demo's
LoRAs were trained on, ``... reference FOLDER`` held-out ones, each with its caption;
``... prompts FILE`` writes the demo's prompt set.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from loraeval.testing.portraits import Scene, render_photo, render_pixel_art, scene

TRAINING_FROM = 500
"""First seed of the portraits that the demo's LoRAs are trained on."""

TRAINING_COUNT = 203
"""Portraits that the demo's LoRAs are trained on."""

REFERENCE_FROM = 30_000
"""First seed of held-out portraits; nothing is trained on them or prompted from them."""

PROMPTS_FROM = 20_000
"""First seed of the demo's prompts; nothing is trained on them."""

PROMPT_BACKGROUNDS = ("solid",) * 24 + ("split",) * 3 + ("gradient",) * 3 + ("checkered",) * 2


def write_portraits(
    folder: Path,
    count: int = 64,
    first: int = REFERENCE_FROM,
    size: int = 96,
    *,
    photographs: bool = False,
) -> list[Path]:
    """Write ``count`` portraits as PNG, each with its caption as ``.txt`` beside it.

    ``size`` is the side in pixels; ``photographs`` draws the scenes as photographs instead of
    pixel art. Returns the images' paths in order of their seeds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for seed in range(first, first + count):
        portrait = scene(seed)
        draw = render_photo if photographs else render_pixel_art
        path = folder / f"portrait_{seed}.png"
        Image.fromarray(np.ascontiguousarray(draw(portrait, size))).save(path)
        path.with_suffix(".txt").write_text(portrait.caption + "\n", encoding="utf-8")
        written.append(path)
    return written


def demo_scenes() -> list[tuple[str, Scene]]:
    """Return the portraits that the demo's prompts describe, with the prompts' ids."""
    made = []
    for number, kind in enumerate(PROMPT_BACKGROUNDS):
        seed = PROMPTS_FROM + number
        made.append((f"{kind}_{seed}", scene(seed, background=kind)))
    return made


def prompt_set_toml(portraits: Iterable[tuple[str, Scene]]) -> str:
    """Return a prompt set in loraeval's TOML with one prompt a portrait."""
    lines = [
        "# The demo's prompts: captions of portraits whose seeds nothing was trained on.",
        "# Written by: python -m loraeval.testing.portraits_files prompts prompts/demo.toml",
        "",
        "[set]",
        'name = "demo"',
        'description = "Procedural portraits, hex-coded, one 75-token chunk each."',
        "",
    ]
    for name, portrait in portraits:
        tags = [f"background_{portrait.background_kind}"]
        tags += [k for k in portrait.captioned if k in ("headwear", "eyewear", "jewellery", "eyes")]
        listed = ", ".join(f'"{tag}"' for tag in tags)
        lines += ["[[prompt]]", f'id = "{name}"', f"tags = [{listed}]"]
        lines += [f'text = "{portrait.caption}"', ""]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("training", "reference", "prompts"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--count", type=int, help="portraits; all 203, or 64 held-out ones")
    parser.add_argument("--size", type=int, default=96)
    args = parser.parse_args(argv)
    if args.what == "training":
        write_portraits(args.path, args.count or TRAINING_COUNT, TRAINING_FROM, args.size)
    elif args.what == "reference":
        write_portraits(args.path, args.count or 64, size=args.size)
    else:
        args.path.write_text(prompt_set_toml(demo_scenes()), encoding="utf-8")


if __name__ == "__main__":
    main()
