"""References: built from a folder, calibrated, written as text and read back the same."""

from __future__ import annotations

import contextlib
import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from loraeval.errors import BaselineError, ImageError, InputError, StaleError
from loraeval.images.picture import picture_from_array
from loraeval.prompts.building import caption_of
from loraeval.records import Prompt
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.copies import pack, thumbnail
from loraeval.scorers.palette import PaletteScorer
from loraeval.scorers.reference import MINIMUM, ReferenceSet
from loraeval.scorers.reference_view import View, pack_feature, unpack_feature, view_of
from loraeval.scorers.style_bank import PHOTOGRAPHS, bank_images
from loraeval.testing.portraits import scene


class Edges:
    """An encoder without weights: where in a picture how much changes, along x and along y."""

    id = "edges@000000000000"
    license = None
    has_text = False

    def embed_images(self, images):
        rows = []
        for image in images:
            small = Image.fromarray(np.ascontiguousarray(image)).resize((96, 96))
            values = np.asarray(small, np.float32).mean(axis=2)
            planes = [np.abs(np.diff(values, axis=axis, prepend=0))[8:, 8:] for axis in (0, 1)]
            row = np.sqrt([p.reshape(11, 8, 11, 8).mean(axis=(1, 3)) for p in planes]).ravel() + 0.1
            rows.append(row / np.linalg.norm(row))
        return np.asarray(rows, np.float32)

    def embed_texts(self, texts):
        raise AssertionError("not asked for")


ENCODER = Edges()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twenty portraits as 24×24 PNG files, and what else lies in such a folder."""
    folder = tmp_path_factory.mktemp("training")
    for seed in range(20):
        Image.fromarray(scene(seed).cells).save(folder / f"p{seed:02d}.png")
    (folder / "p00.txt").write_text("a caption")
    (folder / ".hidden.png").write_bytes(b"not looked at")
    return folder


@pytest.fixture(scope="module")
def reference(folder):
    return ReferenceSet.from_folder(folder, ENCODER)


def test_it_holds_the_folder_in_name_order(reference):
    assert reference.names == tuple(f"p{seed:02d}" for seed in range(20))
    assert reference.features.shape == (20, 242)
    assert reference.features.dtype == np.float32
    assert np.allclose(np.linalg.norm(reference.features, axis=1), 1, atol=1e-6)
    assert reference.encoder == ENCODER.id


def test_it_comes_back_the_same_from_text(reference):
    again = ReferenceSet.from_json(reference.to_json())
    assert again.names == reference.names
    assert again.encoder == reference.encoder
    view, other = again.detail, reference.detail
    assert np.array_equal(view.features, other.features)
    assert np.array_equal(view.mean, other.mean)
    assert np.array_equal(view.spread, other.spread)
    assert view.bank_level == other.bank_level
    assert np.array_equal(again.thumbnails, reference.thumbnails)
    assert again.calibration == reference.calibration
    assert again.to_json() == reference.to_json()


def test_text_has_a_line_an_image_and_stays_small():
    rng = np.random.default_rng(0)
    rows = rng.random((150, 1280), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    view = view_of(rows, rows[:50])
    names = tuple(f"portrait_{i:03d}" for i in range(150))
    thumbnails = np.stack([thumbnail(scene(seed).cells) for seed in range(150)])
    text = ReferenceSet("wide@0", names, view, thumbnails).to_json()
    assert len(text.encode()) < 600_000
    assert sum(line.startswith('["portrait_') for line in text.splitlines()) == 150
    assert json.loads(text)["encoder"] == "wide@0"


def test_own_level_agrees_with_plain_loops(reference):
    view = reference.detail
    rows = view.standardise(view.features).astype(float)
    means = []
    for i, row in enumerate(rows):
        cosines = sorted(
            (float(row @ other) for j, other in enumerate(rows) if j != i), reverse=True
        )
        means.append(sum(cosines[:5]) / 5)
    assert view.own_level == pytest.approx(np.median(means), abs=1e-5)


def test_the_anchors_are_0_and_1(reference):
    view = reference.detail
    assert reference.tells_apart
    assert view.calibrated(view.bank_level) == 0
    assert view.calibrated(view.own_level) == 1
    assert view.calibrated([-1, 2]).tolist() == [0, 1]
    middle = (view.bank_level + view.own_level) / 2
    assert float(view.calibrated(middle)) == pytest.approx(0.5)


def test_other_portraits_are_nearer_than_the_bank(reference):
    view = reference.detail
    portraits = ENCODER.embed_images([scene(seed).cells for seed in range(100, 115)])
    bank = ENCODER.embed_images([image for _, image in bank_images()])
    assert np.median(view.calibrated(view.similarity(portraits))) > 0.3
    assert np.mean(view.calibrated(view.similarity(bank)) == 0) >= 0.94


def test_the_bank_is_the_same_every_time_and_has_every_kind():
    first, second = bank_images(), bank_images()
    assert [name for name, _ in first] == [name for name, _ in second]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))
    assert len({name for name, _ in first}) == len(first)
    assert {name.split("/")[1] for name, _ in first if name.startswith("photo/")} == set(
        PHOTOGRAPHS
    )
    assert all(image.dtype == np.uint8 and image.shape[2] == 3 for _, image in first)


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(2, 400))
def test_packing_keeps_a_feature_within_half_a_step(seed, size):
    row = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    row /= np.linalg.norm(row)
    back = unpack_feature(pack_feature(row))
    assert np.linalg.norm(back) == pytest.approx(1, abs=1e-5)
    assert float(back @ row) > 1 - size * (np.abs(row).max() / 254) ** 2


def test_progress_is_told(folder):
    calls = []
    ReferenceSet.from_folder(folder, ENCODER, lambda done, total: calls.append((done, total)))
    assert calls[-1] == (len(bank_images()) + 20, len(bank_images()) + 20)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a folder of reference images, found none"):
        ReferenceSet.from_folder(tmp_path / "gone", ENCODER)


def test_too_few_images_are_refused_with_the_number(tmp_path):
    for seed in range(MINIMUM - 1):
        Image.fromarray(scene(seed).cells).save(tmp_path / f"{seed}.png")
    with pytest.raises(InputError, match=f"at least {MINIMUM} reference images .* found 5"):
        ReferenceSet.from_folder(tmp_path, ENCODER)


def test_a_broken_image_is_named(tmp_path):
    for seed in range(MINIMUM):
        Image.fromarray(scene(seed).cells).save(tmp_path / f"{seed}.png")
    (tmp_path / "3.png").write_bytes(b"GIF89a")
    with pytest.raises(ImageError, match=r"3\.png"):
        ReferenceSet.from_folder(tmp_path, ENCODER)


def test_what_cannot_be_read_is_left_out_and_told(tmp_path, folder, reference):
    for path in folder.glob("*.png"):
        (tmp_path / path.name).symlink_to(path)  # the user's own folder: its links are followed
    whole = (folder / "p00.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "dangling.png").symlink_to("absent")
    (tmp_path / "passwd.png").symlink_to("/etc/passwd")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.png")
    told = []
    found = ReferenceSet.from_folder(tmp_path, ENCODER, unreadable=told.append)
    assert found.names == reference.names
    assert np.array_equal(found.features, reference.features)
    assert [str(error).split(":")[0] for error in told] == [
        "cut.png", "dangling.png", "empty.png", "folder.png", "passwd.png", "pipe.png", "zero.png"
    ]  # fmt: skip
    assert "root:" not in str(told)


def test_names_of_bytes_and_escapes_can_be_written_and_shown(tmp_path, folder):
    for number, path in enumerate(sorted(folder.glob("p*.png"))[:MINIMUM]):
        name = os.fsdecode(b"\xff\x1b[2J%d.png" % number)
        (tmp_path / name).write_bytes(path.read_bytes())
    found = ReferenceSet.from_folder(tmp_path, ENCODER)
    assert all(name.isprintable() for name in found.names)
    assert ReferenceSet.from_json(found.to_json().encode().decode()).names == found.names


def test_large_reference_images_are_not_held_sixteen_at_a_time():
    held = []

    class Counting(Edges):
        def embed_images(self, images):
            held.append(sum(image.nbytes for image in images))
            return super().embed_images(images)

    large = ((str(n), np.full((3000, 3000, 3), 40 * n, np.uint8)) for n in range(MINIMUM))
    with contextlib.suppress(InputError):
        ReferenceSet.from_images(large, Counting(), lattice=(24, 24))
    assert max(held) <= 2 * 48_000_000


def test_another_encoder_is_refused(reference):
    reference.check_encoder(ENCODER.id)
    with pytest.raises(StaleError, match=r"edges@000000000000, the pictures with clip@1"):
        reference.check_encoder("clip@1")


def test_it_counts_colours_on_the_lattice_of_the_style(tmp_path):
    """The same art as cells, enlarged and enlarged with noise: one count each, and by hand."""
    rng = np.random.default_rng(4)
    palette = np.array([[0, 0, 0], [255, 255, 255], [200, 30, 30], [30, 60, 200], [40, 160, 60]])
    for index in range(MINIMUM):
        kinds = 2 + index % 4
        cells = palette[rng.integers(0, kinds, (24, 24))].astype(np.uint8)
        cells[0, :kinds] = palette[:kinds]
        large = cells.repeat(8, 0).repeat(8, 1)
        noisy = np.clip(large + rng.normal(0, 3, large.shape), 0, 255).astype(np.uint8)
        for kind, picture in (("a", cells), ("b", large), ("c", noisy)):
            Image.fromarray(picture).save(tmp_path / f"{kind}{index}.png")
    by_hand = tuple(2 + index % 4 for index in range(MINIMUM)) * 3
    reference = ReferenceSet.from_folder(tmp_path, ENCODER, lattice=(24, 24))
    assert reference.colour_counts == by_hand
    assert ReferenceSet.from_folder(tmp_path, ENCODER).colour_counts == by_hand
    again = ReferenceSet.from_json(reference.to_json())
    assert again.colour_counts == by_hand


def test_the_palette_scorer_takes_its_counts_from_the_reference(reference):
    portrait = scene(3)
    assert len(reference.colour_counts) == 20
    prompt = Prompt("p", portrait.caption, caption_of(portrait.caption))
    scores = {}
    for name, held in (("with", reference), ("without", None)):
        context = ScoreContext(prompt, lattice=(24, 24), reference=held)
        picture = picture_from_array(portrait.cells.repeat(8, 0).repeat(8, 1), "p3")
        scores[name] = PaletteScorer().score(picture, context)[-1]
    assert scores["with"].metric == "palette.colours"
    assert scores["with"].value == 1
    assert scores["without"].value is None


def damaged(text: str, change) -> str:
    held = json.loads(text)
    change(held)
    return json.dumps(held)


@pytest.mark.parametrize(
    "change",
    [
        lambda held: held.update(format="loraeval-reference/99"),
        lambda held: held.pop("encoder"),
        lambda held: held.update(images=held["images"][:3]),
        lambda held: held["images"][0].pop(),
        lambda held: held["images"][0].__setitem__(1, "not base64!"),
        lambda held: held["images"][0].__setitem__(1, held["images"][0][1][:8]),
        lambda held: held["detail"].update(mean=held["detail"]["mean"][:16]),
        lambda held: held["detail"].update(bank_level="high"),
        lambda held: held.pop("colours"),
        lambda held: held["colours"].pop(),
        lambda held: held["colours"].__setitem__(0, 0),
        lambda held: held["colours"].__setitem__(0, 3.5),
        lambda held: held["colours"].__setitem__(0, True),
        lambda held: held["detail"].update(spread="AHwA" * (len(held["detail"]["spread"]) // 4)),
        lambda held: held["images"][0].__setitem__(2, held["images"][0][2][:40]),
        lambda held: held["images"][0].__setitem__(2, pack(np.zeros((49, 48, 3), np.uint8))),
    ],
)
def test_a_damaged_text_is_refused_in_a_sentence(reference, change):
    with pytest.raises(BaselineError):
        ReferenceSet.from_json(damaged(reference.to_json(), change))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"x"',
        '{"format": "loraeval-reference/1"}',
        '{"format": "loraeval-reference/2"}',
        '{"format": "loraeval-reference/3"}',
        '{"format": "loraeval-reference/4"}',
    ],
)
def test_something_else_is_refused(text):
    with pytest.raises(BaselineError):
        ReferenceSet.from_json(text)


def test_a_view_of_one_point_does_not_divide_by_nothing():
    row = np.ones((6, 4), np.float32) / 2
    view = View(row, np.zeros(4, np.float32), np.ones(4, np.float32), 0.2)
    assert view.own_level == pytest.approx(1)
