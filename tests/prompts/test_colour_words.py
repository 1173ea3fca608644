"""Tolerance regions against an independent list: the CSS colours that Pillow has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageColor

from loraeval.prompts.colour_names import COLOUR_HEX
from loraeval.prompts.colour_words import lab_of, region


def distance(name: str, code: str) -> float:
    found = region(name)
    assert found is not None, name
    return float(found.distance(lab_of(code)))


@pytest.mark.parametrize("name", sorted(COLOUR_HEX))
def test_typical_colour_is_inside(name: str) -> None:
    assert distance(name, COLOUR_HEX[name]) == 0
    assert distance(name, region(name).centre) < 0.5


CSS = {
    "dark blue": "darkblue", "light blue": "lightblue", "dark green": "darkgreen",
    "light green": "lightgreen", "dark red": "darkred", "light grey": "lightgrey",
    "light pink": "lightpink", "hot pink": "hotpink", "deep pink": "deeppink",
    "medium blue": "mediumblue", "medium purple": "mediumpurple",
    "sky blue": "skyblue", "royal blue": "royalblue", "forest green": "forestgreen",
    "yellow green": "yellowgreen", "blue violet": "blueviolet", "light yellow": "lightyellow",
    "red": "firebrick", "brown": "saddlebrown", "grey": "dimgrey", "white": "snow",
    "green": "lime", "blue": "dodgerblue", "purple": "rebeccapurple", "yellow": "gold",
    "orange": "orange", "black": "black", "teal": "teal", "cyan": "cyan", "lime": "greenyellow",
    "pink": "pink", "beige": "beige", "crimson": "crimson", "coral": "coral", "indigo": "indigo",
    "gold": "goldenrod", "turquoise": "turquoise", "silver": "silver", "ivory": "ivory",
}  # fmt: skip


@pytest.mark.parametrize(("name", "css"), CSS.items())
def test_css_colours_are_inside_or_next_to_it(name: str, css: str) -> None:
    """CSS names were made by others; 3 CIEDE2000 is a just visible difference between patches."""
    assert distance(name, ImageColor.colormap[css]) <= 3


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("green", "#ff0000"), ("blue", "#ffcc00"), ("red", "#0000ff"), ("yellow", "#8000ff"),
        ("light skin", "#888888"), ("light skin", "#4b2c1a"), ("dark skin", "#f4d0b4"),
        ("dark blue", "#bbccff"), ("light blue", "#000044"), ("black", "#bb9977"),
        ("white", "#333333"), ("blonde", "#2a1a0a"), ("gold", "#3355cc"), ("dark", "#eeddcc"),
        ("medium skin", "#3fa047"), ("grey", "#cc8855"),
    ],
)  # fmt: skip
def test_other_colours_are_far(name: str, code: str) -> None:
    assert distance(name, code) > 6


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("light skin", "#f1c8a9"), ("medium skin", "#bd8560"), ("dark skin", "#5c3820"),
        ("pale skin", "#f7dccb"), ("tan skin", "#cf9a6c"), ("brown skin", "#80512f"),
        ("black skin", "#4b2c1a"), ("white skin", "#f8ebe2"), ("blonde", "#e6c56c"),
        ("ginger", "#b9581f"), ("red hair", "#b53020"), ("red hair", "#b5561c"),
        ("blue green", "#14857b"), ("blue green", "#2c66cf"), ("green skin", "#6aa84a"),
        ("dark", "#2a1a0a"), ("dark brown", "#2e1a0e"),
    ],
)  # fmt: skip
def test_what_people_mean(name: str, code: str) -> None:
    assert distance(name, code) <= 1


def test_skin_words_are_no_greys() -> None:
    assert distance("light skin", "#d3d3d3") > 3 > distance("light grey", "#d3d3d3")


def test_distance_is_ciede2000_to_the_edge() -> None:
    """From a grey to charcoal's box only lightness changes: an independent value by hand."""
    from skimage.color import deltaE_ciede2000

    edge = np.array([lab_of(COLOUR_HEX["charcoal"])[0] + 18, 0, 0])
    point = np.array([80.0, 0, 0])
    assert float(region("charcoal").distance(point)) == pytest.approx(
        float(deltaE_ciede2000(point, edge))
    )


def test_shape_is_kept_and_vector_equals_scalar() -> None:
    points = np.random.default_rng(0).uniform([0, -60, -60], [100, 60, 60], (3, 4, 3))
    found = region("light blue")
    whole = found.distance(points)
    assert whole.shape == (3, 4)
    assert whole[1, 2] == pytest.approx(float(found.distance(points[1, 2])))
    assert found.distance(np.empty((0, 3))).shape == (0,)
    assert (found.contains(points) == (whole == 0)).all()


@settings(deadline=None)
@given(
    st.sampled_from(["red", "dark blue", "light skin", "blue green", "grey", "dark"]),
    st.tuples(st.floats(0, 100), st.floats(-120, 120), st.floats(-120, 120)),
)
def test_distance_is_finite_and_never_negative(name: str, lab: tuple[float, float, float]) -> None:
    value = float(region(name).distance(lab))
    assert np.isfinite(value)
    assert value >= 0


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_name(name: str) -> None:
    found = region(name)
    assert found is None or found.boxes or found.named


@pytest.mark.parametrize("name", ["", "sharp", "hair", "x" * 1000, "diamond"])
def test_no_colour_no_region(name: str) -> None:
    assert region(name) is None


def test_every_name_of_the_grammar_has_a_region() -> None:
    from loraeval.prompts.caption import parse_caption
    from loraeval.prompts.colour_names import MODIFIERS

    for word in [*COLOUR_HEX, *MODIFIERS]:
        for noun in ("hair", "skin", "background"):
            for colour in parse_caption(f"{word} {noun}").colours:
                lone = word in MODIFIERS
                assert lone or region(colour.name) is not None, (word, noun)


BASIC = ["black", "white", "grey", "red", "green", "blue", "yellow", "orange", "brown", "pink",
         "purple"]  # fmt: skip


def graded(name: str, lab: np.ndarray) -> np.ndarray:
    """The score of colours for a word."""
    return 1 / (1 + (region(name).distance(lab) / 4) ** 2)


@pytest.mark.parametrize("name", BASIC)
def test_few_namers_little_score(name: str) -> None:
    """A colour that under 5 % of namers call so scores under 0.2; more namers, more score."""
    from loraeval.prompts.colour_naming import GROUPS, shares

    rgb = np.random.default_rng(0).integers(0, 256, (4000, 3)) / 255
    from skimage.color import rgb2lab

    lab = rgb2lab(rgb[None])[0]
    share = shares(lab)[:, GROUPS.index(name)]
    score = graded(name, lab)
    assert score[share < 0.05].max() < 0.2
    assert score[share >= 0.3].min(initial=1) == pytest.approx(1)
    assert (np.diff(score[np.argsort(share)]) > -1e-9).all()


def test_names_of_the_survey_win_at_its_colours() -> None:
    """At the survey's own colour of each basic term that term has the largest share."""
    from loraeval.prompts.colour_naming import GROUPS, shares

    typical = np.array([lab_of(COLOUR_HEX[name]) for name in BASIC])
    assert [GROUPS[at] for at in shares(typical).argmax(axis=1)] == BASIC
    assert shares(typical).sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "code"),
    [("green", "#f2f0d3"), ("blue", "#f2f0d3"), ("brown", "#9a9a9a"), ("purple", "#b0202a"),
     ("orange", "#7a4a21"), ("red", "#e87aad"), ("light blue", "#1a2f80"), ("dark blue", "#a8d0ff"),
     ("brown", "#2f5fd0")],
)  # fmt: skip
def test_what_nobody_calls_so(name: str, code: str) -> None:
    assert float(graded(name, np.array([lab_of(code)]))[0]) < 0.2
