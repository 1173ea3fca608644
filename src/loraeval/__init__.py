"""loraeval: is this LoRA checkpoint good enough to ship, and which epoch is best?

The public names are light to import: nothing here pulls in numpy, torch or diffusers. The
functions do what the commands do; each says so with an example.
"""

from __future__ import annotations

__version__ = "0.1.0"

from loraeval.api import (
    compare,
    compare_parameters,
    freeze_baseline,
    gate,
    inspect,
    read_baseline,
    read_run,
    render,
    score,
)
from loraeval.callable_rooms import keep_callable
from loraeval.errors import LoraevalError
from loraeval.outcome import exit_code
from loraeval.records import (
    Caption,
    Checkpoint,
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

__all__ = [
    "Caption",
    "Checkpoint",
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
    "compare",
    "compare_parameters",
    "exit_code",
    "freeze_baseline",
    "gate",
    "inspect",
    "read_baseline",
    "read_run",
    "render",
    "score",
]

keep_callable(__name__, {"gate": gate, "render": render})
