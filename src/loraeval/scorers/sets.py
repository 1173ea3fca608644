"""Measures of a set of renders: how a checkpoint's pictures lie among the reference's.

Single scores average over pictures; these look at all of them together. Features are float32
(m, d) with rows of length 1, by the reference's encoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from loraeval.records import Metric, Score
from loraeval.scorers.encoders import Features
from loraeval.scorers.reference import ReferenceSet

VERSION = "3"
"""3: the offline encoder does not see what people do not; a wider kernel; copies by outlines."""

MMD_BANDWIDTH = 1.0
"""σ of the Gaussian kernel on unit vectors, whose distances run from 0 to 2. Chosen by
``python benchmarks/set_distances.py FOLDER``: at 1 the sets' order is that of KID on the same
features, and photographs are last; at 0.5 most pictures are equally far."""

MIN_SET = 4
"""Fewer pictures make no set."""

MIN_RECALL = 20
"""Pictures whose manifold says something: with fewer, its balls are so wide that they hold all."""

COPY_LEVEL = 0.5
"""A picture that is more of a copy than this (``loraeval.scorers.copies``) counts as one."""

SET_METRICS = tuple(
    Metric(name, VERSION, unit)
    for name, unit in (
        ("style.mmd", "1 - MMD² over that at right angles"),
        ("style.precision", "share of pictures"),
        ("style.recall", "share of reference images"),
        ("style.copies", "share of pictures that are no copies"),
        ("style.diversity", "share of the reference's mean distance"),
    )
)
"""What ``set_scores`` returns, in order; all in [0, 1], higher is better."""

Array = npt.NDArray[np.float32]


def mmd_squared(first: Array, second: Array, bandwidth: float = MMD_BANDWIDTH) -> float:
    """Return the unbiased estimate of the squared maximum mean discrepancy of two samples.

    Gaussian kernel exp(-|x - y|² / 2σ²), as CMMD does with CLIP features (Jayasumana et al.,
    2024, "Rethinking FID"; estimator: Gretton et al., 2012, eq. 3). It needs no normality and
    few samples; it may come out slightly negative. Raises ``ValueError`` for under 2 rows.
    """
    m, n = len(first), len(second)
    if m < 2 or n < 2:
        raise ValueError(f"a discrepancy needs 2 samples a side, found {m} and {n}")
    within_first = _kernel(first, first, bandwidth)
    within_second = _kernel(second, second, bandwidth)
    across = _kernel(first, second, bandwidth)
    return float(
        (within_first.sum() - np.trace(within_first)) / (m * (m - 1))
        + (within_second.sum() - np.trace(within_second)) / (n * (n - 1))
        - 2 * across.mean()
    )


def precision_recall(reference: Array, pictures: Array, neighbours: int = 5) -> tuple[float, float]:
    """Return (precision, recall) of ``pictures`` (m, d) against ``reference`` (n, d).

    Precision is the share of pictures inside the reference's manifold, which is the union of
    balls about each reference image out to its k-th nearest other one; recall the share of
    reference images inside the pictures' manifold, likewise (Kynkäänniemi et al., 2019,
    "Improved Precision and Recall Metric for Assessing Generative Models").
    """
    across = _distances(reference, pictures)
    inside_reference = across <= _radii(reference, neighbours)[:, None]
    inside_pictures = across <= _radii(pictures, neighbours)[None, :]
    return float(inside_reference.any(axis=0).mean()), float(inside_pictures.any(axis=1).mean())


def mean_distance(features: Array) -> float:
    """Return the mean distance (1 - cosine) over all pairs of rows; 0 for rows all alike."""
    count = len(features)
    if count < 2:
        raise ValueError(f"a distance needs 2 pictures, found {count}")
    cosines = features @ features.T
    return float(1.0 - (cosines.sum() - np.trace(cosines)) / (count * (count - 1)))


def diversity(groups: Sequence[Array], typical: float) -> float | None:
    """Return how much pictures of one prompt differ between seeds, over ``typical``, at most 1.

    ``groups`` holds one (seeds, d) array a prompt; prompts with one seed do not count, and the
    result is None where none has more. ``typical`` is the reference's own ``mean_distance``.
    """
    spreads = [mean_distance(group) for group in groups if len(group) > 1]
    if not spreads or typical <= 0:
        return None
    return float(np.clip(np.mean(spreads) / typical, 0.0, 1.0))


def set_scores(
    features: Features,
    reference: ReferenceSet,
    *,
    copies: npt.NDArray[np.float32] | None = None,
    prompts: Sequence[str] | None = None,
) -> list[Score]:
    """Return one score for each of ``SET_METRICS``.

    ``copies`` (m,) says how much of a copy each picture is; ``prompts`` (m,) are the prompt ids,
    for the diversity over seeds. ``style.mmd`` is 1 where the pictures are spread as the reference
    is, 0 where they have nothing in common with it (at right angles to all of it, alike as it is).
    What cannot be measured is unscored with its reason.
    """
    if len(features) < MIN_SET:
        reason = f"a set needs {MIN_SET} pictures, found {len(features)}"
        return [Score.unscored(metric.name, reason) for metric in SET_METRICS]
    own = reference.detail.standardised
    pictures = reference.detail.standardise(features)
    precision, recall = precision_recall(own, pictures, min(5, len(pictures) - 1))
    return [
        _mmd_score(own, pictures),
        Score("style.precision", precision),
        _recall_score(recall, len(pictures)),
        _copies_score(copies),
        _diversity_score(own, pictures, prompts),
    ]


def _mmd_score(own: Array, pictures: Array) -> Score:
    """1 at no discrepancy; 0 at what two samples in orthogonal directions would have."""
    squared = mmd_squared(own, pictures)
    spread = _kernel(own, own, MMD_BANDWIDTH)
    count = len(own)
    self_term = float((spread.sum() - np.trace(spread)) / (count * (count - 1)))
    farthest = 2 * (self_term - float(np.exp(-1.0 / MMD_BANDWIDTH**2)))
    details = {"mmd_squared": round(squared, 5), "at_right_angles": round(farthest, 5)}
    if farthest <= 0:
        return Score.unscored("style.mmd", "the reference images are unrelated", **details)
    value = 1.0 - float(np.clip(squared / farthest, 0.0, 1.0))
    return Score("style.mmd", value, None, details)


def _recall_score(recall: float, count: int) -> Score:
    if count < MIN_RECALL:
        reason = f"recall needs {MIN_RECALL} pictures, found {count}"
        return Score.unscored("style.recall", reason)
    return Score("style.recall", recall)


def _copies_score(copies: npt.NDArray[np.float32] | None) -> Score:
    if copies is None:
        return Score.unscored("style.copies", "nobody looked for copies")
    share = float((copies > COPY_LEVEL).mean())
    return Score("style.copies", 1.0 - share, None, {"copies": round(share, 4)})


def _diversity_score(own: Array, pictures: Array, prompts: Sequence[str] | None) -> Score:
    name = "style.diversity"
    if prompts is None:
        return Score.unscored(name, "the pictures' prompts are not known")
    groups: dict[str, list[int]] = {prompt: [] for prompt in prompts}
    for index, prompt in enumerate(prompts):
        groups[prompt].append(index)
    value = diversity([pictures[rows] for rows in groups.values()], mean_distance(own))
    if value is None:
        return Score.unscored(name, "no prompt was rendered with more than one seed")
    return Score(name, value)


def _kernel(first: Array, second: Array, bandwidth: float) -> npt.NDArray[np.float64]:
    squared = np.clip(2.0 - 2.0 * (first.astype(float) @ second.astype(float).T), 0.0, None)
    result: npt.NDArray[np.float64] = np.exp(-squared / (2 * bandwidth**2))
    return result


def _distances(first: Array, second: Array) -> npt.NDArray[np.float64]:
    distances: npt.NDArray[np.float64] = 1.0 - first.astype(float) @ second.astype(float).T
    return distances


def _radii(features: Array, neighbours: int) -> npt.NDArray[np.float64]:
    """Return each row's distance to its k-th nearest other row."""
    distances = _distances(features, features)
    np.fill_diagonal(distances, np.inf)
    result: npt.NDArray[np.float64] = np.sort(distances, axis=1)[
        :, min(neighbours, len(features) - 1) - 1
    ]
    return result
