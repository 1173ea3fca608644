"""loraeval: is this LoRA checkpoint good enough to ship, and which epoch is best?

The public names are light to import: nothing here pulls in numpy, torch or diffusers.
"""

from __future__ import annotations

from loraeval.errors import LoraevalError
from loraeval.records import (
    Caption,
    Comparison,
    Metric,
    NamedColour,
    Prompt,
    PromptSet,
    Recipe,
    Render,
    Score,
    ScoreRow,
    Verdict,
)

__version__ = "0.1.0"

__all__ = [
    "Caption",
    "Comparison",
    "LoraevalError",
    "Metric",
    "NamedColour",
    "Prompt",
    "PromptSet",
    "Recipe",
    "Render",
    "Score",
    "ScoreRow",
    "Verdict",
    "__version__",
]
