"""One bad file in a folder, one bad row in a manifest: it alone is refused, and never opened."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from loraeval.errors import ImageError, LoraevalError, PromptError, ScoresError
from loraeval.evaluation.gate_run import renders_of
from loraeval.prompts.sets import read_prompts
from loraeval.records import Render
from loraeval.scorers.health import HealthScorer
from loraeval.scorers.palette import PaletteScorer
from loraeval.scorers.panel import Panel
from loraeval.sources import find_renders, problem_words
from loraeval.sources.manifest import MAX_REFUSED, UNKNOWN_RUN
from loraeval.sources.problems import NOWHERE

CAPTION = "a baker, red hair (#c06148), palette: #c06148, #1e1e1e"


def draw(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((24, 24), 60).convert("RGB").save(path)
    return path


def bad_files(folder: Path, secret: Path) -> dict[str, str]:
    """Put what must not be opened into ``folder``; return the words that each is refused with."""
    ring, nothing = "it is a link in a ring", "cannot be read"
    found = {}
    for name, target, words in [
        ("dangling.png", folder / "absent", "links to a file that is not there"),
        ("out.png", secret, "links out of"),
        ("passwd.png", Path("/etc/passwd"), "links out of"),
        ("out-dangling.png", folder.parent / "absent", "links out of"),
        ("device.png", Path("/dev/zero"), "links out of"),
        ("ring.png", folder / "ring.png", f"{ring}|{nothing}"),
    ]:
        (folder / name).symlink_to(target)
        found[name] = words
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    return found | {"folder.png": "found a folder", "pipe.png": "found a pipe"}


def bad_captions(folder: Path, secret: Path) -> dict[str, str]:
    """Put images with captions that cannot be read into ``folder``; return the words for each."""
    contents: dict[str, tuple[bytes, str]] = {
        "binary": (b"\xff\xfe\x00red\x80", "expected UTF-8"),
        "latin": ("rötlich".encode("latin-1"), "expected UTF-8"),
        "long": (b"red hair, " * 2000, "characters, at most"),
        "lines": (b"a\n" * 200_000, "larger than 256 KB"),
        "escape": (b"red \x1b[2J hair", "control characters"),
    }
    for name, (data, _) in contents.items():
        draw(folder / f"{name}.png")
        (folder / f"{name}.txt").write_bytes(data)
    found = {f"{name}.png": words for name, (_, words) in contents.items()}
    draw(folder / "huge.png")
    with (folder / "huge.txt").open("wb") as file:
        file.truncate(50 << 20)
    for name in ("c-out", "c-dangling", "c-folder", "c-pipe"):
        draw(folder / f"{name}.png")
    (folder / "c-out.txt").symlink_to(secret)
    (folder / "c-dangling.txt").symlink_to(folder / "absent")
    (folder / "c-folder.caption").mkdir()
    os.mkfifo(folder / "c-pipe.txt")
    return found | {
        "huge.png": "larger than", "c-out.png": "links out", "c-dangling.png": "cannot read",
        "c-folder.png": "found something else", "c-pipe.png": "found something else",
    }  # fmt: skip


def scored(renders: list[Render]) -> dict[str, tuple[dict[str, float | None], str]]:
    """Scores of each image by name, and the reason why its palette score is none."""
    panel = Panel((PaletteScorer(), HealthScorer()))
    return {
        row.image: (dict(row.scores), row.details["palette"].get("reason", ""))
        for row in panel.score(renders)
    }


def test_bad_files_in_a_folder_cost_their_rows(tmp_path: Path) -> None:
    secret = draw(tmp_path / "secret.png")
    good = draw(tmp_path / "in" / "good.png")
    good.with_suffix(".txt").write_text(CAPTION)
    inward = tmp_path / "in" / "inward.png"
    inward.symlink_to(good)
    words = bad_files(tmp_path / "in", secret)
    renders = find_renders(tmp_path / "in")
    assert {r.name for r in renders} == {*words, "good.png", "inward.png"}
    rows = scored(renders)
    for render in renders:
        assert f"{render.problem}".isprintable()
        scores, reason = rows[render.name]
        if render.name not in words:
            assert render.problem is None
            assert scores["health"] is not None
            continue
        assert any(w in str(render.problem) for w in words[render.name].split("|")), render
        assert render.image == NOWHERE
        assert set(scores.values()) == {None}, "nothing was measured, health neither"
        assert str(render.problem) in reason
    assert rows["good.png"][0]["palette"] is not None
    (said,) = problem_words(renders)
    assert said.startswith("8 of 10 images are not read")
    assert "dangling.png: it links to a file that is not there" in said


def test_a_folder_of_nothing_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    bad_files(tmp_path / "in", draw(tmp_path / "secret.png"))
    with pytest.raises(ImageError, match=r"dangling\.png: it links.*7 images of this folder"):
        find_renders(tmp_path / "in")
    draw(tmp_path / "in" / "folder.png" / "epoch01" / "a.png")  # a folder by that name is searched
    assert [r.name for r in find_renders(tmp_path / "in") if not r.problem] == [
        "folder.png/epoch01/a.png"
    ]


def test_bad_captions_cost_the_prompt_alone(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret words, red hair (#ff0000)")
    folder = tmp_path / "in"
    draw(folder / "good.png").with_suffix(".txt").write_text(CAPTION)
    draw(folder / "none.png")
    words = bad_captions(folder, secret)
    renders = find_renders(folder)
    rows = scored(renders)
    for render in renders:
        scores, reason = rows[render.name]
        assert scores["health"] is not None, "the image is measured"
        if render.name not in words:
            assert render.prompt_problem is None
            continue
        assert words[render.name] in str(render.prompt_problem), render
        assert str(render.prompt_problem).isprintable()
        assert render.prompt.text == ""
        assert scores["palette"] is None
        assert reason == f"the prompt names no colour: {render.prompt_problem}"
    assert rows["good.png"][0]["palette"] is not None
    assert rows["none.png"][1] == "the prompt names no colour"
    (said,) = problem_words(renders)
    assert said.startswith("10 of 12 images are scored without a prompt (first: binary.png: ")


def test_the_same_captions_are_refused_where_they_are_to_be_rendered(tmp_path: Path) -> None:
    """Without them it would be another set than the one the user named."""
    folder = tmp_path / "in"
    draw(folder / "good.png").with_suffix(".txt").write_text(CAPTION)
    assert [p.id for p in read_prompts(folder).prompts] == ["good"]
    bad_files(folder, draw(tmp_path / "secret.png"))  # images of a prompt set are not opened
    (folder / "out.txt").write_text(CAPTION)
    assert [p.id for p in read_prompts(folder).prompts] == ["good", "out"]
    secret = tmp_path / "secret.txt"
    secret.write_text(CAPTION)
    bad_captions(folder, secret)
    with pytest.raises(PromptError, match=r"binary\.txt: expected UTF-8.*\(10 captions of this"):
        read_prompts(folder)


def test_names_that_cannot_be_shown_cost_their_rows(tmp_path: Path) -> None:
    draw(tmp_path / "good.png")
    bad = {os.fsencode("\x1b[2J.png"): "cannot be shown", b"\xff\xfe.png": "is not UTF-8",
           "\u202egnp.png".encode(): "cannot be shown", b"a\nb.png": "cannot be shown"}  # fmt: skip
    for name in bad:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(b"")  # noqa: PTH118
    renders = find_renders(tmp_path)
    assert [r.name for r in renders if r.problem is None] == ["good.png"]
    assert len({r.name for r in renders}) == 5
    assert all(r.name.isprintable() and r.prompt.id.isprintable() for r in renders)
    assert sorted(str(r.problem).split(" ", 3)[3] for r in renders if r.problem) == sorted(
        f"{words}; rename it" for words in bad.values()
    )


def test_a_name_that_is_no_prompt_id_is_scored(tmp_path: Path) -> None:
    """Interfaces that write the prompt into the file's name make names of 240 characters."""
    draw(tmp_path / f"{'red hair ' * 26}.png")
    draw(tmp_path / " spaces .png")
    renders = find_renders(tmp_path)
    assert all(r.problem is None for r in renders)
    assert all(scores["health"] is not None for scores, _ in scored(renders).values())
    assert len({r.prompt.id for r in renders}) == 2


def test_a_prompt_file_of_samples_that_cannot_be_read(tmp_path: Path) -> None:
    for index in range(2):
        draw(tmp_path / f"punk_e000001_{index:02d}_20250101120000_42.png")
    (tmp_path / "prompt.txt").write_bytes(b"red hair \xff\n")
    found = find_renders(tmp_path)
    assert all("prompt.txt: expected UTF-8" in str(r.prompt_problem) for r in found)
    assert [r.epoch for r in found] == [1, 1]
    (tmp_path / "prompt.txt").unlink()
    (tmp_path / "prompt.txt").symlink_to("/etc/passwd")
    assert "links out" in str(find_renders(tmp_path)[0].prompt_problem)
    (tmp_path / "bad_e000001_00_20250101120000_42.png").symlink_to("/etc/passwd")
    assert [bool(r.problem) for r in find_renders(tmp_path)] == [True, False, False]


GOOD = {"run": "r", "epoch": 3, "prompt": "red hair", "seed": 1}


def test_bad_rows_of_a_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    secret = draw(tmp_path / "secret.png")
    words = bad_files_in(folder, secret)
    rows = [json.dumps(GOOD | {"image": "first.png"})]
    rows += [json.dumps(GOOD | {"image": name, "prompt_id": "p"}) for name in words]
    rows += [json.dumps(GOOD | {"image": image}) for image in ("../../etc/passwd", "../secret.png")]
    rows += [json.dumps(GOOD | {"image": "typed.png", "epoch": "3"}),
             json.dumps(GOOD | {"image": "typed.png", "run": "\x1b[2J"})]  # fmt: skip
    broken = [
              b'{"image": "cut.png", "ru', b"\x00" * 4000, b'{"image": "\xff.png"}', b"[1]",
              b'{"a":' * 90_000, b"{" + b" " * 300_000 + b"}",
              b'{"n": 1' + b"0" * 5000 + b"}"]  # fmt: skip
    lines = [row.encode() for row in rows] + broken
    lines.append(json.dumps(GOOD | {"image": "last.png"}).encode())
    (folder / "renders.jsonl").write_bytes(b"\n".join(lines))
    renders = find_renders(folder / "renders.jsonl")
    assert [r.name for r in renders if r.problem is None] == ["first.png", "last.png"]
    assert len(renders) == len(lines), "each line has its row"
    by_name = {render.name: render for render in renders}
    for name, said in words.items():
        assert any(w in str(by_name[name].problem) for w in said.split("|")), by_name[name]
        assert (by_name[name].run, by_name[name].prompt.id) == ("r", "p")
    for number, render in enumerate(renders, 1):
        assert f"{render.problem}".isprintable()
        assert render.problem is None or f"renders.jsonl:{number}: " in render.problem
        assert render.problem is None or render.image == NOWHERE
    assert [r.run for r in renders].count(UNKNOWN_RUN) == len(broken) + 1
    assert all(set(scored([r])[r.name][0].values()) == {None} for r in renders if r.problem)
    assert scored([renders[-1]])["last.png"][0]["health"] is not None
    assert problem_words(renders)[0].startswith(f"{len(lines) - 2} of {len(lines)} images")
    with pytest.raises(ScoresError, match="cannot be gated without it"):
        renders_of("r-000003.safetensors", renders)
    attributed = [render for render in renders if render.run != UNKNOWN_RUN]
    gated = renders_of("r-000003.safetensors", attributed)
    assert [r.problem is None for r in gated].count(False) == len(words) + 2, "unscored rows count"


def bad_files_in(folder: Path, secret: Path) -> dict[str, str]:
    draw(folder / "first.png")
    draw(folder / "last.png")
    draw(folder / "typed.png")
    return bad_files(folder, secret)


def test_a_manifest_of_other_images_is_refused_within_bounds(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    path = tmp_path / "renders.jsonl"
    path.write_text("x\n" * 500_000 + json.dumps(GOOD | {"image": "a.png"}))
    with pytest.raises(ScoresError, match=f"more than {MAX_REFUSED} rows cannot be used"):
        find_renders(path)
    rows = [json.dumps(GOOD | {"image": f"{number}.png"}) for number in range(5)]
    path.write_text("\n".join(rows))
    with pytest.raises(ScoresError, match=r":1: image 0\.png.*\(5 rows are like that\)"):
        find_renders(path)


def test_a_manifest_found_in_a_folder_is_not_followed_out(tmp_path: Path) -> None:
    outside = tmp_path / "renders.jsonl"
    outside.write_text(json.dumps(GOOD | {"image": "a.png"}))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "renders.jsonl").symlink_to(outside)
    with pytest.raises(LoraevalError, match="links out"):
        find_renders(tmp_path / "in")
