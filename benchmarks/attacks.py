"""What the gate lets through: a baseline of sound portraits, and checkpoints that went wrong.

    python benchmarks/attacks.py FOLDER      # pairs NAME.png, NAME.txt of 24x24 pixels
    python benchmarks/attacks.py             # portraits of our own

The baseline is frozen from 90 portraits, its other half being the reference of each half; every
candidate shows 60 others (or, where it recites its training set, 60 of the 90), as found images,
their prompts declared. Writes the table into benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from PIL import Image

from _attack_kinds import COPIES, KINDS, SIZE, Pair, Rgb, shown
from gate import into_readme
from loraeval.baselines import Baseline, Profile, freeze
from loraeval.baselines.profile import PIXEL_GATED
from loraeval.gate import GateOptions, gate_rows
from loraeval.images.picture import picture_from_array
from loraeval.images.signature import pixel_facts
from loraeval.prompts.building import caption_of
from loraeval.records import Prompt, ScoreRow, Verdict
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.encoders import OFFLINE_ENCODER, Encoder, load_encoder
from loraeval.scorers.reference import ReferenceSet
from loraeval.scorers.registry import load_scorers
from loraeval.testing.portraits import scene

GOLDEN = 90


@dataclass(frozen=True)
class Bench:
    """What scores the pictures."""

    encoder: Encoder

    def reference(self, pairs: Sequence[Pair]) -> ReferenceSet:
        """Return the features of the pairs."""
        images = ((pair.name, pair.cells) for pair in pairs)
        return ReferenceSet.from_images(images, self.encoder, total=len(pairs), lattice=(24, 24))

    def rows(
        self, pairs: Sequence[Pair], kind: Callable[[Pair], Rgb], reference: ReferenceSet, run: str
    ) -> list[ScoreRow]:
        """Return the scores of the pictures that ``kind`` draws of ``pairs``."""
        return [self._row(pair, kind(pair), reference, run) for pair in pairs]

    def _row(self, pair: Pair, rgb: Rgb, reference: ReferenceSet, run: str) -> ScoreRow:
        picture = picture_from_array(rgb, pair.name)
        (features,) = self.encoder.embed_images([picture.rgb])
        picture.features[self.encoder.id] = np.asarray(features)
        prompt = Prompt(pair.name, pair.caption, caption_of(pair.caption))
        context = ScoreContext(
            prompt=prompt, lattice=(24, 24), size=(SIZE, SIZE), reference=reference,
            encoder=self.encoder,
        )  # fmt: skip
        scorers = load_scorers(("palette", "grid", "style", "realism", "health"), self.encoder)
        found = [score for scorer in scorers for score in scorer.score(picture, context)]
        return ScoreRow(
            image=f"{run}/{pair.name}.png",
            run=run,
            checkpoint=None,
            epoch=None,
            prompt_id=pair.name,
            seed=None,
            scores={score.metric: score.value for score in found},
            details={"pixels": pixel_facts(picture.rgb)},
            versions={m.name: m.version for scorer in scorers for m in scorer.metrics},
            encoder=self.encoder.id,
            prompt_digest=prompt.digest,
        )


def read_folder(folder: Path) -> list[Pair]:
    """Return the pairs of a folder in name order; pictures of another size are left out."""
    found = []
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        caption = path.with_suffix(".txt")
        with Image.open(path) as picture:
            if picture.size == (24, 24) and caption.is_file():
                cells = np.asarray(picture.convert("RGB"))
                text = caption.read_text(encoding="utf-8").strip()
                found.append(Pair(f"pair{number:04d}", text, cells, number))
    return found


def own_pairs(count: int) -> list[Pair]:
    """Return portraits of our own."""
    made = (scene(9000 + number) for number in range(count))
    return [
        Pair(f"scene{number:04d}", one.long_caption, one.cells, number)
        for number, one in enumerate(made)
    ]


def golden_of(bench: Bench, pairs: Sequence[Pair]) -> Baseline:
    """Freeze the baseline: each half is scored against the other."""
    halves = (pairs[::2], pairs[1::2])
    rows = []
    for ours, theirs in (halves, halves[::-1]):
        rows += bench.rows(ours, lambda pair: shown(pair.cells), bench.reference(theirs), "golden")
    measured = [
        metric
        for metric in PIXEL_GATED
        if metric == "style.copies"
        or sum(row.scores.get(metric) is not None for row in rows) > len(rows) / 2
    ]
    return freeze("golden", rows, profile=Profile("attacks", tuple(measured), lattice=(24, 24)))


def judged(golden: Baseline, rows: Sequence[ScoreRow]) -> Verdict:
    """Return the verdict on found images, their prompts declared."""
    declared = [row.prompt_id for row in rows]
    (verdict,) = gate_rows(golden, rows, GateOptions(), declared=declared)
    return verdict


def images_to_fail(golden: Baseline, rows: Sequence[ScoreRow]) -> int:
    """Return the smallest number of the images that fails, by halving."""
    low, high = 0, len(rows)
    while high - low > 1:
        middle = (low + high) // 2
        if judged(golden, rows[:middle]).outcome == "fail":
            high = middle
        else:
            low = middle
    return high


def main() -> None:
    """Make the attacks, gate them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", nargs="?", type=Path, help="pairs of 24x24 pixels and captions")
    parser.add_argument("--count", type=int, default=60, help="images of a candidate")
    args = parser.parse_args()
    began = time.process_time()
    pairs = read_folder(args.folder) if args.folder else own_pairs(GOLDEN + args.count)
    pairs = [pairs[place] for place in np.random.default_rng(1).permutation(len(pairs))]
    known, others = pairs[:GOLDEN], pairs[GOLDEN : GOLDEN + args.count]
    bench = Bench(load_encoder(OFFLINE_ENCODER))
    golden = golden_of(bench, known)
    reference = bench.reference(known)
    lines = ["| attack | verdict | by | images |", "| --- | --- | --- | ---: |"]
    passed = []
    for kinds, shown_pairs in ((KINDS, others), (COPIES, known[: args.count])):
        for name, kind in kinds.items():
            rows = bench.rows(shown_pairs, kind, reference, name)
            rows = [replace(row, run="candidate") for row in rows]
            verdict = judged(golden, rows)
            blamed = [c.metric for c in verdict.comparisons if c.outcome == verdict.outcome]
            count = images_to_fail(golden, rows) if verdict.outcome == "fail" else len(rows)
            told = "all" if verdict.outcome == "pass" else ", ".join(blamed)
            lines.append(f"| {name} | {verdict.outcome} | {told} | {count} |")
            print(lines[-1], flush=True)
            if verdict.outcome == "pass":
                passed.append(name)
    which = "real portraits" if args.folder else "portraits of our own"
    margins = ", ".join(f"{m} {v:.3f}" for m, v in golden.margins.items() if v)
    text = (
        f"`python benchmarks/attacks.py{' FOLDER' if args.folder else ''}`: {which}, {len(known)} "
        f"golden, {len(others)} a candidate, at {SIZE} pixels; {time.process_time() - began:.0f} "
        f"CPU seconds. Margins: {margins}. *Images*: how many of them were enough to fail. What "
        f"passes: {', '.join(passed) or 'nothing'}.\n\n"
    )
    section = "attacks" if args.folder else "attacks_own"
    title = "Attacks on the gate" + ("" if args.folder else ", own portraits")
    into_readme(section, title, text + "\n".join(lines))


if __name__ == "__main__":
    main()
