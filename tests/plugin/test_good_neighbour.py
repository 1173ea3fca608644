"""The plugin lives in every pytest run of its users: the traps that others fell into."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKPOINT = "good-000002.safetensors"
PASSING = "def test_it(): pass"


def files_below(folder: Path) -> set[str]:
    """Files below ``folder`` but for pytester's own and Python's caches."""
    own = ("runpytest-", "stdout", "stderr")
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if "__pycache__" not in p.parts}
    return {name for name in names if not name.startswith(own)}


def test_without_checkpoint_nothing_is_imported_written_or_started(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile("""
        import subprocess, sys
        heavy = {"torch", "numpy", "PIL", "diffusers", "altair", "scipy", "skimage", "transformers",
                 "loraeval.evaluation", "loraeval.shared_run", "loraeval.baselines"}
        def test_nothing_heavy():
            assert heavy & set(sys.modules) == set()
    """)
    before = files_below(pytester.path)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    assert files_below(pytester.path) == before
    assert "LoRA" not in result.stdout.str()


def test_collecting_renders_scores_and_writes_nothing(session: pytest.Pytester) -> None:
    session.makeconftest("""
        import loraeval.evaluation.gate_run as gate_run
        def refuse(*_): raise AssertionError("collection must not gate")
        gate_run.gate_checkpoint = refuse
    """)
    before = files_below(session.path)
    result = session.runpytest_subprocess(
        "--checkpoint", CHECKPOINT, "--collect-only", "-p", "no:cacheprovider"
    )
    assert result.ret == 0
    assert files_below(session.path) == before


def test_other_plugins_keep_their_option_names(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        def pytest_addoption(parser):
            for name in ("--baseline", "--report", "--label", "--metadata", "--update-baseline",
                         "--prompts", "--renders", "--encoder", "--store", "--devices", "--alpha"):
                parser.addoption(name)
    """)
    pytester.makepyfile(PASSING)
    pytester.runpytest("--baseline", "x", "--report", "y").assert_outcomes(passed=1)


def test_every_option_and_ini_name_is_ours(pytester: pytest.Pytester) -> None:
    text = pytester.runpytest("--help").stdout.str()
    section = text.split("loraeval: gate LoRA checkpoints:")[1].split("\n\n")[0]
    options = [line.split()[0] for line in section.splitlines() if line.startswith("  --")]
    assert "--checkpoint=PATH" in options
    assert all(o.startswith(("--checkpoint", "--lora-")) for o in options)
    assert "lora_baseline (string)" in text


def test_it_can_be_switched_off_by_its_name(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PASSING)
    pytester.runpytest_subprocess("-p", "no:loraeval").assert_outcomes(passed=1)
    result = pytester.runpytest_subprocess("-p", "no:loraeval", "--checkpoint", "x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_strict_markers_hold(session: pytest.Pytester) -> None:
    result = session.runpytest("--checkpoint", CHECKPOINT, "--strict-markers", "-m", "lora_gate")
    result.assert_outcomes(passed=3)


def test_the_command_line_beats_the_ini_file(session: pytest.Pytester) -> None:
    result = session.runpytest("--checkpoint", CHECKPOINT, "--lora-baseline", "other_name")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*other_name*"])


@pytest.mark.parametrize("workers", ["-n2", "-pno:xdist"])
def test_it_works_with_xdist_and_without(session: pytest.Pytester, workers: str) -> None:
    result = session.runpytest_subprocess(
        "--checkpoint", CHECKPOINT, "--checkpoint", "photo-000001.safetensors", workers
    )
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] >= 3
    assert outcomes["failed"] >= 1
    assert "INTERNALERROR" not in result.stdout.str()
    result.stdout.fnmatch_lines(["*LoRA gate*", "*grid*"])


def test_the_gate_runs_once_for_all_workers(session: pytest.Pytester) -> None:
    session.makeconftest("""
        import os, pathlib
        import loraeval.evaluation.gate_run as gate_run
        gate = gate_run.gate_checkpoint
        def counted(*words):
            with open("count.txt", "a") as file:
                file.write(f"{os.getpid()}\\n")
            return gate(*words)
        gate_run.gate_checkpoint = counted
    """)
    result = session.runpytest_subprocess("--checkpoint", CHECKPOINT, "-n", "3")
    result.assert_outcomes(passed=3)
    assert len((session.path / "count.txt").read_text().split()) == 1


def test_the_shared_folder_is_gone_afterwards(
    session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = session.mkdir("shared")
    monkeypatch.setenv("TMPDIR", str(shared))
    for words in ((), ("-n", "2")):
        session.runpytest_subprocess("--checkpoint", CHECKPOINT, *words).assert_outcomes(passed=3)
        assert [p.name for p in shared.iterdir() if p.name.startswith("loraeval-")] == []


def test_what_killed_sessions_left_is_removed_and_nothing_else(
    session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = session.mkdir("shared")
    monkeypatch.setenv("TMPDIR", str(shared))
    names = {
        word: f"loraeval-{sign * 32}"
        for word, sign in zip(("old", "new", "busy"), "abc", strict=True)
    }
    names |= {"other": "loraeval-of-mine", "file": f"loraeval-{'d' * 32}"}
    for word, name in names.items():
        if word == "file":
            (shared / name).write_text("mine")
        else:
            (shared / name).mkdir()
            (shared / name / "run.lock").write_text("")
        if word != "new":
            os.utime(shared / name, (1e9, 1e9))
    with (shared / names["busy"] / "run.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        session.runpytest_subprocess("--checkpoint", CHECKPOINT).assert_outcomes(passed=3)
    left = {path.name for path in shared.iterdir() if path.name.startswith("loraeval-")}
    assert left == set(names.values()) - {names["old"]}


def test_the_plugin_leaves_no_attribute_on_config(session: pytest.Pytester) -> None:
    session.makeconftest("""
        def pytest_unconfigure(config):
            ours = [name for name in vars(config) if "lora" in name.lower()]
            assert ours == [], ours
    """)
    assert session.runpytest("--checkpoint", CHECKPOINT).ret == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pytest.ini", "[pytest]\nlora_baseline = {0}\nlora_encoder = none\n"),
        ("tox.ini", "[pytest]\nlora_baseline = {0}\nlora_encoder = none\n"),
        ("setup.cfg", "[tool:pytest]\nlora_baseline = {0}\nlora_encoder = none\n"),
        (
            "pyproject.toml",
            "[tool.pytest.ini_options]\nlora_baseline = '{0}'\nlora_encoder = 'none'\n",
        ),
    ],
)
def test_a_path_outside_the_project_does_not_cost_its_settings(
    pytester: pytest.Pytester, world: Any, name: str, text: str
) -> None:
    (pytester.path / name).write_text(text.format(world.baselines / "golden"))
    result = pytester.runpytest(
        "--checkpoint", CHECKPOINT, "--lora-renders", str(world.manifest), "-k", "health"
    )
    result.assert_outcomes(passed=1, deselected=2)


def test_a_path_in_another_project_does_not_bring_its_settings(
    pytester: pytest.Pytester, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange, own = pytester.mkdir("strange"), pytester.mkdir("own")
    (strange / "pytest.ini").write_text("[pytest]\nlora_baseline = nowhere\n")
    (strange / CHECKPOINT).write_bytes(b"")
    settings = f"[pytest]\nlora_baseline = {world.baselines / 'golden'}\nlora_encoder = none\n"
    (own / "pytest.ini").write_text(settings)
    monkeypatch.chdir(own)
    words = ["--checkpoint", f"../strange/{CHECKPOINT}", "--lora-renders", str(world.manifest)]
    done = pytester.run(sys.executable, "-m", "pytest", *words, "-k", "health")
    done.assert_outcomes(passed=1, deselected=2)
    named = pytester.run(sys.executable, "-m", "pytest", *words, "-c", "../strange/pytest.ini")
    named.stdout.fnmatch_lines(["*expected a baseline called 'nowhere'*"])
