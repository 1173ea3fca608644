"""What the scorers make of real and generated cases: discrimination, recovery, speed."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from loraeval.images.cells import Cells, cells_of
from loraeval.images.lattice import estimate_lattice
from loraeval.images.picture import Picture, open_picture, picture_from_array
from loraeval.prompts.building import caption_of
from loraeval.records import Caption, Prompt
from loraeval.scorers.base import ScoreContext, Scorer
from loraeval.scorers.palette import PaletteScorer, colours_in, palette_parts
from loraeval.scorers.palette_layout import Layout, layout_of
from loraeval.testing.portraits import render_pixel_art, scene
from loraeval.testing.portraits_degrade import add_noise, blur, jpeg

Rgb = npt.NDArray[np.uint8]
Figures = dict[str, Any]
PHOTOGRAPHS = [
    "astronaut",
    "brick",
    "camera",
    "chelsea",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "immunohistochemistry",
    "moon",
    "page",
    "rocket",
]


def degraded(rgb: Rgb, seed: int, scale: float = 1.0) -> Rgb:
    """Blur sigma 1.5 pixels (times ``scale``), noise of 4 levels, JPEG 75."""
    return jpeg(add_noise(blur(rgb, 1.5 * scale), 4, seed), 75)


def auc(better: npt.ArrayLike, worse: npt.ArrayLike) -> float:
    """Return the chance that a draw of ``better`` is above one of ``worse``; ties count half."""
    above, below = np.asarray(better, float)[:, None], np.asarray(worse, float)[None, :]
    return float((above > below).mean() + 0.5 * (above == below).mean())


def matching(pictures: Sequence[Rgb], captions: Sequence[Caption]) -> Figures:
    """Score every picture against every caption; say how well a caption finds its own."""
    cells = [cells_of(rgb, (24, 24)) for rgb in pictures]
    placed = [(one, layout_of(one.lab)) for one in cells]
    table = np.array([[_overall(*one, caption) for caption in captions] for one in placed])
    own = np.diag(table)
    other = table[~np.eye(len(table), dtype=bool)]
    first = np.array([np.sum(table[:, k] >= table[k, k]) == 1 for k in range(len(table))])
    return {"pairs": len(own), "mismatches": other.size, "auc": auc(own, other),
        "own_first": float(first.mean())}  # fmt: skip


def _overall(cells: Cells, layout: Layout, caption: Caption) -> float:
    parts = palette_parts(cells, caption, layout)
    return 0.0 if parts is None else parts.overall


def attributes_only(caption: Caption) -> Caption:
    """Return the caption with nothing but the hex codes of its attributes."""
    coded = tuple(colour for colour in caption.colours if colour.hex is not None)
    return replace(caption, colours=coded, palette=(), tail=())


def recovery(
    arts: Sequence[Rgb], size: tuple[int, int], wear: Callable[[Rgb, int], Rgb]
) -> Figures:
    """Show cells at ``size`` = (width, height), degrade, and count recovered lattices.

    ``within_8`` is the share of cells whose colour is right to 8 levels, all images counted;
    cells of an image whose lattice was not recovered count as wrong.
    """
    found, right = [], []
    for index, cells in enumerate(arts):
        rows, columns = cells.shape[:2]
        shown = np.asarray(Image.fromarray(cells).resize(size, Image.Resampling.NEAREST))
        picture = picture_from_array(wear(shown, index), str(index))
        got = picture.lattice().size
        good = got is not None and (round(got[0]), round(got[1])) == (columns, rows)
        found.append(good)
        off = np.abs(picture.cells((columns, rows)).rgb.astype(int) - cells).max(axis=2)
        right.append(float((off <= 8).mean()) if good else 0.0)
    return {"n": len(arts), "recovered": float(np.mean(found)), "within_8": float(np.mean(right))}


def generated_recovery(count: int) -> dict[str, Figures]:
    """Recovery on portraits of our own, at sizes and shapes beyond the field's 24x24 at 512."""
    arts = [scene(9000 + k).cells for k in range(count)]
    wide = [np.ascontiguousarray(a[:, 4:20]) for a in arts]

    def clean(rgb: Rgb, seed: int) -> Rgb:
        del seed
        return rgb

    def worn(scale: float) -> Callable[[Rgb, int], Rgb]:
        return lambda rgb, seed: degraded(rgb, seed, scale)

    return {
        "24x24 at 512, nearest": recovery(arts, (512, 512), clean),
        "24x24 at 512, degraded": recovery(arts, (512, 512), worn(1)),
        "24x24 at 96, nearest": recovery(arts, (96, 96), clean),
        "24x24 at 100, nearest": recovery(arts, (100, 100), clean),
        "24x24 at 192, degraded (blur 0.6)": recovery(arts, (192, 192), worn(0.4)),
        "24x24 at 1024, degraded (blur 3)": recovery(arts, (1024, 1024), worn(2)),
        "16x24 at 512x512, degraded": recovery(wide, (512, 512), worn(1)),
        "24x24 at 512x768, degraded": recovery(arts, (512, 768), worn(1)),
    }


def nulls(count: int) -> dict[str, Figures]:
    """Count the pictures without a lattice that are told to have one, and their grid scores."""
    from scipy.ndimage import gaussian_filter
    from skimage import data

    from loraeval.scorers.grid import regularity

    rng = np.random.default_rng(11)
    smooth, boxes = [], []
    for k in range(count):
        noise = gaussian_filter(rng.normal(size=(384, 384, 3)), (k % 6, k % 6, 0))
        noise = (noise - noise.min()) / np.ptp(noise)
        smooth.append((noise * 255).astype(np.uint8))
        canvas = np.full((512, 512, 3), 128, np.uint8)
        for _ in range(5 + k):
            (top, left), (tall, wide) = rng.integers(0, 500, 2), rng.integers(5, 150, 2)
            canvas[top : top + tall, left : left + wide] = rng.integers(0, 256, 3)
        boxes.append(canvas)
    photos: dict[str, list[Rgb]] = {}
    for side in (512, 384, 256):
        opened = [Image.fromarray(getattr(data, name)()).convert("RGB") for name in PHOTOGRAPHS]
        photos[f"photographs of scikit-image, {side} px"] = [
            np.array(image.resize((side, side), Image.Resampling.LANCZOS)) for image in opened
        ]
    groups = {**photos, "noise and smooth noise": smooth, "boxes at random": boxes}
    out = {}
    for name, pictures in groups.items():
        lattices = [estimate_lattice(rgb) for rgb in pictures]
        out[name] = {
            "n": len(pictures),
            "gridless": sum(not lattice.found for lattice in lattices),
            "highest_grid": max(regularity(lattice) for lattice in lattices),
        }
    return out


def real(folder: Path, scorers: Sequence[Scorer]) -> Figures:
    """Score the real training pairs and renders in ``folder``."""
    pairs = sorted((folder / "training").glob("*.png"))
    arts = [np.array(Image.open(path).convert("RGB")) for path in pairs]
    captions = [caption_of(path.with_suffix(".txt").read_text(encoding="utf-8")) for path in pairs]

    def up(art: Rgb) -> Rgb:
        return np.asarray(Image.fromarray(art).resize((512, 512), Image.Resampling.NEAREST))

    worn, again = (
        [degraded(up(art), first + index) for index, art in enumerate(arts)] for first in (0, 1000)
    )
    counts = [colours_in(picture_from_array(art, "art"), (24, 24)) for art in arts]
    scorers = [PaletteScorer(counts), *(s for s in scorers if s.name != "palette")]
    rows = [json.loads(line) for line in (folder / "renders.jsonl").read_text().splitlines()]
    shown = [(row, open_picture(folder / row["image"], row["image"])) for row in rows]
    return {
        "caption, full": matching(worn, captions),
        "caption, full, other noise": matching(again, captions),
        "caption, attributes only": matching(worn, [attributes_only(c) for c in captions]),
        "24x24 nearest": recovery(arts, (512, 512), lambda rgb, _: rgb),
        "24x24 degraded": recovery(arts, (512, 512), degraded),
        **_renders(shown, scorers),
    }


def _renders(shown: list[tuple[Any, Picture]], scorers: Sequence[Scorer]) -> Figures:
    sizes = {row["image"]: picture.lattice().size or (0.0, 0.0) for row, picture in shown}
    values: dict[str, list[dict[str, float]]] = {}
    for row, picture in shown:
        run = row["run"] if row["run"] != "SD15_PERFECT" else f"SD15_PERFECT {row['epoch']:02d}"
        context = context_of(row)
        scores = [score for scorer in scorers for score in scorer.score(picture, context)]
        values.setdefault(run, []).append(
            {score.metric: score.value for score in scores if score.value is not None}
        )

    def of(prefix: str, metric: str) -> list[float]:
        return [s[metric] for run, scores in values.items() if run.startswith(prefix)
            for s in scores if metric in s]  # fmt: skip

    def share(prefix: str, low: float, high: float) -> Figures:
        inside = [low <= size[0] <= high and low <= size[1] <= high for row, _ in shown
            for size in [sizes[row["image"]]] if row["run"].startswith(prefix)]  # fmt: skip
        return {"n": len(inside), "share": float(np.mean(inside))}

    sizes_off = of("SDXL_civitai_V1", "grid.size")
    return {
        "SD 1.5 renders found 24x24": share("SD15", 23.5, 24.5),
        "SDXL_civitai_V1 found 20 to 23 cells": share("SDXL_civitai_V1", 20, 23),
        "SDXL_civitai_V2 found 20 to 23 cells": share("SDXL_civitai_V2", 20, 23),
        "SDXL_civitai_V1 told apart from 24": float(np.mean(np.array(sizes_off) < 0.5)),
        "grid AUC SD15 against SDXL": auc(of("SD15", "grid"), of("SDXL", "grid")),
        "grid.size AUC SD15 against SDXL": auc(of("SD15", "grid.size"), of("SDXL", "grid.size")),
        "runs": {run: _summary(scores) for run, scores in sorted(values.items())},
    }


def _summary(scores: list[dict[str, float]]) -> dict[str, Any]:
    names = sorted({name for one in scores for name in one})
    columns = {name: [one[name] for one in scores if name in one] for name in names}
    return {
        "n": len(scores),
        **{k: {"mean": float(np.mean(v)), "sd": float(np.std(v))} for k, v in columns.items()},
    }


def context_of(row: dict[str, Any]) -> ScoreContext:
    """Return the context of a row of a renders manifest, 24x24 expected."""
    caption = caption_of(row["prompt"])
    return ScoreContext(prompt=Prompt(row["prompt_id"], row["prompt"], caption), lattice=(24, 24))


def speed(
    scorers: Sequence[Scorer], given: Mapping[str, Any], repeats: int = 3, count: int = 24
) -> Figures:
    """Return images a second and core, 512x512, from process time; best of ``repeats``."""
    work = []
    for k in range(count):
        portrait = scene(7000 + k)
        rgb = degraded(render_pixel_art(portrait, 512), k)
        prompt = Prompt(f"p{k}", portrait.long_caption, caption_of(portrait.long_caption))
        context = ScoreContext(prompt=prompt, lattice=(24, 24), size=(512, 512), **given)
        work.append((rgb, context))
    out: Figures = {}
    groups = {**{scorer.name: [scorer] for scorer in scorers}, "together": list(scorers)}
    for name, group in groups.items():
        seconds = []
        for _ in range(repeats + 1):
            fresh = [(picture_from_array(rgb.copy(), "speed"), context) for rgb, context in work]
            start = time.process_time()
            for picture, context in fresh:
                for scorer in group:
                    scorer.score(picture, context)
            seconds.append(time.process_time() - start)
        out[name] = count / min(seconds)
    out["with decoding"] = decoded_speed(scorers, work, repeats)
    return out


def decoded_speed(
    scorers: Sequence[Scorer], work: Sequence[tuple[Rgb, ScoreContext]], repeats: int
) -> float:
    """Return images a second and core, reading PNG files included; best of ``repeats``."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{k}.png" for k in range(len(work))]
        for path, (rgb, _) in zip(paths, work, strict=True):
            Image.fromarray(rgb).save(path)
        seconds = []
        for _ in range(repeats + 1):
            start = time.process_time()
            for path, (_, context) in zip(paths, work, strict=True):
                picture = open_picture(path)
                for scorer in scorers:
                    scorer.score(picture, context)
            seconds.append(time.process_time() - start)
    return len(work) / min(seconds)


def repeatability(scorers: Sequence[Scorer], given: Mapping[str, Any], count: int = 12) -> Figures:
    """Return the largest difference between two runs on equal bytes: 0 is expected."""
    worst = 0.0
    for k in range(count):
        portrait = scene(7500 + k)
        prompt = Prompt(f"p{k}", portrait.long_caption, caption_of(portrait.long_caption))
        context = ScoreContext(prompt=prompt, lattice=(24, 24), **given)
        rgb = degraded(render_pixel_art(portrait, 512), k)
        for scorer in scorers:
            both = [scorer.score(picture_from_array(rgb.copy(), "r"), context) for _ in range(2)]
            for one, two in zip(*both, strict=True):
                if one.value is not None and two.value is not None:
                    worst = max(worst, abs(one.value - two.value))
    return {"largest difference": worst}
