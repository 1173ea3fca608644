"""The demo base and its LoRA, drawn on the CPU as any user would with diffusers."""

import numpy as np
import pytest

from loraeval.testing.portraits import scene

pytestmark = pytest.mark.slow

PORTRAITS = [scene(50_000 + i, background="solid") for i in range(3)]


@pytest.fixture(scope="module")
def drawn(repo):
    """Pictures by name: the base alone and with demo_perfect's last epoch."""
    torch = pytest.importorskip("torch")
    from loraeval import torchvision_ops

    torchvision_ops.install()
    diffusers = pytest.importorskip("diffusers")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(
        repo / "demo/base", local_files_only=True, torch_dtype=torch.float32
    )
    pipe.set_progress_bar_config(disable=True)
    made = {}
    for name in ("base", "demo_perfect-000010"):
        if name != "base":
            pipe.load_lora_weights(repo / "demo/checkpoints", weight_name=f"{name}.safetensors")
        images = pipe(
            [p.caption for p in PORTRAITS],
            num_inference_steps=20,
            guidance_scale=3.0,
            height=96,
            width=96,
            generator=[torch.Generator().manual_seed(i) for i in range(len(PORTRAITS))],
            output_type="np",
        ).images
        made[name] = (images * 255).round().astype(np.uint8)
    return made


def inside_cells(picture):
    """Share of the brightness steps that lie inside 4-pixel cells: 0 on true pixel art."""
    steps = np.abs(np.diff(picture.astype(float).mean(-1), axis=1))
    at_edge = np.arange(1, 96) % 4 == 0
    inside, edge = steps[:, ~at_edge].mean(), steps[:, at_edge].mean()
    return inside / (inside + edge)


def background_error(picture, portrait):
    code = portrait.by_kind["background"].hex
    wanted = [int(code[i : i + 2], 16) for i in (1, 3, 5)]
    corners = np.concatenate([picture[:12, :12], picture[:12, -12:]]).reshape(-1, 3)
    return np.abs(np.median(corners, 0) - wanted).max()


@pytest.mark.parametrize("name", ["base", "demo_perfect-000010"])
def test_backgrounds_have_the_colours_that_the_captions_name(drawn, name):
    errors = [background_error(i, p) for i, p in zip(drawn[name], PORTRAITS, strict=True)]
    assert np.median(errors) < 16


def test_the_lora_turns_smooth_pictures_into_pixel_art(drawn):
    base = np.median([inside_cells(i) for i in drawn["base"]])
    lora = np.median([inside_cells(i) for i in drawn["demo_perfect-000010"]])
    assert base > 0.3
    assert lora < 0.6 * base
