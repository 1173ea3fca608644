"""A small world for real pytest sessions: drawn renders, a manifest, a frozen baseline.

Run ``good`` shows each prompt's scene as pixel art; ``photo`` draws the same scenes as photographs;
``black`` holds black images. Three epochs of ``good`` differ in their noise only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loraeval.cli import main
from loraeval.testing.portraits import render_photo, render_pixel_art, scene

PROMPTS = 8
SEEDS = (1, 2, 3, 4)
SIZE = 96
PROFILE = """
gated = ["palette", "grid", "health"]
lattice = [24, 24]
"""


@dataclass(frozen=True)
class World:
    """Where the drawn renders, their manifest and the baselines lie."""

    root: Path
    manifest: Path
    baselines: Path


def draw(kind: str, number: int, seed: int) -> np.ndarray:
    portrait = scene(number)
    rng = np.random.default_rng([number, seed])
    if kind == "black":
        return np.zeros((SIZE, SIZE, 3), np.uint8)
    if kind == "photo":
        return render_photo(portrait, SIZE, seed)
    noisy = render_pixel_art(portrait, SIZE).astype(float) + rng.normal(0, 2, (SIZE, SIZE, 3))
    return noisy.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    rows = []
    for run, epochs in {"good": (1, 2, 3), "photo": (1,), "black": (1,)}.items():
        for epoch in epochs:
            for number in range(PROMPTS):
                for seed in SEEDS:
                    name = f"{run}/{epoch}/{number}_{seed}.png"
                    (root / name).parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(draw(run, number, seed * 100 + epoch)).save(root / name)
                    rows.append(
                        {
                            "image": name,
                            "run": run,
                            "epoch": epoch,
                            "prompt_id": f"p{number}",
                            "prompt": scene(number).caption,
                            "seed": seed,
                            "width": SIZE,
                            "height": SIZE,
                        }
                    )
    manifest = root / "renders.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    scores = root / "scores.jsonl"
    profile = root / "profile.toml"
    profile.write_text(PROFILE)
    assert main(["score", str(manifest), "--encoder", "none", "--out", str(scores)]) == 0
    freeze = ["baseline", "freeze", "golden", "--scores", str(scores), "--profile", str(profile)]
    freeze += ["--select", "run=good,epoch=1", "--root", str(root / "baselines")]
    assert main(freeze) == 0
    return World(root, manifest, root / "baselines")


@pytest.fixture
def session(pytester: pytest.Pytester, world: World) -> pytest.Pytester:
    """A pytester folder whose configuration names the world's baseline and renders."""
    pytester.makeini(
        f"[pytest]\nlora_baseline = {world.baselines / 'golden'}\nlora_renders = {world.manifest}\n"
        "lora_encoder = none\n"
    )
    return pytester
