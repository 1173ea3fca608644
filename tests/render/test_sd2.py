"""SD 2.x: told from SD 1.x by its UNet, v-prediction, images of diffusers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from loraeval.records import Caption, Prompt, Recipe
from loraeval.render.random_models import build_base, lora_layers, write_lora
from loraeval.render.renderer import Renderer
from loraeval.render.sd_load import quieten
from loraeval.render.store import Store


def test_images_are_those_of_diffusers_with_v_prediction(tmp_path: Path) -> None:
    quieten()
    from diffusers import StableDiffusionPipeline

    base = build_base(tmp_path / "base", "sd2")
    lora = write_lora(tmp_path / "run-000001.safetensors", lora_layers("sd2"), seed=1)
    recipe = Recipe(base_model=str(base), width=64, height=64, steps=3, scheduler="base")
    with Renderer(recipe, Store(tmp_path / "store"), devices="cpu") as renderer:
        assert renderer.recipe.family == "sd2"
        prompts = [Prompt("p", "a cat", Caption("a cat"))]
        made = [
            np.asarray(Image.open(r.image)) for r in renderer.render([None, lora], prompts, [1])
        ]
    for loras, found in zip(([], [lora]), made, strict=True):
        pipe = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
        pipe.set_progress_bar_config(disable=True)
        assert pipe.scheduler.config.prediction_type == "v_prediction"
        for path in loras:
            pipe.load_lora_weights(path)
        image = pipe(
            "a cat",
            width=64,
            height=64,
            num_inference_steps=3,
            guidance_scale=7.5,
            generator=torch.Generator().manual_seed(1),
            output_type="np",
        ).images[0]
        assert abs((image * 255).round().astype(int) - found.astype(int)).max() <= 1
