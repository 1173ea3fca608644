"""Blind pairs of images, and the file of what people chose."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from loraeval.errors import ScoresError
from loraeval.outside import json as strict_json
from loraeval.outside.files import write_text_atomically
from loraeval.outside.text import clean, read_text
from loraeval.prompts.limits import MAX_MANIFEST_BYTES
from loraeval.records import ScoreRow, canonical_json
from loraeval.report.gallery import matching

Choice = Literal["candidate", "baseline", "same"]
_TEXTS = ("pair", "choice", "candidate", "baseline", "prompt_id")
CHOICES: tuple[Choice, ...] = ("candidate", "baseline", "same")


@dataclass(frozen=True, slots=True)
class Pair:
    """A candidate's image and a baseline's of the same prompt; ``swapped`` puts the baseline's
    on the left. ``key`` names the pair in the file of ratings.
    """

    key: str
    candidate: ScoreRow
    baseline: ScoreRow
    swapped: bool


@dataclass(frozen=True, slots=True)
class Rating:
    """What was chosen for one pair; images and prompt stand by for readers of the file."""

    pair: str
    choice: Choice
    candidate: str
    baseline: str
    prompt_id: str
    swapped: bool


def make_pairs(
    candidates: Sequence[ScoreRow], baseline: Sequence[ScoreRow], *, seed: int = 0
) -> list[Pair]:
    """Return a pair for each candidate image that the baseline has the prompt of, shuffled.

    Sides and order follow from ``seed`` alone. Images that stand on both sides are left out.

    Raises ``ScoresError`` where no prompt is shared.
    """
    generator = random.Random(seed)
    pairs = []
    for row in sorted(candidates, key=lambda row: (row.prompt_id, row.run, row.image)):
        matched = [other for other in matching(baseline, row.prompt_id, row.seed)
                   if (other.run, other.image) != (row.run, row.image)]  # fmt: skip
        if matched:
            other = generator.choice(sorted(matched, key=lambda row: (row.run, row.image)))
            words = [row.run, row.image, other.run, other.image]
            key = hashlib.sha256(canonical_json(words).encode()).hexdigest()[:16]
            pairs.append(Pair(key, row, other, generator.random() < 0.5))
    if not pairs:
        raise ScoresError(
            "expected candidate and baseline images of the same prompts to judge, found none"
        )
    generator.shuffle(pairs)
    return pairs


def read_ratings(path: Path) -> dict[str, Rating]:
    """Return the ratings in ``path`` by pair; none where there is no file yet.

    Raises ``ScoresError`` naming the line of anything that is not a rating.
    """
    if not path.exists():
        return {}
    found = {}
    text = read_text(path, ScoresError, MAX_MANIFEST_BYTES)
    for number, line in enumerate(text.splitlines(), 1):
        try:
            data = strict_json.loads(line)
            rating = Rating(**data)
        except (ValueError, TypeError) as error:
            raise ScoresError(f"{path}:{number}: expected a rating ({clean(error)})") from error
        if not all(isinstance(getattr(rating, name), str) for name in _TEXTS):
            raise ScoresError(f"{path}:{number}: expected a rating of named images")
        if rating.choice not in CHOICES:
            raise ScoresError(
                f"{path}:{number}: {rating.choice!r:.60} is none of {', '.join(CHOICES)}"
            )
        found[rating.pair] = rating
    return found


def write_ratings(path: Path, ratings: dict[str, Rating]) -> None:
    """Write all ratings to ``path``, whole or not at all."""
    lines = [json.dumps(asdict(rating), ensure_ascii=False) for rating in ratings.values()]
    write_text_atomically(path, "".join(line + "\n" for line in lines))


def rating_of(pair: Pair, choice: Choice) -> Rating:
    """Return the rating of ``pair``."""
    return Rating(
        pair.key,
        choice,
        pair.candidate.image,
        pair.baseline.image,
        pair.candidate.prompt_id,
        pair.swapped,
    )


def judged_scores(
    pairs: Sequence[Pair], ratings: dict[str, Rating]
) -> list[tuple[dict[str, float | None], dict[str, float | None], int]]:
    """Return (candidate's scores, baseline's scores, choice) of every judged pair, the choice 1
    for the candidate, -1 for the baseline, 0 for no difference.
    """
    numbers = {"candidate": 1, "baseline": -1, "same": 0}
    return [
        (dict(pair.candidate.scores), dict(pair.baseline.scores), numbers[ratings[pair.key].choice])
        for pair in pairs
        if pair.key in ratings
    ]
