"""JSON that means one thing: checked against the standard parser on what both take."""

from __future__ import annotations

import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loraeval.outside import json as strict_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(VALUES)
def test_what_json_writes_comes_back(value: object) -> None:
    assert strict_json.loads(json.dumps(value)) == value


@pytest.mark.parametrize(("text", "words"), [
    ('{"a": 1, "a": 2}', "'a' stands twice"), ('[{"a": {"b": 1, "b": 1}}]', "'b' stands twice"),
    ('{"a": 1, "\\u0061": 2}', "'a' stands twice"), ("NaN", "NaN is no number"),
    ("[-Infinity]", "-Infinity is no number"), ("1e999", "1e999 is too large"),
    ("-1.5e400", "too large"), ("9" * 5000, "4300"), ("[" * 100_000, "nested too deeply"),
    ('{"a":' * 100_000, "nested too deeply"), ("", "Expecting value"), ("{} {}", "Extra data"),
])  # fmt: skip
def test_what_means_more_than_one_thing_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        strict_json.loads(text)
    assert str(caught.value).isprintable()


def test_the_largest_float_is_a_number() -> None:
    assert strict_json.loads("1.7976931348623157e308") < math.inf


def test_a_hundred_thousand_keys_are_compared_in_a_moment() -> None:
    keys = ", ".join(f'"{n}": {n}' for n in range(100_000))
    started = time.process_time()
    with pytest.raises(ValueError, match="'99999' stands twice"):
        strict_json.loads("{" + keys + ', "99999": 0}')
    assert time.process_time() - started < 3
