"""The page's table of trainers is what the tool writes, and the tables behind it are sound."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from loraeval.checkpoints.table import parameter_table
from loraeval.checkpoints.trainers import ai_toolkit, diffusion_pipe, onetrainer, peft, simpletuner
from loraeval.checkpoints.trainers.names import HOW

TABLES = {
    "ai-toolkit": ai_toolkit.NAMES, "OneTrainer": onetrainer.NAMES,
    "SimpleTuner": simpletuner.NAMES, "diffusion-pipe": diffusion_pipe.NAMES,
    "diffusion-pipe data sets": diffusion_pipe.DATASET_NAMES, "PEFT": peft.NAMES,
    "diffusers": peft.DIFFUSERS_NAMES,
}  # fmt: skip


def test_the_page_shows_the_generated_table(repo: Path) -> None:
    page = (repo / "docs" / "training-parameters.md").read_text("utf-8")
    done = subprocess.run([sys.executable, "tools/trainers_table.py"], cwd=repo,
                          capture_output=True, text=True, check=True)  # fmt: skip
    block = page.partition("<!-- trainers:begin -->\n")[2].partition("<!-- trainers:end -->")[0]
    assert block == done.stdout


@pytest.mark.parametrize("program", TABLES)
def test_each_name_leads_to_a_parameter_by_a_rule(program: str) -> None:
    for name in TABLES[program]:
        assert name.common in parameter_table(), name
        assert not name.how or name.how in HOW, name
