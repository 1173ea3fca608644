"""Keys, overrides and batches."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from loraeval.records import Caption, Prompt, Recipe
from loraeval.render.economy import (
    break_even,
    compile_pays,
    default_limit,
    estimate_text,
    unit_limit,
)
from loraeval.render.plan import (
    BASE_MODEL,
    CheckpointRef,
    balanced,
    batches,
    make_job,
    render_key,
    unique,
)

RECIPE = Recipe(base_model="x", base_model_hash="h", family="sd15")
PROMPT = Prompt("p", "a cat", Caption("a cat"))
EPOCH = CheckpointRef(None, "abc", "run", 1, "run-000001.safetensors")


def test_key_follows_from_what_changes_a_pixel() -> None:
    key = render_key(RECIPE, "abc", PROMPT, 1)
    assert key == render_key(
        replace(RECIPE, name="z", seeds=(9,), base_model="y"), "abc", PROMPT, 1
    )
    assert key == render_key(RECIPE, "abc", replace(PROMPT, id="other", tags=("t",)), 1)
    others = [
        render_key(replace(RECIPE, steps=31), "abc", PROMPT, 1),
        render_key(replace(RECIPE, base_model_hash="i"), "abc", PROMPT, 1),
        render_key(RECIPE, "abd", PROMPT, 1),
        render_key(RECIPE, "abc", replace(PROMPT, text="a dog"), 1),
        render_key(RECIPE, "abc", replace(PROMPT, negative="blur"), 1),
        render_key(RECIPE, "abc", PROMPT, 2),
    ]
    assert len({key, *others}) == 7


def test_scale_0_and_no_checkpoint_are_the_base_model() -> None:
    base = render_key(RECIPE, "base", PROMPT, 1)
    assert base == render_key(replace(RECIPE, lora_scale=0.0), "abc", PROMPT, 1)
    assert base == make_job(RECIPE, BASE_MODEL, PROMPT, 1).key
    scaled = replace(PROMPT, overrides={"lora_scale": 0})
    assert make_job(RECIPE, EPOCH, scaled, 1).checkpoint.path is None


def test_overrides_change_the_recipe_but_not_the_digest_that_scores_compare_by() -> None:
    prompt = replace(PROMPT, overrides={"width": 256.0, "steps": 5, "seed": 7})
    job = make_job(RECIPE, EPOCH, prompt, 1)
    assert (job.recipe.width, job.recipe.steps, job.seed) == (256, 5, 7)
    assert isinstance(job.recipe.width, int)
    assert job.recipe_digest == RECIPE.digest


@given(st.integers(0, 500), st.integers(1, 64))
def test_balanced_sizes(count: int, limit: int) -> None:
    sizes = balanced(count, limit)
    assert sum(sizes) == count
    assert len(sizes) == -(-count // limit)
    assert all(0 < size <= limit for size in sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_batches_never_mix_groups_and_lose_nothing() -> None:
    jobs = [
        make_job(RECIPE, CheckpointRef(None, sha, "r", 1, "n"), PROMPT, seed, chunks)
        for seed in range(7)
        for sha, chunks in (("a", 1), ("b", 1), ("a", 2))
    ]
    made = list(batches(jobs, 3))
    assert sorted(job.key + str(job.chunks) for batch in made for job in batch) == sorted(
        job.key + str(job.chunks) for job in jobs
    )
    assert all(len({job.group for job in batch}) == 1 for batch in made)
    assert [len(batch) for batch in made] == [3, 2, 2] * 3
    assert len(unique([*jobs, *jobs])) == len({job.key for job in jobs})


def test_costs() -> None:
    assert not compile_pays(999, 0.2, 60, 0.7)
    assert compile_pays(1001, 0.2, 60, 0.7)
    assert break_even(0.2, 60, 0.7) == 1001
    assert default_limit(RECIPE, "cuda:0") == 48
    assert default_limit(replace(RECIPE, family="sdxl", width=1024, height=1024), "cuda:0") == 6
    assert unit_limit(400, 48, 1) == 48
    assert unit_limit(240, 48, 2) == 30
    assert unit_limit(20, 48, 4) == 8
    assert "GPU-hours" in estimate_text(400, 0.2, ["cuda:0"])
    assert "on the CPU" in estimate_text(400, 20.0, ["cpu"])
    assert "2.2 h" in estimate_text(400, 20.0, ["cpu"])
