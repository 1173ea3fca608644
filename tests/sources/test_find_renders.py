"""Images that exist already: manifests, sample folders, captioned and plain folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from loraeval.errors import ImageError, InputError, LoraevalError, ScoresError
from loraeval.prompts.sample_lines import parse_sample_lines
from loraeval.sources import find_renders

ROW = {"image": "a.png", "run": "r", "epoch": 3, "prompt_id": "p", "prompt": "red hair", "seed": 1}


def draw(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 24), (200, 30, 30)).save(path)
    return path


def manifest(folder: Path, *rows: dict[str, object] | str) -> Path:
    path = folder / "renders.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_manifest(tmp_path: Path) -> None:
    draw(tmp_path / "sub" / "a.png")
    row = ROW | {
        "image": "./sub/a.png",
        "width": 512,
        "height": 512,
        "recipe": "abc",
        "sampler": "x",
    }
    (found,) = find_renders(manifest(tmp_path, row))
    assert (found.name, found.run, found.epoch, found.seed) == ("sub/a.png", "r", 3, 1)
    assert found.image == tmp_path / "sub" / "a.png"
    assert (found.width, found.height, found.recipe) == (512, 512, "abc")
    assert found.prompt.caption.colours[0].name == "red hair"
    assert found.prompt.overrides == {}
    assert find_renders(tmp_path) == [found]  # the folder's renders.jsonl is found


def test_real_manifest(punks: Path) -> None:
    found = find_renders(punks / "renders.jsonl")
    assert len(found) == 122
    assert {render.epoch for render in found if render.run == "SD15_PERFECT"} == set(range(1, 11))
    assert all(render.image.is_file() and render.prompt.text for render in found)
    rows = [json.loads(line) for line in (punks / "renders.jsonl").read_text().splitlines()]
    for render, row in zip(found, rows, strict=True):
        assert (render.name, render.seed, render.epoch) == (row["image"], row["seed"], row["epoch"])
        assert (render.prompt.text, render.width) == (row["prompt"], row["width"])


def test_real_folder_of_epochs(punks: Path) -> None:
    """Without the manifest the folders' names still give run and epoch."""
    known = {(r.name.removeprefix("renders/"), r.run, r.epoch) for r in find_renders(punks)}
    found = find_renders(punks / "renders")
    assert {r.name for r in found} == {name for name, _, _ in known}
    perfect = {(r.name, r.run, r.epoch) for r in found if r.run == "SD15_PERFECT"}
    assert perfect == {row for row in known if row[1] == "SD15_PERFECT"}
    assert all(render.prompt.text == "" for render in found)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{", ":1: expected one JSON object"),
        ("[" * 50_000, "nested too deeply"),
        ({"image": "a.png"}, ":1: run is missing"),
        ({"run": "r"}, ":1: image is missing"),
        (ROW | {"image": "../a.png"}, "within the manifest's folder"),
        (ROW | {"image": "/etc/passwd"}, "within the manifest's folder"),
        (ROW | {"image": "x/../../a.png"}, "within the manifest's folder"),
        (ROW | {"image": "C:/a.png"}, "within the manifest's folder"),
        (ROW | {"image": "..\\a.png"}, "within the manifest's folder"),
        (ROW | {"image": "a\x1b[2J.png"}, "within the manifest's folder"),
        (ROW | {"image": ""}, "within the manifest's folder"),
        (ROW | {"image": "a.txt"}, "not an image by its ending"),
        (ROW | {"image": "b.png"}, ":1: image b.png: it is not there"),
        (ROW | {"image": "x" * 900 + ".png"}, "cannot be read"),
        (ROW | {"image": "link.png"}, "links out"),
        (ROW | {"image": 3}, "has the wrong type"),
        (ROW | {"epoch": "3"}, "epoch='3' has the wrong type"),
        (ROW | {"epoch": True}, "has the wrong type"),
        (ROW | {"seed": -1}, "out of range"),
        (ROW | {"run": "a\nb"}, "printable"),
        (ROW | {"prompt_id": "../x"}, "path upwards"),
        ({**ROW, "promt": "x"} | {"prompt": None}, "a.png"),
        ({k: v for k, v in ROW.items() if k != "prompt"} | {"promt": "x"}, "did you mean prompt"),
    ],
)  # fmt: skip
def test_broken_row(tmp_path: Path, row: dict[str, object] | str, words: str) -> None:
    folder = tmp_path / "in"
    draw(folder / "a.png")
    draw(tmp_path / "a.png")
    (folder / "link.png").symlink_to(tmp_path / "a.png")
    if words == "a.png":  # a typo beside the right key is only an extra key
        assert find_renders(manifest(folder, row))[0].name == words
        return
    with pytest.raises(ScoresError, match=words) as caught:
        find_renders(manifest(folder, row))
    assert "renders.jsonl:1" in str(caught.value)
    assert str(caught.value).isprintable()


def test_double_image_and_empty_manifest(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    first, second = find_renders(manifest(tmp_path, ROW, ROW | {"image": "./a.png", "epoch": 4}))
    assert first.problem is None
    assert (second.name, second.run, second.epoch) == ("renders.jsonl:2", "r", 4)
    assert second.problem is not None
    assert ":2: image a.png stands in the manifest twice" in second.problem
    with pytest.raises(ScoresError, match="at least one image"):
        find_renders(manifest(tmp_path, ""))


def test_manifest_with_a_prompt_set(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    prompts = parse_sample_lines("red hair", "set", "set.txt")
    row = ROW | {"prompt_id": "sample_00"}
    assert find_renders(manifest(tmp_path, row), prompts)[0].prompt == prompts.prompts[0]
    bare = {key: value for key, value in row.items() if key != "prompt"}
    assert find_renders(manifest(tmp_path, bare), prompts)[0].prompt == prompts.prompts[0]
    with pytest.raises(ScoresError, match="not in the prompt set"):
        find_renders(manifest(tmp_path, ROW), prompts)
    with pytest.raises(ScoresError, match="another one in the prompt set"):
        find_renders(manifest(tmp_path, row | {"prompt": "blue hair"}), prompts)


@pytest.mark.parametrize(
    ("stem", "epoch", "checkpoint", "index", "seed"),
    [
        ("punk_e000003_01_20250101123456_42", 3, "punk-000003", 1, 42),
        ("punk_v2_000500_00_20250101123456", None, "punk_v2-step00000500", 0, None),
        ("e000010_01_20250101123456", 10, "sample-000010", 1, None),
        ("punk_20230401123456_e000002_00_7", 2, "punk-000002", 0, 7),
    ],
)
def test_sample_folder(
    tmp_path: Path, stem: str, epoch: int | None, checkpoint: str, index: int, seed: int | None
) -> None:
    folder = tmp_path / "sample"
    draw(folder / f"{stem}.png")
    (found,) = find_renders(folder)
    assert (found.epoch, found.checkpoint, found.seed) == (epoch, checkpoint, seed)
    assert found.prompt.id == f"sample_{index:02d}"
    assert found.prompt.text == ""
    prompts = parse_sample_lines("red hair\nblue eyes --d 42", "set", "set.txt")
    assert find_renders(folder, prompts)[0].prompt == prompts.prompts[index]
    (folder / "prompt.txt").write_text("red hair\nblue eyes --d 42\n")
    assert find_renders(folder)[0].prompt == prompts.prompts[index]
    (folder / "prompt.txt").write_text("\n# none\nred hair\n")
    if index:
        with pytest.raises(InputError, match="prompt number 1"):
            find_renders(folder)


def test_sample_series_is_one_run(tmp_path: Path) -> None:
    for epoch in range(1, 4):
        for index in range(2):
            draw(tmp_path / f"punk_e{epoch:06d}_{index:02d}_20250101120{epoch:02d}0_42.png")
    found = find_renders(tmp_path)
    assert {render.run for render in found} == {"punk"}
    assert [render.epoch for render in found] == [1, 1, 2, 2, 3, 3]


def test_folder_with_captions_and_without(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a baker, red hair\n")
    draw(tmp_path / "b.JPG")
    first, second = find_renders(tmp_path)
    assert (first.name, first.run, first.prompt.text) == (
        "a.png",
        tmp_path.name,
        "a baker, red hair",
    )
    assert (second.name, second.prompt.id, second.prompt.text) == ("b.JPG", "b", "")
    assert find_renders(tmp_path / "a.png") == [first]


def test_names_find_their_prompt(tmp_path: Path) -> None:
    for stem in ("sample_00", "sample_01_42", "sample_01-seed7", "sample_01_s8", "other"):
        draw(tmp_path / "epoch-07" / f"{stem}.png")
    prompts = parse_sample_lines("red hair\nblue eyes", "set", "set.txt")
    found = {render.image.stem: render for render in find_renders(tmp_path, prompts)}
    assert found["sample_00"].prompt.text == "red hair"
    assert {stem: render.seed for stem, render in found.items()} == {
        "sample_00": None,
        "sample_01_42": 42,
        "sample_01-seed7": 7,
        "sample_01_s8": 8,
        "other": None,
    }
    assert found["sample_01_42"].prompt.text == found["sample_01_s8"].prompt.text == "blue eyes"
    assert found["other"].prompt.text == ""
    assert {render.epoch for render in found.values()} == {7}


def test_what_is_no_source(tmp_path: Path) -> None:
    for path, words in [
        (tmp_path / "absent", "there is no such file"),
        (tmp_path, "expected images"),
        (Path("a\0b"), "there is no such file"),
        (Path("x" * 5000), "there is no such file"),
    ]:
        with pytest.raises(InputError, match=words):
            find_renders(path)
    (tmp_path / "notes.md").write_text("text")
    with pytest.raises(ImageError, match="not an image by its ending"):
        find_renders(tmp_path / "notes.md")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "out.png").symlink_to(draw(tmp_path / "out.png"))
    with pytest.raises(ImageError, match="links out"):
        find_renders(tmp_path / "in")


JSON_ROWS = st.lists(
    st.dictionaries(
        st.sampled_from([*ROW, "negative_prompt", "width", "x"]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
                  st.just("a.png"), st.just("../a.png")),
    ).map(json.dumps)
    | st.text(max_size=40),
    max_size=4,
)  # fmt: skip


@settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(JSON_ROWS)
def test_any_manifest_gives_renders_or_one_sentence(tmp_path: Path, lines: list[str]) -> None:
    draw(tmp_path / "a.png")
    path = tmp_path / "renders.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
    try:
        found = find_renders(path)
    except LoraevalError as error:
        message = str(error)
    else:
        # A row that names no image is a problem of its own, never an image.
        images = {render.name for render in found if render.problem is None}
        assert images <= {"a.png"}
        assert images or any(render.problem for render in found)
        return
    assert "\n" not in message
