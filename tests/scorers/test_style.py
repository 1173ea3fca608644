"""Style: nearness, copies, agreement with the prompt; what it refuses; the real runs in order."""

from __future__ import annotations

import json
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from loraeval.errors import StaleError
from loraeval.images.picture import open_picture, picture_from_array
from loraeval.records import Caption, Prompt
from loraeval.scorers.base import ScoreContext, Scorer
from loraeval.scorers.reference import ReferenceSet
from loraeval.scorers.reference_view import view_of
from loraeval.scorers.style import StyleScorer
from loraeval.testing.portraits import render_photo, render_pixel_art, scene


class Edges:
    """Where in a picture how much changes, along x and along y; texts by their letters."""

    id = "edges@000000000000"
    license = "Apache-2.0"
    has_text = True
    calls = 0

    def embed_images(self, images):
        self.calls += len(images)
        rows = []
        for image in images:
            small = Image.fromarray(np.ascontiguousarray(image)).resize((96, 96))
            values = np.asarray(small, np.float32).mean(axis=2)
            planes = [np.abs(np.diff(values, axis=axis, prepend=0))[8:, 8:] for axis in (0, 1)]
            row = np.sqrt([p.reshape(11, 8, 11, 8).mean(axis=(1, 3)) for p in planes]).ravel() + 0.1
            rows.append(row / np.linalg.norm(row))
        return np.asarray(rows, np.float32)

    def embed_texts(self, texts):
        rows = np.zeros((len(texts), 242), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[[ord(letter) % 242 for letter in text]] = 1
            row /= np.linalg.norm(row)
        return rows


@pytest.fixture
def encoder():
    return Edges()


@pytest.fixture(scope="module")
def reference():
    images = [(f"p{seed}", scene(seed).cells) for seed in range(24)]
    return ReferenceSet.from_images(images, Edges())


def prompt(text: str = "pixel art, portrait") -> Prompt:
    return Prompt("p", text, Caption(text))


def scores(picture, **context) -> dict:
    scorer = context.pop("scorer", None) or StyleScorer()
    text = context.pop("text", "pixel art, portrait")
    return {s.metric: s for s in scorer.score(picture, ScoreContext(prompt(text), **context))}


def large(seed: int):
    return picture_from_array(render_pixel_art(scene(seed), 512), f"s{seed}")


def test_it_is_a_scorer_whose_metrics_carry_the_license():
    scorer = StyleScorer(Edges())
    assert isinstance(scorer, Scorer)
    assert [metric.name for metric in scorer.metrics] == [
        "style",
        "style.text",
        "style.memorisation",
        "style.leak",
    ]
    assert {metric.weights_license for metric in scorer.metrics} == {"Apache-2.0"}
    assert {metric.weights_license for metric in StyleScorer().metrics} == {None}


def test_a_copy_is_told_and_named(reference, encoder):
    copy = scores(large(5), reference=reference, encoder=encoder)
    assert copy["style.memorisation"].value < 0.3
    assert copy["style.memorisation"].details["nearest"] == "p5"
    assert copy["style"].details["nearest"] == "p5"
    new = [scores(large(seed), reference=reference, encoder=encoder) for seed in range(100, 112)]
    assert np.median([found["style.memorisation"].value for found in new]) > 0.9


def test_style_falls_from_portraits_to_photographs(reference, encoder):
    def mean(pictures):
        found = [scores(p, reference=reference, encoder=encoder)["style"].value for p in pictures]
        return np.mean(found)

    noise = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), dtype=np.uint8)
    art = mean([large(seed) for seed in range(100, 108)])
    photos = mean(
        [picture_from_array(render_photo(scene(seed), 256), "f") for seed in range(100, 108)]
    )
    assert art > photos
    assert art > 0.3
    assert mean([picture_from_array(part, "n") for part in noise]) == 0


def test_features_that_are_there_are_not_made_again(reference, encoder):
    picture = large(40)
    picture.features[encoder.id] = encoder.embed_images([picture.rgb])[0]
    before = encoder.calls
    found = scores(picture, reference=reference, encoder=encoder)
    again = scores(picture, reference=reference)
    assert encoder.calls == before
    assert found["style"].value == again["style"].value is not None
    assert found["style.memorisation"].value == again["style.memorisation"].value is not None
    assert again["style.text"].reason == "no encoder is loaded"


@pytest.mark.parametrize(
    ("given", "metric", "reason"),
    [
        ("nothing", "style", "there is no reference set"),
        ("nothing", "style.memorisation", "there is no reference set"),
        ("nothing", "style.text", "no encoder is loaded"),
        ("reference", "style", "no encoder is loaded"),
        ("encoder", "style", "there is no reference set"),
    ],
)
def test_what_is_missing_is_said(reference, encoder, given, metric, reason):
    context = {
        "nothing": {},
        "reference": {"reference": reference},
        "encoder": {"encoder": encoder},
    }
    found = scores(large(1), **context[given])
    assert found[metric].value is None
    assert found[metric].reason.startswith(reason)


def test_another_encoder_is_refused_loudly(reference, encoder):
    encoder.id = "clip@1"
    with pytest.raises(StaleError, match=r"made with the encoder edges@000000000000"):
        scores(large(1), reference=reference, encoder=encoder)


def test_an_encoder_that_can_not_tell_the_style_gives_no_number(encoder):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 242)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    view = view_of(rows[:10], np.concatenate([rows[:10], rows[:10]]))
    blind = ReferenceSet(encoder.id, tuple("abcdefghij"), view, np.zeros((10, 48, 48, 3), np.uint8))
    found = scores(large(1), reference=blind, encoder=encoder)["style"]
    assert found.value is None
    assert "does not tell the reference images from pictures in no style" in found.reason


def test_text_is_clipscore(encoder):
    picture = large(3)
    text = "a hat"
    expected = float((encoder.embed_images([picture.rgb]) @ encoder.embed_texts([text]).T)[0, 0])
    found = scores(picture, encoder=encoder, text=text)["style.text"]
    assert found.value == pytest.approx(min(1, 2.5 * max(0, expected)), abs=1e-6)
    assert scores(picture, encoder=encoder, text=" ")["style.text"].reason == "the prompt is empty"
    encoder.has_text = False
    assert "reads no text" in scores(picture, encoder=encoder)["style.text"].reason


def test_details_are_plain(reference, encoder):
    for found in scores(large(2), reference=reference, encoder=encoder).values():
        json.dumps(dict(found.details), allow_nan=False)


CHOSEN = [f"SD15_PERFECT-{epoch}" for epoch in (7, 8, 9)]
FAILED = ["SDXL_nova", "SDXL_PERFECT", "broken_black"]
RUNS = ["SD15_PERFECT-1", *CHOSEN, "SD15_PERFECT-10", "SDXL_civitai_V1", *FAILED]


@pytest.fixture(scope="module")
def real(punks):
    """Scores of the real renders, by run and by epoch of SD15_PERFECT, with the real encoder."""
    from loraeval.scorers.encoders import OFFLINE_ENCODER, load_encoder

    encoder = load_encoder(OFFLINE_ENCODER)
    paths = sorted((punks / "training").glob("*.png"))[::3]
    reference = ReferenceSet.from_images(
        ((path.stem, open_picture(path).rgb) for path in paths), encoder
    )
    scorer = StyleScorer(encoder)
    found = defaultdict(list)
    for line in (punks / "renders.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        run = row["run"] + (f"-{row['epoch']}" if row["run"] == "SD15_PERFECT" else "")
        if len(found[run]) == 8 or run not in RUNS:
            continue
        picture = open_picture(punks / row["image"])
        found[run].append(scores(picture, scorer=scorer, reference=reference, encoder=encoder))
    return found


@pytest.mark.slow
def test_real_runs_come_out_in_the_order_people_saw(real):
    def style(*runs):
        return np.array([each["style"].value for run in runs for each in real[run]])

    chosen = style(*CHOSEN)
    failed = style(*FAILED)
    assert chosen.min() > failed.max()
    assert style("SD15_PERFECT-1").mean() < chosen.mean() > style("SD15_PERFECT-10").mean()
    assert style("SDXL_civitai_V1").mean() > 0.8
    copies = [each["style.memorisation"].value for run in RUNS for each in real[run]]
    assert min(copies) > 0.5


def test_a_leak_is_style_that_the_lora_added_without_its_trigger(reference, encoder):
    tagged = Prompt("p", "a dog", Caption("a dog"), tags=("no_trigger",))
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    photo = picture_from_array(noise, "base")

    def leak(picture, base, prompt=tagged):
        context = ScoreContext(prompt, reference=reference, encoder=encoder, base=base)
        return {s.metric: s for s in StyleScorer().score(picture, context)}["style.leak"]

    same = picture_from_array(noise.copy(), "same")
    assert leak(same, photo).value == 1
    moved = leak(large(100), photo)
    own = scores(large(100), reference=reference, encoder=encoder)["style"].value
    before = scores(photo, reference=reference, encoder=encoder)["style"].value
    assert moved.value == pytest.approx(1 - max(0, own - before))
    assert moved.value < 0.9
    assert leak(same, None).reason == "there is no render of the base model (LoRA scale 0)"
    assert leak(same, photo, prompt()).reason == "the prompt is not tagged no_trigger"
