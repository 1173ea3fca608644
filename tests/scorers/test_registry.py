"""The table of scorers, third parties' scorers, and the example of the docs as a real package."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from loraeval.errors import UsageError
from loraeval.images.picture import picture_from_array
from loraeval.records import Caption, Metric, Prompt
from loraeval.scorers import registry
from loraeval.scorers.base import ScoreContext, Scorer

CONTEXT = ScoreContext(Prompt("p", "a cat", Caption("a cat")))


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package of one module with entry points, as pip leaves it on disk."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(module: str, source: str, points: dict[str, str]) -> None:
        (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {target}\n" for name, target in points.items())
        (info / "entry_points.txt").write_text(f"[loraeval.scorers]\n{lines}")
        importlib.invalidate_caches()

    yield make
    for name in [name for name in sys.modules if name.startswith("plugged_")]:
        del sys.modules[name]


def test_the_docs_example_works_as_an_installed_package(install, repo: Path):
    page = (repo / "docs/write-a-scorer.md").read_text(encoding="utf-8")
    source = re.search(r"example:begin -->\n```python\n(.*?)```", page, re.DOTALL).group(1)
    assert len([line for line in source.splitlines() if line.strip()]) <= 20
    install("plugged_example", source, {"contrast": "plugged_example:ContrastScorer"})
    assert "contrast" in registry.scorer_names()
    (scorer,) = registry.load_scorers(["contrast"])
    half = np.zeros((16, 16, 3), np.uint8)
    half[:, 8:] = 255
    (score,) = scorer.score(picture_from_array(half, "half"), CONTEXT)
    assert score.value == 1.0
    assert score.details == {"darkest": 0, "lightest": 255}
    (flat,) = scorer.score(picture_from_array(half * 0, "flat"), CONTEXT)
    assert flat.value is None
    assert flat.reason == "the picture has one shade only"


@pytest.mark.parametrize("name", list(registry.SCORERS))
def test_every_built_in_keeps_the_rules_for_third_parties(name):
    pytest.importorskip(registry.SCORERS[name].partition(":")[0])
    (scorer,) = registry.load_scorers([name])
    assert isinstance(scorer, Scorer)
    registry.check_metrics(scorer)
    assert scorer.name == name


def test_an_unknown_name_gets_a_hint():
    with pytest.raises(UsageError, match=r"'styel'; did you mean 'style'\? known: palette, grid"):
        registry.load_scorers(["styel"])


def test_a_name_given_twice_is_refused():
    with pytest.raises(UsageError, match="'realism' is named twice"):
        registry.load_scorers(["realism", "realism"])


TEMPLATE = """
from loraeval.records import Metric, Score
class Made:
    name = {name!r}
    metrics = ({metrics},)
    def score(self, picture, context):
        return [Score(m.name, 0.5) for m in self.metrics]
"""


@pytest.mark.parametrize(
    ("name", "metrics", "message"),
    [
        ("mine", "Metric('mine', '1', bounds=(0, 100))", r"bounds inside \[0, 1\]"),
        ("mine", "Metric('mine', '1', bounds=(0.0, float('nan')))", r"bounds inside \[0, 1\]"),
        ("mine", "Metric('mine', '1', higher_is_better=False)", "must be higher for better"),
        ("mine", "Metric('mine', '')", "must have a version"),
        ("mine", "Metric('yours', '1')", "must have its name, found 'yours'"),
        ("mine", "Metric('mine', '1'), Metric('palette.x', '1')", "must be named mine.something"),
        ("other", "Metric('other', '1')", "calls itself 'other'"),
    ],
)
def test_a_third_party_that_breaks_a_rule_is_refused(install, name, metrics, message):
    install(
        "plugged_bad", TEMPLATE.format(name=name, metrics=metrics), {"mine": "plugged_bad:Made"}
    )
    with pytest.raises(UsageError, match=message):
        registry.load_scorers(["mine"])


def test_a_third_party_may_not_take_a_built_in_name(install):
    source = TEMPLATE.format(name="style", metrics="Metric('style', '1')")
    install("plugged_thief", source, {"style": "plugged_thief:Made"})
    with pytest.raises(UsageError, match="'style' of plugged_thief has a built-in scorer's name"):
        registry.load_scorers(["mine"])


def test_two_packages_with_one_name_are_named(install):
    source = TEMPLATE.format(name="mine", metrics="Metric('mine', '1')")
    install("plugged_one", source, {"mine": "plugged_one:Made"})
    install("plugged_two", source, {"mine": "plugged_two:Made"})
    with pytest.raises(UsageError, match="plugged_one and plugged_two both add a scorer"):
        registry.load_scorers(["mine"])


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("raise OSError('no disk')", "plugged_x:Made", "does not load: OSError: no disk"),
        ("Made = object", "plugged_x:Made", "is no scorer: expected name, metrics and score"),
        ("", "plugged_x:Gone", "does not load: AttributeError"),
    ],
)
def test_a_third_party_that_does_not_load_is_named(install, source, target, message):
    install("plugged_x", source, {"mine": target})
    with pytest.raises(UsageError, match=message):
        registry.load_scorers(["mine"])


def test_two_scorers_with_one_metric_are_refused():
    class One:
        name = "one"
        metrics = (Metric("one", "1"), Metric("one.x", "1"))

        def score(self, picture, context):
            return []

    class Two(One):
        name = "two"

    with pytest.raises(UsageError, match="'one' and 'two' both make the metric 'one'"):
        registry.check_distinct([One(), Two()])


def test_a_function_that_makes_a_scorer_will_do(install):
    source = (
        TEMPLATE.format(name="mine", metrics="Metric('mine', '1')")
        + "\ndef make(): return Made()\n"
    )
    install("plugged_maker", source, {"mine": "plugged_maker:make"})
    assert registry.load_scorers(["mine"])[0].name == "mine"


@pytest.mark.parametrize(
    ("declares", "asked", "loaded"),
    [(True, "auto", True), (False, "auto", False), (False, "open_clip:x/y", True),
     (True, "none", False)],
)  # fmt: skip
def test_a_third_partys_scorer_alone_gets_the_encoder_it_declares_or_the_user_names(
    install, monkeypatch, declares, asked, loaded
):
    from loraeval.evaluation import panels

    install(
        "plugged_reader",
        "from loraeval.records import Metric, Score\n"
        "class Reader:\n"
        "    name, metrics = 'reader', (Metric('reader', '1'),)\n"
        f"    needs_encoder = {declares}\n"
        "    def score(self, picture, context):\n"
        "        return [Score('reader', 0.5)]\n",
        {"reader": "plugged_reader:Reader"},
    )
    asked_for = []
    monkeypatch.setattr(panels, "_encoder", lambda choice, *_: asked_for.append(choice.encoder))
    choice = panels.PanelChoice(scorers=("reader",), encoder=asked)
    panels.build_panel(choice, quiet=True)
    assert bool(asked_for) == loaded
