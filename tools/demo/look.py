"""Look at the demo world: contact sheets and plain numbers of what a checkpoint draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from demo.models import load_pipeline
from loraeval.testing.portraits import Scene, render_pixel_art, scene
from loraeval.testing.portraits_words import to_rgb

HELD_OUT_FROM = 10_000
"""First seed of portraits that nothing is trained on."""


def background_error(picture: np.ndarray, portrait: Scene) -> float:
    """Return how far the upper corners' median colour is from the caption's, in levels of 255.

    The largest of the three channels; of a two-toned background the nearer tone counts.
    """
    corners = np.concatenate([picture[:16, :16].reshape(-1, 3), picture[:16, -16:].reshape(-1, 3)])
    back = portrait.by_kind["background"]
    seen = np.median(corners, 0)
    return float(min(np.abs(seen - to_rgb(code)).max() for code in (back.hex, *back.hexes[:2])))


def cell_roughness(picture: np.ndarray) -> float:
    """Return the share of all brightness steps that lie inside the 24x24 cells: 0 is pixel art."""
    grey = picture.astype(np.float64).mean(-1)
    size = len(grey) // 24
    inside = edge = 0.0
    for steps in (np.abs(np.diff(grey, axis=0)), np.abs(np.diff(grey, axis=1)).T):
        at_edge = np.arange(1, len(grey)) % size == 0
        inside += float(steps[~at_edge].mean())
        edge += float(steps[at_edge].mean())
    return inside / (inside + edge + 1e-9)


def draw(
    base: Path, lora: Path | None, portraits: list[Scene], device: str, *, guidance: float = 3.0,
    steps: int = 20, style: bool = True,
) -> np.ndarray:  # fmt: skip
    """Draw the portraits' captions with the base and, where given, a LoRA file."""
    dtype = torch.float16 if device == "cuda" else torch.float32
    pipe = load_pipeline(base, device, dtype)
    if lora is not None:
        pipe.load_lora_weights(lora.parent, weight_name=lora.name)
    prompts = [p.caption for p in portraits]
    if not style:
        prompts = [c.replace("pixel art, 24x24", "photograph") for c in prompts]
    made = []
    for i in range(0, len(prompts), 16):
        part = prompts[i : i + 16]
        noise = [torch.Generator("cpu").manual_seed(i + k) for k in range(len(part))]
        made.append(
            pipe(part, num_inference_steps=steps, guidance_scale=guidance, height=96, width=96,
                 generator=noise, output_type="np").images
        )  # fmt: skip
    return (np.concatenate(made) * 255).round().astype(np.uint8)


def sheet(rows: list[np.ndarray], portraits: list[Scene], path: Path) -> None:
    """Write a contact sheet: the true portraits on top, one row a checkpoint below."""
    truth = np.stack([render_pixel_art(p, 96) for p in portraits])
    count = min(12, len(portraits))
    lines = [np.concatenate(list(line[:count]), 1) for line in (truth, *rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(lines)).save(path)


def measure(pictures: np.ndarray, portraits: list[Scene]) -> dict[str, float]:
    """Return median background error, cell roughness and mean error to the true portrait."""
    errors = [background_error(i, p) for i, p in zip(pictures, portraits, strict=True)]
    solid = [e for e, p in zip(errors, portraits, strict=True) if p.background_kind == "solid"]
    truth = np.stack([render_pixel_art(p, 96) for p in portraits]).astype(float)
    return {
        "background_error": round(float(np.median(errors)), 2),
        "solid_background_error": round(float(np.median(solid)), 2),
        "cell_roughness": round(float(np.median([cell_roughness(i) for i in pictures])), 4),
        "error_to_truth": round(float(np.abs(pictures - truth).mean()), 2),
    }


def held_out(count: int) -> list[Scene]:
    """Return portraits that nothing was trained on."""
    return [scene(HELD_OUT_FROM + i) for i in range(count)]
