"""The commands of the report from end to end, and the CI files as YAML."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from loraeval.cli import main
from loraeval.report.ratings import make_pairs, rating_of, write_ratings
from loraeval.scores_file import read_scores, write_scores
from loraeval.testing.kohya_files import write_lora


@pytest.fixture
def place(tmp_path, study, monkeypatch) -> Path:
    """A folder with the study's scores, the baseline's scores, and the baseline frozen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    write_scores(tmp_path / "scores.jsonl", study.rows)
    write_scores(tmp_path / "gold.jsonl", study.baseline.rows)
    return tmp_path


@pytest.fixture
def frozen(place, capsys) -> str:
    assert main(["baseline", "freeze", "GOLD", "--scores", "gold.jsonl"]) == 0, capsys.readouterr()
    capsys.readouterr()
    return "GOLD"


def test_chart_writes_both_files_and_says_which_epoch(place, capsys):
    assert main(["chart", "--scores", "scores.jsonl", "--out", "charts"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^STUDY: Epoch \d", said)
    for name in ("STUDY_epochs.png", "STUDY_epochs.svg"):
        assert (place / "charts" / name).stat().st_size > 1000
        assert name in said


def test_runs_whose_names_make_one_file_name_get_a_chart_each(place, capsys):
    rows = read_scores(place / "scores.jsonl")
    twins = ["punks v1", "punks/v1", "Punks_V1"]
    write_scores(place / "twins.jsonl", [replace(row, run=name) for name in twins for row in rows])
    assert main(["chart", "--scores", "twins.jsonl", "--out", "charts"]) == 0
    said = capsys.readouterr().out
    want = ["Punks_V1-3_epochs.png", "punks_v1-2_epochs.png", "punks_v1_epochs.png"]
    assert sorted(path.name for path in (place / "charts").glob("*.png")) == want
    assert main(["chart", "--scores", "twins.jsonl", "--out", "one", "--run", "punks/v1"]) == 0
    assert [path.name for path in (place / "one").glob("*.png")] == ["punks_v1-2_epochs.png"]
    assert all(name in said for name in want)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--scores", "no.jsonl"], "no.jsonl"),
        (["--scores", "scores.jsonl", "--run", "X"], "--run: expected one of the runs"),
        (["--scores", "scores.jsonl", "--metrics", "beauty"], "--metrics: expected some of"),
        (["--scores", "scores.jsonl", "--baseline", "NONE"], "NONE"),
    ],
)
def test_chart_mistakes_are_one_line_and_exit_2(place, capsys, words, sentence):
    assert main(["chart", "--out", "charts", *words]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_report_gates_shows_and_announces(place, frozen, study, capsys, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place / "job.md"))
    words = ["report", "--scores", "scores.jsonl", "--baseline", frozen, "--out", "reports/R"]
    words += ["--renders", str(study.images), "--baseline-renders", str(study.baseline.images)]
    assert main([*words, "--title", "a <b> title"]) == 0
    page = (place / "reports" / "R" / "index.html").read_text()
    assert "a &lt;b&gt; title" in page
    assert page.count('id="view-') == 20 + 5
    assert "checkpoints pass against GOLD" in page
    said = capsys.readouterr().out
    blamed = r"^::(error|warning) title=STUDY-000001\.safetensors%3A \w+"
    assert re.search(blamed, said, re.MULTILINE)
    assert "```mermaid" in (place / "job.md").read_text()


def test_report_says_what_a_failed_checkpoint_was_trained_otherwise(place, frozen, study, capsys):
    assert (
        main(["params", str(_lora(place / "gold.safetensors", 4)), "--json", "--out", "p.json"])
        == 0
    )
    freeze = ["baseline", "freeze", frozen, "--replace", "--scores", "gold.jsonl"]
    assert main([*freeze, "--parameters", "p.json"]) == 0
    failed = [
        replace(row, scores={**row.scores, "grid": 0.0}) for row in study.rows if row.epoch == 1
    ]
    write_scores(place / "one.jsonl", failed)
    words = ["report", "--scores", "one.jsonl", "--baseline", frozen, "--out", "reports/R"]
    _lora(place / "STUDY-000001.safetensors", 8)
    assert main([*words, "--checkpoint", "STUDY-000001.safetensors"]) == 0
    page = (place / "reports" / "R" / "index.html").read_text()
    assert page.index("Trained otherwise than the baseline") < page.index('id="comparisons"')
    assert "network_dim: 4 -&gt; 8" in page
    assert 'id="parameters-title"' in page
    capsys.readouterr()
    assert main([*words, "--checkpoint", "gold.safetensors"]) == 2
    said = capsys.readouterr().err
    assert (
        "--checkpoint: expected files of the gated checkpoints (STUDY-000001.safetensors)" in said
    )


def _lora(path: Path, rank: int) -> Path:
    return write_lora(path, rank=rank, alpha=rank / 2, network_dim=rank, network_alpha=rank / 2)


def test_rate_summary_says_how_far_the_scorers_agree(place, study, capsys):
    pairs = make_pairs(study.rows, study.baseline.rows, seed=0)
    ratings = {
        pair.key: rating_of(
            pair,
            "candidate" if pair.candidate.scores["grid"] > pair.baseline.scores["grid"]
            else "baseline",
        )
        for pair in pairs
    }  # fmt: skip
    write_ratings(place / "ratings.jsonl", ratings)
    assert main(["rate", ".", "--baseline", "gold.jsonl", "--summary"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("20 of 20 pairs judged: candidate preferred in ")
    grid = next(line for line in lines if line.startswith("grid"))
    assert " 1.00 " in grid
    health = next(line for line in lines if line.startswith("health"))
    assert "one score" in health


@pytest.mark.parametrize("words", [[], ["--baseline", "gold.jsonl", "--against", "epoch=1"]])
def test_rate_wants_one_thing_to_compare_with(place, capsys, words):
    assert main(["rate", "scores.jsonl", *words]) == 2
    assert "expected one thing to compare with" in capsys.readouterr().err


def test_rate_without_images_says_which_option(place, capsys):
    assert main(["rate", "scores.jsonl", "--against", "epoch=3", "--no-browser"]) == 2
    assert "--renders" in capsys.readouterr().err


def test_rate_says_which_ports_there_are(place, study, capsys):
    words = ["rate", "scores.jsonl", "--select", "epoch=1", "--against", "epoch=2", "--no-browser"]
    assert main([*words, "--renders", str(study.images), "--port", "99999"]) == 2
    said = capsys.readouterr().err
    assert "--port 99999: cannot be used (ports go from 0 to 65535); leave it out" in said
    assert said.count("\n") == 1


def test_watch_needs_a_folder(place, capsys):
    assert main(["watch", "nowhere", "--baseline", "X"]) == 2
    assert "expected the folder" in capsys.readouterr().err


@pytest.mark.slow
def test_watch_gates_found_renders_of_each_epoch(place, frozen, study, capsys):
    from loraeval.testing.kohya_files import write_series

    (place / "output").mkdir()
    write_series(place / "output", "STUDY", epochs=4)
    lines = [
        {
            "image": row.image,
            "run": row.run,
            "epoch": row.epoch,
            "prompt_id": row.prompt_id,
            "prompt": study.prompts[row.prompt_id],
            "seed": row.seed,
        }
        for row in study.rows
    ]
    shutil.copytree(study.images, place / "renders")
    (place / "renders" / "all.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["watch", "output", "--once", "--baseline", frozen, "--renders", "renders/all.jsonl"]
    code = main([*words, "--encoder", "none", "--out", "reports/W"])
    said = capsys.readouterr()
    assert code in (0, 1, 2, 3), said
    assert said.out.count("new, gating it") == 4
    assert (place / "reports" / "W" / "index.html").exists()


FILES = ["docs/ci/github-gpu.yml", "docs/ci/github-cpu-scoring.yml",
         "docs/ci/github-nightly-watch.yml", "docs/ci/gitlab.yml"]  # fmt: skip


@pytest.mark.parametrize("name", [".github/workflows/ci.yml", *FILES])
def test_workflows_are_yaml_with_jobs(repo, name):
    yaml = pytest.importorskip("yaml")
    tree = yaml.safe_load((repo / name).read_text(encoding="utf-8"))
    if "gitlab" in name:
        jobs = [job for job in tree.values() if isinstance(job, dict) and "script" in job]
        assert all(job["stage"] in tree["stages"] for job in jobs)
    else:
        jobs = list(tree["jobs"].values())
        assert all(job["runs-on"] and job["timeout-minutes"] for job in jobs)
        assert tree["permissions"] == {"contents": "read"}
    assert jobs
