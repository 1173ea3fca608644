# ruff: noqa: E402 - imports must not start in this folder
"""Measure the renderer on this machine's GPU against the plain loop that people write.

    python benchmarks/render.py                            every group, one after the other
    python benchmarks/render.py --only sd15 --seconds 500  one group, cut off after 500 s

Base models and LoRAs have random weights and full size (speed does not depend on weights);
nothing is fetched. Each step is its own process, so that a cold start is cold. A group's results
are written after every step to results/render_GROUP.json, the tables to benchmarks/README.md.
"""

from __future__ import annotations

import sys

# The checkout, not this folder, is where imports start: a benchmark may be called as a module of
# the standard library is.
sys.path[0] = str(__file__).rpartition("benchmarks")[0] or "."

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._render_table import TAIL, result_files, write_tables

HERE = Path(__file__).resolve().parent

Step = tuple[str, list[str], int]
XL = ["--family", "sdxl"]
BUILD: Step = ("build sd15", ["build"], 90)
BUILD_XL: Step = ("build sdxl", ["build", *XL], 120)
GROUPS: dict[str, list[Step]] = {
    "sd15": [
        BUILD,
        ("loop sd15", ["loop", "--images", "6"], 110),
        ("ours sd15 auto", ["ours", "--how", "auto"], 130),
        ("ours sd15 cold", ["ours"], 200),
        ("ours sd15 warm", ["ours"], 120),
    ],
    "sdxl": [
        BUILD_XL,
        ("loop sdxl", ["loop", *XL, "--images", "3"], 110),
        ("ours sdxl", ["ours", *XL, "--epochs", "2", "--how", "auto"], 180),
    ],
    "gpus": [
        BUILD,
        ("one GPU", ["ours", "--how", "eager", "--epochs", "3"], 90),
        ("all GPUs", ["ours", "--how", "eager", "--epochs", "6", "--devices", "all"], 110),
    ],
    "parts": [
        BUILD,
        ("parts sd15 eager", ["parts", "--how", "eager"], 150),
        ("parts sd15 attention", ["parts", "--how", "attention"], 60),
        ("parts sd15 compiled", ["parts", "--how", "marked"], 150),
        ("parts sd15 compiled, warm", ["parts", "--how", "marked"], 90),
        ("parts sd15 compiled and tuned", ["parts", "--how", "tuned"], 300),
        ("parts sd15 compiled without marks", ["parts", "--how", "whole"], 180),
    ],
    "parts_sdxl": [
        BUILD_XL,
        ("parts sdxl eager", ["parts", *XL, "--images", "6", "--how", "eager"], 150),
        ("parts sdxl compiled", ["parts", *XL, "--images", "6", "--how", "marked"], 240),
        ("parts sdxl compiled, warm", ["parts", *XL, "--images", "6", "--how", "marked"], 90),
    ],
    "numerics": [
        ("numerics demo float16", ["numerics"], 150),
        ("numerics demo float32", ["numerics", "--dtype", "float32"], 150),
    ],
    "numerics_cpu": [
        ("numerics demo on the CPU", ["numerics", "--dtype", "float32", "--devices", "cpu"], 1200),
    ],
}
"""Steps by group, in order; each with its arguments and its limit in seconds."""

OTHER_CODE = ("whole", "tuned")
"""Last words of steps that compile other code, into a cache of its own."""


def main() -> int:
    """Run the groups, each kept as far as it came when time runs out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--skip", nargs="+", default=[], help="words; steps so named are not run")
    parser.add_argument("--seconds", type=float, default=1e6, help="stop steps after this")
    parser.add_argument("--gpu", default="0", help="the GPU of steps that take one")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the results")
    args = parser.parse_args()
    import torch

    gpus = torch.cuda.device_count()
    clock = Clock(args.seconds)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for group in args.only:
            results: dict[str, Any] = {"machine": machine(), "steps": {}}
            if group == "gpus" and gpus < 2:
                print("== gpus: not run, it needs two GPUs", flush=True)
                continue
            for name, words, limit in GROUPS[group]:
                if any(word in name.split() for word in args.skip):
                    continue
                if words[0] == "build" and (work / name.removeprefix("build ")).is_dir():
                    continue
                limit = min(limit, clock.left())
                gpu = "" if "all" in words else args.gpu
                cache = work / f"compiled {words[-1] if words[-1] in OTHER_CODE else ''}"
                result = run(words, work, limit, gpu, cache) if limit > 5 else NO_TIME
                results["steps"][name] = result
                print(f"== {clock.now():.0f} s, {name}: {json.dumps(result)[:900]}", flush=True)
                save(args.out / f"render_{group}.json", results)
    if args.out == HERE / "results":
        write_tables(HERE / "README.md", HERE / "render.md", result_files())
    return 0


NO_TIME = {"error": "not run: no time was left"}


class Clock:
    """Seconds since the start, and those left."""

    def __init__(self, seconds: float) -> None:
        self.start, self.seconds = time.monotonic(), seconds

    def now(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.start

    def left(self) -> int:
        """Return the whole seconds left."""
        return int(self.seconds - self.now())


def run(words: list[str], work: Path, limit: int, gpu: str, cache: Path) -> dict[str, Any]:
    """Run one step in its own process; return its result, or what went wrong."""
    import torch

    words = [word if word != "all" else every_gpu(torch.cuda.device_count()) for word in words]
    command = [sys.executable, str(HERE / "_render_steps.py"), *words, "--work", str(work)]
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(cache)}
    if gpu:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace")
        try:  # it may have been stopped on its way out
            late: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
        except (ValueError, IndexError):
            return {"error": f"stopped after {limit} s", "tail": said[-TAIL:]}
        return late | {"stopped": "at its limit, after it had printed this"}
    if done.returncode:
        return {"error": f"exit {done.returncode}", "tail": (done.stdout + done.stderr)[-2000:]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def every_gpu(count: int) -> str:
    """Return ``cuda:0,cuda:1,…``."""
    return ",".join(f"cuda:{index}" for index in range(count))


def machine() -> dict[str, Any]:
    """Return what the numbers were taken on."""
    import diffusers
    import torch

    return {
        "commit": commit(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "gpus": torch.cuda.device_count(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
    }


def commit() -> str:
    """Return the commit of the checkout, with a note where files differ from it."""
    git = ["git", "-C", str(HERE.parent)]
    done = subprocess.run(
        [*git, "describe", "--always", "--dirty= and changes"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or "unknown"


def save(path: Path, results: dict[str, Any]) -> None:
    """Write the results whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


if __name__ == "__main__":
    sys.exit(main())
