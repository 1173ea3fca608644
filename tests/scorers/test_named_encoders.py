"""Encoders by name: timm's and transformers' models from folders, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from loraeval.errors import InputError, UsageError
from loraeval.images.picture import picture_from_array
from loraeval.prompts.building import caption_of
from loraeval.records import Prompt
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.encoders import is_plain_folder, label_of, load_encoder, resolve_encoder
from loraeval.scorers.reference import ReferenceSet
from loraeval.scorers.registry import load_scorers
from loraeval.scorers.style import FurtherView
from loraeval.testing.portraits import render_pixel_art, scene
from loraeval.torchvision_ops import install

install()  # before timm and transformers look for torchvision


@pytest.fixture(scope="module")
def timm_folder(tmp_path_factory) -> Path:
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("timm") / "tiny-net"
    folder.mkdir()
    model = timm.create_model("test_convnext", pretrained=False)
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {
        "architecture": "test_convnext",
        "pretrained_cfg": {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def hf_folder(tmp_path_factory) -> Path:
    import torch
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hf") / "tiny-dino"
    config = Dinov2Config(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=56, patch_size=14
    )
    Dinov2Model(config).save_pretrained(folder, safe_serialization=True)
    held = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "crop_size": {"height": 56}}
    (folder / "preprocessor_config.json").write_text(json.dumps(held))
    return folder


@pytest.mark.parametrize("kind", ["timm", "hf"])
def test_a_folder_of_either_kind_is_an_encoder(kind, timm_folder, hf_folder):
    folder = {"timm": timm_folder, "hf": hf_folder}[kind]
    assert is_plain_folder(str(folder))
    encoder = load_encoder(str(folder), offline=True)
    assert encoder.id.startswith(f"{kind}:{folder.name}@")
    assert not encoder.has_text
    features = encoder.embed_images([render_pixel_art(scene(s), 96) for s in (1, 2)])
    assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    assert features[0] @ features[1] < 1 - 1e-6


def test_transformers_features_are_the_models_own(hf_folder):
    import torch
    from transformers import Dinov2Model

    from loraeval.scorers._embed import to_input

    art = render_pixel_art(scene(3), 96)
    with torch.inference_mode():
        batch = (to_input(art, 56) / 255 - 0.5) / 0.5
        own = Dinov2Model.from_pretrained(hf_folder)(pixel_values=batch).pooler_output[0].numpy()
    found = load_encoder(str(hf_folder)).embed_images([art])[0]
    assert np.allclose(found, own / np.linalg.norm(own), atol=1e-5)


def test_a_baselines_encoder_in_a_folder_is_found_again(timm_folder, monkeypatch):
    encoder_id = load_encoder(str(timm_folder)).id
    monkeypatch.chdir(timm_folder.parent)
    assert resolve_encoder("auto", baseline=encoder_id, offline=True) == "tiny-net"
    assert resolve_encoder("auto", baseline="timm:resnet18@0", offline=True) == "timm:resnet18"


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("timm:no_such_net", UsageError, "timm knows no model"),
        ("timm:hf-hub:some/where", UsageError, "timm knows no model"),
        ("timm:resnet18", InputError, "not in the cache and fetching is off"),
        ("hf:some-one/some-model", InputError, "not in the cache and fetching is off"),
        ("hf:not a name", UsageError, "expected OWNER/NAME"),
    ],
)
def test_what_is_not_at_hand_is_refused_in_a_sentence(spec, error, words, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(error, match=words):
        load_encoder(spec, offline=True)


def test_a_folder_that_asks_for_code_is_refused(hf_folder, tmp_path):
    config = json.loads((hf_folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "x.y"}}))
    (tmp_path / "model.safetensors").write_bytes((hf_folder / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="never run"):
        load_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "hf-hub:a/b"}))
    with pytest.raises(InputError, match="fetched from a hub"):
        load_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="expected a model of timm or of transformers"):
        load_encoder(str(tmp_path))


def test_a_further_encoder_adds_a_metric_of_its_own(timm_folder):
    first, second = load_encoder("efficientnet-lite0"), load_encoder(str(timm_folder))
    images = [(f"p{seed}", scene(seed).cells) for seed in range(6)]
    references = [ReferenceSet.from_images(images, encoder) for encoder in (first, second)]
    label = label_of(second.id)
    views = [FurtherView(label, second, references[1]), FurtherView("bare", second, None)]
    (scorer,) = load_scorers(["style"], first, views)
    assert [m.name for m in scorer.metrics][-2:] == ["style.tiny-net", "style.bare"]
    picture = picture_from_array(render_pixel_art(scene(50), 128), "x")
    context = ScoreContext(Prompt("p", "", caption_of("")), encoder=first, reference=references[0])
    found = {score.metric: score for score in scorer.score(picture, context)}
    assert set(found) == {m.name for m in scorer.metrics}
    assert found["style"].details["encoder"] == first.id
    own = found["style.tiny-net"]
    assert own.value is not None or "does not tell" in str(own.reason)
    assert "no reference" in str(found["style.bare"].reason)
