"""Set measures: hand-computed cases, naive loops beside the matrix forms, bounds on any input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loraeval.scorers.reference import ReferenceSet
from loraeval.scorers.reference_view import view_of
from loraeval.scorers.sets import (
    SET_METRICS,
    diversity,
    mean_distance,
    mmd_squared,
    precision_recall,
    set_scores,
)


def unit(rows) -> np.ndarray:
    """Rows of length 1."""
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cloud(seed: int, count: int, centre: float = 1.0, spread: float = 0.3) -> np.ndarray:
    """Directions about the first axis (or away from it for a negative centre), 12 dimensions."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, spread, (count, 12))
    rows[:, 0] += centre
    return unit(rows)


def reference(count: int = 30) -> ReferenceSet:
    own = cloud(0, count)
    bank = unit(np.random.default_rng(9).normal(size=(40, 12)))
    view = view_of(own, bank)
    thumbnails = np.zeros((count, 48, 48, 3), np.uint8)
    return ReferenceSet("fake@0", tuple(f"r{i}" for i in range(count)), view, thumbnails)


def test_mmd_of_two_points_a_side_by_hand():
    # x: e1 twice, y: e2 twice. k(x,x)=1, k(y,y)=1, |x-y|²=2, k(x,y)=exp(-2/2)=exp(-1).
    first, second = unit([[1, 0], [1, 0]]), unit([[0, 1], [0, 1]])
    assert mmd_squared(first, second) == pytest.approx(2 - 2 * math.exp(-1))


def test_mmd_agrees_with_plain_loops():
    first, second = cloud(1, 7), cloud(2, 5, 0.5)

    def kernel(a, b):
        return math.exp(-sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / 2)

    m, n = len(first), len(second)
    xx = sum(kernel(first[i], first[j]) for i in range(m) for j in range(m) if i != j)
    yy = sum(kernel(second[i], second[j]) for i in range(n) for j in range(n) if i != j)
    xy = sum(kernel(a, b) for a in first for b in second)
    expected = xx / (m * (m - 1)) + yy / (n * (n - 1)) - 2 * xy / (m * n)
    assert mmd_squared(first, second) == pytest.approx(expected, abs=1e-6)


def test_mmd_is_unbiased_and_sees_a_shift():
    same = [mmd_squared(cloud(seed, 40), cloud(seed + 500, 40)) for seed in range(40)]
    assert abs(np.mean(same)) < 3 * np.std(same) / math.sqrt(40)
    assert mmd_squared(cloud(0, 40), cloud(1, 40, -1.0)) > 20 * max(same)


def test_precision_and_recall_agree_with_plain_loops():
    own, pictures, k = cloud(3, 12), cloud(4, 9, 0.6, 0.6), 3

    def distance(a, b):
        return 1 - float(np.dot(a.astype(float), b.astype(float)))

    def radius(rows, i):
        return sorted(distance(rows[i], rows[j]) for j in range(len(rows)) if j != i)[k - 1]

    def share(rows, others):
        return np.mean(
            [any(distance(o, rows[i]) <= radius(rows, i) for i in range(len(rows))) for o in others]
        )

    assert precision_recall(own, pictures, k) == (share(own, pictures), share(pictures, own))


def test_precision_and_recall_tell_the_two_faults_apart():
    own = cloud(0, 60)
    one_look = np.repeat(own[:1], 30, axis=0)
    precision, recall = precision_recall(own, one_look)
    assert precision == 1.0
    assert recall < 0.1
    precision, _ = precision_recall(own, cloud(5, 30, -1.0))
    assert precision == 0.0


def test_diversity_by_hand():
    apart = unit([[1, 0], [0, 1]])
    assert mean_distance(apart) == pytest.approx(1.0)
    alike = unit([[1, 0], [1, 0]])
    assert diversity([apart, alike], typical=1.0) == pytest.approx(0.5)
    assert diversity([apart[:1], alike[:1]], typical=1.0) is None


def test_scores_of_a_good_a_collapsed_and_a_foreign_set():
    held = reference()
    new, alike = np.zeros(30, np.float32), np.full(24, 0.9, np.float32)
    good = {s.metric: s for s in set_scores(cloud(7, 30), held, copies=new, prompts=["p"] * 30)}
    copied = held.features[:24]
    copies = {s.metric: s for s in set_scores(copied, held, copies=alike, prompts=["p"] * 24)}
    foreign = {s.metric: s for s in set_scores(cloud(8, 30, -1.0), held)}
    assert good["style.mmd"].value > 0.9 > 0.3 > foreign["style.mmd"].value
    assert good["style.precision"].value > 0.8 > foreign["style.precision"].value
    assert copies["style.copies"].value == 0.0
    assert good["style.copies"].value == 1.0
    assert good["style.diversity"].value > 0.8
    assert foreign["style.copies"].reason == "nobody looked for copies"
    assert foreign["style.diversity"].reason == "the pictures' prompts are not known"


def test_too_few_pictures_are_refused_with_the_number():
    scores = set_scores(cloud(1, 3), reference())
    assert [s.metric for s in scores] == [m.name for m in SET_METRICS]
    assert {s.reason for s in scores} == {"a set needs 4 pictures, found 3"}
    recall = set_scores(cloud(1, 19), reference())[2]
    assert recall.reason == "recall needs 20 pictures, found 19"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 30), st.floats(-2, 2), st.floats(0.001, 3))
def test_every_score_is_in_bounds_or_has_a_reason(seed, count, centre, spread):
    pictures = cloud(seed, count, centre, spread)
    prompts = [f"p{i % 3}" for i in range(count)]
    for score in set_scores(pictures, reference(), copies=pictures[:, 0], prompts=prompts):
        assert (score.value is None) != (score.reason is None)
