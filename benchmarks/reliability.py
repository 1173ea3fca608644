"""Ten thousand renders through the whole pipeline: is memory flat, is time linear, does it open?

    python benchmarks/reliability.py            # 10,000 images, about ten minutes on one core
    python benchmarks/reliability.py --images 500 --no-save

Portraits are drawn by the fake renderer (no model), stored in a real store, scored by palette,
grid, realism and health, written as renders.jsonl and scores.jsonl, and reported. Memory and counts
are sampled every half second. Writes benchmarks/results/reliability.json, the plot
benchmarks/results/reliability.png, and the table in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

os.environ.setdefault("OMP_NUM_THREADS", "1")
# benchmarks/inspect.py is called like a module of the standard library: look elsewhere first.
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]

import numpy as np  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "benchmarks" / "results" / "reliability.json"
SIZE = 192
EPOCHS = 10
SCORERS = ("palette", "grid", "realism", "health")


def rss_mb() -> float:
    """Resident memory of this process now, MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize() / 2**20


class Watch:
    """Samples (seconds, images done, resident MB) of a phase in a thread until it ends."""

    def __init__(self, done: Any) -> None:
        self.samples: list[tuple[float, int, float]] = []
        self._done, self._stop, self._start = done, threading.Event(), time.perf_counter()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._note()

    def _note(self) -> None:
        self.samples.append((time.perf_counter() - self._start, int(self._done()), rss_mb()))

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            self._note()


class Counted:
    """A panel that counts the rows it has given."""

    def __init__(self, panel: Any) -> None:
        self.panel, self.rows = panel, 0
        self.encoder, self.reference = panel.encoder, panel.reference

    def score(self, renders: Any, seen: Any = None) -> Iterator[Any]:
        """Yield the panel's rows, counting."""
        for row in self.panel.score(renders, seen):
            self.rows += 1
            yield row


def measure(images: int, folder: Path) -> dict[str, Any]:
    """Render, score and report ``images`` portraits in ``folder``; return samples and figures."""
    from loraeval.evaluation.full_run import render_and_score
    from loraeval.evaluation.panels import PanelChoice, build_panel
    from loraeval.render.store import Store
    from loraeval.testing.fake_renderer import (
        FakeRenderer,
        fake_checkpoints,
        fake_recipe,
        portrait_prompts,
    )

    checkpoints = fake_checkpoints(folder / "checkpoints", EPOCHS)
    prompts = portrait_prompts(images // EPOCHS)
    choice = PanelChoice(scorers=SCORERS, encoder="none")
    panel = Counted(build_panel(choice, quiet=True))
    started = time.perf_counter()
    renderer = FakeRenderer(fake_recipe(SIZE), Store(folder / "store"))
    with renderer, Watch(lambda: renderer.made + panel.rows) as watch:
        rows = render_and_score(renderer, panel, checkpoints, prompts, folder / "run")
    pipeline = time.perf_counter() - started
    command = [sys.executable, "-m", "loraeval", "report", "--scores",
               str(folder / "run" / "scores.jsonl"), "--out", str(folder / "report")]  # fmt: skip
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    report = time.perf_counter() - started
    page = folder / "report" / "index.html"
    return {
        "images": len(rows),
        "samples": watch.samples,
        "pipeline_s": pipeline,
        "report_s": report,
        "report_peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "page_mb": page.stat().st_size / 1e6,
        "scores_mb": (folder / "run" / "scores.jsonl").stat().st_size / 1e6,
        "opens": opens(page, len(rows)),
    }


def opens(page: Path, images: int) -> dict[str, Any]:
    """Open the page in a browser without a network; return seconds, images, script errors."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {"skipped": "playwright is not installed"}
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium",
                                                 args=["--no-sandbox"])  # fmt: skip
        except Exception as error:  # noqa: BLE001 - the browser is a Debian package
            return {"skipped": f"chromium does not start ({str(error).splitlines()[0]})"}
        view = browser.new_context(offline=True).new_page()
        view.set_default_timeout(300_000)
        errors: list[str] = []
        view.on("pageerror", lambda error: errors.append(str(error)))
        started = time.perf_counter()
        view.goto(page.as_uri())
        seconds = time.perf_counter() - started
        shots = view.evaluate("JSON.parse(document.getElementById('shots').textContent).length")
        drawn = view.evaluate("document.querySelectorAll('#gallery img').length")
        view.screenshot(path=str(page.with_name("opened.png")))
        browser.close()
    return {"seconds": seconds, "images": shots, "thumbnails": drawn, "errors": errors,
            "all": shots == images}  # fmt: skip


def figures(found: dict[str, Any]) -> dict[str, float]:
    """Return what the samples say: straight line's fit, and memory's growth in its second half.

    An image counts twice in the samples, once when it is stored and once when it is scored.
    """
    seconds, done, memory = (np.array(column) for column in zip(*found["samples"], strict=True))
    half = found["images"]
    fits = {}
    for phase, inside in (("render", done <= half), ("score", done >= half)):
        x, y = done[inside], seconds[inside]
        slope, offset = np.polyfit(x, y, 1)
        residual = y - (slope * x + offset)
        fits[f"{phase}_ms"] = float(slope * 1000)
        fits[f"{phase}_r2"] = float(1 - residual.var() / y.var())
        late = inside & (done - done[inside][0] >= (done[inside][-1] - done[inside][0]) / 2)
        growth = np.polyfit(done[late], memory[late], 1)[0] * 1000
        fits[f"{phase}_mb_per_1000"] = float(growth)
    fits["memory_start_mb"] = float(memory[0])
    fits["memory_peak_mb"] = float(memory.max())
    return fits


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw time and memory over images done."""
    import altair as alt

    half = found["images"]
    rows = [
        {"seconds": round(s, 2), "done": d if d <= half else d - half, "memory": round(m, 1),
         "phase": "stored" if d <= half else "scored"}
        for s, d, m in found["samples"][:: max(1, len(found["samples"]) // 600)]
    ]  # fmt: skip
    base = alt.Chart(alt.Data(values=rows)).mark_line(strokeWidth=1.5)
    x = alt.X("done:Q", title="images")
    colour = alt.Color("phase:N", title=None, sort=["stored", "scored"])
    chart = alt.hconcat(
        base.encode(x, alt.Y("seconds:Q", title="seconds since the start"), colour).properties(
            width=330, height=240, title="Time is linear"
        ),
        base.encode(
            x, alt.Y("memory:Q", title="resident memory, MB", scale=alt.Scale(zero=True)), colour
        ).properties(width=330, height=240, title="Memory is flat"),
    )
    chart.save(path, scale_factor=2)


def table(result: dict[str, Any]) -> str:
    """Return the table of benchmarks/README.md."""
    f, opened = result["figures"], result["opens"]
    shown = (
        opened["skipped"] if "skipped" in opened
        else f"{opened['seconds']:.1f} s, {opened['images']:,} images, "
        f"{len(opened['errors'])} script errors"
    )  # fmt: skip
    f |= {key: result[key] for key in ("images", "scores_mb", "report_s", "page_mb")}
    rows = [
        ("images", f"{f['images']:,}"),
        ("store an image", f"{f['render_ms']:.1f} ms, linear with R² {f['render_r2']:.4f}"),
        ("score an image", f"{f['score_ms']:.1f} ms, linear with R² {f['score_r2']:.4f}"),
        ("memory, start and peak", f"{f['memory_start_mb']:.0f}, {f['memory_peak_mb']:.0f} MB"),
        ("growth a thousand images, rendering", f"{f['render_mb_per_1000']:.2f} MB"),
        ("growth a thousand images, scoring", f"{f['score_mb_per_1000']:.2f} MB"),
        ("scores file", f"{f['scores_mb']:.1f} MB"),
        ("report written in", f"{f['report_s']:.0f} s, peak {result['report_peak_mb']:.0f} MB"),
        ("report's page", f"{f['page_mb']:.1f} MB"),
        ("report opens in Chromium, no network", shown),
    ]
    head = [
        f"Fake renders of {SIZE}×{SIZE} pixels through store, panel, scores file and report;",
        f"scored by {', '.join(SCORERS)}. Made by `python benchmarks/reliability.py`.",
        "",
        "![time and memory over 10,000 images](results/reliability.png)",
        "",
        "| what | measured |",
        "| --- | --- |",
    ]
    lines = [*head, *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines)


def write_section(name: str, text: str) -> None:
    """Put ``text`` between this benchmark's markers in benchmarks/README.md."""
    page = ROOT / "benchmarks" / "README.md"
    old = page.read_text("utf-8") if page.exists() else "# Benchmarks\n"
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    section = f"{begin}\n{text}\n{end}"
    if begin in old and end in old:
        new = old.split(begin, 1)[0] + section + old.split(end, 1)[1]
    else:
        new = f"{old.rstrip()}\n\n## Long runs\n\n{section}\n"
    page.write_text(new, encoding="utf-8")


def main() -> None:
    """Measure, print, and save unless told not to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--no-save", action="store_true")
    parser.add_argument("--keep", type=Path, help="folder to work in, kept for a look")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        found = measure(options.images, folder)
        found["figures"] = figures(found)
        text = table(found)
        print(text)
        draw(found, folder / "reliability.png")
        if options.no_save:
            return
        draw(found, OUT.with_suffix(".png"))
    samples = found["samples"]
    found["samples"] = [[round(s, 1), d, round(m, 1)]
                        for s, d, m in samples[:: max(1, len(samples) // 200)]]  # fmt: skip
    head = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("loraeval", "numpy", "scipy", "pillow")},
        "size": SIZE,
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(head | found, indent=1) + "\n", encoding="utf-8")
    write_section("reliability", text)


if __name__ == "__main__":
    main()
