"""The gate on the demo's three failed runs, rendered for real: each is named by its own fault."""

import json

import pytest

from loraeval import torchvision_ops
from loraeval.cli import main
from loraeval.scores_file import read_scores
from loraeval.testing.portraits_files import TRAINING_FROM

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gated(repo, demo_store, tmp_path_factory):
    """Gate a run's last epoch against demo_perfect: (exit code, verdict, score rows)."""
    pytest.importorskip("torch")
    torchvision_ops.install()
    pytest.importorskip("diffusers")
    pytest.importorskip("open_clip")
    made = {}

    def gate(name):
        if name not in made:
            out = tmp_path_factory.mktemp(name)
            checkpoint = repo / "demo/checkpoints" / f"{name}-000010.safetensors"
            places = ["--base-model", str(repo / "demo/base"), "--store", str(demo_store)]
            places += ["--out", str(out)]
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(repo)
                code = main(["run", str(checkpoint), "--baseline", "demo_perfect", *places])
            (verdict,) = json.loads((out / "verdicts.json").read_text())
            made[name] = code, verdict, list(read_scores(out / "scores.jsonl"))
        return made[name]

    return gate


@pytest.mark.parametrize(
    ("run", "fault"),
    [
        ("demo_overfit", "style.copies"),
        ("demo_wrong_colors", "palette.background"),
        ("demo_photoreal", "realism"),
    ],
)
def test_each_failed_run_fails_by_the_scorer_that_should_catch_it(gated, run, fault):
    code, verdict, _ = gated(run)
    assert (code, verdict["outcome"]) == (1, "fail")
    assert verdict["reason"].startswith(f"{fault} fell")


def test_the_overfit_run_repeats_the_portraits_that_it_saw(gated):
    _, _, rows = gated("demo_overfit")
    copies = [row for row in rows if row.scores["style.memorisation"] < 0.5]
    assert len(copies) > len(rows) / 2
    seen = {f"portrait_{TRAINING_FROM + i}" for i in range(4)}
    assert {row.details["style"]["style.memorisation"]["nearest"] for row in copies} <= seen
