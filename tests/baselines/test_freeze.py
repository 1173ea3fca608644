"""Freezing, reading and refreezing baselines; margins and their meaning."""

from __future__ import annotations

import contextlib
import math
import random
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loraeval.baselines import (
    Baseline,
    Profile,
    dropped_rows,
    freeze,
    list_baselines,
    merge_rows,
    parse_selection,
    read_baseline,
    read_profile,
    select_rows,
    write_baseline,
)
from loraeval.baselines.margins import (
    derive_margin,
    in_words,
    repeat_drift,
    seen_in,
    shift_seen_in,
)
from loraeval.baselines.spread import SPREAD_FLOOR, spread_of
from loraeval.cli import main
from loraeval.errors import BaselineError, StaleError, UsageError
from loraeval.records import ScoreRow
from loraeval.scores_file import write_scores

PROFILE = Profile("test", ("grid", "health"), lattice=(24, 24), size=(512, 512))


def row(
    prompt: str = "p0", seed: int | None = 1, grid: float | None = 0.8, **other: object
) -> ScoreRow:
    facts: dict[str, object] = {
        "image": f"{prompt}-{seed}.png",
        "run": "golden",
        "checkpoint": None,
        "epoch": 7,
        "prompt_id": prompt,
        "seed": seed,
        "scores": {"grid": grid, "health": 1.0},
        "versions": {"grid": "1", "health": "1"},
        "encoder": "tiny@00",
        "prompt_digest": f"digest-{prompt}",
        "recipe": "recipe-a",
    }
    return ScoreRow(**{**facts, **other})  # type: ignore[arg-type]


def rows(draw: int = 0, prompts: int = 10, seeds: int = 4, spread: float = 0.05) -> list[ScoreRow]:
    noise = random.Random(draw)
    return [
        row(f"p{p}", s, min(1.0, max(0.0, 0.7 + p / 100 + noise.gauss(0, spread))))
        for p in range(prompts)
        for s in range(seeds)
    ]


def test_round_trip(tmp_path: Path) -> None:
    reference = tmp_path / "features.json"
    reference.write_text("{}")
    made = freeze(
        "golden", rows(), profile=PROFILE, parameters={"network_dim": 32}, prompt_set="punks",
        recipe={"steps": 30, "base_model": 'a "quoted" \\ name\n'}, provenance={"source": "here"},
        reference_file=reference,
    )  # fmt: skip
    write_baseline(made, tmp_path / "golden")
    read = read_baseline("golden", tmp_path)
    assert read.reference_file == tmp_path / "golden" / "reference.json"
    same = replace(read, reference_file=reference, folder=None)
    assert same == replace(made, rows=same.rows)
    assert [r.scores for r in same.rows] == [r.scores for r in made.rows]
    assert {r.recipe for r in read.rows} == {"recipe-a"}
    assert list_baselines(tmp_path) == ["golden"]
    assert read_baseline(tmp_path / "golden").name == "golden"
    assert sorted(p.name for p in (tmp_path / "golden").iterdir()) == [
        "baseline.toml", "parameters.json", "reference.json", "scores.jsonl",
    ]  # fmt: skip


def test_frozen_twice_is_the_same_text_whatever_the_order(tmp_path: Path) -> None:
    for name, order in (("a", rows()), ("b", rows()[::-1])):
        write_baseline(freeze("golden", order, profile=PROFILE), tmp_path / name)
    for file in ("baseline.toml", "scores.jsonl"):
        assert (tmp_path / "a" / file).read_text() == (tmp_path / "b" / file).read_text()


def test_spread_by_hand() -> None:
    # Within: squares 2 + 2 + 2 + 2 over 4 degrees; means 1, 3, 5, 7.
    found = spread_of({"a": [0.0, 2.0], "b": [2.0, 4.0], "c": [4.0, 6.0], "d": [6.0, 8.0]})
    assert found.within == pytest.approx(math.sqrt(2))
    assert found.between == pytest.approx(math.sqrt(20 / 3 - 1))
    assert (found.df, found.images, found.prompts, found.mean) == (4, 8, 4, 4.0)


def test_spread_of_single_images_is_the_spread_overall() -> None:
    found = spread_of({"a": [0.1], "b": [0.4], "c": [0.7]})
    assert found.within == pytest.approx(statistics.stdev([0.1, 0.4, 0.7]))
    assert found.between == 0.0


def test_spread_has_a_floor_and_needs_two() -> None:
    assert spread_of({"a": [1.0] * 9}).within == SPREAD_FLOOR
    with pytest.raises(ValueError, match="at least 2"):
        spread_of({"a": [1.0]})


def test_the_margin_means_what_it_says() -> None:
    """Of two normal distributions a margin apart, one image in five shows which it is."""
    shift = shift_seen_in(0.2)
    assert seen_in(shift) == pytest.approx(0.2)
    generator = random.Random(0)
    draws = [generator.gauss(0, 1) for _ in range(40_000)]
    # The best guess from one image says "worse" below half the shift.
    right = sum(d - shift < -shift / 2 for d in draws) / 40_000
    wrong = sum(d < -shift / 2 for d in draws) / 40_000
    assert right - wrong == pytest.approx(0.2, abs=0.01)
    assert in_words(0.2) == "about one image of 5"


@given(st.floats(0.01, 0.99))
def test_share_and_shift_are_inverse(share: float) -> None:
    assert seen_in(shift_seen_in(share)) == pytest.approx(share)


def test_margins_come_from_the_spread() -> None:
    many = derive_margin(rows(prompts=40), "grid", 0.2)
    assert many.value == pytest.approx(shift_seen_in(0.2) * many.spread.within, abs=1e-4)
    assert "one image of 5" in many.words
    wide = derive_margin(rows(prompts=40, spread=0.1), "grid", 0.2)
    assert 1.6 < wide.value / many.value < 2.4
    few = derive_margin(rows(prompts=3), "grid", 0.2)
    assert few.value == pytest.approx(shift_seen_in(0.2) * few.spread.within, abs=1e-4)
    assert few.lacking == 24  # 36 images of spread s resolve 0.507 s, here are 12
    assert "about 24 golden images lacking" in few.words
    assert many.lacking == 0
    flat = derive_margin(rows(spread=0.0), "grid", 0.2)
    assert flat.value == 0.02
    assert "smallest" in flat.words


def test_repeat_noise_widens_the_margin() -> None:
    first = rows(prompts=40)
    again = [replace(r, scores={**r.scores, "grid": r.scores["grid"] - 0.01}) for r in first]  # type: ignore[operator]
    plain = freeze("golden", first, profile=PROFILE)
    widened = freeze("golden", first, profile=PROFILE, repeat=again)
    assert widened.repeat_noise["grid"] == pytest.approx(0.01, abs=1e-6)
    assert widened.margins["grid"] == pytest.approx(plain.margins["grid"] + 0.01, abs=2e-4)
    assert "another machine" in widened.margin_words["grid"]
    with pytest.raises(BaselineError, match="--repeat needs"):
        freeze("golden", first, profile=PROFILE, repeat=[row("other", 9)])
    assert repeat_drift({"grid": [(0.5, 0.6), (0.5, 0.6)]}) == {}


def test_stated_margins_win() -> None:
    made = freeze("golden", rows(), profile=replace(PROFILE, margins={"grid": 0.3}))
    assert made.margins["grid"] == 0.3
    derived = freeze("golden", rows(), profile=PROFILE).margins["grid"]
    assert made.margin_words["grid"] == f"set by hand 0.3, derived {derived:g}"


@pytest.mark.parametrize(
    ("given", "error", "word"),
    [
        ([], BaselineError, "no rows"),
        ([row(), row()], BaselineError, "given twice"),
        (rows(prompts=1, seeds=2), BaselineError, "measured on 2 of 2"),
        (
            [*rows(), row("x", 1, None, scores={"grid": 0.1, "health": 0.0})],
            BaselineError,
            "faulty",
        ),
        ([*rows(), row("x", 1, math.nan)], BaselineError, "nan"),
        ([*rows(), row("x", 1, encoder="other@1")], StaleError, "encoder"),
        ([*rows(), row("x", 1, recipe="recipe-b")], StaleError, "recipe"),
        ([*rows(), row("x", 1, versions={"grid": "2"})], StaleError, "versions"),
    ],
)
def test_what_can_not_be_frozen(given: list[ScoreRow], error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        freeze("golden", given, profile=PROFILE)


def test_a_scorer_nobody_measured_can_not_be_gated() -> None:
    with pytest.raises(BaselineError, match="palette is gated but measured on 0 of 40"):
        freeze("golden", rows(), profile=Profile("t", ("grid", "palette")))


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b", "x" * 200])
def test_bad_names(name: str) -> None:
    with pytest.raises(BaselineError, match="can not name"):
        freeze(name, rows(), profile=PROFILE)


def test_merge_keeps_every_row_and_refuses_what_differs() -> None:
    old = freeze("golden", rows(), profile=PROFILE)
    new = freeze("golden", [row("new", s, 0.9) for s in range(5)], profile=PROFILE)
    assert len(merge_rows(old, new)) == 45
    assert len(dropped_rows(old, new)) == 40
    for change in (
        {"encoder": "other"}, {"recipe_digest": "other"}, {"versions": {"grid": "2"}},
        {"profile": replace(PROFILE, lattice=(16, 16))},
    ):  # fmt: skip
        with pytest.raises(StaleError, match="merged"):
            merge_rows(old, replace(new, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run=golden", 40),
        ("run=golden,epoch=7-9", 40),
        ("epoch=8", 0),
        ("seed=0|2-3", 30),
        ("prompt_id=p1|p2, seed=1", 2),
    ],
)
def test_selections(text: str, expected: int) -> None:
    assert len(select_rows(rows(), parse_selection(text))) == expected


@pytest.mark.parametrize(
    "text", ["", "run", "run=", "size=3", "epoch=a", "epoch=9-7", "run=a,run=a"]
)
def test_bad_selections(text: str) -> None:
    with pytest.raises(UsageError, match="--select"):
        parse_selection(text)


@given(st.text(max_size=40))
def test_selections_never_crash(text: str) -> None:
    with contextlib.suppress(UsageError):
        select_rows(rows(prompts=1), parse_selection(text))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("gatd = ['grid']", "did you mean gated"),
        ("gated = []", "at least one"),
        ("gated = ['grid', 'grid']", "each once"),
        ("gated = [1]", "metric names"),
        ("gated = 'grid'", "wrong type"),
        ("lattice = [24]", "two whole numbers"),
        ("lattice = [24, 0]", "two whole numbers"),
        ("share = 1.5", "share"),
        ("[margins]\ngrib = 0.1", "did you mean grid"),
        ("[margins]\ngrid = 'big'", "a number"),
        ("[margins]\ngrid = -1.0", "between 0 and 1"),
        ("= 3", "TOML"),
    ],
)
def test_bad_profiles(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(BaselineError, match=word):
        read_profile(file)


def test_a_profile_without_lattice_and_palette_is_just_another_profile(tmp_path: Path) -> None:
    file = tmp_path / "photo.toml"
    file.write_text('[profile]\ngated = ["style", "health"]\nmargins = {style = "derive"}\n')
    found = read_profile(file)
    assert (found.name, found.lattice, found.gated) == ("photo", None, ("style", "health"))
    with pytest.raises(BaselineError, match="cannot read"):
        read_profile(tmp_path / "none.toml")


@pytest.fixture
def frozen(tmp_path: Path) -> Baseline:
    made = freeze("golden", rows(), profile=PROFILE)
    write_baseline(made, tmp_path / "baselines" / "golden")
    return made


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("baseline.toml", "format = 1", "format = 9"),
        ("baseline.toml", "format = 1", "format = "),
        ("baseline.toml", "[profile]", "[profil]"),
        ("baseline.toml", "images = 40", "images = 41"),
        ("baseline.toml", "value = ", "value = -"),
        ("baseline.toml", "[margins.grid]", "[margins.grit]"),
        ("baseline.toml", 'name = "golden"', 'name = "../up"'),
        ("scores.jsonl", '"grid": 0.', '"grid": 7.'),
        ("scores.jsonl", "{", "["),
    ],
)
def test_a_broken_baseline_gives_one_sentence(
    frozen: Baseline, tmp_path: Path, file: str, old: str, new: str
) -> None:
    path = tmp_path / "baselines" / "golden" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BaselineError) as caught:
        read_baseline("golden", tmp_path / "baselines")
    assert "\n" not in str(caught.value).replace("\\n", "") or "TOML" in str(caught.value)
    assert frozen.name == "golden"


def test_a_missing_baseline_says_how_to_make_one(frozen: Baseline, tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match=r"there are: golden; make one with: loraeval baseline"):
        read_baseline("silver", tmp_path / "baselines")
    assert frozen.refreeze.startswith("loraeval baseline freeze golden")


def test_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    profile = tmp_path / "p.toml"
    profile.write_text('gated = ["grid", "health"]\n')
    write_scores(tmp_path / "s.jsonl", rows())
    half = [r for r in rows() if r.seed in (0, 1)]
    write_scores(tmp_path / "half.jsonl", half)
    make = ["baseline", "freeze", "g", "--profile", "p.toml", "--scores"]
    assert main([*make, "s.jsonl"]) == 0
    assert "40 images frozen" in capsys.readouterr().out
    assert main([*make, "half.jsonl"]) == 2
    assert "holds 20 rows that are not given" in capsys.readouterr().err
    assert len(read_baseline("g").rows) == 40
    assert main([*make, "half.jsonl", "--merge"]) == 0
    assert len(read_baseline("g").rows) == 40
    assert main([*make, "half.jsonl", "--replace"]) == 0
    assert len(read_baseline("g").rows) == 20
    assert main(["baseline", "list"]) == 0
    assert main(["baseline", "show", "g"]) == 0
    assert main(["baseline", "show", "g", "--json"]) == 0
    assert '"margin_words"' in capsys.readouterr().out
    assert main(["baseline", "show", "nope"]) == 2
    # 20 golden images cannot resolve their own margin: nothing passes.
    assert main(["gate", "--baseline", "g", "--scores", "s.jsonl"]) == 3
    assert "golden images lacking" in capsys.readouterr().out
    assert main([*make, "s.jsonl", "--replace"]) == 0
    assert main(["gate", "--baseline", "g", "--scores", "s.jsonl"]) == 0
    assert main(["gate", "--baseline", "g", "--scores", "s.jsonl", "--json"]) == 0
    bad = [replace(r, scores={**r.scores, "grid": 0.1}) for r in rows()]
    write_scores(tmp_path / "bad.jsonl", bad)
    assert main(["gate", "--baseline", "g", "--scores", "bad.jsonl"]) == 1
    few = [replace(r, scores={**r.scores, "grid": 0.70}) for r in rows()[:2]]
    write_scores(tmp_path / "few.jsonl", few)
    gate = ["gate", "--baseline", "g", "--scores", "few.jsonl"]
    assert main(gate) == 3
    assert main([*gate, "--inconclusive", "pass"]) == 0
    assert main([*gate, "--inconclusive", "fail"]) == 1
    stale = [replace(r, encoder="other@1") for r in rows()]
    write_scores(tmp_path / "stale.jsonl", stale)
    assert main(["gate", "--baseline", "g", "--scores", "stale.jsonl"]) == 2
    capsys.readouterr()
    for wrong in (
        ["--baseline", "nope", "--scores", "s.jsonl"],
        ["--baseline", "g", "--scores", "none.jsonl"],
        ["--baseline", "g", "--scores", "s.jsonl", "--select", "run=x"],
        ["--baseline", "g", "--scores", "s.jsonl", "--margin", "grid"],
        ["--baseline", "g", "--scores", "s.jsonl", "--margin", "style=0.1"],
        ["--baseline", "g", "--scores", "s.jsonl", "--alpha", "2"],
    ):
        assert main(["gate", *wrong]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert error.startswith(("loraeval: ", "loraeval gate: "))
