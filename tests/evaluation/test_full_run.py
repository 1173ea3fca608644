"""A whole grid rendered, scored and written: what stands in the files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from loraeval.evaluation.full_run import render_and_score
from loraeval.evaluation.panels import PanelChoice, build_panel
from loraeval.render.store import Store
from loraeval.scores_file import read_scores
from loraeval.testing.fake_renderer import (
    FakeRenderer,
    fake_checkpoints,
    fake_recipe,
    portrait_prompts,
)


def test_a_prompt_with_its_own_seed_has_one_row_whatever_the_recipes_seeds(tmp_path: Path) -> None:
    prompts = portrait_prompts(3)
    first = replace(prompts.prompts[0], overrides={"seed": 7})
    prompts = replace(prompts, prompts=(first, *prompts.prompts[1:]))
    panel = build_panel(PanelChoice(scorers=("health",), encoder="none"), quiet=True)
    with FakeRenderer(fake_recipe(48, seeds=(1, 2)), Store(tmp_path / "store")) as renderer:
        rows = render_and_score(
            renderer, panel, fake_checkpoints(tmp_path / "in", 1), prompts, tmp_path / "out"
        )
    pairs = [(row.prompt_id, row.seed) for row in rows]
    ids = [prompt.id for prompt in prompts.prompts]
    assert pairs == [(ids[0], 7), *((i, seed) for i in ids[1:] for seed in (1, 2))]
    assert [(r.prompt_id, r.seed) for r in read_scores(tmp_path / "out/scores.jsonl")] == pairs
    lines = (tmp_path / "out/renders.jsonl").read_text().splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [seed for _, seed in pairs]
