"""A user's mistakes: one clear sentence, exit 2, and no long work done for nothing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from loraeval.cli import main
from loraeval.commands.options import check_out
from loraeval.errors import CheckpointError, UsageError
from loraeval.evaluation.checkpoints import expand
from loraeval.options import read_seeds
from loraeval.testing.kohya_files import write_lora
from loraeval.testing.portraits_files import write_portraits

pytest_plugins = ["pytester"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scratch project: images with captions, their scores, an empty folder, a text file."""
    monkeypatch.chdir(tmp_path)
    write_portraits(tmp_path / "images", 4, size=96)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    return tmp_path


@pytest.fixture
def scored(place: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["score", "images", "--scorers", "grid,health", "--out", "scores.jsonl"]) == 0
    capsys.readouterr()
    return place / "scores.jsonl"


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must be refused; return its one sentence."""
    assert main(list(words)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("score", "images", "--out", "empty"), "--out: expected a file, empty is a folder"),
        (("score", "images", "--out", "text.txt/x"), "--out text.txt/x: cannot write here"),
        (("score", "images", "--scorers", "", "--out", "x"), "no scorer is called ''"),
        (("params", "text.txt", "--out", "empty"), "--out: expected a file, empty is a folder"),
        (("inspect", "text.txt"), "expected a safetensors file, found a text file"),
        (("inspect", "nowhere"), "cannot read the checkpoint (No such file or directory); name a"),
        (("rate", "scores.jsonl", "--against", "run=nobody"), "--against 'run=nobody' matches no"),
        (
            ("rate", "scores.jsonl", "--against", "run=images", "--select", "epoch=9"),
            "--select 'epoch=9' matches no row; the runs there are: images",
        ),
        (("chart", "--scores", "scores.jsonl", "--out", "text.txt"), "text.txt is a file"),
        (("report", "--scores", "scores.jsonl", "--out", "text.txt"), "text.txt is a file"),
        (("report", "--scores", "scores.jsonl", "--out", "o", "--renders", "no"), "--renders: exp"),
        (
            ("report", "--scores", "scores.jsonl", "--out", "o", "--baseline-renders", "no"),
            "--baseline-renders: expected the folder",
        ),
        (("run", "x.safetensors", "--out", "text.txt"), "text.txt is a file"),
        (("cache", "--prune", "--older-than", "-3"), "--older-than: expected a number of 0 or"),
        (("cache", "--prune", "--max-gb", "nan"), "--max-gb: expected a number of 0 or more"),
        (("watch", "empty", "--baseline", "x", "--patience", "0"), "--patience of 1 or more"),
        (("watch", "empty", "--baseline", "x", "--poll", "nan"), "--poll above 0"),
        (
            ("baseline", "freeze", "b", "--scores", "scores.jsonl", "--gated", "grid", "--prompts",
             "nowhere"),
            "nowhere: no such prompt set",
        ),
        (
            ("baseline", "freeze", "b", "--scores", "scores.jsonl", "--gated", "grid",
             "--reference", "scores.jsonl"),
            "--reference: scores.jsonl holds no reference features",
        ),
        (
            ("baseline", "freeze", "b", "--scores", "scores.jsonl", "--profile", "nowhere"),
            "no profile called nowhere; known are: anime, character, demo, photo, pixel_24x24,",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(
    scored: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert said in refusal(capsys, *words)
    assert not (scored.parent / "o").exists()
    assert not (scored.parent / "baselines").exists()


def test_a_place_that_takes_no_folder_is_one_sentence(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", "images", "--scorers", "health", "--out", "/proc/no/scores.jsonl"]
    assert "/proc/no/scores.jsonl: cannot write here" in refusal(capsys, *words)


def test_a_damaged_checkpoint_is_refused_before_anything_is_loaded(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write_lora(place / "run" / "run-000001.safetensors")
    damaged = place / "run" / "run-000002.safetensors"
    damaged.write_bytes(whole.read_bytes()[:5000])
    said = refusal(capsys, "run", "run", "--out", "o", "--base-model", "x", "--prompts", "demo")
    assert "run-000002.safetensors: not a usable safetensors file" in said


def test_a_folder_of_epochs_keeps_its_damaged_files(place: Path) -> None:
    whole = write_lora(place / "run" / "run-000001.safetensors")
    damaged = place / "run" / "run-000002.safetensors"
    damaged.write_bytes(whole.read_bytes()[:5000])
    assert expand("run", place) == [whole, damaged]
    with pytest.raises(CheckpointError, match="found none"):
        expand("empty", place)


@pytest.mark.parametrize("text", ["1" + "0" * 18, "1-1" + "0" * 30, "9" * 400])
def test_seeds_fit_a_random_generator(text: str) -> None:
    with pytest.raises(UsageError, match="expected seeds below"):
        read_seeds(text)
    assert read_seeds("9" * 18) == (10**18 - 1,)


def test_a_place_for_results_is_found_where_there_is_one(place: Path) -> None:
    check_out(None, folder=True)
    check_out(Path("new/folder"), folder=True)
    check_out(Path("new/file.jsonl"), folder=False)
    check_out(Path("text.txt"), folder=False)
    check_out(Path("empty"), folder=True)


def test_freeze_takes_what_the_run_wrote_beside_its_scores(
    scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from loraeval.baselines import read_baseline
    from loraeval.prompts.sets import read_prompts

    rows = [json.loads(line) for line in scored.read_text().splitlines()]
    scored.write_text("".join(json.dumps({**row, "recipe": "abc"}) + "\n" for row in rows))
    facts = {
        "recipe": {"steps": 20, "clip_skip": None},
        "recipe_digest": "abc",
        "prompt_set": "demo",
        "prompt_digest": read_prompts("demo").digest,
    }
    made = scored.parent / "run.json"
    freeze = ["baseline", "freeze", "--scores", str(scored), "--gated", "grid"]

    def frozen(name: str, **changed: object) -> tuple[object, object]:
        made.write_text(json.dumps({**facts, **changed}))
        assert main([*freeze, name]) == 0
        baseline = read_baseline(name)
        return baseline.recipe and dict(baseline.recipe), baseline.prompt_set

    assert frozen("whole") == ({"steps": 20}, "demo")
    assert frozen("other_recipe", recipe_digest="def") == (None, None)
    assert frozen("other_prompts", prompt_digest="def") == ({"steps": 20}, None)
    assert frozen("lost_prompts", prompt_set="nowhere") == ({"steps": 20}, None)
    made.write_text("no JSON")
    assert main([*freeze, "broken"]) == 0
    assert read_baseline("broken").recipe is None


def test_freezing_style_without_its_reference_is_said(
    scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in scored.read_text().splitlines()]
    styled = [{**r, "scores": {"style": 0.9}, "versions": {"style": "2"}} for r in rows]
    scored.write_text("".join(json.dumps(row) + "\n" for row in styled))
    assert main(["baseline", "freeze", "b", "--scores", str(scored), "--gated", "style"]) == 0
    assert "style is gated and no reference features" in capsys.readouterr().err


def test_a_profile_is_found_by_its_name(scored: Path) -> None:
    from loraeval.baselines import read_profile

    assert read_profile(Path("pixel_24x24")).lattice == (24, 24)
    own = scored.parent / "recipes" / "profiles" / "pixel_24x24.toml"
    own.parent.mkdir(parents=True)
    own.write_text('name = "own"\ngated = ["grid"]\n')
    assert read_profile(Path("pixel_24x24")).name == "own"


def test_doctor_names_no_encoder_that_cannot_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    from loraeval.commands import doctor

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else found(name)
    )
    doctor.run(argparse.Namespace(json=False))
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("encoder"))
    assert "none" in line
    assert "pip install 'loraeval[clip]'" in line


def test_pytest_says_a_mistake_once(pytester: pytest.Pytester) -> None:
    write_lora(pytester.path / "x.safetensors")
    done = pytester.runpytest_subprocess("--checkpoint", "x.safetensors", "--lora-baseline", "no")
    text = done.stdout.str()
    assert done.ret == 1
    assert "expected a baseline called 'no'" in text
    assert "During handling" not in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nope"], "invalid choice: 'nope'"),
        (["run"], "required: CHECKPOINT; see loraeval run --help"),
        (["gate", "--alpha", "x"], "--alpha: expected a number above 0 and at most 0.5, found 'x'"),
        (["baseline", "freeze"], "required: NAME, --scores; see loraeval baseline freeze --help"),
        (["score", "\x1b[2J", "--nope"], "see loraeval score --help"),
    ],
)
def test_wrong_options_get_one_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert "\x1b" not in said
