"""A bounded run of tools/fuzz.py over prompts, captions, manifests and scores files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

OURS = ("caption", "colour-words", "prompts-toml", "sample-lines", "prompts-jsonl",
        "caption-folder", "manifest", "manifest-as-prompts", "scores")  # fmt: skip


@pytest.mark.slow
def test_no_input_breaks_a_reader(repo: Path, tmp_path: Path) -> None:
    out = tmp_path / "fuzz.json"
    command = [sys.executable, "tools/fuzz.py", "--seconds", "1.5", "--seed", "3",
               "--keep", str(tmp_path / "kept"), "--out", str(out)]  # fmt: skip
    for name in OURS:
        command += ["--target", name]
    result = subprocess.run(command, cwd=repo, capture_output=True, text=True, timeout=1200)
    rows = {row["target"]: row for row in json.loads(out.read_text())}
    assert result.returncode == 0, result.stderr
    assert set(rows) == set(OURS)
    for row in rows.values():
        assert row["inputs"] == row["read"] + row["refused"] > 10
        assert row["read"] > 0, "no input was valid: the seeds are broken"
        assert row["slowest_s"] < 5
        assert row["memory_mb"] < 500


def test_the_tool_sees_what_is_wrong(repo: Path, tmp_path: Path) -> None:
    """Every kind of failure is told apart from a plain refusal."""
    code = """
import sys, time
sys.path.insert(0, "tools")
import fuzz, signal
from loraeval.errors import PromptError
signal.signal(signal.SIGALRM, fuzz._ring)
signal.signal(signal.SIGPROF, fuzz._ring)
fuzz.HANG_SECONDS, fuzz.WAIT_SECONDS = 0.2, 60
def busy():
    while True: pass
def raises(error):
    def call(): raise error
    return call
print(fuzz.judge(lambda: 1), fuzz.judge(raises(PromptError("x: no"))), sep="|")
print(fuzz.judge(raises(PromptError("a\\nb"))))
print(fuzz.judge(raises(ValueError("v"))))
print(fuzz.judge(raises(RecursionError("r"))))
print(fuzz.judge(busy))
print(fuzz.judge(lambda: time.sleep(0.4)))
fuzz.WAIT_SECONDS = 0.3
print(fuzz.judge(lambda: time.sleep(30)))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True)
    lines = run.stdout.splitlines()
    assert lines[0] == "None|None", run.stderr
    assert "not one plain line" in lines[1]
    assert lines[2].startswith("ValueError: v")
    assert lines[3].startswith("RecursionError")
    assert lines[4].startswith("more than 0.2 s of CPU time")
    assert lines[5] == "None", "what waits computes nothing: a busy machine must not fail an input"
    assert lines[6].endswith("0.3 s by the clock")
