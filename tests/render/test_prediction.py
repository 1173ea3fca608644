"""What files say of prediction and terminal SNR, and of how they want to be rendered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from loraeval.checkpoints.header import Header, TensorInfo
from loraeval.errors import CheckpointError, UsageError
from loraeval.records import Prompt, Recipe
from loraeval.render.base_checks import check_single_file
from loraeval.render.prediction import Prediction, of_lora, of_single_file, scheduler_options
from loraeval.render.random_models import lora_layers, write_lora
from loraeval.render.recorded import notes
from loraeval.render.renderer import Renderer
from loraeval.render.store import Store

V, EPS = "v_prediction", "epsilon"


@pytest.mark.parametrize(
    ("names", "metadata", "kind", "zero"),
    [
        ([], {}, None, None),
        (["v_pred"], {}, V, None),
        (["v_pred", "ztsnr"], {}, V, True),
        ([], {"modelspec.prediction_type": "v"}, V, None),
        ([], {"modelspec.prediction_type": "epsilon"}, EPS, None),
        (["v_pred"], {"modelspec.prediction_type": "v_prediction"}, V, None),
    ],
)
def test_a_single_file_says_what_it_predicts(
    names: list[str], metadata: dict[str, str], kind: str | None, zero: bool | None
) -> None:
    found = of_single_file(dict.fromkeys(names), metadata, "m.safetensors")
    assert (found.kind, found.zero_snr) == (kind, zero)


def test_a_single_file_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(CheckpointError, match="v_pred says that it predicts the velocity"):
        of_single_file({"v_pred": None}, {"modelspec.prediction_type": "epsilon"}, "m")


def test_what_the_file_says_fills_the_recipes_options_and_the_recipes_own_go_first() -> None:
    said = Prediction(V, zero_snr=True, spacing="trailing")
    assert scheduler_options(said, {}, "EulerDiscreteScheduler") == {
        "prediction_type": V, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing",
    }  # fmt: skip
    own = {"prediction_type": EPS, "timestep_spacing": "leading", "rescale_betas_zero_snr": False}
    assert scheduler_options(said, own, "DDIMScheduler") == own
    with pytest.raises(UsageError, match="zero terminal SNR, which diffusers' Heun"):
        scheduler_options(said, {}, "HeunDiscreteScheduler")


@pytest.mark.parametrize(
    ("metadata", "kind", "zero"),
    [
        ({"modelspec.prediction_type": "v"}, V, None),
        ({"ss_v_parameterization": "True", "modelspec.prediction_type": "epsilon"}, V, None),
        ({"ss_zero_terminal_snr": "True"}, None, True),
        ({"ss_zero_terminal_snr": "False"}, None, False),
        ({}, None, None),
    ],
)
def test_what_a_lora_recorded(metadata: dict[str, str], kind: str | None, zero: Any) -> None:
    assert of_lora(metadata) == Prediction(kind, zero)


def test_a_lora_of_another_prediction_is_refused_before_the_first_image(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path
) -> None:
    file = write_lora(
        tmp_path / "v.safetensors", lora_layers("sd15"), metadata={"modelspec.prediction_type": "v"}
    )
    with Renderer(recipe, Store(tmp_path / "s"), devices="cpu") as renderer:
        with pytest.raises(CheckpointError, match=r"predicts the velocity .*, rendered on one"):
            list(renderer.render([file], prompts[:1], [1]))
        assert renderer.facts() == {}


def test_what_the_recipe_does_otherwise_than_the_training_is_said() -> None:
    recipe = Recipe(base_model="/models/other.safetensors", family="sd15")
    base = Prediction()
    metadata = {
        "ss_clip_skip": "2", "ss_resolution": "(768, 512)", "ss_zero_terminal_snr": "True",
        "ss_new_sd_model_hash": "a" * 64, "ss_sd_model_name": "anime.safetensors",
    }  # fmt: skip
    skip = "set clip_skip = 2 in the recipe to render it as it was trained"

    def told(metadata: dict[str, str], base_file: str | None, *names: str) -> list[str]:
        info = TensorInfo("x", "F32", (), 0, 4)
        header = Header(Path("run-3"), 0, 0, metadata, dict.fromkeys(names, info))
        return [line.split(": ", 1)[1] for line in notes(header, recipe, base, base_file)]

    assert told(metadata, "b" * 64, "x.alpha") == [
        "trained with zero terminal SNR, rendered without it",
        f"trained with clip skip 2, rendered with 1; {skip}",
        "trained at 768x512, rendered at 512x512",
        "trained on the base model anime.safetensors, rendered on other.safetensors",
    ]
    same = {"ss_clip_skip": "None", "ss_resolution": "(512, 512)", "ss_new_sd_model_hash": "b" * 64}
    assert told(same, "b" * 64, "x.alpha") == []
    assert told({}, None, "x.alpha") == []
    (line,) = told({}, None, "unet.x.lora_A.weight")
    assert line.startswith("no alpha is recorded")
    assert told({"adapter_config": '{"r": 4, "lora_alpha": 8}'}, None, "x.lora_A.weight") == []


UNET, VAE = "model.diffusion_model.", "first_stage_model."
WHOLE = {
    f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3), f"{VAE}decoder.conv_in.weight": (8, 4, 3, 3),
    "cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,),
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({f"{VAE}decoder.conv_in.weight": None}, "it has no VAE: name one"),
        ({f"{UNET}input_blocks.0.0.weight": (320, 9, 3, 3)}, "an inpainting model"),
        ({f"{UNET}input_blocks.0.0.weight": (320, 8, 3, 3)}, "an image-editing model"),
        ({f"{UNET}input_blocks.0.0.weight": None}, "found no UNet in it"),
        ({"cond_stage_model.model.transformer.x": (1,)}, "a Stable Diffusion 2 model"),
        ({"conditioner.embedders.0.model.x": (1,)}, "SDXL's refiner"),
        ({"cond_stage_model.transformer.embeddings.x": (1,)}, "keys of an old transformers"),
        ({"conditioner.embedders.1.model.ln_final.weight": (1280,),
          f"{UNET}input_blocks.8.1.transformer_blocks.3.x": (1,)}, "SSD-1B or another pruned one"),
    ],
)  # fmt: skip
def test_single_files_that_are_no_whole_model_are_named(change: dict[str, Any], said: str) -> None:
    shapes = {name: shape for name, shape in (WHOLE | change).items() if shape is not None}
    check_single_file(Path("m.safetensors"), WHOLE)
    with pytest.raises(CheckpointError, match=said):
        check_single_file(Path("m.safetensors"), shapes)


def test_a_file_that_breaks_the_loader_is_one_error_of_ours(
    recipe: Recipe, prompts: list[Prompt], tmp_path: Path
) -> None:
    from dataclasses import replace

    from loraeval.errors import LoraevalError

    path = tmp_path / "m.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in WHOLE.items()}, path)
    wanted = replace(recipe, base_model=str(path))
    with (
        Renderer(wanted, Store(tmp_path / "s"), devices="cpu", offline=True) as renderer,
        pytest.raises(LoraevalError, match="base model"),
    ):
        list(renderer.render([None], prompts[:1], [1]))


def test_a_lora_whose_up_matrices_are_all_zero_is_said_to_change_nothing(
    recipe: Recipe, tmp_path: Path
) -> None:
    file = write_lora(tmp_path / "idle.safetensors", lora_layers("sd15"), strength=0.0)
    with Renderer(recipe, Store(tmp_path / "s"), devices="cpu") as renderer:
        renderer.describe([file])
        assert any("it changes nothing" in line for line in renderer.notes)
