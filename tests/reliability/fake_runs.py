"""Runs of the whole pipeline without a model, and what must be true of a folder after a crash.

As a script it kills such runs: a process that has imported everything forks one run after the
other, kills it with SIGKILL after a random time, and looks at what is left.

    python tests/reliability/fake_runs.py FOLDER --kills 50 --seed 1
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from loraeval.baselines import Profile, freeze, read_baseline, write_baseline
from loraeval.evaluation.full_run import render_and_score
from loraeval.evaluation.gate_run import GateSetup, gate_checkpoint
from loraeval.evaluation.panels import PanelChoice, build_panel
from loraeval.evaluation.stored_run import write_run
from loraeval.gate import GateOptions
from loraeval.render.store import Store
from loraeval.scores_file import read_scores
from loraeval.testing.fake_renderer import (
    FakeRenderer,
    fake_checkpoints,
    fake_recipe,
    portrait_prompts,
)

SIZE = 96
PROMPTS, SEEDS = 8, (42, 43, 44, 45)  # fewer could never pass, which the gate refuses
EPOCHS = 3
SCORERS = ("grid", "health")
RESULTS = ("out/renders.jsonl", "out/scores.jsonl", "out/run.json", "gated/verdict.json",
           "gated/scores.jsonl")  # fmt: skip


def prepare(folder: Path) -> None:
    """Write checkpoints, and freeze a baseline from epoch 1, below ``folder``."""
    checkpoints = fake_checkpoints(folder / "checkpoints", EPOCHS)
    renderer = FakeRenderer(fake_recipe(SIZE, SEEDS), Store(folder / "first"))
    rows = render_and_score(
        renderer, _panel(), checkpoints[:1], portrait_prompts(PROMPTS), folder / "golden"
    )
    profile = Profile(gated=SCORERS, lattice=(24, 24), size=(SIZE, SIZE))
    write_baseline(freeze("FAKE", rows, profile=profile), folder / "FAKE")


def run(folder: Path, work: Path) -> None:
    """Do a whole run in ``work``: render and score every epoch, gate the last, keep the verdict."""
    checkpoints = sorted((folder / "checkpoints").glob("*.safetensors"))
    prompts = portrait_prompts(PROMPTS)
    with FakeRenderer(fake_recipe(SIZE), Store(work / "store")) as renderer:
        render_and_score(renderer, _panel(), checkpoints, prompts, work / "out")
        baseline = read_baseline(folder / "FAKE")
        setup = GateSetup(
            baseline, _panel(), GateOptions(), renderer=renderer, prompts=prompts, chunk=2
        )
        gated = gate_checkpoint(checkpoints[-1], setup)
    try:
        write_run(work / "gated", gated)
    except OSError:  # another run, or one that was killed, has left it: whole, or this is wrong
        if not (work / "gated" / "verdict.json").exists():
            raise


def _panel() -> Any:
    return build_panel(PanelChoice(scorers=SCORERS, encoder="none"), quiet=True)


def result_of(work: Path) -> dict[str, str]:
    """Return the SHA-256 of every result file's bytes, and of every image's pixels by its name."""
    found = {name: _sha((work / name).read_bytes()) for name in RESULTS}
    for path in sorted((work / "out").rglob("*.png")):
        with Image.open(path) as image:
            found[str(path.relative_to(work))] = _sha(image.convert("RGB").tobytes())
    return found


def check_folder(work: Path) -> dict[str, int]:
    """Raise ``AssertionError`` unless what lies in ``work`` is whole; return what was seen."""
    seen = {"images": 0, "rows": 0, "scores": 0}
    if not (work / "store" / "index.sqlite3").exists():
        return seen
    store = Store(work / "store")  # readable, or this raises
    rows = {row.key: row for row in store.rows()}
    files = sorted((work / "store" / "renders").glob("*/[0-9a-f]*.png"))
    seen |= {"images": len(files), "rows": len(rows)}
    for path in files:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            image.load()  # a half image raises here
            assert json.loads(image.info["loraeval"])["key"] == path.stem
        if path.stem in rows:
            # Where two runs wrote one image at once, the row may be the other one's: ``find``
            # sees that the file is whole and enters it.
            assert rows[path.stem].sha256 == _sha(data) or store.find(path.stem) == path
    assert set(rows) <= {path.stem for path in files}, "a row without its image"
    store.close()
    for name in RESULTS:
        path = work / name
        if path.exists() and name.endswith("scores.jsonl"):
            keys = [(r.checkpoint, r.prompt_id, r.seed) for r in read_scores(path)]
            assert len(set(keys)) == len(keys), "a score is doubled"
            seen["scores"] += len(keys)
        elif path.exists() and name.endswith(".json"):
            json.loads(path.read_text("utf-8"))
    return seen


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def slow_disk(seconds: float) -> None:
    """Make every fsync of this process take ``seconds`` longer, as on a network disk: a kill then
    often lands between writing a file and renaming it.
    """
    real = os.fsync

    def fsync(handle: int) -> None:
        time.sleep(seconds)
        real(handle)

    os.fsync = fsync


def in_fork(folder: Path, work: Path) -> int:
    """Start a run in a child process; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        # tqdm's own is a semaphore that all forks share: one killed with it stops all the others.
        tqdm.set_lock(threading.RLock())
        slow_disk(0.004)
        run(folder, work)
        code = 0
    except BaseException as error:  # noqa: BLE001 - the child says it and ends
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


def kill_runs(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill ``kills`` runs, finish every one in the end, and compare with the uninterrupted one."""
    rng = random.Random(seed)
    prepare(folder)
    work = folder / "work"
    started = time.perf_counter()
    assert os.waitpid(in_fork(folder, work), 0)[1] == 0
    seconds = time.perf_counter() - started
    check_folder(work)
    expected = result_of(work)
    shutil.rmtree(work)
    counts = {"kills": 0, "finished": 0, "with images": 0, "unfinished writes": 0}
    in_a_row = 0
    while counts["kills"] < kills or work.exists():
        pid = in_fork(folder, work)
        if counts["kills"] < kills and in_a_row < 8:
            time.sleep(rng.uniform(0, 0.6) * seconds)
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):
            counts["kills"] += 1
            in_a_row += 1
            counts["with images"] += check_folder(work)["images"] > 0
            counts["unfinished writes"] += any(work.rglob(".*"))
            continue
        assert status == 0, f"a restarted run ended with {status}"
        check_folder(work)
        found = result_of(work)
        assert found == expected, sorted(k for k in expected if found.get(k) != expected[k])
        left = [str(path.relative_to(work)) for path in work.rglob(".loraeval-*.part")]
        assert left == [], f"a run that ends removes what killed ones left where it wrote: {left}"
        counts["finished"] += 1
        in_a_row = 0
        shutil.rmtree(work)
    return {**counts, "images": EPOCHS * PROMPTS, "uninterrupted_s": round(seconds, 2)}


def main() -> None:
    """Kill runs and print the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(kill_runs(options.folder, options.kills, options.seed)))


if __name__ == "__main__":
    main()
