"""Every way to end with 0 that we could think of, each tried on a checkpoint that is bad.

A way is red, or honestly green: where nothing is judged the session says so. What own code of a
project does after the last hook (``os._exit(0)`` in a conftest) is out of anybody's reach.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from loraeval.cli import main

GOOD, BAD = "good-000002.safetensors", "photo-000001.safetensors"


@dataclass(frozen=True)
class Way:
    """Something in or around a session that might end a bad gate with 0."""

    name: str
    words: tuple[str, ...] = ()
    conftest: str = ""
    ini: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    checkpoint: str = BAD


def hook(line: str, body: str, decorator: str = "") -> str:
    return f"import pytest\n{decorator}\ndef {line}:\n    {body}\n"


WAYS = [
    Way("a part by -k", ("-k", "health")),
    Way("a part by -m", ("-m", "not lora_gate")),
    Way("deselected", ("--deselect", f"{BAD}::grid")),
    Way("what failed last, and nothing did", ("--lf", "--lfnf=none")),
    Way("set-up alone", ("--setup-only",)),
    Way("a plan of set-ups", ("--setup-plan",)),
    Way("no summary", ("--no-summary", "-k", "health")),
    Way("no terminal", ("-p", "no:terminal", "-k", "health")),
    Way("our witness switched off", ("-p", "no:loraeval-evidence", "-k", "health")),
    Way("the plugin switched off", ("-p", "no:loraeval")),
    Way("PYTEST_ADDOPTS selects", environment={"PYTEST_ADDOPTS": "-k health"}),
    Way("ini selects", ini="addopts = -k health\n"),
    Way("an empty checkpoint", checkpoint=""),
    Way("an empty baseline", ini="lora_baseline =\n"),
    Way("an empty baseline on the command line", ("--lora-baseline=", "-o", "lora_baseline=")),
    Way("no images wanted", ("--lora-max-images", "0")),
    Way("items removed", conftest=hook(
        "pytest_collection_modifyitems(items)", "items[:] = []",
        "@pytest.hookimpl(trylast=True)")),
    Way("items skipped", conftest=hook(
        "pytest_collection_modifyitems(items)",
        "[item.add_marker(pytest.mark.skip) for item in items]",
        "@pytest.hookimpl(trylast=True)")),
    Way("items expected to fail", conftest=hook(
        "pytest_collection_modifyitems(items)",
        "[item.add_marker(pytest.mark.xfail) for item in items]",
        "@pytest.hookimpl(trylast=True)")),
    Way("the protocol replaced", conftest=hook(
        "pytest_runtest_protocol(item)", "return True", "@pytest.hookimpl(tryfirst=True)")),
    Way("reports turned to passed", conftest=hook(
        "pytest_runtest_makereport(item, call)",
        "report = (yield)\n    report.outcome = 'passed'\n    return report",
        "@pytest.hookimpl(wrapper=True)")),
    Way("left with 0 before the first item", conftest=hook(
        "pytest_runtest_setup(item)", "pytest.exit('enough', returncode=0)")),
    Way("left with 0 after collection", conftest=hook(
        "pytest_collection_finish(session)", "pytest.exit('enough', returncode=0)")),
    Way("the exit code set early", conftest=hook(
        "pytest_sessionfinish(session)", "session.exitstatus = 0")),
    Way("the exit code set late", conftest=hook(
        "pytest_sessionfinish(session)", "session.exitstatus = 0",
        "@pytest.hookimpl(trylast=True)")),
]  # fmt: skip
QUICK = ("our witness switched off", "items expected to fail", "left with 0 before the first item")
"""Tried by ``make test``; the others at night: a session of pytest costs a second."""


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, id=way.name, marks=[] if way.name in QUICK else pytest.mark.nightly)
        for way in WAYS
    ],
)
def test_no_way_ends_a_bad_checkpoint_with_0(
    session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    if way.conftest:
        session.makeconftest(way.conftest)
    if way.ini:
        before = (session.path / "tox.ini").read_text().splitlines(keepends=True)
        name = way.ini.split("=")[0].strip()
        kept = [line for line in before if line.split("=")[0].strip() != name]
        (session.path / "tox.ini").write_text("".join(kept) + way.ini)
    for name, value in way.environment.items():
        monkeypatch.setenv(name, value)
    result = session.runpytest(f"--checkpoint={way.checkpoint}", *way.words)
    text = result.stdout.str() + result.stderr.str()
    assert result.ret != 0, text
    assert "INTERNALERROR" not in text
    assert f"pass  {BAD}" not in text


def test_a_plugin_that_runs_items_again_meets_items_that_can(session: pytest.Pytester) -> None:
    """What pytest-retry does on a failure: tear down, reset the fixtures, set up and call anew."""
    session.makeconftest("""
        import pytest
        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if call.when == "call" and call.excinfo:
                nextitem = pytest.Class.from_parent(item.session, name="other")
                item.ihook.pytest_runtest_teardown(item=item, nextitem=nextitem)
                item._initrequest()
                item.ihook.pytest_runtest_setup(item=item)
                again = pytest.CallInfo.from_call(
                    lambda: item.ihook.pytest_runtest_call(item=item), when="call")
                report = pytest.TestReport.from_item_and_call(item, again)
            return report
    """)
    result = session.runpytest("--checkpoint", BAD)
    assert result.ret == 1
    assert "INTERNALERROR" not in result.stdout.str()
    assert result.parseoutcomes()["failed"] >= 1


FOREIGN = {
    "pytest-retry": ((), ("--retries", "2")),
    "pytest-rerunfailures": ((), ("--reruns", "2")),
    "pytest-randomly": ((), ()),
    "pytest-timeout": ((), ("--timeout", "300")),
    "pytest-html": (("pytest-metadata",), ("--html", "page.html")),
    "pytest-cov": (("coverage",), ("--cov", "loraeval")),
}
"""Plugins that people have beside ours: what each needs besides, and the options that use it."""


@pytest.mark.nightly
@pytest.mark.parametrize("name", FOREIGN)
def test_people_s_plugins_leave_good_green_and_bad_red(
    session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """Each in a folder of its own: in this environment it would change our own tests."""
    needs, words = FOREIGN[name]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--target", str(tmp_path), name, *needs], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"pip could not fetch {name}: {done.stderr[-200:]}")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", paths)
    for checkpoint, expected in ((GOOD, 0), (BAD, 1)):
        for workers in ((), ("-n", "2")):
            result = session.runpytest_subprocess(*words, "--checkpoint", checkpoint, *workers)
            text = result.stdout.str() + result.stderr.str()
            assert "INTERNALERROR" not in text
            assert result.ret == expected, text


@pytest.mark.nightly
@pytest.mark.parametrize("words", [(), ("-n", "2"), ("-n", "2", "--testrunuid", "same")])
def test_two_sessions_in_one_folder_keep_their_verdicts(
    session: pytest.Pytester, words: tuple[str, ...]
) -> None:
    """Also with a test run id that is set by hand, twice the same."""
    jobs = [
        subprocess.Popen(
            [sys.executable, "-m", "pytest", "--checkpoint", checkpoint, *words],
            cwd=session.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for checkpoint in (GOOD, BAD, GOOD)
    ]  # fmt: skip
    said = [job.communicate()[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 1, 0], said


def test_a_verdict_of_an_earlier_session_is_never_met_again(
    session: pytest.Pytester, world: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A killed session leaves its folder; the next one has the same test run id and checkpoint."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    words = ("-n", "1", "--testrunuid", "ci", "--checkpoint", "x-000001.safetensors")
    rows = [json.loads(line) for line in world.manifest.read_text().splitlines()]
    for run, expected in (("good", 0), ("photo", 1)):
        mine = [row | {"run": "x"} for row in rows if row["run"] == run and row["epoch"] == 1]
        manifest = world.root / f"{run}_as_x.jsonl"
        manifest.write_text("".join(json.dumps(row) + "\n" for row in mine))
        session.makeconftest("import loraeval.shared_run as s\ns.SharedRun.close = lambda _: None")
        result = session.runpytest_subprocess(*words, "--lora-renders", str(manifest))
        assert result.ret == expected, result.stdout.str()


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


@pytest.mark.nightly
@pytest.mark.parametrize("words", [("--junitxml", "out.xml"), ("--lora-report", "report"), ()])
def test_no_space_at_the_last_write_is_red_or_changes_nothing(
    session: pytest.Pytester, words: tuple[str, ...]
) -> None:
    for checkpoint in (GOOD, BAD):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--checkpoint", checkpoint,
             *words],
            cwd=session.path, preexec_fn=small_files, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode != 0, done.stdout


@pytest.mark.nightly
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_signal_in_the_middle_is_no_green(
    session: pytest.Pytester, sign: signal.Signals, workers: tuple[str, ...]
) -> None:
    session.makeconftest("""
        import time
        import loraeval.evaluation.gate_run as gate_run
        def slow(*_, **__):
            open("begun", "w").close()
            time.sleep(60)
        gate_run.gate_checkpoint = slow
    """)
    job = subprocess.Popen(
        [sys.executable, "-m", "pytest", "--checkpoint", GOOD, *workers],
        cwd=session.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
        # A shell that starts this in the background has it ignored, which children inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip
    for _ in range(1200):
        if (session.path / "begun").exists() or job.poll() is not None:
            break
        time.sleep(0.1)
    assert job.poll() is None
    os.killpg(job.pid, sign)
    assert job.wait(60) != 0


def test_the_command_line_s_watch_at_night_is_red_for_a_damaged_newest_and_an_older_run(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    from loraeval.testing.kohya_files import write_lora

    good, photo = tmp_path / "good", tmp_path / "both"
    for folder, names in ((good, ["good-000002"]), (photo, ["photo-000001", "good-000002"])):
        folder.mkdir()
        for age, name in enumerate(names):
            path = write_lora(folder / f"{name}.safetensors", rank=1, components=("te",))
            os.utime(path, (1.6e9 + age, 1.6e9 + age))
    watch = ["--once", "--baseline", str(world.baselines / "golden"), "--encoder", "none"]
    watch += ["--renders", str(world.manifest)]
    assert main(["watch", str(good), *watch]) == 0, capsys.readouterr()
    assert main(["watch", str(photo), *watch]) == 1, "the older run fails"
    (good / "good-000003.safetensors").write_bytes(b"\x08\0\0\0")
    assert main(["watch", str(good), *watch]) == 2, "the newest is damaged"


@pytest.mark.parametrize("kind", ["no number", "no column"])
def test_a_baseline_without_a_number_on_a_gated_metric_is_one_sentence(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    for path in (world.baselines / "golden").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    scores = tmp_path / "scores.jsonl"
    rows = [json.loads(line) for line in scores.read_text().splitlines()]
    for row in rows:
        row["scores"].pop("palette")
        if kind == "no number":
            row["scores"]["palette"] = None
    scores.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["gate", "--scores", str(world.root / "scores.jsonl"), "--baseline", str(tmp_path)]
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert "palette is gated, but 0 of its" in line
