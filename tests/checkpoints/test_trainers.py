"""Every trainer by its own settings and its own files: named, read, and nothing claimed besides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loraeval.checkpoints.anatomy import read_anatomy
from loraeval.checkpoints.compare import compare_parameters
from loraeval.checkpoints.parameters import Parameters, parameters_of_script, training_parameters
from loraeval.checkpoints.plan import plan_experiments
from loraeval.checkpoints.scale import module_scale, peft_alphas
from loraeval.checkpoints.script_facts import ScriptFacts
from loraeval.checkpoints.scripts import read_script
from loraeval.checkpoints.trainer import trainer_of
from loraeval.cli import main
from loraeval.errors import CheckpointError, LoraevalError
from loraeval.testing.kohya_files import write_lora, write_safetensors

SHARED_FOLDER = [HealthCheck.function_scoped_fixture]
SMALL: dict[str, Any] = {"components": ("te",), "rank": 4}


def read(folder: Path, name: str, text: str) -> ScriptFacts:
    (folder / name).write_text(text, encoding="utf-8")
    return read_script(folder / name)


AI_TOOLKIT = """
job: extension
config:
  name: hero
  process:
    - type: sd_trainer
      network: {type: lokr, linear: 16, linear_alpha: 8, conv: 4, conv_alpha: 2}
      save: {dtype: bf16, save_every: 250}
      datasets:
        - {folder_path: a, caption_ext: txt, caption_dropout_rate: 0.05, resolution: [512, 768],
           shuffle_tokens: true, num_repeats: 3}
        - {folder_path: reg, is_reg: true, resolution: [64], num_repeats: 9}
      train: {batch_size: 2, steps: 1500, lr: 5e-5, optimizer: prodigy, noise_scheduler: flowmatch,
              timestep_type: weighted, train_text_encoder: false, dtype: bf16,
              optimizer_params: {weight_decay: 0.01}, ema_config: {use_ema: true}}
      model: {name_or_path: black-forest-labs/FLUX.1-dev, is_flux: true, quantize: true}
"""


def test_ai_toolkit(tmp_path: Path) -> None:
    facts = read(tmp_path, "run.yaml", AI_TOOLKIT)
    assert (facts.program, facts.complete) == ("ai-toolkit", False)
    assert facts.values == {
        "adapter": "lokr", "network_dim": 16, "network_alpha": 8, "conv_dim": 4, "conv_alpha": 2,
        "learning_rate": 5e-5, "optimizer_type": "Prodigy", "max_train_steps": 1500,
        "train_batch_size": 2, "mixed_precision": "bf16", "text_encoder_trained": False,
        "network_train_unet_only": True, "noise_scheduler": "flowmatch",
        "timestep_sampling": "weighted", "ema": True, "save_precision": "bf16",
        "save_every_n_steps": 250, "quantize": True, "resolution": "512x512 / 768x768",
        "pretrained_model_name_or_path": "black-forest-labs/FLUX.1-dev",
        "base_model_version": "flux1", "caption_extension": ".txt", "caption_dropout_rate": 0.05,
        "shuffle_caption": True, "repeats": 3, "output_name": "hero",
        "optimizer_args": "weight_decay=0.01",
    }  # fmt: skip
    run = parameters_of_script(facts)
    assert run.values["learning_rate"].detail == "run.yaml: train.lr"
    assert run["trainer"] == "ai-toolkit"


@pytest.mark.parametrize(
    "text",
    ["a: &x [1]\nb: *x\n", "a: 1\na: 2\n", "!!python/object/apply:os.system ['true']\n",
     "[" * 200, "a: {" * 100, "- 1\n- 2\n", "config:\n  process: []\n", "\x00", "a: " + "1 " * 9],
)  # fmt: skip
def test_other_yaml_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path, "a.yaml", text)
    assert "\n" not in str(caught.value)


ONETRAINER: dict[str, Any] = {
    "training_method": "LORA", "model_type": "STABLE_DIFFUSION_XL_10_BASE",
    "base_model_name": "stabilityai/stable-diffusion-xl-base-1.0", "peft_type": "LORA",
    "lora_rank": 32, "lora_alpha": 16.0, "learning_rate": 0.0003, "epochs": 20, "batch_size": 4,
    "learning_rate_scheduler": "COSINE_WITH_RESTARTS", "learning_rate_cycles": 3.0,
    "learning_rate_warmup_steps": 200.0, "resolution": "1024", "train_dtype": "BFLOAT_16",
    "output_dtype": "FLOAT_16", "offset_noise_weight": 0.05, "loss_weight_fn": "MIN_SNR_GAMMA",
    "loss_weight_strength": 5.0, "timestep_distribution": "LOGIT_NORMAL",
    "min_noising_strength": 0.0, "max_noising_strength": 0.9, "ema": "OFF",
    "optimizer": {"optimizer": "ADAMW_8BIT", "weight_decay": 0.01, "beta1": None},
    "unet": {"train": True, "learning_rate": 0.0002},
    "text_encoder": {"train": False, "learning_rate": None},
    "concepts": [
        {"balancing": 2.0, "text": {"enable_tag_shuffling": True, "keep_tags_count": 1}},
        {"balancing": 9.0, "enabled": False},
    ],
    "save_every": 5, "save_every_unit": "EPOCH",
}  # fmt: skip


def test_onetrainer(tmp_path: Path) -> None:
    facts = read(tmp_path, "config.json", json.dumps(ONETRAINER))
    assert facts.program == "OneTrainer"
    assert facts.values == {
        "adapter": "lora", "network_dim": 32, "network_alpha": 16, "learning_rate": 0.0003,
        "unet_lr": 0.0002, "text_encoder_trained": False, "network_train_unet_only": True,
        "lr_scheduler": "cosine_with_restarts", "lr_warmup_steps": 200,
        "lr_scheduler_num_cycles": 3, "optimizer_type": "AdamW8bit",
        "optimizer_args": "weight_decay=0.01", "max_train_epochs": 20, "train_batch_size": 4,
        "resolution": "1024x1024", "mixed_precision": "bf16", "save_precision": "fp16",
        "ema": False, "noise_offset": 0.05, "min_snr_gamma": 5, "min_timestep": 0,
        "max_timestep": 900, "timestep_sampling": "logit_normal", "repeats": 2,
        "pretrained_model_name_or_path": "stabilityai/stable-diffusion-xl-base-1.0",
        "base_model_version": "sdxl_base_v1-0", "shuffle_caption": True, "keep_tokens": 1,
        "save_every_n_epochs": 5,
    }  # fmt: skip


def test_simpletuner_json_environment_and_lycoris(tmp_path: Path) -> None:
    (tmp_path / "lycoris.json").write_text('{"algo": "lokr", "linear_dim": 8, "factor": 16}')
    facts = read(tmp_path, "config.json", json.dumps({
        "--model_family": "flux", "--lora_type": "lycoris", "--lycoris_config": "c/lycoris.json",
        "--resolution": 1.0, "--resolution_type": "area", "--num_train_epochs": 0,
        "--max_train_steps": 5000, "--learning_rate": "1e-4", "--gradient_checkpointing": "true",
    }))  # fmt: skip
    assert facts.values["adapter"] == "lokr"
    assert (facts.values["network_dim"], facts.values["lokr_factor"]) == (8, 16)
    assert facts.values["gradient_checkpointing"] is True
    assert "max_train_epochs" not in facts.values
    assert "megapixels" in facts.unresolved["resolution"]
    lines = ["LORA_RANK=64", "LEARNING_RATE=1e-4", "TRAIN_BATCH_SIZE=2", "MAX_NUM_STEPS=3000"]
    env = read(tmp_path, "config.env", "".join(f"export {line}\n" for line in lines) + "X=$(y)\n")
    assert env.program == "SimpleTuner"
    assert env.values == {
        "network_dim": 64, "learning_rate": 1e-4, "train_batch_size": 2, "max_train_steps": 3000,
    }  # fmt: skip


PIPE = """
output_dir = '/x'
dataset = 'examples/dataset.toml'
epochs = 100
micro_batch_size_per_gpu = 2
gradient_clipping = 1.0
warmup_steps = 10
save_every_n_epochs = 10
[model]
type = 'sdxl'
checkpoint_path = '/models/base.safetensors'
dtype = 'bfloat16'
min_snr_gamma = 5
timestep_sample_method = 'logit_normal'
[adapter]
type = 'lora'
rank = 32
dtype = 'bfloat16'
[optimizer]
type = 'adamw_optimi'
lr = 2e-5
betas = [0.9, 0.99]
"""


def test_diffusion_pipe(tmp_path: Path) -> None:
    alone = read(tmp_path, "run.toml", PIPE)
    assert alone.values["network_alpha"] == alone.values["network_dim"] == 32
    assert alone.unresolved["resolution"] == "examples/dataset.toml"
    (tmp_path / "dataset.toml").write_text(
        "resolutions = [512, 768]\nenable_ar_bucket = true\n[[directory]]\npath = 'a'\n"
        "num_repeats = 5\n[[directory]]\npath = 'b'\nnum_repeats = 1\n"
    )
    facts = read(tmp_path, "run.toml", PIPE)
    assert facts.program == "diffusion-pipe"
    assert facts.values["resolution"] == "512x512 / 768x768"
    assert facts.values["repeats"] == "5 / 1"
    assert facts.values["learning_rate"] == 2e-5
    assert facts.values["optimizer_args"] == "betas=0.9,0.99"
    assert facts.values["pretrained_model_name_or_path"] == "base.safetensors"
    assert facts.unresolved == {}


def test_peft_and_diffusers_examples(tmp_path: Path) -> None:
    facts = read(tmp_path, "adapter_config.json", json.dumps({
        "peft_type": "LORA", "r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "use_dora": False,
        "target_modules": ["to_q"], "base_model_name_or_path": "x/y",
    }))  # fmt: skip
    assert (facts.program, facts.values["network_dim"], facts.values["network_alpha"]) == (
        "PEFT", 16, 32
    )  # fmt: skip
    facts = read(tmp_path, "a.sh", "accelerate launch train_dreambooth_lora_sdxl.py --rank=8 "
                 "--learning_rate 1e-4 --train_text_encoder --use_8bit_adam --snr_gamma=5.0 "
                 "--pretrained_model_name_or_path=$MODEL --max_train_steps 500\n")  # fmt: skip
    assert facts.program == "diffusers' example scripts"
    assert facts.values == {
        "network_dim": 8, "learning_rate": 1e-4, "text_encoder_trained": True,
        "min_snr_gamma": 5, "max_train_steps": 500, "optimizer_type": "AdamW8bit",
    }  # fmt: skip


def test_front_ends_of_sd_scripts(tmp_path: Path) -> None:
    text = (
        'model_train_type = "sdxl-lora"\nnetwork_dim = 32\nresolution = "1024,1024"\n'
        'network_args_custom = ["conv_dim=4"]\nseed = 7\n'
    )
    facts = read(tmp_path, "autosave.toml", text)
    assert facts.trainer == "sdxl_train_network.py"
    assert facts.values == {
        "network_dim": 32, "resolution": "1024x1024", "network_args": "conv_dim=4", "seed": 7,
    }  # fmt: skip
    assert not facts.complete


def test_the_configuration_that_a_script_launches_is_read(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(AI_TOOLKIT)
    facts = read(tmp_path, "a.sh", "cd ai-toolkit && python run.py config/run.yaml\n")
    assert facts.program == "ai-toolkit"
    with pytest.raises(CheckpointError, match=r"diffusion-pipe with examples/x\.toml"):
        read(
            tmp_path,
            "b.sh",
            "deepspeed --num_gpus=1 train.py --deepspeed --config examples/x.toml\n",
        )
    with pytest.raises(CheckpointError, match="no command"):
        read(tmp_path, "c.sh", "python train.py --epochs 3\n")


def lora(folder: Path, metadata: dict[str, str], **more: Any) -> Path:
    return write_lora(folder / "a.safetensors", metadata=metadata, **{**SMALL, **more})


META: dict[str, dict[str, str]] = {
    "ai-toolkit": {
        "software": '{"name": "ai-toolkit", "repo": "x", "version": "0.7.1"}', "format": "pt",
        "training_info": '{"step": 500, "epoch": 3}', "ss_base_model_version": "sdxl_1.0",
        "ss_output_name": "hero", "name": "hero",
        "ss_tag_frequency": '{"1_hero": {"hero": 1}}', "sshs_legacy_hash": "x",
    },
    "OneTrainer": {
        "ot_branch": "master", "ot_revision": "abc123", "ot_config": json.dumps(ONETRAINER),
        "modelspec.title": "hero", "ss_base_model_version": "sdxl_",
    },
    "musubi-tuner": {
        "ss_network_module": "networks.lora_qwen_image", "ss_network_dim": "4",
        "ss_network_alpha": "1", "ss_learning_rate": "0.0002", "ss_num_train_items": "20",
        "ss_timestep_sampling": "shift", "ss_discrete_flow_shift": "2.2",
    },
    "SimpleTuner": {
        "global_step": "1500", "modelspec.implementation": "diffusers",
        "lora_adapter_metadata": '{"transformer.r": 4, "transformer.lora_alpha": 8}',
        "trained_words": "hero",
    },
    "PEFT, by diffusers": {
        "lora_adapter_metadata": '{"unet.r": 4, "unet.lora_alpha": 16}', "format": "pt"
    },
}  # fmt: skip


@pytest.mark.parametrize("program", META)
def test_a_file_names_its_trainer_and_claims_no_default(
    program: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lora(tmp_path, META[program])
    assert trainer_of(META[program]).program == program
    run = training_parameters(path)
    assert run["trainer"] == program
    assert all(entry.source != "default" for entry in run.values.values())
    assert run["captions_read"] is None
    assert run.values.get("network_module", run.values["trainer"]).source == "recorded"
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert f"trainer       {program}" in out
    assert "merge" not in out


def test_what_each_file_records(tmp_path: Path) -> None:
    run = training_parameters(lora(tmp_path, META["OneTrainer"]))
    assert (run["learning_rate"], run["trainer_version"]) == (0.0003, "abc123")
    assert run.values["learning_rate"].detail == "ot_config: learning_rate"
    assert run["training_script"] is None
    run = training_parameters(lora(tmp_path, META["ai-toolkit"]))
    assert (run["steps_at_save"], run["epoch_at_save"], run["trainer_version"]) == (500, 3, "0.7.1")
    run = training_parameters(lora(tmp_path, META["musubi-tuner"]))
    assert (run["timestep_sampling"], run["training_script"]) == (
        "shift", "qwen_image_train_network.py"
    )  # fmt: skip
    run = training_parameters(lora(tmp_path, META["SimpleTuner"]))
    assert (run["steps_at_save"], run.values["network_alpha"].conflicts[0].value) == (1500, 8)


def test_an_unknown_trainer_is_called_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lora(tmp_path, {"ss_base_model_version": "sd_v1", "modelspec.title": "x"})
    assert main(["inspect", str(path), "--all"]) == 0
    out = capsys.readouterr().out
    assert "trainer       not known" in out
    assert "default" not in out


KEY = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"


def peft_file(folder: Path, metadata: dict[str, str]) -> Path:
    tensors = {
        f"{KEY}.lora_A.weight": np.ones((4, 768), np.float32),
        f"{KEY}.lora_B.weight": np.ones((320, 4), np.float32),
    }
    return write_safetensors(folder / "p.safetensors", tensors, metadata)


def test_the_scale_shown_is_the_scale_rendered(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from loraeval.render.lora_merge import read_lora

    assert torch
    for metadata, scale in (
        ({"lora_adapter_metadata": '{"unet.r": 4, "unet.lora_alpha": 16}'}, 4.0),
        ({"lora_adapter_metadata": '{"unet.lora_alpha": 16, "unet.use_rslora": true}'}, 8.0),
        (
            {"lora_adapter_metadata": '{"unet.lora_alpha": 16, "unet.alpha_pattern": {"to_k": 2}}'},
            0.5,
        ),
        ({"lora_adapter_metadata": "nonsense"}, 1.0),
        ({"r": "4", "lora_alpha": "2"}, 1.0),
    ):
        path = peft_file(tmp_path, metadata)
        anatomy = read_anatomy(path)
        assert dict(anatomy.components[0].scales) == {scale: 1}
        assert list(read_lora(path).factors.values()) == [scale]
    assert any("lora_alpha stands in the metadata by itself" in note for note in anatomy.notes)
    assert module_scale("lora_unet_x", 4, 2.0, peft_alphas({})) == 0.5


def test_runs_of_different_trainers_are_compared_by_meaning(tmp_path: Path) -> None:
    ours = parameters_of_script(read(
        tmp_path, "a.sh", "accelerate launch sdxl_train_network.py --network_dim=32 --seed=1 "
        "--network_alpha=16 --network_module=networks.lora --learning_rate=3e-4 --unet_lr=2e-4 "
        "--optimizer_type=AdamW8bit --lr_scheduler=cosine_with_restarts --mixed_precision=bf16 "
        "--lr_scheduler_num_cycles=3 --lr_warmup_steps=200 --resolution=1024,1024 "
        "--train_batch_size=4 --noise_offset=0.05 --min_snr_gamma=5 --max_train_epochs=30 "
        "--network_train_unet_only --optimizer_args weight_decay=0.01 --shuffle_caption "
        "--keep_tokens=1 --pretrained_model_name_or_path=stabilityai/stable-diffusion-xl-base-1.0 "
        "--max_timestep=900\n"))  # fmt: skip
    theirs = parameters_of_script(read(tmp_path, "config.json", json.dumps(ONETRAINER)))
    found = compare_parameters([ours, theirs])
    assert [name for name, _ in found.evidence] == ["max_train_epochs"]
    assert found.confounding.startswith("One effective")


@pytest.mark.parametrize(
    "name", ["a.yaml", "a.json", "a.toml", "a.ipynb", "a.env", "a.ps1", "a.bat", "a.log"]
)
@given(data=st.binary(max_size=200))
@settings(max_examples=40, deadline=None, suppress_health_check=SHARED_FOLDER)
def test_any_bytes_are_read_or_refused(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    told = ""
    try:
        read_script(tmp_path / name)
    except LoraevalError as error:
        told = str(error)
    assert "\n" not in told


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**12) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["config", "process", "train", "network", "datasets", "optimizer", "unet",
                         "lora_rank", "peft_type", "r", "concepts", "model", "adapter", "type",
                         "general_args", "args", "subsets", "model_train_type", "LoRA_type",
                         "resolution", "--lora_rank", "--model_family", "text_encoder"]),
        inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@given(tree=st.dictionaries(
    st.sampled_from(["config", "peft_type", "r", "learning_rate_scheduler", "base_model_name",
                     "lora_rank", "model_family", "LoRA_type", "model_train_type", "optimizer",
                     "target_modules", "resolution", "concepts", "epoch", "lora_type"]),
    TREES, max_size=6))  # fmt: skip
@settings(max_examples=200, deadline=None, suppress_health_check=SHARED_FOLDER)
def test_any_tree_is_read_or_refused(tmp_path: Path, tree: Any) -> None:
    (tmp_path / "a.json").write_text(json.dumps(tree))
    try:
        run = parameters_of_script(read_script(tmp_path / "a.json"))
    except CheckpointError:
        return
    assert Parameters.from_json(run.to_json()) == run


def planned(folder: Path, first: ScriptFacts, second: ScriptFacts) -> dict[str, str]:
    runs = [parameters_of_script(first), parameters_of_script(second)]
    plan = plan_experiments(compare_parameters(runs))
    return {item.change.partition(":")[0]: item.command for item in plan}


def heredoc(command: str) -> tuple[str, str, str]:
    """File name, its text, and the command that is run with it."""
    head, body = command.split(" <<'END'\n")
    text, start = body.split("\nEND\n")
    return head.removeprefix("cat > "), text, start


def test_plans_are_written_in_the_syntax_of_their_trainer(tmp_path: Path) -> None:
    toolkit = [read(tmp_path, "a.yaml", AI_TOOLKIT),
               read(tmp_path, "b.yaml", AI_TOOLKIT.replace("5e-5", "1e-4"))]  # fmt: skip
    name, text, start = heredoc(planned(tmp_path, *toolkit)["learning_rate"])
    assert start == f"python run.py {name}"
    again = read(tmp_path, "again.yaml", text)
    assert again.values == {
        **toolkit[0].values, "learning_rate": 1e-4, "output_name": name.removesuffix(".yaml"),
    }  # fmt: skip

    changed = {**ONETRAINER, "lora_rank": 64, "optimizer": {"optimizer": "PRODIGY"}}
    trainer = [read(tmp_path, "a.json", json.dumps(ONETRAINER)),
               read(tmp_path, "b.json", json.dumps(changed))]  # fmt: skip
    commands = planned(tmp_path, *trainer)
    name, text, start = heredoc(commands["network_dim"])
    assert start == f"python scripts/train.py --config-path {name}"
    again = read(tmp_path, "again.json", text)
    assert (again.values["network_dim"], again.values["network_alpha"]) == (64, 32)
    for same in ("optimizer_type", "lr_scheduler", "mixed_precision", "adapter", "max_timestep"):
        assert again.values[same] == trainer[0].values[same], same
    assert json.loads(heredoc(commands["optimizer_type"])[1])["optimizer"]["optimizer"] == "PRODIGY"

    pipe = [read(tmp_path, "a.toml", PIPE), read(tmp_path, "b.toml", PIPE.replace("2e-5", "1e-4"))]
    name, text, start = heredoc(planned(tmp_path, *pipe)["learning_rate"])
    assert start.startswith("deepspeed --num_gpus=1 train.py --deepspeed --config ")
    again = read(tmp_path, "again.toml", text)
    assert again.values["learning_rate"] == 1e-4
    assert again.values["max_train_epochs"] == 100

    wan = [read(tmp_path, f"{dim}.sh", f"accelerate launch wan_train_network.py --network_dim={dim}"
                " --network_alpha=8 --task=t2v-14B --network_module=networks.lora_wan\n")
           for dim in (16, 32)]  # fmt: skip
    command = planned(tmp_path, *wan)["network_dim"]
    assert command.startswith("accelerate launch src/musubi_tuner/wan_train_network.py")
    assert read(tmp_path, "again.sh", command + "\n").values["network_alpha"] == 16


def test_the_answer_comes_first_and_equal_rows_fold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for rate in ("1e-4", "2e-4"):
        (tmp_path / f"{rate}.sh").write_text(
            f"python train_network.py --network_dim=8 --network_alpha=4 --learning_rate={rate}\n"
        )
    assert main(["params", str(tmp_path / "1e-4.sh"), str(tmp_path / "2e-4.sh")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 effective difference: learning_rate."
    table = [line for line in lines if line.startswith(("*", " "))]
    assert sum("network_dim" in line for line in table) == 0
    assert any(line.startswith("Equal in all runs: ") for line in lines)
    same = str(tmp_path / "1e-4.sh")
    assert main(["params", same, same]) == 0
    assert capsys.readouterr().out.startswith("No effective difference is known.")
