"""Shared fixtures: one thread, no hub, and the real data where it is at hand."""

from __future__ import annotations

import os

# Two threads on a busy 2-core machine are 10 to 100 times slower; set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

LONGEST = ("test_docs.py", "test_demo_gate.py", "test_renderer.py", "test_ci_workflows.py")
"""Files that take a minute and more: first, so that no worker is left alone with one at the end; in
an order in which those with the demo model find what others rendered.
"""

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, the others in their order."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def demo_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for renders of the demo model, one for all workers of the session."""
    base = tmp_path_factory.getbasetemp()
    store = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demo-store"
    store.mkdir(exist_ok=True)
    return store


@pytest.fixture(scope="session")
def punks() -> Path:
    """The folder of real training pairs and renders; the test skips where it is absent."""
    folder = SHARED / "bespoke_punks"
    if not folder.is_dir():
        pytest.skip(f"the real data is not beside the checkout ({folder.name})")
    return folder


@pytest.fixture(scope="session")
def kohya() -> Path:
    """The folder of kohya facts; the test skips where it is absent."""
    folder = SHARED / "kohya"
    if not folder.is_dir():
        pytest.skip(f"the kohya data is not beside the checkout ({folder.name})")
    return folder
