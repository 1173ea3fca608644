"""Hooks that the pytest plugin calls; write one in ``conftest.py`` to be told of verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from loraeval.records import Verdict


@pytest.hookspec
def pytest_loraeval_verdict(verdict: Verdict) -> None:
    """Be told what the gate says of one checkpoint, once a session, when its tests are over.

    Called on the controller where pytest-xdist runs the tests, for every checkpoint that was
    gated, in the order given; for people's own notifications::

        def pytest_loraeval_verdict(verdict):
            if verdict.outcome == "fail":
                send(f"{verdict.checkpoint.label}: {verdict.reason}")
    """
