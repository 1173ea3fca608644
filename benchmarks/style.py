"""Measure style, memorisation, set measures and realism on real renders and planted cases.

    python benchmarks/style.py FOLDER

FOLDER holds training/ and renders.jsonl of the real runs. Writes benchmarks/results/style.json
and the section "style" of benchmarks/README.md.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import _style_cases as cases
from loraeval.scorers.copies import thumbnail
from loraeval.scorers.encoders import OFFLINE_ENCODER, load_encoder
from loraeval.scorers.realism import realism_model
from loraeval.scorers.realism_statistics import realism_statistics
from loraeval.scorers.reference import ReferenceSet
from loraeval.scorers.sets import set_scores

HERE = Path(__file__).parent
CHOSEN = tuple(f"SD15_PERFECT {epoch:02d}" for epoch in (7, 8, 9))
FAILED = ("SDXL_nova", "SDXL_PERFECT", "broken_black")


def auc(better: np.ndarray, worse: np.ndarray) -> float:
    """Share of pairs in which ``better`` is higher; ties count half."""
    higher = (better[:, None] > worse[None, :]).mean()
    return float(higher + 0.5 * (better[:, None] == worse[None, :]).mean())


def realism(picture: np.ndarray) -> float:
    """The weight-free score at 24 cells; NaN for a picture of one colour."""
    found = realism_statistics(picture, 24)
    return float("nan") if found is None else realism_model().value(found)


def measure(folder: Path) -> dict[str, Any]:
    """All figures."""
    encoder = load_encoder(OFFLINE_ENCODER)
    trained, rendered, photos = cases.training(folder), cases.renders(folder), cases.photographs()
    start = time.perf_counter()
    reference = ReferenceSet.from_images(trained, encoder)
    build = time.perf_counter() - start
    half = ReferenceSet.from_images(trained[::2], encoder)
    others = [picture for _, picture in trained[1::2]]

    def style(pictures: list[np.ndarray], against: ReferenceSet = reference) -> np.ndarray:
        view = against.detail
        return view.calibrated(view.similarity(encoder.embed_images(pictures)))

    def novelty(pictures: list[np.ndarray], against: ReferenceSet = reference) -> np.ndarray:
        return 1 - np.array([against.copies.match(thumbnail(p)).copy for p in pictures])

    groups: dict[str, list[int]] = defaultdict(list)
    for index, (run, _, _) in enumerate(rendered):
        groups[run].append(index)
    pictures = [picture for _, _, picture in rendered]
    of_style, of_novelty = style(pictures), novelty(pictures)
    of_realism = np.array([realism(picture) for picture in pictures])
    other_style = style(others, half)
    photo_style, photo_realism = style(photos), np.array([realism(photo) for photo in photos])
    train_realism = np.array([realism(picture) for _, picture in trained])

    def rows(*runs: str) -> list[int]:
        return [index for run in runs for index in groups[run]]

    series = {
        run: {
            "n": len(at),
            "style": float(of_style[at].mean()),
            "memorisation": float(of_novelty[at].mean()),
            "realism": None if np.isnan(of_realism[at]).all() else float(of_realism[at].mean()),
        }
        for run, at in sorted(groups.items())
    }
    art = np.concatenate(
        [train_realism, of_realism[rows(*[r for r in groups if r.startswith("SD15")])]]
    )
    copies = novelty([cases.as_rendered(p) for _, p in trained[::2]], half)
    fresh = novelty([cases.as_rendered(p) for p in others], half)
    features = encoder.embed_images(pictures)
    return {
        "encoder": encoder.id,
        "series": series,
        "other training images": {"style": float(other_style.mean()), "n": len(others)},
        "photographs": {
            "n": len(photos),
            "style": float(photo_style.mean()),
            "realism": float(photo_realism.mean()),
            "realism_highest": float(photo_realism.max()),
        },
        "auc": {
            "style: SD15_PERFECT 7-9 over nova, SDXL_PERFECT, black, photographs": auc(
                of_style[rows(*CHOSEN)], np.concatenate([of_style[rows(*FAILED)], photo_style])
            ),
            "style: every SD 1.5 and SDXL_civitai render over the same": auc(
                of_style[rows(*[r for r in groups if r.startswith(("SD15", "SDXL_civ"))])],
                np.concatenate([of_style[rows(*FAILED)], photo_style]),
            ),
            "realism: SD 1.5 renders and training images over photographs": auc(art, photo_realism),
            "realism: the same over SDXL_PERFECT": auc(art, of_realism[rows("SDXL_PERFECT")]),
            "memorisation: unseen portraits over copies, both degraded": auc(fresh, copies),
        },
        "memorisation": {
            "copies": np.quantile(copies, [0.05, 0.5, 0.95]).tolist(),
            "unseen": np.quantile(fresh, [0.05, 0.5, 0.95]).tolist(),
        },
        "sets": {
            run: {
                s.metric: s.value
                for s in set_scores(features[at], reference, copies=1 - of_novelty[at])
            }
            for run, at in sorted(groups.items())
            if len(at) >= 4
        },
        "doses": doses(others[:12], lambda p: style(p, half)),
        "speed": speed(encoder, pictures[0], build, reference),
    }


def doses(pictures: list[np.ndarray], style: Any) -> dict[str, Any]:
    """Mean style and realism of pictures at 512 pixels under five strengths of each defect."""
    large = [cases.upscaled(picture) for picture in pictures]
    clean = {
        "style": float(style(large).mean()),
        "realism": float(np.mean([realism(picture) for picture in large])),
    }
    found: dict[str, Any] = {"none": clean}
    for name, (defect, strengths) in cases.DOSES.items():
        found[name] = {"strengths": list(strengths), "style": [], "realism": []}
        for strength in strengths:
            spoilt = [defect(picture, strength) for picture in large]
            found[name]["style"].append(float(style(spoilt).mean()))
            found[name]["realism"].append(float(np.nanmean([realism(p) for p in spoilt])))
    return found


def speed(
    encoder: Any, picture: np.ndarray, build: float, reference: ReferenceSet
) -> dict[str, Any]:
    """Seconds an image at 512 pixels, best of five, one thread."""

    def best(work: Any, images: int) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            work()
            times.append((time.perf_counter() - start) / images)
        return min(times)

    return {
        "embed_s": best(lambda: encoder.embed_images([picture] * 8), 8),
        "realism_s": best(lambda: realism(picture), 1),
        "reference_build_s": build,
        "reference_kb": len(reference.to_json()) / 1000,
    }


def table(found: dict[str, Any]) -> str:
    """The section as Markdown."""
    lines = [
        f"Encoder {found['encoder']}, {found['machine']}, {found['date']}; made by",
        "`python benchmarks/style.py FOLDER`. CLIP was not measured: its weights are not at hand.",
        "",
        "| pictures | n | style | memorisation | realism |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    other, photo = found["other training images"], found["photographs"]
    lines.append(
        f"| training images against the other half | {other['n']} | {other['style']:.2f} | | |"
    )
    for run, row in found["series"].items():
        real = "unscored" if row["realism"] is None else f"{row['realism']:.2f}"
        lines.append(
            f"| {run} | {row['n']} | {row['style']:.2f} | {row['memorisation']:.2f} | {real} |"
        )
    lines.append(
        f"| photographs held out | {photo['n']} | {photo['style']:.2f} | | {photo['realism']:.2f} |"
    )
    lines += ["", "| AUC | |", "| --- | ---: |"]
    lines += [f"| {name} | {value:.4f} |" for name, value in found["auc"].items()]
    lines += [
        "",
        "| memorisation, degraded as a render | 5 % | median | 95 % |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, quantiles in found["memorisation"].items():
        lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in quantiles) + " |")
    lines += ["", "| defect | strengths | style | realism |", "| --- | --- | --- | --- |"]
    for name, dose in found["doses"].items():
        if name == "none":
            lines.append(f"| none | | {dose['style']:.2f} | {dose['realism']:.2f} |")
            continue
        cells = [", ".join(f"{v:g}" for v in dose["strengths"])]
        cells += [", ".join(f"{v:.2f}" for v in dose[key]) for key in ("style", "realism")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    names = list(next(iter(found["sets"].values())))
    lines += [
        "",
        "| set of renders | " + " | ".join(names) + " |",
        "| --- |" + " ---: |" * len(names),
    ]
    for run, scores in found["sets"].items():
        cells = ["unscored" if v is None else f"{v:.2f}" for v in scores.values()]
        lines.append(f"| {run} | " + " | ".join(cells) + " |")
    pace = found["speed"]
    lines += [
        "",
        f"One 512-pixel image: {pace['embed_s'] * 1000:.0f} ms a view in the encoder,",
        f"{pace['realism_s'] * 1000:.0f} ms for realism. A reference of 150 images takes",
        f"{pace['reference_build_s']:.0f} s to build and {pace['reference_kb']:.0f} kB as text.",
    ]
    return "\n".join(lines)


def write_section(readme: Path, name: str, text: str) -> None:
    """Put ``text`` between the markers of ``name``, which are added at the end if missing."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    whole = readme.read_text(encoding="utf-8") if readme.exists() else "# Benchmarks\n"
    if begin not in whole:
        whole = f"{whole.rstrip()}\n\n## Style and realism\n\n{begin}\n{end}\n"
    head, tail = whole.split(begin)[0], whole.split(end)[1]
    readme.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")


def main() -> None:
    """Measure, print and write."""
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/style.py FOLDER (with training/ and renders.jsonl)")
    found = measure(Path(sys.argv[1]))
    found["machine"] = f"{platform.machine()}, Python {platform.python_version()}, one thread"
    found["versions"] = {p: version(p) for p in ("numpy", "scipy", "torch", "timm", "scikit-image")}
    found["date"] = datetime.now(UTC).date().isoformat()
    text = table(found)
    print(text)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results/style.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_section(HERE / "README.md", "style", text)


if __name__ == "__main__":
    main()
