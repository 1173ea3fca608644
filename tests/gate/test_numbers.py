"""The statistics against hand computation, other implementations and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from loraeval.gate.additive import fit_additive
from loraeval.gate.betting import log_capital_not_worse, log_capital_worse, surely_worse_by
from loraeval.gate.estimate import cluster_mean, hall_limit, paired_residuals, pairing_weight
from loraeval.gate.looks import NEVER, Pairs, Plan, decide
from loraeval.gate.spending import nominal_levels, spent


def test_cluster_mean_by_hand() -> None:
    # Residuals from the mean 3 are -2 -1 0 3, summed by cluster -3 and 3: 2 / 1 * 18 / 16.
    found = cluster_mean(np.array([1.0, 2.0, 3.0, 6.0]), np.array([0, 0, 1, 1]))
    assert found.mean == 3.0
    assert found.variance == pytest.approx(2.25)
    assert found.skewness == pytest.approx(0.0)


def test_cluster_mean_of_single_images_is_the_usual_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=(3, 20))
    found = cluster_mean(values, np.arange(20))
    np.testing.assert_allclose(np.sqrt(found.variance), stats.sem(values, axis=1))


def test_cluster_mean_refuses_nothing() -> None:
    with pytest.raises(ValueError, match="clusters"):
        cluster_mean(np.zeros(0), np.zeros(0, dtype=np.int64))


@given(st.floats(0.5, 4), st.floats(-0.5, 0.5))
def test_hall_limit_inverts_halls_transformation(limit: float, skewness: float) -> None:
    found = float(hall_limit(limit, np.array(skewness)))
    assert found >= limit - 1e-9
    if skewness < -1e-3 and found > limit + 1e-9:
        a = skewness
        back = found + a * found**2 / 3 + a**2 * found**3 / 27 + a / 6
        assert back == pytest.approx(limit, abs=1e-6)


@pytest.mark.parametrize("spending", ["pocock", "power2", "obrien-fleming"])
def test_looking_often_spends_no_more_than_alpha(spending: str) -> None:
    looks = tuple(range(12, 161, 4))
    levels = nominal_levels(looks, 160, 0.05, spending)  # type: ignore[arg-type]
    walks = np.cumsum(np.random.default_rng(3).normal(size=(40_000, 160)), axis=1)
    z = walks[:, np.array(looks) - 1] / np.sqrt(looks)
    rate = (z > stats.norm.isf(levels)).any(axis=1).mean()
    assert 0.044 < rate < 0.0535
    naive = (z > stats.norm.isf(0.05)).any(axis=1).mean()
    assert naive > 0.15  # what looking often costs without spending


def test_one_look_is_the_plain_test() -> None:
    assert nominal_levels((160,), 160, 0.05)[0] == pytest.approx(0.05, abs=2e-4)


def test_pocock_type_limits_are_those_of_the_literature() -> None:
    # Five equal looks, one-sided 0.025, Lan-DeMets Pocock type: 2.438 2.427 2.410 2.397 2.386.
    levels = nominal_levels((20, 40, 60, 80, 100), 100, 0.025)
    np.testing.assert_allclose(
        stats.norm.isf(levels), [2.438, 2.427, 2.410, 2.397, 2.386], atol=0.006
    )


@given(st.floats(0, 1), st.floats(0, 1))
def test_spending_rises_from_nothing_to_alpha(first: float, second: float) -> None:
    low, high = sorted((first, second))
    for kind in ("pocock", "power2", "obrien-fleming"):
        assert 0 <= spent(low, 0.05, kind) <= spent(high, 0.05, kind) <= 0.05 + 1e-12  # type: ignore[arg-type]


def test_looks_must_rise() -> None:
    with pytest.raises(ValueError, match="rise"):
        nominal_levels((8, 4), 10, 0.05)


def test_bet_by_hand() -> None:
    # One bet of half the largest: 1 / (1 - 0.9 + 0.1) = 5, loss 0.5, so 1 + 2.5 * 0.4 = 2.
    money = log_capital_worse(np.array([0.9]), np.array([0.4]), 0.1, fractions=(0.5,))
    assert math.exp(money[0]) == pytest.approx(2.0)


@settings(max_examples=60)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=40),
    st.floats(0, 1),
    st.floats(0.01, 0.3),
)
def test_bets_never_go_bankrupt(scores: list[float], level: float, margin: float) -> None:
    held = np.array(scores)
    assert np.isfinite(log_capital_worse(np.array([level]), held, margin)).all()
    if level > margin:
        assert np.isfinite(log_capital_not_worse(np.array([level]), held, margin)).all()


def test_bets_keep_their_error_for_the_nastiest_scores() -> None:
    """All-or-nothing scores whose mean loss is exactly the margin: Ville's bound holds."""
    generator = np.random.default_rng(5)
    scores = (generator.random((4000, 160)) < 0.8).astype(float)
    money = log_capital_worse(np.array([0.9]), scores, 0.1)
    assert (money >= math.log(20)).any(axis=1).mean() <= 0.05


def test_surely_worse_by_sees_a_collapse_and_no_more() -> None:
    assert surely_worse_by(0.9, np.zeros(3), 0.05) is not None
    worse = surely_worse_by(0.9, np.full(40, 0.1), 0.05)
    assert worse is not None
    assert 0.5 < worse < 0.8
    assert surely_worse_by(0.9, np.full(40, 0.9), 0.05) is None


def test_pairing_weight_finds_what_the_seeds_share() -> None:
    generator = np.random.default_rng(6)
    same = 0.7 + generator.normal(0, 0.1, 400)
    mean = np.full(400, 0.7)
    assert pairing_weight(same, same, mean, 0.1) > 0.95
    assert pairing_weight(0.7 + generator.normal(0, 0.1, 400), same, mean, 0.1) < 0.15
    assert pairing_weight(mean[:1], mean[:1], mean[:1], 0.1) == 0.5  # nothing known
    assert np.abs(paired_residuals(same, same, mean, 0.1)).max() < 0.02


def simulated(gates: int, worse: float, **plan: object) -> tuple[float, float, float]:
    """False-decision rates and mean images of normal scores with spread 1 / 20."""
    generator = np.random.default_rng(8)
    prompts, n = 40, 160
    level = np.tile(generator.uniform(0.5, 0.7, (gates, prompts)), (1, 4))
    base = level + generator.normal(0, 0.05, (gates, n))
    mean = np.tile(base.reshape(gates, 4, prompts).mean(axis=1), (1, 4))
    scores = level + generator.normal(0, 0.05, (gates, n)) - worse
    asked = Plan(12, n, 0.05, 0.0125, prompts=prompts, **plan)  # type: ignore[arg-type]
    pairs = Pairs(scores, base, mean, np.arange(n) % prompts, 0.05, base.mean(axis=1), n)
    made = decide(pairs, 0.025, asked, 0.3)
    looks = np.array(made.looks)
    settled = made.holds | (made.stuck[:, None] <= looks)
    stop = np.where(settled.any(axis=1), looks[settled.argmax(axis=1)], n)
    passed = made.holds[np.arange(gates), np.searchsorted(looks, stop)] & (made.failed > stop)
    return (
        float(passed.mean()),
        float((made.failed <= stop).mean()),
        float(np.minimum(made.failed, stop).mean()),
    )


def test_error_rates_of_the_sequential_test() -> None:
    passed, failed, images = simulated(1500, 0.0)
    assert passed > 0.85
    assert failed < 0.01
    assert images < 80
    passed, failed, _ = simulated(1500, 0.025)
    assert passed < 0.065
    assert failed < 0.03
    passed, failed, _ = simulated(500, 0.05)
    assert passed < 0.01
    assert failed > 0.85
    passed, failed, images = simulated(300, 0.45)
    assert failed == 1.0
    assert images <= 12  # a level of 0.6 bounds the loss less than one near 1 does


def test_nothing_is_decided_where_too_few_prompts_were_seen() -> None:
    plan = Plan(12, 160, 0.05, 0.0125)
    flat = np.full(4, 0.7)
    made = decide(Pairs(flat, flat, flat, np.arange(4), 0.05, 0.7, 160), 0.025, plan)
    assert not made.holds.any()
    assert int(made.failed) == int(made.stuck) == NEVER


def test_looks_at_too_few_prompts_are_given_up_and_not_skipped() -> None:
    """Four prompts with 40 seeds: no look can pass, and from half the images on it says so."""
    plan = Plan(12, 160, 0.05, 0.0125, prompts=4)
    flat = np.full(160, 0.7)
    made = decide(Pairs(flat, flat, flat, np.arange(160) % 4, 0.05, 0.7, 160), 0.025, plan)
    assert not made.holds.any()
    assert int(made.stuck) == 80


def test_additive_fit_adjusts_for_prompts() -> None:
    """Epoch 2 has the easy prompt only; with prompts in the model it is no better."""
    fit = fit_additive([1, 1, 2], ["hard", "easy", "easy"], [0.0, 2.0, 2.0])
    gap, _ = fit.contrast({2: 1.0, 1: -1.0})
    assert gap == pytest.approx(0.0)


def test_additive_fit_equals_a_paired_t_test() -> None:
    generator = np.random.default_rng(9)
    first, second = generator.normal(size=(2, 12))
    prompts = [f"p{n}" for n in range(12)]
    fit = fit_additive([1] * 12 + [2] * 12, prompts * 2, [*first, *second])
    gap, error = fit.contrast({2: 1.0, 1: -1.0})
    assert gap / error == pytest.approx(stats.ttest_rel(second, first).statistic)
    assert fit.df == 11


def test_additive_fit_without_shared_prompts_leaves_them_out() -> None:
    fit = fit_additive([1, 1, 2, 2], ["a", "b", "c", "d"], [0.0, 1.0, 2.0, 3.0])
    assert fit.plain
    assert fit.level(2) == pytest.approx(2.5)
