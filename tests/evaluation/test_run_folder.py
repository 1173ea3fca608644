"""One folder a run whichever door wrote it, and one report from it alone."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loraeval.cli import main
from loraeval.errors import InputError
from loraeval.evaluation.reporting import report_of
from loraeval.evaluation.run_folder import read_run
from loraeval.testing.portraits import render_pixel_art, scene

PROMPTS, SEEDS, SIZE = 8, (1, 2, 3, 4), 48
NAME = "good-000002.safetensors"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Renders of two epochs as found images, and a baseline frozen from the first."""
    root = tmp_path_factory.mktemp("world")
    rows = []
    for epoch in (1, 2):
        for number in range(PROMPTS):
            for seed in SEEDS:
                rng = np.random.default_rng([number, seed, epoch])
                noise = rng.normal(0, 2, (SIZE, SIZE, 3))
                pixels = (render_pixel_art(scene(number), SIZE) + noise).clip(0, 255)
                name = f"good/{epoch}/{number}_{seed}.png"
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(root / name)
                rows.append({"image": name, "run": "good", "epoch": epoch, "seed": seed,
                             "prompt_id": f"p{number}", "prompt": scene(number).caption,
                             "width": SIZE, "height": SIZE})  # fmt: skip
    (root / "renders.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "profile.toml").write_text(
        'gated = ["palette", "grid", "health"]\nlattice = [24, 24]\n'
    )
    score = ["score", str(root / "renders.jsonl"), "--encoder", "none"]
    assert main([*score, "--out", str(root / "scores.jsonl")]) == 0
    freeze = ["baseline", "freeze", "golden", "--scores", str(root / "scores.jsonl"), "--profile",
              str(root / "profile.toml"), "--select", "run=good,epoch=1", "--root",
              str(root / "baselines")]  # fmt: skip
    assert main(freeze) == 0
    return root


@pytest.fixture(scope="module")
def by_run(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``loraeval run`` writes."""
    out = tmp_path_factory.mktemp("doors") / "run"
    words = ["run", NAME, "--baseline", str(world / "baselines" / "golden"), "--encoder", "none"]
    assert main([*words, "--renders", str(world / "renders.jsonl"), "--out", str(out)]) == 0
    return out


def facts_of(folder: Path) -> dict[str, object]:
    """What the folder says, without what differs by its door: the request and the digests."""
    facts = json.loads((folder / "run.json").read_text())
    return {name: value for name, value in facts.items() if name not in ("request", "files")}


def shown(folder: Path) -> dict[str, object]:
    """Every field of the report that the folder gives, files by their names."""
    data = report_of(read_run(folder))
    fields = {name: getattr(data, name) for name in data.__slots__}
    fields["image_files"] = sorted(data.image_files)
    fields["baseline"] = replace(data.baseline, images=None)  # type: ignore[type-var]
    return fields


def test_run_report_gate_and_pytest_agree_field_by_field(
    world: Path, by_run: Path, pytester: pytest.Pytester, tmp_path: Path
) -> None:
    baseline = str(world / "baselines" / "golden")
    pytester.makeini(
        f"[pytest]\nlora_baseline = {baseline}\nlora_renders = {world / 'renders.jsonl'}\n"
        "lora_encoder = none\n"
    )
    result = pytester.runpytest("--checkpoint", NAME, "--lora-report", str(tmp_path / "pytest"))
    assert result.ret == 0
    assert main(["report", str(by_run), "--out", str(tmp_path / "report")]) == 0
    again = ["gate", "--scores", str(by_run / "scores.jsonl"), "--baseline", baseline]
    assert main([*again, "--again", "--out", str(tmp_path / "gate")]) == 0
    first = read_run(by_run)
    assert first.prompts == {f"p{n}": scene(n).caption for n in range(PROMPTS)}
    for door in ("pytest", "gate"):
        folder = tmp_path / door
        assert read_run(folder).rows == first.rows, door
        assert sorted(read_run(folder).images) == sorted(row.image for row in first.rows)
        ours, theirs = shown(by_run), shown(folder)
        if door == "gate":  # the scores do not say the file's name
            (one,), (other,) = ours.pop("verdicts"), theirs.pop("verdicts")  # type: ignore[misc]
            assert replace(one, checkpoint=other.checkpoint) == other
        for name, value in ours.items():
            assert theirs[name] == value, f"{door}: {name}"
    assert facts_of(tmp_path / "pytest") == facts_of(by_run)
    pages = [(tmp_path / d / "summary.md").read_text() for d in ("pytest", "report")]
    assert pages[0] == pages[1] == (by_run / "summary.md").read_text()


def test_a_report_is_made_from_the_folder_alone(by_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(by_run, copy)
    page = (copy / "index.html").read_text()
    (copy / "index.html").unlink()
    assert main(["report", str(copy)]) == 0
    assert (copy / "index.html").read_text() == page
    assert scene(3).caption[:30] in page


def test_gating_again_is_asked_for_and_labelled(
    world: Path, by_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = str(world / "baselines" / "golden")
    assert main(["gate", "--scores", str(by_run / "scores.jsonl"), "--baseline", baseline]) == 2
    assert "keeps its verdict" in capsys.readouterr().err
    assert main(["report", str(by_run), "--baseline", baseline]) == 2
    assert "--again" in capsys.readouterr().err
    assert main(["report", str(by_run), "--again", "--out", str(tmp_path)]) == 0
    assert "Gated here from the scores" in (tmp_path / "index.html").read_text()
    assert "Gated here from the scores" not in (by_run / "index.html").read_text()


@pytest.mark.parametrize("name", ["scores.jsonl", "verdicts.json", "renders.jsonl", "run.json"])
def test_a_folder_that_a_killed_writer_left_is_told_from_a_whole_one(
    by_run: Path, tmp_path: Path, name: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(by_run, copy)
    (copy / name).write_bytes((by_run / name).read_bytes()[:-40])
    with pytest.raises(InputError):
        read_run(copy)
    (copy / "run.json").unlink()
    (copy / "verdicts.json").unlink(missing_ok=True)
    with pytest.raises(InputError, match="killed"):
        read_run(copy)


def test_a_later_format_is_refused_and_an_older_folder_is_read(
    by_run: Path, tmp_path: Path
) -> None:
    later, older = tmp_path / "later", tmp_path / "older"
    for copy in (later, older):
        shutil.copytree(by_run, copy)
    facts = json.loads((later / "run.json").read_text())
    (later / "run.json").write_text(json.dumps({**facts, "format": 2}))
    with pytest.raises(InputError, match="update loraeval"):
        read_run(later)
    (older / "run.json").unlink()
    told = json.loads((older / "verdicts.json").read_text())
    for verdict in told:  # as 0.1 wrote them
        verdict["checkpoint"] = verdict["checkpoint"]["label"]
        for name in ("method", "images", "planned"):
            del verdict[name]
    (older / "verdicts.json").write_text(json.dumps(told))
    run = read_run(older)
    assert [v.checkpoint.label for v in run.verdicts] == [NAME]
    assert run.rows == read_run(by_run).rows


def test_without_a_place_nothing_is_written(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", NAME, "--baseline", str(world / "baselines" / "golden"), "--encoder", "none"]
    assert main([*words, "--renders", str(world / "renders.jsonl")]) == 0
    assert list(tmp_path.iterdir()) == []


def test_the_example_reads_the_folder(by_run: Path, repo: Path) -> None:
    spec = importlib.util.spec_from_file_location("example", repo / "examples" / "read_a_run.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    (line,) = example.main(str(by_run))
    assert line.startswith(f"pass: {NAME} (")
