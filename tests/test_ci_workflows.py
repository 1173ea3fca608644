"""The workflows to copy run: each shell step as the CI service would run it, on a CPU.

Installing is left out; the four values that a workflow tells people to set are set to the demo's.
"""

from __future__ import annotations

import json
import os
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
        "PATH": f"{binaries}:{os.environ['PATH']}",
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
    return {key: str(value) for key, value in values.items()}, kept


@pytest.fixture
def rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with drawn images as its renders, and a baseline of the same style."""
    monkeypatch.chdir(tmp_path)
    for name in ("renders/images", "gold"):
        write_portraits(tmp_path / name, 12)
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
    assert set(values) == {"BASELINE"}
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
    steps = [step for step in tree["lora-scores"]["script"] if not step.startswith("pip ")]
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
    shutil.copyfile(ROOT / "demo" / "checkpoints" / GOOD, place / "loras" / GOOD)
    return place


DEMO = {"BASELINE": "demo_perfect", "BASE_MODEL": "demo/base", "CHECKPOINTS": "loras/*.safetensors"}


@pytest.mark.slow
def test_github_gates_what_a_pull_request_changes(training: Path) -> None:
    values, steps = github_steps("github-gpu.yml")
    assert set(DEMO) <= set(values)
    summary = training / "summary.md"
    mine = {**values, **DEMO, "LORA_CACHE": str(training / "cache")}
    gate, shown = run_steps(training, steps, {**mine, "GITHUB_STEP_SUMMARY": str(summary)})
    assert (gate.returncode, shown.returncode) == (0, 0), gate.stdout + gate.stderr
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
    steps = [step for step in job["script"] if not step.startswith("pip ")]
    steps = [step.replace(".cache/renders", "cache/renders") for step in steps]
    (gate,) = run_steps(training, steps, {**tree["variables"], **DEMO}, shell="sh")
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
