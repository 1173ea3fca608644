"""What a PASS promises, held against hand computation, exact chances and simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from worlds import GATED, grid, row

from loraeval.baselines import Baseline, Profile, freeze
from loraeval.baselines.margins import golden_lacking, golden_needed, seed_spread
from loraeval.baselines.shares import SHARES, score_of
from loraeval.baselines.softened import softened
from loraeval.errors import BaselineError, UsageError
from loraeval.gate import GateOptions, SequentialGate, gate_rows
from loraeval.gate.anytime import anytime_limit, log_evidence
from loraeval.gate.bad import bad_level, bad_limits, dead_prompts, fewest_images, newly_bad
from loraeval.gate.completeness import follows_order, missing_images
from loraeval.gate.copies import distinct_comparison, find_repeats, nearest_seeds
from loraeval.gate.estimate import prompt_mean_of
from loraeval.gate.far import far_below, rank_chance
from loraeval.gate.fixed import any_limit
from loraeval.gate.looks import Pairs, Plan, decide, strict_fewest
from loraeval.gate.order import rendering_order
from loraeval.gate.shares import share_interval, tolerated
from loraeval.images.signature import pixel_facts
from loraeval.records import ScoreRow

# The share of bad images.


def test_ten_points_need_29_images() -> None:
    """0.9 ** 28 = 0.0523 and 0.9 ** 29 = 0.0471: 28 images without a bad one prove nothing yet."""
    assert fewest_images(0.1, 0.05) == 29
    assert 0.9**28 > 0.05 > 0.9**29
    assert fewest_images(0.5, 0.05) == 5  # 1 / 16 and 1 / 32
    assert dead_prompts(40, 0.1) == 4
    assert dead_prompts(41, 0.1) == 5
    assert dead_prompts(12, 0.1) == 2


def passing_chance(looks: tuple[int, ...], limits: tuple[int, ...], share: float) -> float:
    """Chance that some look has few enough bad images, by walking all counts."""
    alive = {0: 1.0}
    passed, seen = 0.0, 0
    for look, limit in zip(looks, limits, strict=True):
        for _ in range(look - seen):
            after: dict[int, float] = {}
            for bad, chance in alive.items():
                after[bad] = after.get(bad, 0.0) + chance * (1 - share)
                after[bad + 1] = after.get(bad + 1, 0.0) + chance * share
            alive = after
        seen = look
        passed += sum(chance for bad, chance in alive.items() if bad <= limit)
        alive = {bad: chance for bad, chance in alive.items() if bad > limit}
    return passed


@pytest.mark.parametrize("step", [1, 4])
@pytest.mark.parametrize(("tolerance", "alpha"), [(0.1, 0.05), (0.1, 0.01), (0.3, 0.05)])
def test_a_share_that_rose_passes_with_probability_alpha_at_most(
    step: int, tolerance: float, alpha: float
) -> None:
    looks = tuple(range(4, 161, step))
    limits = bad_limits(looks, tolerance, alpha)
    chance = passing_chance(looks, limits, tolerance)
    assert 0.6 * alpha < chance <= alpha + 1e-9
    first = next(look for look, limit in zip(looks, limits, strict=True) if limit >= 0)
    assert (1 - tolerance) ** first <= 0.7 * alpha < (1 - tolerance) ** (first - step)
    assert list(limits) == sorted(limits)
    assert passing_chance(looks, limits, tolerance / 10) > 0.8


def test_a_bad_image_by_chance_is_no_end_of_hope() -> None:
    looks = (32, 64, 160)
    limits = bad_limits(looks, 0.1, 0.05)
    assert limits[0] == 0
    assert limits[-1] >= 6
    # By hand: 0.9 ** 32 = 0.0343 of 0.05 is spent at the first look.
    assert stats.binom.cdf(0, 32, 0.1) == pytest.approx(0.0343, abs=1e-4)
    assert any_limit(31, 0.1, 0.05) == -1
    assert any_limit(32, 0.1, 0.05) == 0


def test_an_image_is_bad_below_half_the_mean_and_98_of_100_golden_ones() -> None:
    flat = bad_level([0.8] * 100)
    assert flat.level == pytest.approx(0.4)
    assert flat.count == 0
    # Three of a hundred at 0.1: the third lowest is no lower than that, so none lies below.
    low = bad_level([0.1, 0.1, 0.1, *[0.8] * 97])
    assert low.level == pytest.approx(0.1)
    one = bad_level([0.05, *[0.8] * 99])
    assert (one.level, one.count) == (pytest.approx(0.39625), 1)
    assert one.share == 0.01
    assert one.interval()[0] == pytest.approx(stats.binomtest(1, 100).proportion_ci().low)
    assert one.interval()[1] == pytest.approx(stats.binomtest(1, 100).proportion_ci().high)
    assert bad_level([0.0] * 3 + [0.8] * 97).level is None
    assert "49 golden images" in bad_level([0.8] * 49).why
    assert bad_level([0.8] * 50).level is not None


def test_where_no_promise_can_be_made_the_sentence_says_so() -> None:
    small = freeze("small", grid(draw=2, prompts=12), profile=Profile("t", GATED))
    (found,) = gate_rows(small, grid(draw=11, prompts=12))
    assert (
        "no promise about bad images: 48 golden images cannot place it"
        in found.comparisons[0].reason
    )


def spoiling(share: float, gates: int = 400) -> float:
    """How often a candidate passes of which a share of the images collapses; normal scores."""
    generator = np.random.default_rng(3)
    n, prompts = 160, 40
    base = 0.7 + generator.normal(0, 0.05, (gates, n))
    mean = np.tile(base.reshape(gates, 4, prompts).mean(axis=1), (1, 4))
    scores = 0.7 + generator.normal(0, 0.05, (gates, n))
    scores[generator.random((gates, n)) < share] = 0.0
    plan = Plan(12, n, 0.05, 0.05, prompts=prompts)
    pairs = Pairs(scores, base, mean, np.arange(n) % prompts, 0.05, base.mean(axis=1), n)
    # The margin is so wide that the mean always holds: only bad images can stop a pass.
    made = decide(pairs, 0.3, plan, 0.35)
    return float(made.holds.any(axis=-1).mean())


def test_ten_points_more_bad_images_hardly_ever_pass_whatever_the_mean() -> None:
    assert spoiling(0.1) < 0.08
    assert spoiling(0.0) == 1.0


def test_the_baselines_own_share_counts_by_its_lower_end() -> None:
    assert tolerated(0, 160, 0.1, 0.05) == (0.1, 0.05)
    assert tolerated(3, 160, 0.1, 0.05) == (0.1, 0.05)
    low, _ = share_interval(40, 160, 0.005)
    assert low == pytest.approx(stats.beta.ppf(0.005, 40, 121))
    below, alpha = tolerated(40, 160, 0.1, 0.05)
    assert 0.1 + low - 0.005 <= below <= 0.1 + low
    assert alpha == pytest.approx(0.045)
    assert share_interval(5, 5, 0.05)[1] == 1.0
    assert share_interval(0, 10, 0.05) == (0.0, pytest.approx(1 - 0.05**0.1))


# Found images: bounds that hold at any time.


def test_the_evidence_is_the_ratio_of_t_densities() -> None:
    """Under a normal effect the t statistic is a t variable scaled by the root of 1 + n g."""
    found = 0.0
    for prior, stake in ((30.0, 0.15), (0.3, 0.25), (0.03, 0.6)):
        scale = math.sqrt(1 + 12 * prior)
        found += stake * stats.t.pdf(2.5 / scale, 9) / scale / stats.t.pdf(2.5, 9)
    assert log_evidence(2.5, 12, 9) == pytest.approx(math.log(found))


@pytest.mark.parametrize("alpha", [0.05, 0.0125])
def test_looking_at_every_image_errs_no_more_than_alpha(alpha: float) -> None:
    generator = np.random.default_rng(5)
    values = generator.normal(size=(3000, 120))
    crossed = np.zeros(3000, dtype=bool)
    for count in range(3, 121):
        seen = values[:, :count]
        t = seen.mean(axis=1) / (seen.std(axis=1, ddof=1) / math.sqrt(count))
        crossed |= t > anytime_limit(alpha, count, count - 1)
    assert 0.1 * alpha < crossed.mean() < alpha * 1.1
    naive = stats.ttest_1samp(values[:, :120:1], 0, axis=1, alternative="greater").pvalue < alpha
    assert naive.mean() == pytest.approx(alpha, abs=0.015)


def test_the_price_of_no_memory_is_told() -> None:
    """60 images: 3.08 standard errors instead of 1.67, so about 2.5 times the images."""
    assert anytime_limit(0.05, 60, 58) == pytest.approx(3.08, abs=0.01)
    assert anytime_limit(0.05, 1, 1) > 50
    assert anytime_limit(1e-300, 1, 1) == math.inf


# The variance of these very prompts.


def test_prompt_mean_by_hand() -> None:
    # Prompts 0 (1, 3) and 1 (5): means 2 and 5; within (1 + 1) / 1 = 2, times (1/2 + 1) / 4.
    found = prompt_mean_of(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1]), 0.25)
    assert found.mean == pytest.approx(3.5)
    assert found.variance == pytest.approx(2 * 1.5 / 4 + 0.25)
    assert (found.clusters, found.df) == (2, 1)
    # Weighted deviations -2.5/4, -0.5/4, 1.5/2: cubes over squares to the power of 1.5.
    moved = np.array([-2.5 / 4, -0.5 / 4, 1.5 / 2])
    assert found.skewness == pytest.approx((moved**3).sum() / (moved**2).sum() ** 1.5)


def test_what_a_prompt_does_is_no_error_once_all_prompts_were_seen() -> None:
    generator = np.random.default_rng(1)
    prompt = np.tile(generator.normal(0, 0.3, 40), 2)
    values = prompt + generator.normal(0, 0.01, 80)
    found = prompt_mean_of(values, np.arange(80) % 40, 0.0)
    assert math.sqrt(found.variance) == pytest.approx(0.01 / math.sqrt(80), rel=0.3)


# --strict.


def test_strict_needs_the_images_that_a_collapse_to_nothing_needs() -> None:
    """A share q = margin / mean of zeros shows none in n images with chance (1 - q) ** n."""
    need = strict_fewest(0.8, 0.05, 10_000, 0.05, 0.05, 5000)
    assert need is not None
    assert need >= math.log(0.05) / math.log(1 - 0.05 / 0.8)
    assert need < 2 * math.log(0.05) / math.log(1 - 0.05 / 0.8)
    assert strict_fewest(0.8, 0.05, 10_000, 0.05, 0.05, need - 1) is None
    # A baseline of few images is known less well, and the candidate must make up for it.
    assert (strict_fewest(0.8, 0.05, 160, 0.05, 0.05, 5000) or 0) > need


def test_strict_refuses_a_plan_that_is_too_small(baseline: Baseline) -> None:
    with pytest.raises(UsageError, match=r"grid has 160 images and needs \d+ for --strict"):
        SequentialGate(baseline, GateOptions(strict=True))
    assert SequentialGate(baseline, GateOptions(strict=True, margins={"grid": 0.1, "style": 0.1}))


def test_strict_keeps_alpha_where_zeros_hide() -> None:
    generator = np.random.default_rng(2)
    gates, n = 300, 400
    base = 0.8 + generator.normal(0, 0.05, (gates, n))
    mean = np.tile(base.reshape(gates, 10, 40).mean(axis=1), (1, 10))
    scores = 0.8 + generator.normal(0, 0.05, (gates, n))
    lost = generator.random((gates, n)) < 0.03 / 0.8
    pairs = Pairs(
        np.where(lost, 0.0, scores), base, mean, np.arange(n) % 40, 0.05, base.mean(axis=1), n
    )
    plan = Plan(12, n, 0.05, 0.05, prompts=40)
    assert decide(pairs, 0.03, plan, 0.4).holds.any(axis=-1).mean() > 0.1  # the mean is tested
    strict = decide(pairs, 0.03, replace(plan, strict=True), 0.4)
    assert strict.holds.any(axis=-1).mean() < 0.06
    sound = decide(replace(pairs, scores=scores), 0.03, replace(plan, strict=True), 0.4)
    assert sound.holds.any(axis=-1).mean() > 0.9


# Missing images.


def test_leaving_out_the_worst_images_is_no_pass(baseline: Baseline) -> None:
    rows = grid(draw=11)
    lost = [r for n, r in enumerate(rows) if n % 7]
    (found,) = gate_rows(baseline, lost)
    assert found.outcome == "inconclusive"
    assert "a PASS needs the whole plan" in found.reason
    order = rendering_order(baseline, GateOptions())
    last = max(order.index((r.prompt_id, r.seed or 0)) for r in lost)
    assert len(found.missing) == last + 1 - len(lost)
    (partial,) = gate_rows(baseline, lost, GateOptions(allow_partial=True))
    assert partial.outcome == "pass"
    assert any("--allow-partial" in note for note in partial.notes)


def test_the_beginning_of_the_gates_own_order_is_the_plan(baseline: Baseline) -> None:
    known = {(r.prompt_id, r.seed): r for r in grid(draw=11)}
    order = rendering_order(baseline, GateOptions())
    first = [known[pair] for pair in order[:60]]
    assert missing_images(baseline, first, GateOptions()) == ()
    assert follows_order(baseline, first, GateOptions())
    assert not follows_order(baseline, first[1:], GateOptions())
    assert not follows_order(baseline, [*first, first[0]], GateOptions())
    (told,) = missing_images(baseline, first[:-2] + first[-1:], GateOptions())
    assert told == f"prompt {order[58][0]} with seed {order[58][1]}"
    assert len(missing_images(baseline, [row("other", 1)], GateOptions())) == 160


def test_without_seeds_every_prompt_must_be_shown_or_declared() -> None:
    rows = [replace(r, seed=None, recipe=None, image=f"{n}.png") for n, r in enumerate(grid())]
    golden = freeze("found", rows, profile=Profile("t", GATED))
    shown = [r for r in rows if r.prompt_id != "p3"]
    assert missing_images(golden, shown, GateOptions()) == ("prompt p3",)
    assert missing_images(golden, rows, GateOptions()) == ()
    assert missing_images(golden, shown, GateOptions(), ["p1", "p99"]) == ("prompt p99",)


def test_a_sequential_runs_rows_get_its_own_verdict(baseline: Baseline) -> None:
    gate = SequentialGate(baseline)
    known = {(r.prompt_id, r.seed): r for r in grid(draw=21)}
    rows: list[ScoreRow] = []
    for pair in gate.order():
        rows.append(known[pair])
        gate.add(rows[-1])
        if gate.verdict() is not None:
            break
    (again,) = gate_rows(baseline, rows[::-1])
    assert again.method == "sequential"
    assert again == replace(gate.final(), checkpoint=again.checkpoint)


# Copies.


def picture(seed: int, change: int = 0) -> dict[str, str]:
    rgb = np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    rgb[0, 0, 0] ^= change
    return pixel_facts(rgb)


def with_pictures(rows: list[ScoreRow], facts: list[dict[str, str]]) -> list[ScoreRow]:
    return [replace(r, details={"pixels": f}) for r, f in zip(rows, facts, strict=True)]


def test_one_picture_for_every_prompt_fails(baseline: Baseline) -> None:
    rows = with_pictures(grid(draw=11), [picture(1)] * 160)
    (found,) = gate_rows(baseline, rows)
    assert found.outcome == "fail"
    assert "159 of 160 images repeat another picture" in found.reason
    few = with_pictures([row(f"p{n}", 0) for n in range(4)], [picture(1)] * 4)
    (four,) = gate_rows(baseline, few)
    assert four.outcome == "fail"
    (two,) = gate_rows(baseline, few[:2])
    assert two.outcome == "inconclusive"


def test_a_file_given_again_under_another_name_is_no_further_evidence(baseline: Baseline) -> None:
    rows = with_pictures(grid(draw=11)[:40], [picture(n) for n in range(40)])
    again = [replace(r, image=f"again/{r.image}") for r in rows]
    (once,), (twice,) = gate_rows(baseline, rows), gate_rows(baseline, [*rows, *again])
    assert once.comparisons == twice.comparisons


def test_pictures_nearer_than_two_seeds_of_one_prompt_count_as_one() -> None:
    golden = with_pictures(
        [row("a", 1), row("a", 2), row("b", 1)], [picture(1), picture(2), picture(3)]
    )
    near = nearest_seeds(golden)
    gap = np.random.default_rng(1).integers(0, 256, (8, 8, 3)) - np.random.default_rng(2).integers(
        0, 256, (8, 8, 3)
    )
    assert near == pytest.approx(math.sqrt((gap**2).mean()))
    alike = with_pictures(
        [row("a", 1), row("b", 1), row("c", 1)], [picture(7), picture(7, 1), picture(8)]
    )
    assert find_repeats(alike, 1.0).repeats == (False, True, False)
    assert find_repeats(alike, 1.0).exact == (False, False, False)
    assert find_repeats(alike, None).repeats == (False, False, False)
    same_prompt = with_pictures([row("a", 1), row("a", 2)], [picture(7), picture(7, 1)])
    assert find_repeats(same_prompt, 1.0).distinct == 1.0
    assert nearest_seeds(golden[1:]) is None


def test_ten_points_fewer_distinct_pictures_are_no_pass(baseline: Baseline) -> None:
    facts = [picture(n) for n in range(40)]
    rows = with_pictures([row(f"p{n}", 0) for n in range(40)], facts)
    whole = distinct_comparison(baseline, rows, GateOptions(), 0.05)
    assert whole is not None
    assert (whole.outcome, whole.candidate_mean) == ("pass", 1.0)
    four = with_pictures(rows, facts[:36] + facts[:4])
    found = distinct_comparison(baseline, four, GateOptions(), 0.05)
    assert found is not None
    assert (found.outcome, found.candidate_mean) == ("pass", 0.9)
    five = distinct_comparison(
        baseline, with_pictures(rows, facts[:35] + facts[:5]), GateOptions(), 0.05
    )
    assert five is not None
    assert five.outcome == "fail"
    assert distinct_comparison(baseline, grid()[:3], GateOptions(), 0.05) is None


# Gated shares.


def memorised(values: list[float], **other: object) -> list[ScoreRow]:
    return [
        row(
            f"p{n % 40}",
            n // 40,
            scores={"grid": 0.8, "style.memorisation": v, "health": 1.0},
            **other,
        )
        for n, v in enumerate(values)
    ]


def test_a_checkpoint_that_recites_its_training_set_fails() -> None:
    profile = Profile("t", ("style.copies", "health"))
    golden = freeze("g", memorised([0.9] * 160), profile=profile)
    assert golden.margins["style.copies"] == 0.1
    (bad,) = gate_rows(golden, memorised([0.02] * 160))
    assert bad.outcome == "fail"
    assert "160 of 160 images are copies of a reference image" in bad.reason
    (good,) = gate_rows(golden, memorised([0.6] * 160))
    assert good.outcome == "pass", good.reason
    (half,) = gate_rows(golden, memorised(([0.9] * 9 + [0.1]) * 16))
    assert half.outcome == "inconclusive"


def test_a_copy_lies_below_half_the_references_own_distance() -> None:
    from loraeval.scorers.sets import COPY_LEVEL

    assert SHARES["style.copies"].level == COPY_LEVEL
    (near,) = memorised([0.499])
    (far,) = memorised([0.5])
    assert (score_of(near, "style.copies"), score_of(far, "style.copies")) == (0.0, 1.0)
    assert score_of(near, "grid") == 0.8


# Margins and baselines.


def test_golden_images_needed_by_the_normal_approximation() -> None:
    """(1.645 + 1.282) / 0.507 squared is 33.3; the t distribution asks for two or three more."""
    assert 33.3 < golden_needed(1.0, 0.5067) < 37
    assert golden_needed(1.0, 0.25) == pytest.approx(((1.645 + 1.282) / 0.25) ** 2, rel=0.03)


def test_a_baseline_of_few_images_passes_nobody_and_says_how_many_it_lacks() -> None:
    rows = grid(draw=2, prompts=8, seeds=3)
    small = freeze("small", rows, profile=Profile("t", ("grid", "health")))
    lacking = golden_lacking(rows, "grid", small.margins["grid"])
    assert 8 < lacking < 14
    (found,) = gate_rows(small, grid(draw=3, prompts=8, seeds=12))
    assert found.outcome == "inconclusive"
    many = [replace(r, recipe=None, seed=None) for r in rows]
    (own,) = gate_rows(small, [replace(r, image=f"{n}") for n, r in enumerate(many * 4)],
                       GateOptions(allow_partial=True))  # fmt: skip
    assert f"about {lacking} golden images lacking" in own.reason


def test_the_margin_does_not_grow_with_the_spread_between_runs() -> None:
    first, second = grid(draw=2), grid(draw=3, run="other")
    moved = []
    for item in second:
        value = (item.scores["grid"] or 0) - 0.1 * (int(item.prompt_id[1:]) % 2)
        moved.append(replace(item, scores={**item.scores, "grid": value}))
    alone = freeze("one", first, profile=Profile("t", GATED)).margins["grid"]
    both = freeze("two", [*first, *moved], profile=Profile("t", GATED))
    assert both.margins["grid"] == pytest.approx(alone, rel=0.1)
    assert seed_spread([*first, *moved], "grid").df == 240


def test_softened_baselines_show(baseline: Baseline, tmp_path: object) -> None:
    assert softened(baseline) == ()
    wide = replace(baseline, margins={**baseline.margins, "grid": 0.99})
    (note,) = softened(wide)
    assert note == f"margin of grid set by hand 0.99, derived {baseline.margins['grid']:g}"
    assert softened(baseline, {"style": 0.5})[0].startswith("margin of style set by hand 0.5,")
    short = replace(baseline, profile=Profile("t", ("grid", "health")))
    assert softened(short) == ("not gated although measured: style",)
    from pathlib import Path

    renamed = replace(baseline, folder=Path(str(tmp_path)) / "elsewhere")
    assert softened(renamed) == ("calls itself golden, its folder elsewhere",)
    (found,) = gate_rows(wide, grid(draw=11))
    assert note in found.notes


def test_few_prompts_are_refused_with_what_they_need() -> None:
    few = freeze("few", grid(prompts=4, seeds=40, draw=3), profile=Profile("t", ("grid",)))
    with pytest.raises(BaselineError, match="has 4 prompts and needs 8"):
        SequentialGate(few)


# A level far below anything golden.


def test_ranks_of_few_images_by_counting() -> None:
    """All orders of 3 golden and 2 candidate images: 1 of 10 has both candidates lowest."""
    from itertools import combinations

    places = list(combinations(range(5), 2))
    assert rank_chance(2, 2, 3) == pytest.approx(sum(p == (0, 1) for p in places) / len(places))
    assert rank_chance(1, 2, 3) == pytest.approx(sum(0 in p for p in places) / len(places))


def test_far_below_everything_golden_is_seen_in_few_images() -> None:
    golden = [0.8, 0.9, 1.0] * 4
    found = far_below([0.3, 0.4, 0.2, 0.95], golden)
    assert found is not None
    assert (found.low, found.images, found.golden) == (3, 4, 12)
    assert found.chance == pytest.approx(4 * 3 * 2 / (16 * 15 * 14))
    # The golden mean lies 0.1 above the worst, so half of that below it is far.
    assert far_below([0.7501], golden) is None
    assert far_below([0.7499], golden) is not None
    assert far_below([0.8, 0.9], golden) is None


def test_images_as_good_are_hardly_ever_far_below() -> None:
    generator = np.random.default_rng(9)
    failed = 0
    for _ in range(2000):
        golden, ours = 0.8 - 0.05 * generator.exponential(size=(2, 40))
        failed += any(
            (found := far_below(ours[:k].tolist(), golden.tolist())) is not None
            and found.chance <= 0.00625
            for k in range(3, 13)
        )
    assert failed <= 2000 * 0.01


def test_an_image_that_was_bad_in_the_baseline_too_is_no_rise() -> None:
    """Four of 64 images are bad: in both, nothing rose; elsewhere in the candidate, it may have."""
    n = 64
    base = 0.7 + np.random.default_rng(5).normal(0, 0.05, n)
    base[[3, 17, 30, 55]] = 0.05
    moved = 0.7 + np.random.default_rng(6).normal(0, 0.05, n)
    moved[[8, 20, 41, 60]] = 0.05
    plan = Plan(12, n, 0.05, 0.05, prompts=32)
    mean = np.tile(base.reshape(2, 32).mean(axis=0), 2)

    def ends(scores: np.ndarray) -> bool:
        pairs = Pairs(scores, base, mean, np.arange(n) % 32, 0.1, base.mean(), n)
        return bool(decide(pairs, 0.3, plan, 0.35).holds[..., -1])

    assert ends(base)
    assert not ends(moved)


def test_the_rise_is_at_most_the_share_of_newly_bad_images() -> None:
    generator = np.random.default_rng(7)
    for _ in range(200):
        base, scores = generator.random((2, 40))
        level = generator.random()
        rise = (scores < level).mean() - (base < level).mean()
        assert newly_bad(scores, base, level).mean() >= rise - 1e-12
