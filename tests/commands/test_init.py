"""``loraeval init`` writes files that the other commands and pytest take as they are."""

from __future__ import annotations

import configparser
import itertools
from pathlib import Path

import pytest

from loraeval.cli import main
from loraeval.evaluation.project_files import Project, spread
from loraeval.prompts.sets import read_prompts
from loraeval.testing.portraits_files import write_portraits

yaml = pytest.importorskip("yaml")

WORDS = ["init", "--name", "mine", "--base-model", "models/base.safetensors", "--checkpoints",
         "out/loras", "--style", "pixel_24x24"]  # fmt: skip


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_settings_and_prompts_are_what_the_rest_reads(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_portraits(project / "training", 20)
    assert main([*WORDS, "--reference", "training"]) == 0
    ini = configparser.ConfigParser()
    ini.read(project / "pytest.ini")
    assert ini["pytest"]["lora_baseline"] == "mine"
    assert ini["pytest"]["lora_base_model"] == "models/base.safetensors"
    prompts = read_prompts("mine")
    assert len(prompts.prompts) == 12
    captions = {path.read_text().strip() for path in (project / "training").glob("*.txt")}
    assert {prompt.text for prompt in prompts.prompts} <= captions
    last = capsys.readouterr().out.splitlines()[-3:]
    assert last[0].strip().startswith("loraeval run out/loras/NAME.safetensors")
    assert "--profile pixel_24x24" in last[1]


@pytest.mark.parametrize(
    ("service", "file"),
    [("github", ".github/workflows/lora-gate.yml"), ("gitlab", ".gitlab-ci.yml")],
)
def test_the_workflow_holds_this_projects_values(project: Path, service: str, file: str) -> None:
    assert main([*WORDS, "--ci", service]) == 0
    text = (project / file).read_text(encoding="utf-8")
    tree = yaml.safe_load(text)
    values = tree["env"] if service == "github" else tree["variables"]
    assert values["BASELINE"] == "mine"
    assert values["BASE_MODEL"] == "models/base.safetensors"
    assert values["LORAS"] == ":(glob)out/loras/**/*.safetensors"
    assert "loras/**" not in text.replace("out/loras/**", "")


def test_nothing_that_exists_is_written_over(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "pytest.ini").write_text("[pytest]\nmine = 1\n")
    assert main(WORDS) == 2
    assert "pytest.ini" in capsys.readouterr().err
    assert not (project / "prompts").exists()
    assert main([*WORDS, "--force"]) == 0


def test_settings_of_another_file_are_not_hidden(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    assert main(WORDS) == 0
    assert not (project / "pytest.ini").exists()
    assert "lora_baseline = mine" in capsys.readouterr().out


def test_all_that_is_missing_is_named_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert main(["init", "--name", "x"]) == 2
    error = capsys.readouterr().err
    assert all(option in error for option in ("--base-model", "--checkpoints", "--style"))
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("name", ["../up", "a b", "", "-x"])
def test_a_name_that_can_name_no_folder_is_refused(name: str) -> None:
    from loraeval.errors import UsageError

    with pytest.raises(UsageError, match="--name"):
        Project(name, "base", "out", "pixel_24x24")


def test_prompts_are_spread_over_the_set() -> None:
    from loraeval.prompts.building import build_prompt

    prompts = [build_prompt("x", prompt_id=str(i), text=str(i)) for i in range(100)]
    chosen = [int(prompt.text) for prompt in spread(prompts, 12)]
    assert chosen[0] == 0
    assert chosen[-1] == 99
    assert {b - a for a, b in itertools.pairwise(chosen)} == {9}
