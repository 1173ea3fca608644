"""Runs compared: effective, inert, storage; the seed's case; what is said and what is planned."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from loraeval.checkpoints.compare import compare_parameters, effective_differences
from loraeval.checkpoints.layout import ModuleShape
from loraeval.checkpoints.parameters import Parameters, training_parameters
from loraeval.checkpoints.plan import plan_experiments, training_command
from loraeval.checkpoints.schedule import learning_rate_factor, steps_of
from loraeval.checkpoints.scripts import read_script
from loraeval.checkpoints.show import (
    comparison_json,
    parameters_html,
    parameters_markdown,
    parameters_text,
    plan_text,
)
from loraeval.checkpoints.sizes import data_bytes, size_candidates
from loraeval.checkpoints.truths import truths_of
from loraeval.cli import main
from loraeval.errors import UsageError
from loraeval.testing.kohya_files import write_lora

K = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
SMALL: dict[str, Any] = {"modules": {K: ModuleShape(768, 320)}}

EFFECTIVE = {
    "pretrained_model_name_or_path", "network_dim", "resolution", "train_batch_size",
    "mixed_precision", "max_token_length", "multires_noise_iterations", "adaptive_noise_scale",
    "shuffle_caption",
}  # fmt: skip


@pytest.fixture
def seed(repo: Path) -> list[Parameters]:
    folder = repo / "docs" / "examples" / "seed_runs"
    names = ("SD15_PERFECT", "SDXL_Current", "SD15_bespoke_baby")
    return [training_parameters(folder / f"{name}.toml") for name in names]


def script(tmp_path: Path, name: str, flags: str) -> Parameters:
    path = tmp_path / f"{name}.sh"
    path.write_text(f"python train_network.py --output_name={name} {flags}\n")
    return training_parameters(path)


def test_the_seeds_two_runs_differ_in_nine_effective_parameters(seed: list[Parameters]) -> None:
    comparison = compare_parameters(seed[:2])
    by_effect: dict[str, set[str]] = {}
    for row in comparison.differences:
        by_effect.setdefault(row.effect, set()).add(row.name)
    assert by_effect["effective"] == EFFECTIVE
    assert by_effect["inert"] == {"network_alpha", "keep_tokens", "bucket_no_upscale"}
    assert {"save_precision", "max_data_loader_n_workers"} <= by_effect["storage"]
    assert by_effect["unknown"] == {"repeats"}
    assert comparison.confounding.startswith("Confounded: 9 effective")
    assert len(effective_differences(comparison)) == 9
    assert "max_token_length: 225 -> – (75)" in effective_differences(comparison)


def test_the_derived_truths_are_said(seed: list[Parameters]) -> None:
    text = "\n".join(compare_parameters(seed).truths)
    for sentence in (
        "alpha / dim = 0.5 in SD15_PERFECT and SDXL_Current",
        "SDXL_Current: 10150 steps",
        "SD15_PERFECT: steps can not be told",
        "at 75, all 203 captions are cut",
        "at 225, 12 of 203 captions are cut",
        "72 MB is rank 32 in 32 bit or rank 64 in 16 bit",
        "1.7 GB is rank 128 in 32 bit or rank 256 in 16 bit",
        "Epochs 3, 6, 10 are saved where it is near zero, 4, 7 just after a restart",
    ):
        assert sentence in text


def test_learning_rate_at_the_end_of_each_epoch() -> None:
    factors = [learning_rate_factor("cosine_with_restarts", e / 10, cycles=3) for e in range(1, 11)]
    assert factors == pytest.approx(
        [0.794, 0.345, 0.024, 0.905, 0.5, 0.095, 0.976, 0.655, 0.206, 0.0], abs=5e-4
    )
    assert learning_rate_factor("cosine", 0.5) == pytest.approx(0.5)
    assert learning_rate_factor("linear", 0.25, warmup=0.5) == pytest.approx(0.5)
    assert learning_rate_factor("rex", 0.5) is None


@pytest.mark.slow
def test_learning_rate_equals_the_library_that_sd_scripts_uses() -> None:
    torch = pytest.importorskip("torch")
    from loraeval.torchvision_ops import install

    install()
    transformers = pytest.importorskip("transformers")
    for name, kind, cycles in [("cosine_with_restarts", "cosine_with_hard_restarts", 3),
                               ("cosine", "cosine", 1), ("linear", "linear", 1)]:  # fmt: skip
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        make = getattr(transformers, f"get_{kind}_schedule_with_warmup")
        extra = {"num_cycles": 3} if cycles == 3 else {}
        schedule = make(optimizer, num_warmup_steps=10, num_training_steps=100, **extra)
        for step in range(100):
            ours = learning_rate_factor(name, step / 100, cycles=cycles, warmup=0.1)
            assert ours == pytest.approx(schedule.lr_lambdas[0](step), abs=1e-9)


@pytest.mark.parametrize(
    ("left", "right", "name", "effect"),
    [
        ("--keep_tokens=2", "", "keep_tokens", "inert"),
        ("--keep_tokens=2 --shuffle_caption", "--shuffle_caption", "keep_tokens", "effective"),
        ("--keep_tokens=2 --caption_tag_dropout_rate=0.1", "--caption_tag_dropout_rate=0.1",
         "keep_tokens", "effective"),
        ("--bucket_reso_steps=32", "", "bucket_reso_steps", "inert"),
        ("--bucket_reso_steps=32 --enable_bucket", "--enable_bucket",
         "bucket_reso_steps", "effective"),
        ("--min_bucket_reso=64 --enable_bucket --bucket_no_upscale",
         "--enable_bucket --bucket_no_upscale", "min_bucket_reso", "inert"),
        ("--multires_noise_discount=0.8", "", "multires_noise_discount", "inert"),
        ("--huber_c=0.2", "", "huber_c", "inert"),
        ("--huber_c=0.2 --loss_type=huber", "--loss_type=huber", "huber_c", "effective"),
        ("--prior_loss_weight=0.5", "", "prior_loss_weight", "inert"),
        ("--lr_scheduler_num_cycles=3", "", "lr_scheduler_num_cycles", "inert"),
        ("--lr_scheduler_power=2 --lr_scheduler=polynomial", "--lr_scheduler=polynomial",
         "lr_scheduler_power", "effective"),
        ("--learning_rate=1 --unet_lr=1e-4 --text_encoder_lr=1e-5",
         "--unet_lr=1e-4 --text_encoder_lr=1e-5", "learning_rate", "inert"),
        ("--noise_offset_random_strength", "", "noise_offset_random_strength", "inert"),
        ("--network_alpha=16 --network_dim=32", "--network_alpha=32 --network_dim=64",
         "network_alpha", "inert"),
        ("--network_alpha=16 --network_dim=32", "--network_alpha=32 --network_dim=32",
         "network_alpha", "effective"),
        ("--network_alpha=16", "--network_alpha=16.0", "network_alpha", "same"),
        ("--unet_lr=1e-4 --learning_rate=1e-4", "--learning_rate=0.0001", "unet_lr", "same"),
        ("--noise_offset=0", "", "noise_offset", "same"),
        ("--xformers", "--sdpa", "xformers", "storage"),
        ("--save_precision=fp16", "", "save_precision", "storage"),
        ("--seed=1", "--seed=2", "seed", "effective"),
        ("--seed=$X", "--seed=2", "seed", "unknown"),
    ],
)  # fmt: skip
def test_each_rule(tmp_path: Path, left: str, right: str, name: str, effect: str) -> None:
    comparison = compare_parameters([script(tmp_path, "a", left), script(tmp_path, "b", right)])
    row = next(row for row in comparison.rows if row.name == name)
    assert row.effect == effect, row.reason


def test_clip_skip_does_nothing_on_sdxl(tmp_path: Path) -> None:
    paths = [write_lora(tmp_path / f"{skip}.safetensors", "sdxl", clip_skip=skip, **SMALL,
                        pretrained="x") for skip in (1, 2)]  # fmt: skip
    rows = {row.name: row for row in compare_parameters(list(map(training_parameters, paths))).rows}
    assert rows["clip_skip"].effect == "effective"  # 768 wide states: this is no SDXL file
    wide = {"modules": {K: ModuleShape(2048, 640)}}
    paths = [write_lora(tmp_path / f"x{skip}.safetensors", "sdxl", clip_skip=skip, **wide)
             for skip in (1, 2)]  # fmt: skip
    rows = {row.name: row for row in compare_parameters(list(map(training_parameters, paths))).rows}
    assert (rows["clip_skip"].effect, "SDXL" in rows["clip_skip"].reason) == ("inert", True)


def test_files_say_whether_their_captions_are_the_same(tmp_path: Path) -> None:
    one = write_lora(tmp_path / "a.safetensors", output_name="a", **SMALL)
    same = write_lora(tmp_path / "b.safetensors", output_name="b", repeats=5, **SMALL)
    other = write_lora(tmp_path / "c.safetensors", output_name="c", tags={"robots": 8},
                       max_token_length=None, **SMALL)  # fmt: skip
    first = "\n".join(compare_parameters([training_parameters(p) for p in (one, same)]).truths)
    assert "Caption sets are identical" in first
    second = "\n".join(compare_parameters([training_parameters(p) for p in (one, other)]).truths)
    assert "Caption sets are different" in second
    assert "captions were never read" in second


def test_one_run_can_not_be_compared(seed: list[Parameters]) -> None:
    with pytest.raises(UsageError, match="two runs"):
        compare_parameters(seed[:1])


def test_sizes_prove_less_than_they_seem() -> None:
    found = {(c.rank, c.bits) for c in size_candidates("72 MB", "sd15")}
    assert found == {(64, 16), (32, 32)}
    assert {(c.rank, c.bits) for c in size_candidates("1.7 GB", "sdxl")} == {(128, 32), (256, 16)}
    assert {(c.rank, c.bits) for c in size_candidates("435 MB", "sdxl")} == {(64, 16), (32, 32)}
    assert size_candidates("50 MB", "sd15") == []
    assert data_bytes("sd15", 32, 16) == 2 * (32 * 589_824 + 264)


def test_steps() -> None:
    from loraeval.checkpoints.parameters import ParameterValue as V

    def run(**values: Any) -> Parameters:
        return Parameters("x", {k: V(v, "stated") for k, v in values.items()})

    steps = steps_of(run(images=203, repeats=10, train_batch_size=2, max_train_epochs=10))
    assert steps is not None
    assert (steps.per_epoch, steps.total, steps.samples) == (1015, 10_150, 20_300)
    odd = steps_of(run(images=7, repeats=1, train_batch_size=4, max_train_epochs=2,
                       gradient_accumulation_steps=2))  # fmt: skip
    assert odd is not None
    assert (odd.per_epoch, odd.total) == (1, 2)
    assert steps_of(run(images=203, train_batch_size=2, max_train_epochs=10)) is None


def test_the_plan_changes_one_thing_a_run(seed: list[Parameters], tmp_path: Path) -> None:
    comparison = compare_parameters(seed[:2])
    plan = plan_experiments(comparison)
    assert {item.change.split(":")[0] for item in plan} == EFFECTIVE
    base = tmp_path / "base.sh"
    base.write_text(training_command(seed[0]))
    for item in plan:
        name = item.change.split(":")[0]
        path = tmp_path / "x.sh"
        path.write_text(item.command)
        facts, before = read_script(path), read_script(base)
        assert facts.warnings == []
        assert facts.ignored == {}
        changed = {
            key for key in facts.values.keys() | before.values.keys()
            if facts.values.get(key) != before.values.get(key)
        }  # fmt: skip
        assert changed - {"output_name"} == (
            {name, "network_alpha"} if name == "network_dim" else {name}
        )
        assert item.gpu_hours is not None
        assert 0 < item.gpu_hours < 50
    assert "sdxl_train_network.py" in next(i.command for i in plan if "base-1.0" in i.change)


def test_a_claimed_rank_is_planned_as_an_experiment(seed: list[Parameters]) -> None:
    """The comparison by hand proposes rank 64 alone: its option A."""
    plan = plan_experiments(compare_parameters([seed[0], seed[2]]))
    assert [item.change for item in plan] == [
        "network_dim: 32 -> 64, alpha moved with it so that the scale stays"
    ]
    assert "--network_dim=64" in plan[0].command


def test_every_view_escapes_what_strangers_wrote(tmp_path: Path) -> None:
    evil = "\x1b[31m<script>alert(1)</script>|`x`\u202e"
    runs = []
    for i in (1, 2):
        words = {"sd_model_name": f"{evil}{i}", "output_name": f"{evil}{i}", "lr_scheduler": evil}
        path = write_lora(tmp_path / f"{i}.safetensors", **SMALL, **words)
        runs.append(training_parameters(path))
    comparison = compare_parameters(runs)
    texts = [parameters_text(comparison, everything=True), parameters_markdown(comparison),
             parameters_html(comparison), plan_text(plan_experiments(comparison))]  # fmt: skip
    for text in texts:
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "<script" not in texts[1]
    assert "<script" not in texts[2]
    assert "\x1b" not in comparison_json(comparison)


def test_html_is_well_formed(seed: list[Parameters]) -> None:
    from xml.etree import ElementTree as ET

    tree = ET.fromstring(parameters_html(compare_parameters(seed)))
    assert len(tree.findall(".//tr")) > 30


def test_commands(repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = repo / "docs" / "examples" / "seed_runs"
    a, b = str(folder / "SD15_PERFECT.toml"), str(folder / "SDXL_Current.toml")
    assert main(["params", a, "--json", "--out", str(tmp_path / "parameters.json")]) == 0
    assert main(["params", str(tmp_path), b, "--format", "json", "--plan"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["runs"] == ["SD15_PERFECT", "SDXL_Current"]
    assert len(tree["plan"]) == 9
    assert main(["params", a, b, "--format", "markdown"]) == 0
    assert "| **network\\_dim** |".replace("\\", "") in capsys.readouterr().out.replace("\\", "")
    for words, message in [
        (["params", "nowhere.safetensors", b], "cannot read"),
        (["params", a, "--plan"], "two runs"),
        (["params", a, b, "--script", "5=x.sh"], "2 runs"),
        (["params", a, b, "--plan", "--tflops", "nan"], "positive"),
        (["inspect", a], "found a text file"),
    ]:
        assert main(words) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_inspect_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_lora(tmp_path / "run-000003.safetensors", rank=2, alpha=1, epoch=3, steps=60)
    assert main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    for piece in (
        "kohya: lora_down.weight", "192 modules, rank 2, alpha 1, scale 0.5, trained",
        "sshs_model_hash matches", "epoch 3 of 10, step 60 (metadata)", "as the formula gives",
    ):  # fmt: skip
        assert piece in text
    assert main(["inspect", str(path), "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["module_counts"] == {"unet": 192, "te": 72}
    assert tree["parameters"]["values"]["network_dim"]["value"] == 2


def test_inspect_and_params_do_not_import_numpy_or_torch() -> None:
    import subprocess
    import sys

    code = ("import sys, loraeval.commands.inspect, loraeval.commands.params; "
            "print({'numpy', 'torch'} & set(sys.modules))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_page_shows_what_the_commands_print(repo: Path, seed: list[Parameters]) -> None:
    page = (repo / "docs" / "training-parameters.md").read_text("utf-8")
    block = re.search(r"<!-- seed-table:begin -->\n(.*?)<!-- seed-table:end -->", page, re.DOTALL)
    assert block is not None
    assert block[1].strip() == parameters_markdown(compare_parameters(seed)).strip()


def test_inspect_of_a_1_8_gb_file_reads_a_little_of_it(repo: Path, tmp_path: Path) -> None:
    """The benchmark's sparse file; time is stated by the benchmark, memory and numpy here."""
    import importlib.util
    import subprocess
    import sys

    spec = importlib.util.spec_from_file_location("bench", repo / "benchmarks" / "lora_reading.py")
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    path = bench.sparse_lora(tmp_path / "large.safetensors", 128)
    assert path.stat().st_size == pytest.approx(1_824_684_072 + 500_000, rel=1e-3)
    code = (
        "import sys, time\nfrom loraeval.cli import main\n"
        "assert main(['inspect', sys.argv[1]]) == 0\n"
        "assert 'numpy' not in sys.modules\n"
        "peak = open('/proc/self/status').read().split('VmHWM:')[1].split()[0]\n"
        "print(time.process_time(), peak)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert "rank 128, alpha 64, scale 0.5" in done.stdout
    assert "NOT trained (all zero)" in done.stdout
    seconds, kilobytes = done.stdout.split()[-2:]
    assert int(kilobytes) < 100_000
    assert float(seconds) < 1.5  # 0.2 s on a quiet core


@pytest.mark.parametrize(
    ("scheduler", "said"), [("cosine", False), ("cosine_with_restarts", True), ("linear", False)]
)
def test_only_a_restart_is_called_one(tmp_path: Path, scheduler: str, said: bool) -> None:
    script = tmp_path / "train.sh"
    script.write_text(
        "train_network.py --train_batch_size=2 --max_train_epochs=10 "
        f"--lr_scheduler={scheduler} --lr_scheduler_num_cycles=3\n"
    )
    runs = [training_parameters(script)]
    (sentence,) = [text for text in truths_of(runs) if "learning-rate factor" in text]
    assert ("4, 7 just after a restart" in sentence) is said
    assert ("restart" in sentence) is said


def test_dates_and_sizes_have_their_units(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_lora(tmp_path / "x.safetensors", training_started_at=1700000000.5)
    assert main(["inspect", str(path), "--all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (started,) = [line for line in lines if line.startswith("  training_started_at")]
    assert "2023-11-14 22:13 UTC" in started
    rows = [line for line in lines if line.startswith("  ") and ": " in line]
    names = [len(line.split()[0]) for line in rows]
    assert all(line[max(names) + 2] == " " for line in rows)
    assert any(f"{path.stat().st_size:,} bytes" in line for line in rows)


def test_baseline_show_counts_what_was_given(
    repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repo)
    assert main(["baseline", "show", "SD15_PERFECT"]) == 0
    said = capsys.readouterr().out
    tree = json.loads((repo / "baselines" / "SD15_PERFECT" / "parameters.json").read_text())
    sources = [entry["source"] for entry in tree["values"].values()]
    given = sum(source not in ("default", "not stored") for source in sources)
    assert given > 30
    assert f"training parameters: {given} given, {sources.count('default')} at sd-scripts'" in said
    assert "reference features in reference.json" in said
