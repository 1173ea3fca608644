"""The workflows to copy run: each shell step as the CI service would run it, on a CPU.

Installing is left out; the four values that a workflow tells people to set are set to the demo's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loraeval.baselines import read_baseline
from loraeval.cli import main
from loraeval.sources import find_renders
from loraeval.testing.portraits_files import write_portraits

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).resolve().parent.parent
CI = ROOT / "docs" / "ci"
GOOD = "demo_perfect-000010.safetensors"


def run_steps(
    place: Path, steps: list[str], values: Mapping[str, str], *, shell: str = "bash"
) -> list[subprocess.CompletedProcess[str]]:
    """Run shell steps in ``place`` as the service does (stop at the first that fails)."""
    binaries = Path(sys.executable).parent
    venv = place / "runner" / "venv"
    venv.mkdir(parents=True, exist_ok=True)
    if not (venv / "bin").exists():
        (venv / "bin").symlink_to(binaries)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
        **values,
        "PATH": values.get("PATH", f"{binaries}:{os.environ['PATH']}"),
        "RUNNER_TEMP": str(place / "runner"),
        "HF_HUB_OFFLINE": "1",
        "CI": "true",
    }
    script = ["-eo", "pipefail"] if shell == "bash" else ["-e"]
    return [
        subprocess.run(
            [shell, *script, "-c", step], cwd=place, env=environment, capture_output=True, text=True
        )
        for step in steps
    ]


def github_steps(name: str) -> tuple[dict[str, str], list[str]]:
    """The values and the shell steps of a GitHub workflow's only job, installing left out."""
    tree = yaml.safe_load((CI / name).read_text(encoding="utf-8"))
    (job,) = tree["jobs"].values()
    values = {**tree.get("env", {}), **job.get("env", {})}
    steps = [step["run"] for step in job["steps"] if "run" in step]
    kept = [step for step in steps if "pip" not in step]
    assert len(kept) == len(steps) - 1
    assert "LORAEVAL_COMMIT" in values
    return {key: str(value) for key, value in values.items()}, kept


def without_install(steps: list[str]) -> list[str]:
    """The steps of a GitLab job after those that install."""
    return steps[1 + next(place for place, step in enumerate(steps) if step.startswith("pip ")) :]


def git(place: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *identity, *words], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(place: Path) -> str:
    git(place, "add", "--all", "--force", "loras")
    git(place, "commit", "--quiet", "--allow-empty", "-m", "x")
    return git(place, "rev-parse", "HEAD")


@pytest.fixture
def request_on(tmp_path: Path) -> Path:
    """A clone whose base commit holds two LoRAs; stand-ins for pytest print their words."""
    place = tmp_path / "clone"
    (place / "loras" / "old").mkdir(parents=True)
    git(place, "init", "--quiet")
    git(place, "remote", "add", "origin", str(place))
    for name in ("old/a.safetensors", "b.safetensors"):
        (place / "loras" / name).write_text("1")
    for where in (place / "runner" / "venv" / "bin", place / "bin"):
        where.mkdir(parents=True)
        (where / "pytest").write_text('#!/bin/sh\nprintf "<%s>" "$@"; exit 1\n')
        (where / "pytest").chmod(0o755)
    commit(place)
    return place


STRANGE = "new/deep/name [v2] 'q'.safetensors"
CHANGES = [
    ("added in a sub-folder", [STRANGE], [], [STRANGE], 1),
    ("changed", ["b.safetensors"], [], ["b.safetensors"], 1),
    ("removed", [], ["b.safetensors"], [], 0),
    ("another baseline", ["../baselines/x/scores.jsonl"], [],
     ["b.safetensors", "old/a.safetensors"], 1),
]  # fmt: skip


@pytest.mark.parametrize(("what", "written", "removed", "gated", "code"), CHANGES)
@pytest.mark.parametrize("service", ["github", "gitlab"])
def test_what_a_request_changes_is_gated_and_nothing_else(
    request_on: Path, service: str, what: str, written: list[str], removed: list[str],
    gated: list[str], code: int,
) -> None:  # fmt: skip
    base = git(request_on, "rev-parse", "HEAD")
    for name in written:
        file = request_on / "loras" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("2")
    for name in removed:
        (request_on / "loras" / name).unlink()
    if (request_on / "baselines").exists():
        git(request_on, "add", "baselines")
    commit(request_on)
    if service == "github":
        values, steps = github_steps("github-gpu.yml")
        done = run_steps(request_on, steps[:2], {**values, "BASE_SHA": base})[-1]
    else:
        tree = yaml.safe_load((CI / "gitlab.yml").read_text(encoding="utf-8"))
        steps = ["\n".join(without_install(tree["lora-gate"]["script"]))]
        values = {**tree["variables"], "CI_MERGE_REQUEST_DIFF_BASE_SHA": base}
        values["PATH"] = f"{request_on / 'bin'}:{os.environ['PATH']}"
        done = run_steps(request_on, steps, values, shell="sh")[-1]
    assert bool(done.returncode) == bool(code), done.stdout + done.stderr
    asked = [word for word in done.stdout.strip("<>").split("><") if "--checkpoint" in word]
    assert sorted(asked) == sorted(f"--checkpoint=loras/{name}" for name in gated)
    assert bool(gated) or "nothing is gated" in done.stdout


def test_templates_fail_safe() -> None:
    """Undecided is red, actions are commits, forks run nothing, no gate ends another, and what
    triggers a gate is what it gates.
    """
    for path in [*sorted(CI.glob("*.yml")), ROOT / ".github" / "workflows" / "ci.yml"]:
        text = path.read_text(encoding="utf-8")
        tree = yaml.safe_load(text)
        assert "--inconclusive" not in text, path.name
        assert "lora-inconclusive" not in text, path.name
        for used in re.findall(r"uses: (\S+)", text):
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", used), (path.name, used)
        assert not re.search(r"install[^\n]*loraeval(?!\S* @ )", text), path.name
        on = tree.get(True, {})
        if path.parent == CI and "concurrency" in tree:
            assert tree["concurrency"]["cancel-in-progress"] is False
            assert re.search(r"github\.(sha|run_id)", tree["concurrency"]["group"])
        if path.parent == CI and "pull_request" in on:
            (job,) = tree["jobs"].values()
            assert "head.repo.full_name == github.repository" in job["if"]
    for name in ("github-gpu.yml", "gitlab.yml"):
        text = (CI / name).read_text(encoding="utf-8")
        assert text.count("loras/**/*.safetensors") == 2
        assert not re.search(r"loras/\*[^*]", text)


@pytest.mark.parametrize("name", ["github-gpu", "github-cpu-scoring", "github-nightly-watch"])
def test_a_template_without_a_commit_stops_before_anything(tmp_path: Path, name: str) -> None:
    tree = yaml.safe_load((CI / f"{name}.yml").read_text(encoding="utf-8"))
    (job,) = tree["jobs"].values()
    (install,) = [step["run"] for step in job["steps"] if "pip" in step.get("run", "")]
    (done,) = run_steps(tmp_path, [install], {"LORAEVAL_REPOSITORY": "", "LORAEVAL_COMMIT": ""})
    assert done.returncode != 0
    assert "set it under env" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runner"]


@pytest.fixture
def rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with drawn images as its renders, and a baseline of the same style."""
    monkeypatch.chdir(tmp_path)
    for name in ("renders/images", "gold"):
        write_portraits(tmp_path / name, 40)
    lines = [
        {"image": f"images/{r.image.name}", "run": "MINE", "epoch": 1, "prompt_id": r.prompt.id,
         "prompt": r.prompt.text}
        for r in find_renders(tmp_path / "renders" / "images")
    ]  # fmt: skip
    manifest = tmp_path / "renders" / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "profile.toml").write_text('gated = ["palette", "grid", "health"]\n')
    assert main(["score", "gold", "--encoder", "none", "--out", "gold.jsonl"]) == 0
    freeze = ["baseline", "freeze", "GOLD", "--scores", "gold.jsonl", "--profile", "profile.toml"]
    assert main(freeze) == 0
    return tmp_path


def test_github_scores_gates_and_reports_rendered_images(rendered: Path) -> None:
    values, steps = github_steps("github-cpu-scoring.yml")
    assert set(values) == {"BASELINE", "LORAEVAL_REPOSITORY", "LORAEVAL_COMMIT"}
    summary = rendered / "summary.md"
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "BASELINE": "GOLD"}
    done = run_steps(rendered, steps, github)
    assert [step.returncode for step in done] == [0, 0, 0], done
    assert (rendered / "reports" / "page" / "index.html").is_file()
    assert "| scorer | verdict |" in summary.read_text()


def test_a_worse_run_turns_the_job_red_and_is_annotated(rendered: Path) -> None:
    from PIL import Image

    for path in (rendered / "renders" / "images").glob("*.png"):
        with Image.open(path) as image:
            Image.new("RGB", image.size, (9, 9, 9)).save(path)
    _, steps = github_steps("github-cpu-scoring.yml")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(rendered / "summary.md")}
    score, report, gate = run_steps(rendered, steps, {**github, "BASELINE": "GOLD"})
    assert (score.returncode, report.returncode, gate.returncode) == (0, 0, 1)
    assert "::error title=" in report.stdout


def test_gitlab_scores_rendered_images(rendered: Path) -> None:
    tree = yaml.safe_load((CI / "gitlab.yml").read_text(encoding="utf-8"))
    steps = without_install(tree["lora-scores"]["script"])
    done = run_steps(rendered, steps, {**tree["variables"], "BASELINE": "GOLD"}, shell="sh")
    assert [step.returncode for step in done] == [0, 0, 0], done
    assert (rendered / tree["lora-scores"]["artifacts"]["paths"][0] / "page").is_dir()


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory, demo_store: Path) -> Path:
    """A project with the demo's base model and one epoch, its renders kept between the tests."""
    place = tmp_path_factory.mktemp("project")
    for name in ("demo", "prompts", "recipes", "baselines"):
        (place / name).symlink_to(ROOT / name)
    (place / "loras").mkdir()
    (place / "cache").mkdir()
    (place / "cache" / "renders").symlink_to(demo_store)
    git(place, "init", "--quiet")
    git(place, "remote", "add", "origin", str(place))
    commit(place)
    shutil.copyfile(ROOT / "demo" / "checkpoints" / GOOD, place / "loras" / GOOD)
    commit(place)
    return place


DEMO = {"BASELINE": "demo_perfect", "BASE_MODEL": "demo/base"}


@pytest.mark.slow
def test_github_gates_what_a_pull_request_changes(training: Path) -> None:
    values, steps = github_steps("github-gpu.yml")
    assert set(DEMO) <= set(values)
    summary = training / "summary.md"
    base = git(training, "rev-parse", "HEAD~1")
    mine = {**values, **DEMO, "LORA_CACHE": str(training / "cache"), "BASE_SHA": base}
    found, gate, shown = run_steps(training, steps, {**mine, "GITHUB_STEP_SUMMARY": str(summary)})
    codes = (found.returncode, gate.returncode, shown.returncode)
    assert codes == (0, 0, 0), gate.stdout + gate.stderr
    assert "| palette |" in summary.read_text()
    suite = ET.parse(training / "reports" / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    gated = read_baseline("demo_perfect", training / "baselines").profile.gated
    assert int(suite.attrib["tests"]) == len(gated)
    assert (training / "reports" / "gate" / "index.html").is_file()


@pytest.mark.slow
def test_gitlab_gates_with_the_same_words(training: Path) -> None:
    tree: dict[str, Any] = yaml.safe_load((CI / "gitlab.yml").read_text(encoding="utf-8"))
    job = tree["lora-gate"]
    steps = ["\n".join(without_install(job["script"])).replace(".cache/renders", "cache/renders")]
    values = {"CI_MERGE_REQUEST_DIFF_BASE_SHA": git(training, "rev-parse", "HEAD~1")}
    (gate,) = run_steps(training, steps, {**tree["variables"], **DEMO, **values}, shell="sh")
    assert gate.returncode == 0, gate.stdout + gate.stderr
    assert (training / job["artifacts"]["reports"]["junit"]).is_file()


@pytest.mark.slow
def test_github_watches_a_training_folder_at_night(training: Path) -> None:
    values, steps = github_steps("github-nightly-watch.yml")
    steps = [step.replace("/var/cache/loraeval", str(training / "cache")) for step in steps]
    mine = {**values, **DEMO, "TRAINING_OUTPUT": str(training / "loras")}
    summary = training / "night.md"
    watch, shown = run_steps(training, steps, {**mine, "GITHUB_STEP_SUMMARY": str(summary)})
    assert (watch.returncode, shown.returncode) == (0, 0), watch.stdout + watch.stderr
    assert "new, gating it" in watch.stdout
    assert "| palette |" in summary.read_text()
