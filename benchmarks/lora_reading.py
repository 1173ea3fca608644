"""Time and memory of ``loraeval inspect`` on LoRA files up to 1.7 GB.

Run: ``python benchmarks/lora_reading.py``. Writes benchmarks/results/lora_reading.json and the
table in benchmarks/README.md. Files have sd-scripts' real names and shapes; the numbers in them
are random where the file is small and zero (a sparse file) where it is large, as only a few are
read.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from loraeval import __version__
from loraeval.checkpoints.layout import lora_modules
from loraeval.testing.kohya_files import write_lora
from loraeval.testing.kohya_metadata import kohya_metadata

ROOT = Path(__file__).resolve().parent.parent
CALLS = 7
PROBE = """
import sys, time
start, cpu = time.perf_counter(), time.process_time()
from loraeval.cli import main
code = main(["inspect", sys.argv[1], "--json"])
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
print(f"{code} {seconds} {cpu} {peak}", file=sys.stderr)
"""


def sparse_lora(path: Path, rank: int) -> Path:
    """Write an SDXL file of ``rank`` in fp32 whose numbers are holes (zero) but for the alphas."""
    table: dict[str, object] = {"__metadata__": kohya_metadata("sdxl", rank=rank, alpha=rank / 2)}
    alphas: list[int] = []
    at = 0
    for name, shape in lora_modules("sdxl").items():
        for suffix, size in (
            ("alpha", []),
            ("lora_down.weight", [rank, shape.inputs]),
            ("lora_up.weight", [shape.outputs, rank]),
        ):
            count = 1
            for side in size:
                count *= side
            if suffix == "alpha":
                alphas.append(at)
            table[f"{name}.{suffix}"] = {
                "dtype": "F32", "shape": size, "data_offsets": [at, at + 4 * count],
            }  # fmt: skip
            at += 4 * count
    head = json.dumps(table).encode()
    head += b" " * (-len(head) % 8)
    import struct

    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for offset in alphas:
            file.seek(8 + len(head) + offset)
            file.write(struct.pack("<f", rank / 2))
        file.truncate(8 + len(head) + at)
    return path


def measure(path: Path) -> dict[str, float]:
    """Return median wall seconds of the call and of the process, and the peak memory in MB."""
    inside, busy, whole, peaks = [], [], [], []
    for _ in range(CALLS):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", PROBE, str(path)], capture_output=True, text=True, check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=path.parent,
        )  # fmt: skip
        whole.append(time.perf_counter() - start)
        code, seconds, cpu, peak = done.stderr.split()[-4:]
        assert code == "0"
        inside.append(float(seconds))
        busy.append(float(cpu))
        peaks.append(float(peak) / 1e6)
    return {
        "file_mb": path.stat().st_size / 1e6,
        "seconds": statistics.median(inside), "cpu_seconds": statistics.median(busy),
        "process_seconds": statistics.median(whole), "peak_mb": max(peaks),
    }  # fmt: skip


def main() -> None:
    """Measure, write results and table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = {
            "SD 1.5, rank 4, fp16": write_lora(root / "small.safetensors", rank=4),
            "SD 1.5, rank 32, fp16": write_lora(root / "r32.safetensors", rank=32, alpha=16),
            "SDXL, rank 128, fp32 (sparse)": sparse_lora(root / "large.safetensors", 128),
        }
        rows = {name: measure(path) for name, path in files.items()}
    result = {
        "benchmark": "lora_reading", "date": dt.date.today().isoformat(), "calls": CALLS,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "python": platform.python_version(), "loraeval": __version__, "rows": rows,
    }  # fmt: skip
    out = ROOT / "benchmarks" / "results" / "lora_reading.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    intro = (
        f"`python benchmarks/lora_reading.py`: median of {CALLS} fresh processes, "
        f"{result['machine']}, "
        f"Python {result['python']}, {result['date']}. The time is that of the command in a "
        "running interpreter, imports included; files up to 128 MiB are read whole."
    )
    lines = [
        "## `loraeval inspect`", "", intro, "",
        "| file | size, MB | time, s | CPU time, s | whole process, s | peak memory, MB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    lines += [
        f"| {name} | {row['file_mb']:.1f} | {row['seconds']:.3f} | {row['cpu_seconds']:.3f} | "
        f"{row['process_seconds']:.3f} | {row['peak_mb']:.0f} |"
        for name, row in rows.items()
    ]
    write_section("lora_reading", "\n".join(lines))
    print("\n".join(lines))


def write_section(name: str, text: str) -> None:
    """Put ``text`` between this benchmark's markers in benchmarks/README.md."""
    page = ROOT / "benchmarks" / "README.md"
    old = page.read_text("utf-8") if page.exists() else "# Benchmarks\n"
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    section = f"{begin}\n{text}\n{end}"
    if begin in old and end in old:
        head, rest = old.split(begin, 1)
        new = head + section + rest.split(end, 1)[1]
    else:
        new = old.rstrip() + f"\n\n{section}\n"
    page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
