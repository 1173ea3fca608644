"""What people install: the sdist, the wheel made from it, in a fresh environment elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.nightly


def run(words: list[str | Path], place: Path, code: int = 0) -> str:
    """Run a command in ``place`` with nothing of the checkout in its environment."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST_"))}
    done = subprocess.run(
        [str(word) for word in words], cwd=place, env=kept, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dist")
    tools = place / "tools"
    run([sys.executable, "-m", "venv", tools], place)
    run([tools / "bin" / "pip", "install", "--quiet", "hatchling"], place)
    run([tools / "bin" / "python", "-m", "hatchling", "build", "-t", "sdist", "-d", place], ROOT)
    (found,) = place.glob("*.tar.gz")
    return found


@pytest.fixture(scope="module")
def installed(sdist: Path) -> Path:
    """The ``bin`` of a fresh environment with the wheel that the sdist gives, without extras."""
    place = sdist.parent
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", place, sdist], place)
    (wheel,) = place.glob("*.whl")
    fresh = place / "fresh"
    run([sys.executable, "-m", "venv", fresh], place)
    pip = [fresh / "bin" / "pip", "install", "--quiet", "-c", ROOT / "constraints.txt"]
    run([*pip, wheel], place)
    return fresh / "bin"


def test_the_sdist_holds_what_the_wheel_is_made_of(sdist: Path, installed: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    with zipfile.ZipFile(next(sdist.parent.glob("*.whl"))) as wheel:
        carried = set(wheel.namelist())
    for folder, inside in (("recipes", "loraeval/render/recipes"),
                           ("prompts", "loraeval/prompts/data")):  # fmt: skip
        for path in (ROOT / folder).rglob("*.toml"):
            name = path.relative_to(ROOT / folder).as_posix()
            assert f"{folder}/{name}" in names
            assert f"{inside}/{name}" in carried
    sources = {f"loraeval/{p.relative_to(ROOT / 'src' / 'loraeval').as_posix()}"
               for p in (ROOT / "src" / "loraeval").rglob("*.py")}  # fmt: skip
    assert sources <= carried


def test_it_scores_gates_and_knows_its_profiles_outside_of_the_checkout(
    installed: Path, tmp_path: Path
) -> None:
    loraeval = installed / "loraeval"
    where = [installed / "python", "-c", "import loraeval; print(loraeval.__file__)"]
    assert str(installed.parent) in run(where, tmp_path)
    for name in ("gold", "mine"):
        run([installed / "python", "-m", "loraeval.testing.portraits_files", "training", name],
            tmp_path)  # fmt: skip
        score = [loraeval, "score", name, "--encoder", "none", "--lattice", "24x24"]
        run([*score, "--out", f"{name}.jsonl"], tmp_path)
    names = sorted(path.stem for path in (ROOT / "recipes" / "profiles").glob("*.toml"))
    code = "from pathlib import Path; from loraeval.baselines.profile import read_profile; "
    code += f"[read_profile(Path(name)) for name in {names}]"
    run([installed / "python", "-c", code], tmp_path)
    (tmp_path / "p.toml").write_text('gated = ["palette", "grid", "health"]\n')
    run([loraeval, "baseline", "freeze", "G", "--scores", "gold.jsonl", "--profile", "p.toml"],
        tmp_path)  # fmt: skip
    gate = [loraeval, "gate", "--scores", "mine.jsonl", "--baseline", "G"]
    assert "against G" in run(gate, tmp_path, code=0)
    (tmp_path / "pytest.ini").write_text("[pytest]\nlora_baseline = G\nlora_encoder = none\n")
    run([installed / "pytest", "--checkpoint", "mine.safetensors", "--lora-renders", "mine"],
        tmp_path)  # fmt: skip


def test_pytest_finds_the_plugin_there(installed: Path, tmp_path: Path) -> None:
    said = run([installed / "pytest", "--checkpoint", "x.safetensors"], tmp_path, code=4)
    assert "x.safetensors" in said
    assert "--lora-baseline" in run([installed / "pytest", "--help"], tmp_path)
