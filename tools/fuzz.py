"""Feed readers of files from outside with mutated input and count what they do.

    python tools/fuzz.py                        # 10 s for every target
    python tools/fuzz.py --seconds 600 --target manifest --target caption
    python tools/fuzz.py --seconds 60 --seed 7 --out fuzz.json

An input may be read, or refused with a LoraevalError of one line. Anything else is a failure: any
other exception, a call of more than 5 s of CPU time (or a minute by the clock, whatever it waits
for), more than 500 MB of memory. ``--seconds`` are CPU seconds too: a busy machine changes nothing.
Each target runs in a process of its own; a failing input is kept in build/fuzz/ and the exit code
is 1. The table of targets is tools/fuzz_targets.py.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fuzz_targets import TARGETS, Target
from loraeval.errors import LoraevalError

HANG_SECONDS = 5.0
"""CPU seconds that one input may take."""
WAIT_SECONDS = 60.0
"""Seconds by the clock after which a call that computes nothing is waiting for something."""
MEMORY_MB = 500
LONGEST = 1 << 20
KEPT = 64


class Hang(BaseException):
    """Raised by the timer; no reader catches it by accident."""


def mutate(data: bytes, words: list[str], pool: list[bytes], rng: random.Random) -> bytes:
    """Return ``data`` after one to eight random changes."""
    for _ in range(rng.choice([1, 1, 2, 3, 5, 8])):
        data = rng.choice(CHANGES)(data, words, pool, rng)[:LONGEST]
    return data


Change = Callable[[bytes, list[str], list[bytes], random.Random], bytes]


def _at(data: bytes, rng: random.Random) -> int:
    return rng.randint(0, len(data))


def flip(data: bytes, _w: list[str], _p: list[bytes], rng: random.Random) -> bytes:
    """Change some bytes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8) if changed else 0):
        changed[rng.randrange(len(changed))] = rng.choice(
            [0, 9, 10, 32, 127, 255, rng.randrange(256)]
        )
    return bytes(changed)


def cut(data: bytes, _w: list[str], _p: list[bytes], rng: random.Random) -> bytes:
    """Remove a slice."""
    start, end = sorted((_at(data, rng), _at(data, rng)))
    return data[:start] + data[end:]


def repeat(data: bytes, _w: list[str], _p: list[bytes], rng: random.Random) -> bytes:
    """Repeat a slice up to the longest input: what is quadratic shows."""
    start = _at(data, rng)
    piece = data[start : start + rng.choice([1, 2, 4, 16, 64, 512])]
    most = rng.choice([4, 100, 5_000, 300_000]) // max(1, len(piece))
    return data[:start] + piece * most + data[start:]


def insert_word(data: bytes, words: list[str], _p: list[bytes], rng: random.Random) -> bytes:
    """Put in a word of the format, sometimes many times."""
    word = rng.choice(words or [" "]).encode()
    position = _at(data, rng)
    most = rng.choice([1, 1, 1, 3, 50, 20_000])
    return data[:position] + word * most + data[position:]


def insert_noise(data: bytes, _w: list[str], _p: list[bytes], rng: random.Random) -> bytes:
    """Put in random bytes or characters."""
    position = _at(data, rng)
    size = rng.choice([1, 4, 30, 500])
    if rng.random() < 0.5:
        noise = rng.randbytes(size)
    else:
        noise = "".join(chr(rng.choice([rng.randrange(32, 127), rng.randrange(0x20, 0x3000)]))
                        for _ in range(size)).encode()  # fmt: skip
    return data[:position] + noise + data[position:]


def number(data: bytes, _w: list[str], _p: list[bytes], rng: random.Random) -> bytes:
    """Put an extreme number where a digit stands."""
    digits = [index for index, byte in enumerate(data[:20_000]) if 48 <= byte <= 57]
    if not digits:
        return data
    position = rng.choice(digits)
    extreme = rng.choice(
        [b"-1", b"0", b"1e999", b"nan", b"18446744073709551616", b"9" * 5000, b"0.1"]
    )
    return data[:position] + extreme + data[position + 1 :]


def splice(data: bytes, _w: list[str], pool: list[bytes], rng: random.Random) -> bytes:
    """Join the head of this input with the tail of another."""
    other = rng.choice(pool)
    return data[: _at(data, rng)] + other[_at(other, rng) :]


CHANGES: list[Change] = [flip, cut, repeat, insert_word, insert_word, insert_noise, number, splice]


def memory_mb() -> float:
    """Peak memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def judge(call: Callable[[], object]) -> str | None:
    """Return None if the input was read or refused with one line; else what went wrong."""
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAIT_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except LoraevalError as error:
        text = str(error)
        fine = text and "\n" not in text and "\x1b" not in text
        return None if fine else f"the message is not one plain line: {text[:200]!r}"
    except Hang:
        return f"more than {HANG_SECONDS} s of CPU time, or {WAIT_SECONDS} s by the clock"
    except BaseException as error:  # noqa: BLE001 - the point of the tool
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {str(error)[:120]}"
        return f"{what} ({Path(place.filename).name}:{place.lineno})"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def _ring(*_: object) -> None:
    raise Hang


def fuzz(target: Target, seconds: float, seed: int, keep: Path) -> dict[str, Any]:
    """Run one target for ``seconds``; return its counts."""
    signal.signal(signal.SIGALRM, _ring)
    signal.signal(signal.SIGPROF, _ring)
    rng = random.Random(f"{seed}-{target.name}")
    result: dict[str, Any] = {"target": target.name, "inputs": 0, "read": 0, "refused": 0,
                              "slowest_s": 0.0, "memory_mb": 0.0, "failures": {}}  # fmt: skip
    try:
        pool = target.seeds()
    except ImportError as error:
        return {**result, "skipped": str(error)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input" / target.file
        path.parent.mkdir()
        path.write_bytes(pool[0])
        with contextlib.suppress(Exception):  # imports are not timed; what is wrong shows below
            target.call(path)
        for data in pool:
            path.write_bytes(data)
            _once(target, path, data, result, keep, timed=False)
        before = memory_mb()
        limit = resource.getrlimit(resource.RLIMIT_AS)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (MEMORY_MB << 20), limit[1]))
        end = time.process_time() + seconds
        while time.process_time() < end:
            data = mutate(rng.choice(pool), target.words, pool, rng)
            path.write_bytes(data)
            fine = _once(target, path, data, result, keep, timed=True)
            if fine and len(data) < 4000 and rng.random() < 0.05:
                pool = [*pool[-KEPT:], data]  # walk away from the seeds
        result["memory_mb"] = round(memory_mb() - before, 1)
    return result


def _once(
    target: Target, path: Path, data: bytes, result: dict[str, Any], keep: Path, *, timed: bool
) -> bool:
    read = False

    def call() -> None:
        nonlocal read
        target.call(path)
        read = True

    started = time.process_time()
    wrong = judge(call)
    if timed:
        result["slowest_s"] = max(result["slowest_s"], round(time.process_time() - started, 3))
    result["inputs"] += 1
    result["read" if read else "refused"] += wrong is None
    if wrong is not None and len(result["failures"]) < 20 and wrong not in result["failures"]:
        keep.mkdir(parents=True, exist_ok=True)
        name = f"{target.name}-{hashlib.sha256(data).hexdigest()[:12]}{path.suffix}"
        (keep / name).write_bytes(data)
        result["failures"][wrong] = name
    return wrong is None


def _child(name: str, seconds: float, seed: int, keep: str, answer: Any) -> None:
    target = next(target for target in TARGETS if target.name == name)
    answer.put(fuzz(target, seconds, seed, Path(keep)))


def run_alone(name: str, seconds: float, seed: int, keep: Path) -> dict[str, Any]:
    """Run a target in a fresh process; a process that dies or never ends is a failure too."""
    context = multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    child = context.Process(target=_child, args=(name, seconds, seed, str(keep), answer))
    child.start()
    child.join(20 * seconds + 300)  # by the clock, on a busy machine
    if child.is_alive():
        child.kill()
        child.join()
    if answer.empty():
        wrong = {f"the process ended with {child.exitcode}": "-"}
        return {"target": name, "inputs": 0, "read": 0, "refused": 0, "slowest_s": 0.0,
                "memory_mb": 0.0, "failures": wrong}  # fmt: skip
    found: dict[str, Any] = answer.get()
    return found


def main() -> int:
    """Run the chosen targets, print a table, return 1 if any input broke one."""
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="for each target")
    parser.add_argument("--target", action="append", choices=names, help="repeatable; default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the counts as JSON")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="failing inputs")
    options = parser.parse_args()
    print("| target | inputs | read | refused | slowest s | memory MB | failures |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    results = []
    for name in options.target or names:
        row = run_alone(name, options.seconds, options.seed, options.keep)
        results.append(row)
        counts = " | ".join(str(row[key]) for key in ("inputs", "read", "refused", "slowest_s"))
        broken = "skipped" if "skipped" in row else len(row["failures"])
        print(f"| {name} | {counts} | {row['memory_mb']} | {broken} |", flush=True)
    for row in results:
        for wrong, file in row["failures"].items():
            print(f"{row['target']}: {wrong} [{file}]", file=sys.stderr)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if any(row["failures"] for row in results) else 0


if __name__ == "__main__":
    sys.exit(main())
