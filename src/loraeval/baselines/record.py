"""What a frozen baseline is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loraeval.baselines.profile import Profile
from loraeval.records import ScoreRow


@dataclass(frozen=True, slots=True)
class Baseline:
    """Frozen scores and everything that decides whether others may be compared with them.

    ``prompt_set`` names the prompt set (a name in prompts/ or a path) where it is known;
    ``prompt_digest`` is the digest over the prompts' ids and digests, None where a prompt's is
    unknown; ``recipe_digest`` and ``recipe`` (its fields) are None where the images were found and
    not made; ``encoder`` names the encoder and its weights; ``versions`` maps metric to version.
    ``margins`` and ``margin_words`` map each gated metric to the loss still accepted and to what
    that means; ``repeat_noise`` to the drift measured between machines (``--repeat``).
    ``parameters`` are the run's training parameters, ``provenance`` where the images came from;
    ``reference_file`` is the file of reference features, ``folder`` where the baseline was read.
    """

    name: str
    profile: Profile
    rows: tuple[ScoreRow, ...]
    margins: Mapping[str, float]
    margin_words: Mapping[str, str] = field(default_factory=dict)
    prompt_set: str | None = None
    prompt_digest: str | None = None
    recipe_digest: str | None = None
    recipe: Mapping[str, Any] | None = None
    encoder: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    repeat_noise: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    reference_file: Path | None = None
    folder: Path | None = None

    @property
    def refreeze(self) -> str:
        """The command that freezes this baseline anew."""
        return f"loraeval baseline freeze {self.name} --scores SCORES --replace"
