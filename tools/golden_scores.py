"""Golden scores: what a dozen generated images score, frozen, so that a change cannot go unseen.

    python tools/golden_scores.py            # print the scores as JSON
    python tools/golden_scores.py --write    # freeze them in tests/reliability/golden.json
    python tools/golden_scores.py --check    # compare with the frozen ones; exit 1 if they differ

Images come from the generator of ``loraeval.testing.portraits``: clean portraits, degraded ones,
illustrations, photographs, a black picture. Scorers without weights run everywhere; style and
realism's zero-shot need the offline encoder and are left out where torch is not installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from loraeval.images.picture import picture_from_array
from loraeval.prompts.caption import parse_caption
from loraeval.records import Prompt
from loraeval.scorers.base import ScoreContext
from loraeval.scorers.registry import load_scorers
from loraeval.testing import portraits_degrade as worse
from loraeval.testing.portraits import (
    render_illustration,
    render_photo,
    render_pixel_art,
    scene,
)

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "reliability" / "golden.json"

EXACT = ("palette", "grid", "realism", "health")
"""Scorers without a neural network: equal on every machine within ``TOLERANCE``."""

REFERENCED = ("palette.colours",)
"""Metrics of ``EXACT`` scorers that compare with the reference, which needs the encoder."""

TOLERANCE = 1e-9
"""Largest difference accepted for ``EXACT``: the last bits of sums that BLAS orders its own way."""

ENCODER_TOLERANCE = 2e-4
"""Largest difference accepted for scores through the encoder: its convolutions are float32 and
summed in an order that follows the processor's instructions."""


def pictures() -> dict[str, tuple[np.ndarray[Any, Any], str]]:
    """Return the images by name, with their captions."""
    found: dict[str, tuple[np.ndarray[Any, Any], str]] = {}
    for seed in (1, 2, 3):
        found[f"clean-{seed}"] = render_pixel_art(scene(seed), 512), scene(seed).caption
    one, two, three = scene(4), scene(5), scene(6)
    clean = render_pixel_art(one, 512)
    found |= {
        "small": (render_pixel_art(two, 24), two.caption),
        "blurred": (worse.blur(clean, 4.0), one.caption),
        "noisy": (worse.add_noise(clean, 20.0), one.caption),
        "shifted": (worse.shift_colours(clean, 40.0), one.caption),
        "stray": (
            render_cells(worse.stray_cells(one.cells, 0.1), 480),
            one.caption,
        ),
        "other-lattice": (worse.move_lattice(one.cells, 512, 23.8), one.caption),
        "wrong-caption": (clean, three.caption),
        "illustration": (render_illustration(two, 512), two.caption),
        "photo": (render_photo(three, 512), three.caption),
        "black": (np.zeros((512, 512, 3), np.uint8), one.caption),
    }
    return found


def render_cells(cells: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """Return a cell grid enlarged by a whole factor."""
    factor = size // cells.shape[0]
    return np.repeat(np.repeat(cells, factor, axis=0), factor, axis=1)


def measure(*, encoder: bool = True) -> dict[str, Any]:
    """Return every image's pixel hash and scores, and what they were made with."""
    names = ["palette", "grid", "style", "realism", "health"] if encoder else list(EXACT)
    model, reference = _encoder() if encoder else (None, None)
    scorers = load_scorers(names)
    images: dict[str, Any] = {}
    for name, (pixels, caption) in pictures().items():
        picture = picture_from_array(np.ascontiguousarray(pixels), name)
        if model is not None:
            picture.features[model.id] = model.embed_images([picture.rgb])[0]
        prompt = Prompt(name, caption, parse_caption(caption))
        context = ScoreContext(prompt, (24, 24), None, reference, model)
        scores = {s.metric: s.value for scorer in scorers for s in scorer.score(picture, context)}
        digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]
        images[name] = {"pixels": digest, "scores": scores}
    return {
        "encoder": None if model is None else model.id,
        "versions": {m.name: m.version for scorer in scorers for m in scorer.metrics},
        "images": images,
    }


def _encoder() -> tuple[Any, Any]:
    from loraeval.scorers.encoders import OFFLINE_ENCODER, load_encoder
    from loraeval.scorers.reference import ReferenceSet

    model = load_encoder(OFFLINE_ENCODER)
    style = ((f"p{n}", render_pixel_art(scene(100 + n), 512)) for n in range(12))
    return model, ReferenceSet.from_images(style, model)


def differences(found: dict[str, Any], golden: dict[str, Any]) -> list[str]:
    """Return a line for each score of ``found`` that is not the golden one within its tolerance."""
    lines = []
    for name, image in found["images"].items():
        frozen = golden["images"].get(name)
        if frozen is None or frozen["pixels"] != image["pixels"]:
            lines.append(f"{name}: the generator draws another image")
            continue
        for metric, value in image["scores"].items():
            if found["encoder"] is None and metric in REFERENCED:
                continue
            wanted = frozen["scores"].get(metric)
            metric_version = golden["versions"].get(metric)
            if metric_version != found["versions"][metric]:
                lines.append(f"{metric}: version {found['versions'][metric]}, {metric_version}")
            elif (value is None) != (wanted is None):
                lines.append(f"{name}: {metric} is {value}, was {wanted}")
            elif value is not None and not math.isclose(
                value, wanted, rel_tol=0, abs_tol=tolerance(metric)
            ):
                lines.append(f"{name}: {metric} is {value!r}, was {wanted!r}")
    return list(dict.fromkeys(lines))


def tolerance(metric: str) -> float:
    """Return the largest difference that is accepted for ``metric``."""
    weighed = metric.startswith("style") or metric in ("realism.clip", "realism.drift")
    return ENCODER_TOLERANCE if weighed else TOLERANCE


def main() -> int:
    """Print, write or check the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--no-encoder", action="store_true", help="only scorers without weights")
    options = parser.parse_args()
    found = measure(encoder=not options.no_encoder)
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    if options.check:
        golden = json.loads(GOLDEN.read_text("utf-8"))
        wrong = differences(found, golden)
        equal = [
            value == golden["images"][name]["scores"].get(metric)
            for name, image in found["images"].items()
            for metric, value in image["scores"].items()
            if found["encoder"] is not None or metric not in REFERENCED
        ]
        where = f"Python {platform.python_version()}, numpy {np.__version__}"
        same = f"{sum(equal)} of {len(equal)} scores equal to the bit"
        print(f"{where}: {same}, {len(wrong)} outside the tolerance")
        for line in wrong:
            print(line)
        return 1 if wrong else 0
    if options.write:
        GOLDEN.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
