"""The made-up baseline, frozen once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from worlds import golden

from loraeval.baselines import Baseline


@pytest.fixture(scope="session")
def baseline() -> Baseline:
    """40 prompts, 4 seeds, grid and style and health gated."""
    return golden()
