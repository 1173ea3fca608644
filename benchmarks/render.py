"""Measure the renderer on this machine's GPU against the plain loop that people write.

    python benchmarks/render.py                 # everything, about 9 minutes on an H200
    python benchmarks/render.py --only gpus     # two or more GPUs against one

Base models and LoRAs have random weights and full size (speed does not depend on weights); nothing is
fetched. Each step is its own process, so that a cold start is cold. Results are written after every
step to benchmarks/results/render.json, the table to benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _render_table import write_table

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "render.json"

ONE_GPU: list[tuple[str, list[str], int]] = [
    ("build sd15", ["build"], 90),
    ("loop sd15", ["loop", "--images", "8"], 120),
    ("ours sd15 cold", ["ours"], 260),
    ("ours sd15 warm", ["ours"], 200),
    ("parts sd15", ["parts", "--how", "eager"], 120),
    ("build sdxl", ["build", "--family", "sdxl"], 120),
    ("loop sdxl", ["loop", "--family", "sdxl", "--images", "3"], 120),
    ("ours sdxl", ["ours", "--family", "sdxl", "--epochs", "2", "--images", "12"], 150),
    ("parts sd15 compiled", ["parts", "--how", "compiled"], 150),
    ("numerics sd15", ["numerics", "--images", "16"], 120),
    ("ours sd15 eager", ["ours", "--how", "eager", "--epochs", "3"], 120),
]
MANY_GPUS: list[tuple[str, list[str], int]] = [
    ("build sd15", ["build"], 90),
    ("one GPU", ["ours", "--how", "eager", "--epochs", "3"], 120),
    ("all GPUs", ["ours", "--how", "eager", "--epochs", "6", "--devices", "all"], 150),
]


def main() -> int:
    """Run the steps in order, the most important first; keep what is done if time runs out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("one", "gpus"), default="one")
    parser.add_argument("--seconds", type=float, default=1e9, help="start no step after this")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--skip", default="", help="steps to leave out, by commas")
    args = parser.parse_args()
    start = time.monotonic()
    results: dict[str, Any] = read(args.out)
    steps = ONE_GPU if args.only == "one" else MANY_GPUS
    with tempfile.TemporaryDirectory() as folder:
        for name, words, limit in steps:
            if name in args.skip.split(","):
                continue
            if time.monotonic() - start > args.seconds:
                print(f"== {name}: no time left", flush=True)
                continue
            label = name if args.only == "one" else f"gpus: {name}"
            limit = min(limit, int(args.seconds + 60 - (time.monotonic() - start)))
            results["steps"][label] = run(words, Path(folder), limit)
            print(f"== {label}: {json.dumps(results['steps'][label])[:1500]}", flush=True)
            results["machines"][args.only] = machine()
            save(args.out, results)
    if args.out == RESULTS:
        write_table(results, HERE / "README.md")
    return 0


def run(words: list[str], work: Path, limit: int) -> dict[str, Any]:
    """Run one step in its own process; return its result, or what went wrong."""
    import torch

    words = [word if word != "all" else every_gpu(torch.cuda.device_count()) for word in words]
    command = [sys.executable, str(HERE / "_render_steps.py"), *words, "--work", str(work)]
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(work / "compile")}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        return {"error": f"stopped after {limit} s", "tail": str(error.stdout or b"")[-1500:]}
    if done.returncode:
        return {"error": f"exit {done.returncode}", "tail": (done.stdout + done.stderr)[-2500:]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def every_gpu(count: int) -> str:
    """Return ``cuda:0,cuda:1,…``."""
    return ",".join(f"cuda:{index}" for index in range(count))


def read(path: Path) -> dict[str, Any]:
    """Return earlier results, so that the two kinds of run share one file."""
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    return {"steps": {}, "machines": {}}


def machine() -> dict[str, Any]:
    """Return what the numbers were taken on."""
    import diffusers
    import torch

    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "gpus": torch.cuda.device_count(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
    }


def save(path: Path, results: dict[str, Any]) -> None:
    """Write the results whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


if __name__ == "__main__":
    sys.exit(main())
