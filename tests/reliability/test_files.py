"""Files from strangers: nothing runs, nothing leaves its folder, the rest of the folder goes on."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import fuzz_shown
from loraeval import cli
from loraeval.errors import CheckpointError, LoraevalError
from loraeval.render.base_model import locate_base
from loraeval.scores_file import read_scores
from loraeval.sources import find_renders
from loraeval.testing.portraits import render_pixel_art, scene


class Trap:
    """Unpickled, it writes a file: whoever loads it has run a stranger's code."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """The place where a file appears as soon as the trap's code has run."""
    return tmp_path / "code has run"


def test_the_trap_works(tmp_path: Path, trap: Path) -> None:
    pickle.loads(pickle.dumps(Trap(trap)))
    assert trap.exists()


@pytest.mark.parametrize("name", ["lora.ckpt", "lora.pt", "lora.bin", "lora.safetensors"])
def test_a_pickled_lora_is_refused_with_the_reason(
    tmp_path: Path, trap: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    file.write_bytes(pickle.dumps(Trap(trap)))
    for words in (["inspect", str(file)], ["params", str(file)]):
        assert cli.main(words) == 2
        said = capsys.readouterr().err
        assert "pickle" in said
        assert said.count("\n") == 1
    assert not trap.exists()


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.bin"])
def test_a_pickled_base_model_is_refused_with_the_reason(
    tmp_path: Path, trap: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LORAEVAL_ALLOW_CKPT", raising=False)
    file = tmp_path / name
    file.write_bytes(pickle.dumps(Trap(trap)))
    with pytest.raises(CheckpointError, match="can run code"):
        locate_base(str(file))
    assert not trap.exists()


def test_weights_only_holds_when_a_pickle_is_asked_for(
    tmp_path: Path, trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the switch set the file is read, and its code still does not run."""
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("LORAEVAL_ALLOW_CKPT", "1")
    file = tmp_path / "model.ckpt"
    torch.save({"state_dict": Trap(trap)}, file)
    from loraeval.torchvision_ops import install

    install()
    from diffusers.models.model_loading_utils import load_state_dict

    assert locate_base(str(file)) == file
    with pytest.raises((OSError, pickle.UnpicklingError, ValueError)):
        load_state_dict(str(file))
    assert not trap.exists()


def test_a_folder_that_brings_code_or_pickles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LORAEVAL_ALLOW_CKPT", raising=False)
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
    }
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert locate_base(str(tmp_path)) == tmp_path
    (tmp_path / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="can run code"):
        locate_base(str(tmp_path))
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    assert locate_base(str(tmp_path)) == tmp_path
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"unet": ["my_unet", "Evil"]}))
    with pytest.raises(CheckpointError, match="never a model's own code"):
        locate_base(str(tmp_path))
    (tmp_path / "model_index.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError):
        locate_base(str(tmp_path))


@pytest.mark.parametrize("number", range(len(fuzz_shown.HOSTILE)))
@pytest.mark.parametrize("where", ["metadata", "scores", "store_png"])
def test_hostile_text_is_shown_as_text(tmp_path: Path, where: str, number: int) -> None:
    """Terminal and HTML of inspect, params and gate hold no control character and no tag of it."""
    file = tmp_path / "input" / "text.txt"
    file.parent.mkdir()
    file.write_bytes(fuzz_shown.HOSTILE[number])
    getattr(fuzz_shown, where)(file)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(fuzz_shown.HOSTILE)))
def test_hostile_text_in_a_report(tmp_path: Path, number: int) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(fuzz_shown.HOSTILE[number])
    fuzz_shown.page(file)


def test_the_checks_see_what_is_wrong() -> None:
    for page in ("<p onload=x>", "<iframe></iframe>", '<a href="https://x">', "<script>1</script>"):
        with pytest.raises(fuzz_shown.PageProblemError):
            fuzz_shown.check_page(page, scripts=0)
    with pytest.raises(fuzz_shown.PageProblemError):
        fuzz_shown.check_terminal("a\x1b[31mb")
    fuzz_shown.check_page('<p class="a">&lt;script&gt;</p><img src="data:image/png;base64,AA">', 0)


def png(size: tuple[int, int], data: bytes | None = None) -> bytes:
    """A PNG whose header says ``size``; its pixels are zeros, compressed a thousandfold."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    if data is None:
        line = zlib.compressobj(9)
        data = b"".join(line.compress(b"\0" * (1 + 3 * size[0])) for _ in range(size[1]))
        data += line.flush()
    head = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data)
            + chunk(b"IEND", b""))  # fmt: skip


def hostile_folder(folder: Path) -> dict[str, str]:
    """Fill ``folder`` with bad images and one good one; return what each bad one's fault says."""
    folder.mkdir()
    good = Image.fromarray(render_pixel_art(scene(3), 240))
    good.save(folder / "good.png")
    (folder / "good.txt").write_text(scene(3).caption)
    whole = (folder / "good.png").read_bytes()
    gif, webp = io.BytesIO(), io.BytesIO()
    more = {"save_all": True, "append_images": [Image.new("RGB", good.size, "red")]}
    good.save(gif, "GIF", **more)
    good.save(webp, "WEBP", **more)
    text = PngImagePlugin.PngInfo()
    text.add_text("bomb", "x" * 4_000_000, zip=True)
    bombed = io.BytesIO()
    good.save(bombed, "PNG", pnginfo=text)
    files = {
        "animated.gif": (gif.getvalue(), "several frames"),
        "animated.webp": (webp.getvalue(), "several frames"),
        "bomb.png": (png((60_000, 60_000), b""), "pixels"),
        "cut.png": (whole[: len(whole) // 2], "cut off"),
        "empty.png": (b"", "no bytes"),
        "long.png": (png((16_385, 8), b""), "pixels"),
        "not.png": (b"<svg onload='alert(1)'/>", "something else"),
        "row.png": (png((100_000, 1)), "pixels"),
        "text.png": (bombed.getvalue(), "broken"),
        "tiny.png": (png((1, 1)), "too few"),
        "wide.png": (png((5_000, 5_000)), "pixels"),
        "wrong.jpg": (whole, "holds PNG data"),
        "zeros.png": (b"\0" * 5_000_000, "something else"),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    return {name: fault for name, (_, fault) in files.items()}


def refused_files(folder: Path) -> dict[str, str]:
    """Put what must not be opened into ``folder``; return the reason of each."""
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / "dangling.png").symlink_to("absent.png")
    (folder / "passwd.png").symlink_to("/etc/passwd")
    (folder / "zero.png").symlink_to("/dev/zero")
    return {"pipe.png": "found a pipe", "folder.png": "found a folder",
            "dangling.png": "not there", "passwd.png": "links out",
            "zero.png": "links out"}  # fmt: skip


def test_one_bad_image_costs_its_own_row_only(tmp_path: Path) -> None:
    """In a process of its own: memory stays bounded, each fault is named, the good one scored."""
    faults = hostile_folder(tmp_path / "images")
    refused = refused_files(tmp_path / "images")
    deep = np.random.default_rng(1).integers(0, 1 << 16, (64, 64)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "images" / "deep.png")
    out = tmp_path / "scores.jsonl"
    code = (
        "import sys; from loraeval.cli import main; code = main(sys.argv[1:]);"
        "status = open('/proc/self/status').read()\n"  # ru_maxrss would count the parent's memory
        "print(int(status.split('VmHWM:')[1].split()[0]) // 1024); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "score", str(tmp_path / "images"), "--encoder", "none",
         "--out", str(out)], capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 300, "MB at most"
    rows = {row.image: row for row in read_scores(out)}
    assert set(rows) == {*faults, *refused, "good.png", "deep.png"}
    assert rows["good.png"].scores["health"] == 1.0
    assert rows["good.png"].scores["palette"] is not None
    assert rows["deep.png"].scores["health"] is not None, "16 bits a channel are read"
    for name, words in refused.items():
        assert set(rows[name].scores.values()) == {None}, name
        assert words in rows[name].details["health"]["reason"]
    said = [line for line in done.stderr.splitlines() if "not read" in line]
    assert len(said) == 1
    assert said[0].startswith(f"loraeval: {len(refused)} of {len(rows)} images are not read")
    for name, words in faults.items():
        row = rows[name]
        assert row.scores["health"] == 0.0, name
        assert row.scores["palette"] is None
        assert words in row.details["health"]["faults"][0], row.details["health"]
        assert words in row.details["palette"]["reason"]


@pytest.mark.parametrize("image", [
    "../../etc/passwd", "../secret.png", "/etc/passwd", "a/../../secret.png", "link.png",
    "\\\\host\\share.png", "file:///etc/passwd", "a\x00.png", "a\n.png",
])  # fmt: skip
def test_a_manifest_stays_in_its_folder(tmp_path: Path, image: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "secret.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "renders.jsonl").write_text(json.dumps({"image": image, "run": "r"}) + "\n")
    with pytest.raises(LoraevalError) as caught:
        find_renders(folder / "renders.jsonl")
    assert str(caught.value).isprintable()


def test_a_report_does_not_follow_a_scores_file_out_of_its_folder(tmp_path: Path) -> None:
    from loraeval.report.pictures import find_image

    Image.new("RGB", (16, 16)).save(tmp_path / "secret.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    for name in ("../secret.png", str(tmp_path / "secret.png"), "link.png", "x/../../secret.png"):
        assert find_image(root, name) is None, name


def test_names_from_metadata_make_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run called ``../../x`` by its metadata writes where it was told to, and nowhere else."""
    from loraeval.evaluation import setup
    from loraeval.render.store import Store
    from loraeval.testing.fake_renderer import (
        FakeRenderer,
        fake_checkpoints,
        fake_recipe,
        portrait_prompts,
    )

    home = tmp_path / "a" / "b" / "c"
    checkpoints = fake_checkpoints(home / "checkpoints", 2, "run")
    hostile = fake_checkpoints(home / "hostile", 2, "run")
    from loraeval.testing.kohya_files import write_lora

    for epoch, path in enumerate(hostile, 1):
        write_lora(path, rank=1, components=("te",), output_name="../../../owned", epoch=epoch)
    assert len(checkpoints) == len(hostile)
    monkeypatch.setattr(
        setup,
        "make_renderer",
        lambda choice, recipe: FakeRenderer(recipe, Store(choice.store_folder)),
    )
    monkeypatch.setattr(setup, "choose_recipe", lambda *_: fake_recipe(48))
    monkeypatch.setattr(setup, "choose_prompts", lambda *_: portrait_prompts(2))
    monkeypatch.setattr(setup, "check_complete", lambda *_: None)
    words = ["run", str(home / "hostile"), "--encoder", "none", "--scorers", "health",
             "--out", str(home / "out"), "--store", str(home / "store")]  # fmt: skip
    assert cli.main(words) == 0
    assert cli.main(["chart", "--scores", str(home / "out/scores.jsonl"), "--out",
                     str(home / "out/charts")]) == 0  # fmt: skip
    written = {p for p in tmp_path.rglob("*") if p.is_file()}
    assert written
    assert all(p.is_relative_to(home) for p in written)


def test_a_checkpoint_called_dots_makes_no_path(tmp_path: Path) -> None:
    from loraeval.errors import UsageError
    from loraeval.evaluation.full_run import render_and_score
    from loraeval.evaluation.panels import PanelChoice, build_panel
    from loraeval.render.store import Store
    from loraeval.testing.fake_renderer import FakeRenderer, fake_recipe, portrait_prompts
    from loraeval.testing.kohya_files import write_lora

    file = write_lora(tmp_path / "in" / "...safetensors", rank=1, components=("te",))
    panel = build_panel(PanelChoice(scorers=("health",), encoder="none"), quiet=True)
    renderer = FakeRenderer(fake_recipe(48), Store(tmp_path / "store"))
    with pytest.raises(UsageError, match="rename"):
        render_and_score(renderer, panel, [file], portrait_prompts(1), tmp_path / "out")
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("row", [
    {"run": "\x1b[2J"}, {"image": "a\nb"}, {"checkpoint": "\u202egpj"}, {"epoch": 10**30},
    {"scores": {"\x9b31m": 0.5}}, {"encoder": "x" * 2000}, {"versions": {"palette": ["1"]}},
    {"seed": True}, {"scores": {"palette": float("nan")}},
])  # fmt: skip
def test_a_scores_file_with_names_that_cannot_be_shown(
    tmp_path: Path, row: dict[str, object]
) -> None:
    whole = {"image": "a.png", "run": "r", "prompt_id": "p", "scores": {}} | row
    (tmp_path / "s.jsonl").write_text(json.dumps(whole) + "\n")
    if row == {"seed": True}:
        assert read_scores(tmp_path / "s.jsonl")
        return
    with pytest.raises(LoraevalError) as caught:
        read_scores(tmp_path / "s.jsonl")
    assert str(caught.value).isprintable()


BOMBS = {
    "deep": "a = " + "[" * 50_000,
    "digits": "a = " + "9" * 6_000,
    "dots": ".".join("a" * 30_000) + " = 1",
    "dots in a table": "[" + ".".join("a" * 30_000) + "]",
    "dots inside": "a = {" + ".".join("a" * 30_000) + " = 1}",
    "hex": "a = 0x" + "f" * 6_000,
    "quotes": 'a = "' + "\\u0000" * 50_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_toml_bombs(tmp_path: Path, bomb: str) -> None:
    from loraeval.baselines import read_baseline, read_profile
    from loraeval.checkpoints.scripts import read_script
    from loraeval.prompts.sets import read_prompts
    from loraeval.render.recipe import read_recipe

    folder = tmp_path / "baseline"
    folder.mkdir()
    for name in ("baseline.toml", "profile.toml", "set.toml", "recipe.toml", "train.toml"):
        (folder / name).write_text(BOMBS[bomb] + "\n")
    readers = {"": read_baseline, "profile.toml": read_profile, "set.toml": read_prompts,
               "recipe.toml": read_recipe, "train.toml": read_script}  # fmt: skip
    for name, read in readers.items():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        with pytest.raises(LoraevalError) as caught:
            read(folder / name)
        assert str(caught.value).isprintable()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 5


def test_a_file_that_never_ends(tmp_path: Path) -> None:
    """A device, or a file far too long, is refused by its first bytes."""
    from loraeval.baselines import read_profile
    from loraeval.render.recipe import read_recipe

    long = tmp_path / "long.toml"
    with long.open("wb") as file:
        file.truncate(10 << 30)  # sparse
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    for path in (long, tmp_path / "zero.toml"):
        for read in (read_profile, read_recipe, read_scores):
            with pytest.raises(LoraevalError):
                read(path)


def test_a_selection_of_5000_digits() -> None:
    from loraeval.baselines import parse_selection

    with pytest.raises(LoraevalError, match="epoch"):
        parse_selection("epoch=" + "9" * 5000)


@pytest.mark.parametrize("taken", ["127.0.0.1", "10.1.2.3"])
def test_ray_is_told_to_use_loopback(monkeypatch: pytest.MonkeyPatch, taken: str) -> None:
    """Ray gets the loopback address and no dashboard; one that takes another address is ended."""
    import types

    from loraeval.errors import RenderError
    from loraeval.render import fleet

    seen: dict[str, object] = {}
    fake, private = types.ModuleType("ray"), types.ModuleType("ray._private")
    constants = types.ModuleType("ray._private.ray_constants")
    constants.ENABLE_RAY_CLUSTER = True
    private.ray_constants = constants
    fake.__version__ = "0"
    fake.is_initialized = lambda: False
    fake.init = lambda **options: seen.update(options, cluster=constants.ENABLE_RAY_CLUSTER)
    fake.shutdown = lambda: seen.update(ended=True)
    fake.util = types.SimpleNamespace(get_node_ip_address=lambda: taken)
    for module in (fake, private, constants):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    if taken == "127.0.0.1":
        assert fleet.connect("local", 1)
    else:
        with pytest.raises(RenderError, match="alone, it took"):
            fleet.connect("local", 1)
    assert seen["_node_ip_address"] == "127.0.0.1"
    assert seen["include_dashboard"] is False
    assert seen["cluster"] is False
    assert bool(seen.get("ended")) == (taken != "127.0.0.1")


def test_arrays_are_never_unpickled(repo: Path) -> None:
    """No reader of this package goes through pickle, and none asks numpy to."""
    for path in sorted((repo / "src").rglob("*.py")):
        text = path.read_text("utf-8")
        for word in ("pickle.load", "allow_pickle=True", "np.load(", "yaml.load(", "marshal."):
            assert word not in text, f"{path}: {word}"
    assert np.load.__kwdefaults__ is None or not np.load.__kwdefaults__.get("allow_pickle")
