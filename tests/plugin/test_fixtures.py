"""`lora_scores`, `lora_renders`, `lora_baseline`: people write their own gate tests."""

from __future__ import annotations

import pytest

OWN_TEST = """
    import pytest

    def test_scores(lora_checkpoint, lora_scores, lora_renders, lora_baseline):
        assert len(lora_scores) == len(lora_renders) == 32
        assert all(path.suffix == ".png" and path.exists() for path in lora_renders)
        assert lora_baseline.name == "golden"
        assert {row.run for row in lora_scores} == {lora_checkpoint.split("-")[0]}

    @pytest.mark.parametrize("metric", ["palette", "grid"])
    def test_floor(lora_scores, metric):
        values = [row.scores[metric] for row in lora_scores]
        assert min(values) > 0.2
"""


def test_own_tests_run_once_a_checkpoint(session: pytest.Pytester) -> None:
    session.makepyfile(test_own=OWN_TEST)
    result = session.runpytest(
        "test_own.py", "--checkpoint", "good-000002.safetensors", "--checkpoint",
        "good-000003.safetensors", "-k", "test_own", "--lora-partial",
    )  # fmt: skip
    result.assert_outcomes(passed=6, deselected=6)


def test_without_checkpoint_they_skip_with_the_reason(session: pytest.Pytester) -> None:
    session.makepyfile(test_own=OWN_TEST)
    result = session.runpytest("-rs")
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(["*--checkpoint PATH*"])
