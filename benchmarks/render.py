# ruff: noqa: E402 - imports must not start in this folder
"""Measure the renderer on this machine's GPU against the plain loop that people write.

    python benchmarks/render.py

With two GPUs the steps for one GPU run side by side, then both GPUs against one.
Base models and LoRAs have random weights and full size (speed does not depend on weights);
nothing is fetched. Each step is its own process, so that a cold start is cold. Results are
written after every step to benchmarks/results/render.json, the table to benchmarks/README.md.
"""

from __future__ import annotations

import sys

# The checkout, not this folder, is where imports start: a benchmark may be called as a module of
# the standard library is.
sys.path[0] = str(__file__).rpartition("benchmarks")[0] or "."

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks._render_table import result_files, write_table

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "render.json"

Step = tuple[str, list[str], int]
FIRST: list[Step] = [("build sd15", ["build"], 90)]
CHAINS: list[list[Step]] = [
    [
        ("loop sd15", ["loop", "--images", "6"], 120),
        ("ours sd15 cold", ["ours"], 150),
        ("ours sd15 warm", ["ours"], 120),
    ],
    [
        ("ours sd15 flash", ["ours", "--sdpa", "flash"], 150),
        ("build sdxl", ["build", "--family", "sdxl"], 120),
        ("loop sdxl", ["loop", "--family", "sdxl", "--images", "3"], 90),
        ("ours sdxl", ["ours", "--family", "sdxl", "--epochs", "2", "--images", "12"], 120),
    ],
]
"""Steps in order; with two GPUs the chains run side by side, each on its own GPU."""
LAST: list[list[Step]] = [
    [("one GPU", ["ours", "--how", "eager", "--epochs", "3"], 60)],
    [("all GPUs", ["ours", "--how", "eager", "--epochs", "6", "--devices", "all"], 75)],
]
MORE: list[Step] = [
    ("parts sd15", ["parts", "--how", "eager"], 120),
    ("numerics sd15", ["numerics", "--images", "16"], 120),
]


def main() -> int:
    """Run the steps, the most important first; keep what is done if time runs out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1e6, help="stop steps after this")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--tests", type=Path, help="run the GPU tests beside the last steps")
    args = parser.parse_args()
    import torch

    gpus = torch.cuda.device_count()
    clock = Clock(args.seconds)
    results: dict[str, Any] = {"machine": machine(), "steps": {}}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(max(2, gpus)) as pool:
        work = Path(folder)

        def chain(steps: list[Step], gpu: int) -> None:
            for name, words, limit in steps:
                cache = work / f"compile-{gpu}"
                limit = min(limit, clock.left())
                result = run(words, work, limit, str(gpu), cache) if limit > 5 else NO_TIME
                results["steps"][name] = result
                print(f"== {clock.now():.0f} s, {name}: {json.dumps(result)[:900]}", flush=True)
                save(args.out, results)

        chain(FIRST, 0)
        if gpus > 1:
            list(pool.map(chain, CHAINS, (0, 1)))
            tests = pool.submit(gpu_tests, args.tests, clock) if args.tests else None
            chain(LAST[0], 0)
            if tests is not None:
                print(tests.result(), flush=True)
            chain(LAST[1], -1)
        else:
            for steps in CHAINS:
                chain(steps, 0)
        chain(MORE, 0)
    if args.out == RESULTS:
        write_table(HERE / "README.md", result_files())
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


def gpu_tests(log: Path, clock: Clock) -> str:
    """Run the GPU tests on the second GPU; return the end of what they print."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", str(HERE.parent / "tests" / "gpu"),
               "-q", "-W", "default", "-s", "-p", "no:cacheprovider"]  # fmt: skip
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "1"}
    with log.open("w") as file, contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False,
                       timeout=max(5, min(75, clock.left() - 45)))  # fmt: skip
    return log.read_text()[-2500:]


def run(words: list[str], work: Path, limit: int, gpu: str, cache: Path) -> dict[str, Any]:
    """Run one step in its own process; return its result, or what went wrong."""
    import torch

    words = [word if word != "all" else every_gpu(torch.cuda.device_count()) for word in words]
    command = [sys.executable, str(HERE / "_render_steps.py"), *words, "--work", str(work)]
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(cache)}
    if gpu != "-1":
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        return {"error": f"stopped after {limit} s", "tail": str(error.stdout or b"")[-1500:]}
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
