"""Records refuse what must never slip in, and digests depend on content only."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loraeval.records import (
    Caption,
    Prompt,
    PromptSet,
    Recipe,
    Score,
    canonical_json,
)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.01, 1.01])
def test_a_score_is_a_number_between_0_and_1(value: float) -> None:
    with pytest.raises(ValueError, match="not a number in"):
        Score("palette", value)


def test_a_score_has_a_value_or_a_reason_never_both_never_neither() -> None:
    with pytest.raises(ValueError, match="either a value or a reason"):
        Score("palette", None)
    with pytest.raises(ValueError, match="either a value or a reason"):
        Score("palette", 0.5, "but")
    assert Score.unscored("palette", "no colours named").value is None


@given(st.floats(0, 1))
def test_scores_are_builtin_floats(value: float) -> None:
    assert type(Score("grid", value).value) is float


def prompt(identifier: str, text: str) -> Prompt:
    return Prompt(identifier, text, Caption(text))


def test_prompt_set_digest_ignores_order_and_name_but_not_text() -> None:
    a, b = prompt("a", "one"), prompt("b", "two")
    digest = PromptSet("x", (a, b)).digest
    assert PromptSet("y", (b, a)).digest == digest
    assert PromptSet("x", (a, prompt("b", "two!"))).digest != digest
    assert PromptSet("x", (a, replace(b, negative="blurry"))).digest != digest


def test_recipe_digest_covers_every_field_but_seeds_and_name() -> None:
    recipe = Recipe("sd15")
    assert replace(recipe, seeds=(1, 2, 3), name="other").digest == recipe.digest
    changed = {
        "base_model": "other", "family": "sdxl", "width": 1024, "height": 1024, "steps": 31,
        "guidance_scale": 7.0, "scheduler": "DDIMScheduler", "scheduler_options": {"eta": 1},
        "dtype": "float32", "vae_dtype": "float32", "attention": "sliced", "lora_scale": 0.5,
        "clip_skip": 2, "max_prompt_chunks": 1, "negative_prompt": "blurry",
        "base_model_hash": "00", "guidance_rescale": 0.7, "prompt_layout": "ui", "vae": "v",
        "vae_hash": "01",
    }  # fmt: skip
    digests = {replace(recipe, **{key: value}).digest for key, value in changed.items()}
    assert len(digests | {recipe.digest}) == len(changed) + 1
    assert set(changed) == set(Recipe.__dataclass_fields__) - {"seeds", "name"}


def test_recipe_digest_follows_the_base_models_hash_not_its_path() -> None:
    first = Recipe("/one/place", base_model_hash="ab")
    assert replace(first, base_model="/another/place").digest == first.digest
    other = replace(first, vae="/one/vae", vae_hash="cd")
    assert replace(other, vae="/another/vae").digest == other.digest != first.digest


def test_canonical_json_refuses_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"x": math.nan})
