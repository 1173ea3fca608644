"""`pytest --checkpoint`: the items, what a failure prints, what JUnit and the summary carry."""

from __future__ import annotations

import importlib
import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from loraeval.cli import main
from loraeval.testing.kohya_files import write_lora, write_series

GOOD, PHOTO, BLACK = "good-000002.safetensors", "photo-000001.safetensors", "black.safetensors"


def test_a_good_checkpoint_passes_and_is_collected_alone(session: pytest.Pytester) -> None:
    session.makepyfile(test_other="def test_other(): assert False")
    result = session.runpytest("--checkpoint", GOOD)
    result.assert_outcomes(passed=3)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*LoRA gate*", "*palette*", "*grid*", "*health*"])


def test_items_are_named_checkpoint_and_scorer(session: pytest.Pytester) -> None:
    result = session.runpytest("--checkpoint", GOOD, "--checkpoint", PHOTO, "--collect-only", "-q")
    ids = [line for line in result.outlines if "::" in line]
    metrics = ("palette", "grid", "health")
    assert ids == [f"{name}::{metric}" for name in (GOOD, PHOTO) for metric in metrics]


def test_a_failure_prints_its_one_line_reason_and_no_traceback(session: pytest.Pytester) -> None:
    result = session.runpytest("--checkpoint", PHOTO, "-k", "grid")
    result.assert_outcomes(failed=1, deselected=2)
    text = result.stdout.str()
    assert "Traceback" not in text
    assert "shared_run.py" not in text
    body = text.split("= FAILURES =")[1].split("short test summary")[0]
    sentences = [
        line for line in body.splitlines() if line.strip() and not line.startswith(("_", "="))
    ]
    assert "grid" in sentences[0]
    assert "margin" in sentences[0]


def test_black_images_fail_by_their_health(session: pytest.Pytester) -> None:
    result = session.runpytest("--checkpoint", BLACK, "-k", "health")
    result.assert_outcomes(failed=1, deselected=2)
    result.stdout.fnmatch_lines(["*black*"])


def test_junit_counts_the_failure_and_carries_the_numbers(session: pytest.Pytester) -> None:
    session.runpytest("--checkpoint", PHOTO, "--junitxml", "out.xml")
    suite = ET.parse(session.path / "out.xml").getroot().find("testsuite")
    assert suite is not None
    assert int(suite.attrib["failures"]) >= 1
    assert suite.attrib["errors"] == "0"
    case = next(c for c in suite.iter("testcase") if c.attrib["name"].endswith("grid"))
    properties = {p.attrib["name"]: p.attrib["value"] for p in case.iter("property")}
    assert float(properties["loraeval.estimate"]) < 0
    assert float(properties["loraeval.low"]) <= float(properties["loraeval.high"])
    assert json.loads(properties["loraeval"])["checkpoint"]["file"] == PHOTO
    assert properties["loraeval.outcome"] == "fail"


def test_other_tests_named_on_the_command_line_run_beside_the_gate(
    session: pytest.Pytester,
) -> None:
    session.makepyfile(test_other="def test_other(): pass")
    session.runpytest("test_other.py", "--checkpoint", GOOD).assert_outcomes(passed=4)


def test_a_folder_and_a_glob_stand_for_every_checkpoint_in_them(
    session: pytest.Pytester,
) -> None:
    names = [path.name for path in write_series(session.mkdir("out"), "good", rank=1)]
    assert names == ["good-000001.safetensors", "good-000002.safetensors", "good.safetensors"]
    for argument, expected in (("out", names), ("out/*.safetensors", sorted(names))):
        result = session.runpytest("--checkpoint", argument, "--collect-only", "-q", "-k", "grid")
        ids = [line for line in result.outlines if "::" in line]
        assert ids == [f"{name}::grid" for name in expected]


def test_what_cannot_be_measured_never_passes(session: pytest.Pytester) -> None:
    profile = session.path / "profile.toml"
    profile.write_text('gated = ["style"]\nlattice = [24, 24]\n')
    result = session.runpytest("--checkpoint", GOOD, "--lora-baseline", "absent_style")
    result.assert_outcomes(failed=1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--lora-baseline", "absent"), "*absent*baseline freeze*"),
        (("--lora-renders", "absent.jsonl"), "*absent.jsonl*"),
        (("--checkpoint", "other-000009.safetensors"), "*other-000009*it holds the runs*good*"),
    ],
)
def test_a_mistake_fails_with_one_sentence(
    session: pytest.Pytester, words: tuple[str, str], says: str
) -> None:
    result = session.runpytest("--checkpoint", GOOD, *words)
    assert result.ret == 1
    assert "Traceback" not in result.stdout.str()
    result.stdout.fnmatch_lines([says])


@pytest.mark.parametrize(
    ("words", "ini", "says"),
    [
        (("--lora-alpha", "much"), "", "*--lora-alpha: expected a number above 0*much*"),
        (("--lora-inconclusive", "maybe"), "", "*--lora-inconclusive*maybe*pass*fail*skip*"),
        ((), "lora_max_images = none", "*lora_max_images in the pytest configuration*whole*none*"),
        ((), "lora_compile = often", "*lora_compile*auto, always, never*often*"),
    ],
)
def test_a_wrong_value_is_said_before_anything_is_collected(
    session: pytest.Pytester, words: tuple[str, ...], ini: str, says: str
) -> None:
    with (session.path / "tox.ini").open("a") as file:
        file.write(f"\n{ini}\n")
    result = session.runpytest("--checkpoint", GOOD, *words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([says])


def test_people_are_told_of_each_verdict_once_also_by_workers(session: pytest.Pytester) -> None:
    session.makeconftest(
        """
        def pytest_loraeval_verdict(verdict):
            print("TOLD", verdict.outcome, verdict.checkpoint.label, bool(verdict.reason))
        """
    )
    for more in ((), ("-n", "2")):
        result = session.runpytest("-s", "--checkpoint", GOOD, "--checkpoint", PHOTO, *more)
        told = [line[line.index("TOLD") :] for line in result.outlines if "TOLD" in line]
        assert told == [f"TOLD pass {GOOD} True", f"TOLD fail {PHOTO} True"]


def test_a_checkpoint_that_is_not_there_stops_the_run(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--checkpoint", "absent.safetensors")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*absent.safetensors*"])


def test_a_report_that_cannot_be_written_stops_the_run_before_any_work(
    session: pytest.Pytester,
) -> None:
    result = session.runpytest("--checkpoint", GOOD, "--lora-report", "tox.ini")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--lora-report: expected a folder, *tox.ini is a file*"])


def test_an_undecided_gate_means_what_the_user_chose(session: pytest.Pytester) -> None:
    few = ["--checkpoint", GOOD, "--lora-min-images", "1000"]
    failed = session.runpytest(*few)
    assert failed.parseoutcomes()["failed"] == 2
    assert failed.ret == 1
    passed = session.runpytest(*few, "--lora-inconclusive", "pass")
    passed.assert_outcomes(passed=3)
    assert passed.ret == 0
    heads = [line for line in passed.outlines if line.startswith("LoRA gate:")]
    assert heads == ["LoRA gate: undecided counts as pass here (--lora-inconclusive pass)"]


def test_what_was_skipped_as_undecided_is_no_green(session: pytest.Pytester) -> None:
    few = ["--checkpoint", GOOD, "--lora-min-images", "1000", "--lora-inconclusive", "skip"]
    skipped = session.runpytest(*few)
    skipped.assert_outcomes(passed=1, skipped=2)
    assert skipped.ret == 1
    skipped.stdout.fnmatch_lines(["*is undecided and was skipped, not passed*"])
    assert session.runpytest(*few, "--lora-partial").ret == 0


def test_a_mistake_is_worked_out_once_and_in_pytests_own_words(
    pytester: pytest.Pytester, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the plugin will find it: inner sessions drop what they imported.
    setup = importlib.import_module("loraeval.evaluation.setup")
    calls = []
    original = setup.gate_setup

    def counted(*words: Any, **more: Any) -> Any:
        calls.append(words)
        return original(*words, **more)

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("the mistake is there to see before an encoder is loaded")

    monkeypatch.setattr(setup, "gate_setup", counted)
    monkeypatch.setattr(setup, "build_panel", never)
    write_lora(pytester.path / "mine-000001.safetensors", rank=1, components=("te",))
    result = pytester.runpytest(
        "--checkpoint",
        "mine-000001.safetensors",
        "--lora-baseline",
        str(world.baselines / "golden"),
    )
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["*expected a base model*give --lora-base-model*--lora-renders*"])
    assert len(calls) == 1


def test_a_failed_checkpoint_says_what_was_trained_otherwise(
    session: pytest.Pytester, world: Any
) -> None:
    options: dict[str, Any] = {"components": ("te",), "rank": 2}
    good = write_lora(session.path / "good.safetensors", alpha=1.0, **options)
    write_lora(session.path / "photo-000001.safetensors", alpha=2.0, unet_lr=9e-4, **options)
    assert main(["params", str(good), "--json", "--out", str(session.path / "good.json")]) == 0
    freeze = ["baseline", "freeze", "known", "--scores", str(world.root / "scores.jsonl")]
    freeze += ["--profile", str(world.root / "profile.toml"), "--select", "run=good,epoch=1"]
    freeze += ["--parameters", str(session.path / "good.json"), "--root", str(session.path)]
    assert main(freeze) == 0
    result = session.runpytest(
        "--checkpoint", "photo-000001.safetensors", "--lora-baseline", str(session.path / "known")
    )
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*LoRA gate*", "*trained otherwise: unet_lr*9*"])


def test_a_bug_is_an_error_item_and_no_verdict(
    session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    room = importlib.import_module("loraeval.evaluation.gate_run")
    monkeypatch.setattr(room, "gate_checkpoint", broken)
    result = session.runpytest("--checkpoint", GOOD)
    result.assert_outcomes(errors=3)
    assert f"pass  {GOOD}" not in result.stdout.str()
    result.stdout.fnmatch_lines(["*ZeroDivisionError*"])
