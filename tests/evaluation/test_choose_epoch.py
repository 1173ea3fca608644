"""Choosing an epoch on images of which some lie in the store already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from loraeval.baselines import Profile, freeze
from loraeval.errors import BaselineError
from loraeval.evaluation.choose_epoch import choose_epoch, epochs_of
from loraeval.evaluation.gate_run import GateSetup, gate_checkpoint
from loraeval.gate import GateOptions
from loraeval.records import PromptSet, Render, ScoreRow
from loraeval.render.labels import describe
from loraeval.render.plan import make_job
from loraeval.render.store import Store
from loraeval.testing.fake_renderer import (
    FakeRenderer,
    fake_checkpoints,
    fake_recipe,
    portrait_prompts,
)

SEEDS = (1, 2)


class Levels:
    """Scores by epoch: epoch 3 is the best, and each image has its own number."""

    def score(self, renders: Sequence[Render]) -> list[ScoreRow]:
        return [row(r, 0.5 + 0.1 * (r.epoch or 0) - 0.001 * (r.seed or 0)) for r in renders]


def row(render: Render, grid: float) -> ScoreRow:
    return ScoreRow(
        image=render.name, run=render.run, checkpoint=render.checkpoint, epoch=render.epoch,
        prompt_id=render.prompt.id, seed=render.seed, scores={"grid": grid},
        versions={"grid": "1"}, prompt_digest=render.prompt.digest, recipe=render.recipe,
    )  # fmt: skip


def test_each_image_belongs_to_its_row_whatever_was_in_the_store(tmp_path: Path) -> None:
    prompts, recipe, store = portrait_prompts(32), fake_recipe(24), Store(tmp_path / "store")
    paths = fake_checkpoints(tmp_path, 3)
    renderer = FakeRenderer(recipe, store)
    # Every third image of two epochs lies there, so renders come out of the order asked for.
    pairs = [(prompt, seed) for seed in SEEDS for prompt in prompts.prompts]
    for path in paths[1:]:
        list(renderer.render_jobs(path, pairs[::-3]))
    asked = [(p.id, s) for p, s in pairs]
    assert [(r.prompt.id, r.seed) for r in renderer.render_jobs(paths[1], pairs)] != asked
    golden = [row(r, 0.8 + 0.01 * (n % 5)) for n, r in enumerate(renderer.render_jobs(None, pairs))]
    baseline = freeze("b", golden, profile=Profile("t", ("grid",)))
    setup = GateSetup(
        baseline, cast("Any", Levels()), GateOptions(), renderer=renderer, prompts=prompts, chunk=5
    )
    made = choose_epoch(epochs_of({p.name: p for p in paths}), setup)
    assert made.selection.epoch == 3
    refs = {ref.epoch: ref for ref in describe(paths, recipe.family, store)}
    known = prompts.by_id()
    assert len(made.rows) == len(made.images) >= 2 * len(SEEDS)
    for found, image in zip(made.rows, made.images, strict=True):
        assert found.seed is not None
        job = make_job(recipe, refs[found.epoch], known[found.prompt_id], found.seed)
        assert image == store.path(job.key)
        assert found.scores["grid"] == 0.5 + 0.1 * (found.epoch or 0) - 0.001 * found.seed


def _setup(tmp_path: Path, prompts: PromptSet, asked: PromptSet) -> GateSetup:
    """Return a setup with the baseline of ``prompts`` that renders ``asked``."""
    renderer = FakeRenderer(fake_recipe(24), Store(tmp_path / "store"))
    pairs = [(prompt, seed) for seed in SEEDS for prompt in prompts.prompts]
    made = {render.name: render for render in renderer.render_jobs(None, pairs)}
    golden = [row(r, 0.8 + 0.01 * (n % 5)) for n, r in enumerate(made.values())]
    baseline = freeze("golden", golden, profile=Profile("t", ("grid",)))
    panel = cast("Any", Levels())
    return GateSetup(baseline, panel, GateOptions(), renderer=renderer, prompts=asked, chunk=5)


def _own_seed(prompts: PromptSet, seed: int) -> PromptSet:
    own = (replace(prompt, overrides={"seed": seed}) for prompt in prompts.prompts)
    return PromptSet("own", tuple(own))


def test_a_prompt_with_its_own_seed_is_paired_with_itself(tmp_path: Path) -> None:
    prompts = _own_seed(portrait_prompts(32), 7)
    setup = _setup(tmp_path, prompts, prompts)
    paths = fake_checkpoints(tmp_path, 3)
    made = choose_epoch(epochs_of({p.name: p for p in paths}), setup)
    assert {r.seed for r in made.rows} == {7}
    gated = gate_checkpoint(paths[2], setup)
    assert {r.seed for r in gated.rows} == {7}
    assert all(item.pairing == "prompt+seed" for item in gated.verdict.comparisons)


@pytest.mark.parametrize("seed", [7, None])
def test_a_prompt_that_can_not_be_paired_is_refused(tmp_path: Path, seed: int | None) -> None:
    prompts = portrait_prompts(32)
    asked = _own_seed(prompts, seed) if seed else PromptSet("less", prompts.prompts[:0])
    setup, paths = _setup(tmp_path, prompts, asked), fake_checkpoints(tmp_path, 3)
    said = r"golden holds prompt '.+' with seed [12], but .* its own seed 7; give"
    said = said if seed else r"golden holds prompt '.+', which the prompt set less does not"
    with pytest.raises(BaselineError, match=said):
        choose_epoch(epochs_of({p.name: p for p in paths}), setup)
    with pytest.raises(BaselineError, match=said):
        gate_checkpoint(paths[2], setup)
