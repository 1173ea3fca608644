"""What a stranger's scores, baselines and encoders bring: shown as text, or refused in a line."""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import fuzz_targets
from loraeval import cli, torchvision_ops
from loraeval.baselines import read_baseline
from loraeval.errors import BaselineError, InputError, ScoresError
from loraeval.report.pictures import find_image
from loraeval.scorers.encoder_folder import read_clip_config
from loraeval.scores_file import MAX_METRICS, read_scores

GATED = ("palette", "grid", "style", "realism", "health")
EVIL = "\u202egpj\x9b31m\x1b[2J\n::error::x</script><script>alert(1)</script>"


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    folder = tmp_path / "fuzz"
    folder.mkdir()
    for name, data in fuzz_targets._baseline_files().items():
        (folder / name).write_bytes(data)
    return folder


def scores(path: Path, **more: Any) -> Path:
    rows = [
        {"image": f"{n}.png", "run": "r", "epoch": 8, "prompt_id": f"p{n}", "seed": 1,
         "scores": {name: 0.5 + n / 50 if name != "health" else 1.0 for name in GATED},
         "versions": dict.fromkeys(GATED, "1"), "encoder": "e", "prompt_digest": "0", **more}
        for n in range(12)
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


@pytest.mark.parametrize("health", [0.0, 1.0])
def test_details_reach_no_terminal_summary_or_annotation_raw(
    tmp_path: Path, baseline: Path, health: float, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    details = {"health": {"seen": {"x": EVIL}}, "palette": {"reason": EVIL},
               "grid": {"reason": EVIL}}  # fmt: skip
    file = scores(tmp_path / "s.jsonl", details=details,
                  scores={"palette": None, "grid": None, "health": health})  # fmt: skip
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    words = ["--baseline", str(baseline), "--scores", str(file)]
    assert cli.main(["gate", *words]) == 1
    assert cli.main(["gate", *words, "--json"]) == 1
    assert cli.main(["report", *words, "--out", str(tmp_path / "out")]) in (0, 1)
    said = capsys.readouterr()
    told = [said.out, said.err, summary.read_text("utf-8")]
    told += [path.read_text("utf-8") for path in (tmp_path / "out").glob("*.md")]
    told += [path.read_text("utf-8") for path in (tmp_path / "out").glob("*.txt")]
    for text in told:
        assert all(c.isprintable() or c in "\n\u200b" for c in text), text
    assert not any(line.startswith("::error::") for text in told for line in text.splitlines())
    assert "::error title=" in said.out, "annotations were made"


def test_an_image_name_too_long_for_the_disk_is_not_at_hand(tmp_path: Path) -> None:
    assert find_image(tmp_path, "y" * 990 + ".png") is None
    assert find_image(tmp_path, "a\0b.png") is None
    (tmp_path / "ring.png").symlink_to("ring.png")
    assert find_image(tmp_path, "ring.png") is None


@pytest.mark.parametrize("change", [
    ('"palette": 0.5,', '"palette": 0.5, "palette": 0.9,'), ('"seed": 1', '"seed": 1e999'),
    ('"run": "r"', '"run": "r", "details": {"x": Infinity}'),
    ('"run": "r"', '"run": "r", "details": {"x": ' + "9" * 5000 + "}"),
    ('"run": "r"', '"run": "r", "details": {"x": ' + "[" * 50_000 + "}"),
])  # fmt: skip
def test_scores_that_programs_would_read_in_different_ways(
    tmp_path: Path, change: tuple[str, str]
) -> None:
    """Of two numbers under one key, a person might be shown the one and the gate take the other."""
    file = scores(tmp_path / "s.jsonl")
    text = file.read_text()
    assert change[0] in text
    file.write_text(text.replace(*change, 1))
    with pytest.raises(ScoresError, match=r"s\.jsonl:1: expected one JSON object") as caught:
        read_scores(file)
    assert str(caught.value).isprintable()


def test_a_scores_file_of_thousands_of_metrics_is_refused(tmp_path: Path) -> None:
    """Every metric is a chart: 3,000 kept the chart renderer busy for minutes."""
    many = {f"m{n}": 0.5 for n in range(MAX_METRICS + 1)}
    with pytest.raises(ScoresError, match="more than 300 metrics"):
        read_scores(scores(tmp_path / "s.jsonl", scores=many))
    many.popitem()
    assert len(read_scores(scores(tmp_path / "s.jsonl", scores=many))) == 12


def test_a_scores_file_of_hundreds_of_runs_has_no_chart_of_all(tmp_path: Path) -> None:
    """A block of panels for each of 400 runs kept the chart renderer busy for many minutes."""
    from loraeval.evaluation.reporting import charts_of
    from loraeval.report.charts import MAX_RUNS, epoch_chart

    pytest.importorskip("altair")
    (row, *_) = read_scores(scores(tmp_path / "s.jsonl"))
    rows = [replace(row, run=f"run{n}") for n in range(400)]
    with pytest.raises(ScoresError, match="a chart of 400 runs"):
        epoch_chart(rows)
    assert epoch_chart(rows[:MAX_RUNS])
    assert charts_of(tmp_path, rows, None) is None, "a long run does not fail for its chart"


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[" * 100_000, b'{"format": NaN}', b"[]", b"",
                                  b'{"format": 1, "format": 2}'])  # fmt: skip
def test_a_baseline_whose_reference_is_none(
    tmp_path: Path, baseline: Path, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    from loraeval.scorers.reference import ReferenceSet

    (baseline / "reference.json").write_bytes(data)
    with pytest.raises(BaselineError, match=r"reference\.json"):
        ReferenceSet.from_file(baseline / "reference.json")
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    words = ["score", str(tmp_path / "a.png"), "--baseline", str(baseline), "--encoder", "none"]
    assert cli.main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("data", [b"[" * 100_000, b"\xff", b'{"recipe_digest": NaN}', b"[1]"])
def test_what_lies_beside_scores_to_freeze(tmp_path: Path, data: bytes,
                                           capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    file = scores(tmp_path / "s.jsonl")
    (tmp_path / "run.json").write_bytes(data)
    (tmp_path / "reference.json").write_bytes(data)
    words = ["baseline", "freeze", "fz", "--scores", str(file), "--root", str(tmp_path / "b")]
    assert cli.main(words) == 0, "it is not what these rows were made by, so it is not taken"
    (tmp_path / "b" / "fz" / "parameters.json").write_bytes(b'{"a": 1, "a": 2}')
    with pytest.raises(BaselineError, match="stands twice"):
        read_baseline(tmp_path / "b" / "fz")
    for option in ("--parameters", "--reference"):
        capsys.readouterr()
        assert cli.main([*words, "--replace", option, str(tmp_path / "run.json")]) == 2
        assert capsys.readouterr().err.count("\n") == 1


CONFIG: dict[str, Any] = {"model_cfg": {"embed_dim": 8, "text_cfg": {}, "vision_cfg": {}}}


@pytest.mark.parametrize(("part", "key", "value"), [
    ("text_cfg", "hf_model_name", "stranger/model"), ("vision_cfg", "timm_model_pretrained", True),
    ("vision_cfg", "timm_model_name", "hf-hub:stranger/model"),
])  # fmt: skip
def test_an_encoder_folder_that_would_fetch_another_model(
    tmp_path: Path, part: str, key: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody typed that name: it is refused before any library looks at it."""
    torchvision_ops.install()  # before open_clip, which imports torchvision
    pytest.importorskip("open_clip")
    from loraeval.scorers.encoders import load_encoder

    def no_network(*_: object) -> None:
        raise AssertionError("a request was made")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    config = json.loads(json.dumps(CONFIG))
    config["model_cfg"][part][key] = value
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=f"{key} would be fetched from a hub"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_an_encoder_folder_that_brings_code(tmp_path: Path, name: str) -> None:
    path = tmp_path / "open_clip_config.json"
    path.write_text(json.dumps(CONFIG))
    assert read_clip_config(path) == CONFIG
    (tmp_path / name).write_text(json.dumps({"auto_map": {"AutoTokenizer": ["evil.Tokenizer"]}}))
    with pytest.raises(InputError, match="code of its own"):
        read_clip_config(path)


@pytest.mark.parametrize("data", [b"[" * 100_000, b"\xff", b"[]", b'{"model_cfg": 3}', b"NaN",
                                  b'{"model_cfg": {"text_cfg": [1]}}'])  # fmt: skip
def test_an_encoder_folder_with_another_configuration(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "open_clip_config.json"
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_clip_config(path)
