"""Details, pictures, gallery, headline: what the page is put together from."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from loraeval.records import ScoreRow
from loraeval.report.details import facts, lattice_overlay, reason, swatches
from loraeval.report.gallery import build_gallery
from loraeval.report.headline import headline, verdict_of_epoch
from loraeval.report.pictures import embed_images, find_image

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["palette", "grid", "attributes", "wanted", "found", "delta_e", "period",
                         "phase", "reason", "unscored", "x"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["palette", "grid"]), JSON))
@settings(max_examples=150, deadline=None)
def test_any_details_are_survived(details):
    for swatch in swatches(details):
        for colour in (swatch.colour, swatch.found):
            assert colour is None or (len(colour) == 7 and int(colour[1:], 16) >= 0)
    overlay = lattice_overlay(details)
    assert overlay is None or min(overlay.period) >= 2
    facts(details, "palette")
    reason(details, "palette.background")


def test_swatches_put_the_missing_ones_first():
    entries = [
        {"attribute": "hair", "wanted": "#112233", "found": "#112234", "delta_e": 0.1},
        {"attribute": "background", "wanted": "blue", "found": "#ac7858", "delta_e": 30.5,
         "fault": "another colour"},
        {"attribute": "eyes", "wanted": "#00FF00", "found": None, "delta_e": None},
        {"attribute": "x", "wanted": "#00ff00;}body{", "found": "url(x)", "delta_e": float("nan")},
    ]  # fmt: skip
    found = swatches({"palette": {"attributes": entries}})
    assert [(s.attribute, s.missing) for s in found] == [
        ("background", True), ("eyes", True), ("x", True), ("hair", False),
    ]  # fmt: skip
    by_name = {s.attribute: s for s in found}
    assert by_name["background"].colour is None
    assert by_name["eyes"].colour == "#00ff00"
    assert (by_name["x"].colour, by_name["x"].found) == (None, None)


def test_reasons_of_main_and_dotted_metrics():
    details = {"style": {"reason": "no reference", "unscored": {"style.text": "no encoder"}}}
    assert reason(details, "style") == "no reference"
    assert reason(details, "style.text") == "no encoder"
    assert reason(details, "grid") is None


def test_details_of_the_real_scorers_are_understood(repo):
    from loraeval.images.picture import picture_from_array
    from loraeval.prompts.caption import parse_caption
    from loraeval.records import Prompt
    from loraeval.scorers.base import ScoreContext
    from loraeval.scorers.registry import load_scorers
    from loraeval.testing.portraits import render_pixel_art, scene

    portrait = scene(5)
    prompt = Prompt("p", portrait.long_caption, parse_caption(portrait.long_caption))
    picture = picture_from_array(render_pixel_art(portrait, 384), "p")
    context = ScoreContext(prompt, lattice=(24, 24), size=(384, 384))
    details = {}
    for scorer in load_scorers(("palette", "grid")):
        details[scorer.name] = dict(scorer.score(picture, context)[0].details)
    found = swatches(details)
    assert len(found) >= 3
    assert not any(s.missing for s in found if s.colour == portrait.by_kind["background"].hex)
    overlay = lattice_overlay(details)
    assert overlay.period == pytest.approx((16, 16), abs=0.1)


def decode(address: str) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1])))
    return np.asarray(image.convert("RGB"))


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_few_images_are_embedded_without_loss(tmp_path, study):
    paths = [find_image(study.images, row.image) for row in study.rows]
    names = [row.image for row in study.rows]
    calls = []
    found = embed_images(paths, names, tmp_path, done=lambda: calls.append(1))
    assert len(calls) == len(found) == 20
    assert all(item.exact and item.file is None for item in found)
    assert not (tmp_path / "images").exists()
    for path, item in zip(paths, found, strict=True):
        assert np.array_equal(decode(item.view), pixels(path))
        assert (item.width, item.height) == (96, 96)


def test_over_budget_exact_pixels_go_beside_the_page(tmp_path, study):
    paths = [find_image(study.images, row.image) for row in study.rows]
    names = [row.image for row in study.rows]
    found = embed_images(paths, names, tmp_path, budget=150_000)
    assert sum(item.size for item in found) <= 150_000
    for path, item in zip(paths, found, strict=True):
        assert not item.exact
        beside = pixels(tmp_path / item.file)
        assert np.array_equal(beside, pixels(path))
    again = embed_images(paths, names, tmp_path, budget=150_000)
    assert again == found


def test_an_unreadable_image_is_named_and_the_others_stay(tmp_path, study):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not an image")
    good = find_image(study.images, study.rows[0].image)
    first, second, third = embed_images([bad, None, good], ["bad.png", "gone.png", "g"], tmp_path)
    assert "bad.png" in first.problem
    assert first.thumbnail is None
    assert second.problem == "the image file is not at hand"
    assert third.problem is None


def test_names_that_lead_out_of_the_folder_are_not_followed(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "root" / "in.png").write_bytes(b"x")
    (tmp_path / "root" / "link.png").symlink_to(tmp_path / "secret.png")
    root = tmp_path / "root"
    assert find_image(root, "in.png") == root / "in.png"
    for name in ("../secret.png", str(tmp_path / "secret.png"), "link.png", "no.png", ""):
        assert find_image(root, name) is None


def test_gallery_lines_columns_and_matching_baseline():
    def row(image, epoch, prompt, seed=1, run="R", checkpoint=None):
        return ScoreRow(image, run, checkpoint, epoch, prompt, seed, {})

    rows = [row("a", 10, "p"), row("b", 2, "p"), row("c", 2, "q", None), row("d", 2, "p"),
            row("e", None, "p", 1, "R", "dir/final.safetensors")]  # fmt: skip
    base = [row("x", 7, "p", 1, "B"), row("y", 7, "p", 2, "B"), row("z", 7, "q", 5, "B")]
    gallery = build_gallery(rows, base, {"p": "a text"})
    assert [c.label for c in gallery.columns] == ["epoch 2", "epoch 10", "final"]
    assert [(line.prompt_id, line.seed) for line in gallery.lines] == [("p", 1), ("q", None)]
    first = gallery.lines[0]
    assert [[r.image for r in cell] for cell in first.cells] == [["b", "d"], ["a"], ["e"]]
    assert [r.image for r in first.baseline] == ["x"]
    assert [r.image for r in gallery.lines[1].baseline] == ["z"]
    assert first.text == "a text"


def test_headline_of_a_series_of_one_and_of_none(study):
    said = headline(study)
    assert said.outcome == "pass"
    assert said.sentence == (
        "Keep epoch 3: it passes against GOLD. "
        "Epoch 3 has the highest scores of the series. "
        "1 of 4 checkpoints pass against GOLD (1 fail, 2 inconclusive)."
    )
    assert verdict_of_epoch(study, 3).checkpoint.label == "STUDY-000003.safetensors"
    one = replace(study, verdicts=study.verdicts[:1])
    assert headline(one).outcome == "fail"
    assert headline(one).sentence == study.verdicts[0].reason
    none = replace(study, verdicts=(), selection=None)
    assert headline(none).outcome is None
    assert "nothing is gated" in headline(none).sentence
    assert headline(replace(study, selection=None)).outcome == "fail"
