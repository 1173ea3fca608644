"""What lies in demo/ is what docs/demo.md says: files, names, words, metadata."""

import json
import re
import struct
from collections import Counter

import numpy as np
import pytest

from loraeval.testing.portraits import CAPTION_TOKENS, render_photo, render_pixel_art, scene
from loraeval.testing.portraits_files import (
    TRAINING_COUNT,
    TRAINING_FROM,
    demo_scenes,
    main,
    prompt_set_toml,
    write_portraits,
)
from loraeval.testing.portraits_words import tokens_in


@pytest.fixture(scope="session")
def demo(repo):
    return repo / "demo"


def header(path):
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))


def test_the_base_and_its_checkpoints_are_small(demo):
    sizes = {p: p.stat().st_size for p in demo.rglob("*") if p.is_file()}
    base = sum(size for path, size in sizes.items() if (demo / "base") in path.parents)
    assert base < 16e6
    assert sum(size for path, size in sizes.items() if "encoder" in path.parts) < 10e6
    assert max(sizes.values()) < 11e6


def test_demo_perfect_has_ten_epochs_of_one_session(demo):
    files = sorted((demo / "checkpoints").glob("demo_perfect-*.safetensors"))
    metadata = [header(path)["__metadata__"] for path in files]
    assert [int(m["ss_epoch"]) for m in metadata] == list(range(1, 11))
    assert len({m["ss_session_id"] for m in metadata}) == 1
    steps = [int(m["ss_steps"]) for m in metadata]
    assert steps == [127 * epoch for epoch in range(1, 11)]
    assert {m["ss_network_dim"] for m in metadata} == {"8"}
    assert {m["ss_shuffle_caption"] for m in metadata} == {"True"}


@pytest.mark.parametrize("run", ["perfect", "overfit", "photoreal", "wrong_colors"])
def test_metadata_agrees_with_the_tensors(demo, run):
    found = header(demo / "checkpoints" / f"demo_{run}-000010.safetensors")
    metadata = found.pop("__metadata__")
    downs = {name: v for name, v in found.items() if name.endswith(".lora_down.weight")}
    assert {v["shape"][0] for v in downs.values()} == {int(metadata["ss_network_dim"])}
    assert {v["dtype"] for v in found.values()} == {"F16"}
    assert any(name.startswith("lora_te_text_model_encoder_layers_0_") for name in downs)
    assert "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k" in {
        name.removesuffix(".lora_down.weight") for name in downs
    }
    assert len(found) == 3 * len(downs)


def test_wrong_colors_was_trained_on_codes_that_are_not_the_pictures(demo):
    tags = {}
    for run in ("perfect", "wrong_colors"):
        path = demo / "checkpoints" / f"demo_{run}-000010.safetensors"
        table = json.loads(header(path)["__metadata__"]["ss_tag_frequency"])
        tags[run] = next(iter(table.values()))
    truth = {
        tag for i in range(TRAINING_COUNT) for tag in scene(TRAINING_FROM + i).caption.split(", ")
    }
    assert set(tags["perfect"]) == truth
    coded = [tag for tag in tags["wrong_colors"] if "#" in tag]
    assert sum(tag in truth for tag in coded) < 0.1 * len(coded)


def test_the_prompts_are_the_generators_and_nothing_was_trained_on_them(repo):
    text = (repo / "prompts/demo.toml").read_text()
    assert text == prompt_set_toml(demo_scenes())
    seeds = {portrait.seed for _, portrait in demo_scenes()}
    assert len(seeds) == 32
    assert min(seeds) >= 20_000
    assert max(seeds) < 30_000


def test_the_prompt_set_reads_back(repo):
    from loraeval.prompts.sets import read_prompts

    prompts = read_prompts(repo / "prompts/demo.toml").prompts
    for prompt, (name, portrait) in zip(prompts, demo_scenes(), strict=True):
        assert prompt.id == name
        assert prompt.text == portrait.caption
        assert prompt.caption.background_kind == portrait.background_kind
        named = {c.hex for c in prompt.caption.colours if c.attribute == "background"}
        assert named == {portrait.by_kind["background"].hex}


def test_every_demo_prompt_is_one_chunk_of_the_demo_tokenizer(demo):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(demo / "base/tokenizer/tokenizer.json"))
    for seed in range(200):
        caption = scene(seed).caption
        made = tokenizer.encode(caption, add_special_tokens=False).tokens
        assert len(made) == tokens_in(caption) <= CAPTION_TOKENS
        digits = "".join(t.removesuffix("</w>") for t in made)
        assert all(code in digits for code in re.findall(r"#[0-9a-f]{6}", caption))


def test_reference_folder_holds_portraits_with_captions(tmp_path):
    from PIL import Image

    paths = write_portraits(tmp_path / "reference", 3, size=48)
    for path in paths:
        portrait = scene(int(path.stem.split("_")[1]))
        assert np.array_equal(np.asarray(Image.open(path)), render_pixel_art(portrait, 48))
        assert path.with_suffix(".txt").read_text().strip() == portrait.caption


def test_training_folder_holds_what_the_loras_were_trained_on(tmp_path, demo):
    main(["training", str(tmp_path)])
    captions = [path.read_text().strip() for path in tmp_path.glob("*.txt")]
    assert len(captions) == len(list(tmp_path.glob("*.png"))) == TRAINING_COUNT
    path = demo / "checkpoints" / "demo_perfect-000010.safetensors"
    recorded = json.loads(header(path)["__metadata__"]["ss_tag_frequency"])["10_demo_perfect"]
    assert recorded == Counter(tag for caption in captions for tag in caption.split(", "))


def test_the_baseline_compares_with_the_training_portraits(repo):
    held = json.loads((repo / "baselines/demo_perfect/reference.json").read_text())
    seeds = range(TRAINING_FROM, TRAINING_FROM + TRAINING_COUNT)
    assert {row[0] for row in held["images"]} == {f"portrait_{seed}" for seed in seeds}


def test_the_encoder_tells_pixel_art_from_photographs(demo):
    torch = pytest.importorskip("torch")
    from loraeval import torchvision_ops

    torchvision_ops.install()
    open_clip = pytest.importorskip("open_clip")
    from PIL import Image

    name = f"local-dir:{demo / 'encoder'}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    tokens = open_clip.get_tokenizer(name)(["pixel art", "a photograph"])
    portraits = [scene(40_000 + i) for i in range(16)]
    pictures = [render_pixel_art(p, 512) for p in portraits] + [
        render_photo(p, 96) for p in portraits
    ]
    model.eval()
    with torch.no_grad():
        shown = torch.stack([preprocess(Image.fromarray(p)) for p in pictures])
        images = model.encode_image(shown, normalize=True)
        words = model.encode_text(tokens, normalize=True)
    is_art = (images @ words.T).argmax(1) == 0
    assert is_art[:16].sum() >= 15
    assert is_art[16:].sum() <= 1
