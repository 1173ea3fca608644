"""Scripts, TOML and GUI settings, with the traps that real ones hold."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loraeval.checkpoints.scripts import MAX_SCRIPT_BYTES, ScriptFacts, read_script
from loraeval.checkpoints.table import parameter_table
from loraeval.errors import CheckpointError

SHARED_FOLDER = [HealthCheck.function_scoped_fixture]


def read(tmp_path: Path, name: str, text: str) -> ScriptFacts:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_script(tmp_path / name)


def test_the_table_holds_the_flags_read_from_the_trainers(kohya: Path) -> None:
    table = parameter_table()
    for row in json.loads((kohya / "args.json").read_text()):
        name = row["flag"].removeprefix("--")
        if name == "caption_extention":  # an alias
            continue
        spec = table[name]
        assert spec.flag
        if row.get("action") == "store_true":
            assert (spec.type, spec.default) == ("switch", False)
        else:
            assert spec.default == row.get("default"), name
            assert set(spec.choices) == {c for c in row.get("choices") or () if c is not None}
            assert spec.list is (row.get("nargs") == "*")


SHELL = r"""#!/bin/bash
# train_network.py --network_dim=999 is only a comment
BASE="runwayml/stable-diffusion-v1-5"
export DIM=32
EXTRA="--flip_aug --clip_skip 2"
accelerate launch --mixed_precision bf16 --num_cpu_threads_per_process 1 \
  "./sd-scripts/train_network.py" \
  --pretrained_model_name_or_path="$BASE" --network_dim=${DIM} --network_alpha 16 \
  --resolution=512,512 --optimizer_args "weight_decay=0.1" "betas=0.9,0.99" \
  --network_args conv_dim=4 conv_alpha=1 \
  --save_prec=fp16 --shuffle_caption $EXTRA --train_batch=4 \
  --max_train_epochs=$EPOCHS --learning_rate=${LR:-1e-4} && echo done --seed=1
"""


def test_shell_script(tmp_path: Path) -> None:
    facts = read(tmp_path, "run.sh", SHELL)
    assert facts.trainer == "train_network.py"
    assert facts.values == {
        "pretrained_model_name_or_path": "runwayml/stable-diffusion-v1-5",
        "network_dim": 32, "network_alpha": 16, "resolution": "512x512",
        "optimizer_args": "betas=0.9,0.99 weight_decay=0.1",
        "network_args": "conv_alpha=1 conv_dim=4", "save_precision": "fp16",
        "shuffle_caption": True, "flip_aug": True, "clip_skip": 2, "train_batch_size": 4,
        "learning_rate": 1e-4,
    }  # fmt: skip
    assert facts.unresolved == {"max_train_epochs": "$EPOCHS"}
    assert "mixed_precision" not in facts.values  # accelerate's own option


def test_a_variable_set_twice_is_not_guessed(tmp_path: Path) -> None:
    text = "N=1\nif x; then\nN=2\nfi\npython sdxl_train_network.py --seed=$N --network_dim 4\n"
    facts = read(tmp_path, "a.sh", text)
    assert facts.trainer == "sdxl_train_network.py"
    assert facts.values == {"network_dim": 4}
    assert facts.unresolved == {"seed": "$N"}


def test_markdown_fences(tmp_path: Path) -> None:
    page = f"# Notes\nsay train_network.py --seed=5\n\n```bash\n{SHELL}```\n\ntext\n"
    assert read(tmp_path, "a.md", page).values["network_dim"] == 32


def test_flags_that_stop_or_do_nothing(tmp_path: Path) -> None:
    text = ("python train_network.py --batch_size=4 --max_ 3 --network_dim=many "
            "--max_token_length=75 --seed\n")  # fmt: skip
    facts = read(tmp_path, "a.sh", text)
    assert "no flag of train_network.py" in facts.ignored["batch_size"]
    assert not facts.complete
    assert "ambiguous" in facts.ignored["max_"]
    told = " ".join(facts.warnings)
    for word in ("network_dim many", "choices: 150, 225", "--seed stands without"):
        assert word in told


def test_secrets_are_not_read(tmp_path: Path) -> None:
    text = "python train_network.py --huggingface_token=hf_abc --wandb_api_key k123 --seed=1\n"
    facts = read(tmp_path, "a.sh", text)
    assert "hf_abc" not in repr(facts)
    assert "k123" not in repr(facts)


def test_toml_traps(tmp_path: Path) -> None:
    facts = read(tmp_path, "c.toml", """
        batch_size = 4
        sdxl = true
        [network]
        network_dim = 32
        bucket_resolution = 64
        [network_again]
        network_dim = 16
        max_token_length = 75
        in_json = ""
        resolution = 512
    """)  # fmt: skip
    assert facts.values["network_dim"] == 16  # later keys win, sections mean nothing
    assert "train_batch_size" not in facts.values
    assert "train_batch_size is the one" in facts.ignored["batch_size"]
    assert set(facts.ignored) == {"batch_size", "sdxl", "bucket_resolution"}
    told = " ".join(facts.warnings)
    for word in ("in_json", 'text such as "512,512"', "TOML does not check"):
        assert word in told


def test_the_command_line_wins_over_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("network_dim = 8\nnetwork_alpha = 4\n")
    facts = read(
        tmp_path, "a.sh", "python train_network.py --config_file c.toml --network_dim 16\n"
    )
    assert (facts.values["network_dim"], facts.values["network_alpha"]) == (16, 4)
    assert facts.complete
    lost = read(tmp_path, "b.sh", "python train_network.py --config_file=../etc/x.toml --seed 1\n")
    assert not lost.complete


def test_dataset_configuration(tmp_path: Path) -> None:
    facts = read(tmp_path, "d.toml", """
        [general]
        shuffle_caption = true
        caption_extension = ".txt"
        [[datasets]]
        resolution = 512
        batch_size = 4
        [[datasets.subsets]]
        image_dir = "x"
        num_repeats = 10
        keep_tokens = 2
        wrong = 1
    """)  # fmt: skip
    assert facts.values == {
        "shuffle_caption": True, "caption_extension": ".txt", "resolution": "512x512",
        "train_batch_size": 4, "repeats": 10, "keep_tokens": 2,
    }  # fmt: skip
    assert "stops" in facts.ignored["wrong"]
    assert not facts.complete


def test_gui_settings(tmp_path: Path) -> None:
    facts = read(tmp_path, "g.json", json.dumps({
        "LoRA_type": "Kohya LoCon", "conv_dim": 4, "conv_alpha": 1, "optimizer": "AdamW8bit",
        "max_resolution": "512,512", "epoch": 10, "seed": "0", "noise_offset_type": "Multires",
        "noise_offset": 0.1, "multires_noise_iterations": 6, "multires_noise_discount": 0.3,
        "min_snr_gamma": 0, "lr_scheduler": "cosine_with_restarts", "lr_scheduler_num_cycles": "",
        "xformers": "sdpa", "max_token_length": "75", "learning_rate": "0.0001", "lr_warmup": 10,
        "network_dim": 32, "flip_aug": False, "pretrained_model_name_or_path": "/models/v1-5.ckpt",
    }))  # fmt: skip
    assert facts.values == {
        "optimizer_type": "AdamW8bit", "resolution": "512x512", "max_train_epochs": 10,
        "multires_noise_iterations": 6, "multires_noise_discount": 0.3, "sdpa": True,
        "lr_scheduler": "cosine_with_restarts", "lr_scheduler_num_cycles": 10,
        "max_token_length": 75, "learning_rate": 1e-4, "network_dim": 32,
        "network_module": "networks.lora", "network_args": "conv_alpha=1 conv_dim=4",
        "pretrained_model_name_or_path": "v1-5.ckpt",
    }  # fmt: skip
    assert "Multires" in facts.ignored["noise_offset"]
    assert facts.unresolved == {"lr_warmup_steps": "10 % of the steps"}


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.sh", b"echo hello\n", "no command"),
        ("a.sh", b"\xff\xfe\x00", "UTF-8"),
        ("a.sh", b"x" * (MAX_SCRIPT_BYTES + 1), "larger"),
        ("a.toml", b"x = [", "TOML"),
        ("a.toml", b"a = " + b"[" * 5000, "TOML"),
        ("a.toml", b"nothing = 1", "no parameter"),
        ("a.json", b"[" * 100_000, "JSON"),
        ("a.json", b"[]", "object"),
        ("a.json", b"{}", "kohya_ss"),
        ("a.toml", b"run_facts = 1", "name"),
        ("a.toml", b"run_facts = 1\nname = 'x'\n[facts]\ncolour = 1", "knows"),
        ("a.toml", b"run_facts = 1\nname = 'x'\n[arguments]\nbatch = 1", "no argument"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=word) as caught:
        read_script(tmp_path / name)
    assert "\n" not in str(caught.value)


FLAGS = st.sampled_from(["--network_dim", "--seed", "--optimizer_args", "--xformers", "--no", "--"])
WORDS = st.one_of(FLAGS, st.sampled_from(
    ["$A", "${A:-x}", "A=$A$A", "A=$B", "B=$A$A$A", "\\\n", "\n", "train_network.py", "'", '"',
     "```", "=", ";", "&&", "1e999", "nan", "$(", "`x`", "#"]), st.text(max_size=6))  # fmt: skip


@settings(max_examples=250, deadline=None, suppress_health_check=SHARED_FOLDER)
@given(st.lists(WORDS, max_size=60), st.sampled_from([".sh", ".md", ".txt"]))
def test_fuzz_shell(tmp_path: Path, words: list[str], suffix: str) -> None:
    path = tmp_path / f"f{suffix}"
    path.write_bytes(" ".join(["python train_network.py", *words]).encode("utf-8", "replace"))
    start = time.process_time()
    try:
        facts = read_script(path)
    except CheckpointError as error:
        pytest.fail("two lines") if "\n" in str(error) else None
    else:
        assert all(value is None or isinstance(value, (bool, int, float, str))
                   for value in facts.values.values())  # fmt: skip
    assert time.process_time() - start < 5


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["LoRA_type", "network_dim", "resolution", "datasets", "subsets", "general",
                         "optimizer_type", "optimizer_args", "run_facts", "name", "arguments",
                         "facts", "claims", "text_encoder_lr", "lr_warmup", "sdxl", "images"]),
        inner, max_size=6),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=250, deadline=None, suppress_health_check=SHARED_FOLDER)
@given(TREES)
def test_fuzz_json_and_toml_trees(tmp_path: Path, tree: object) -> None:
    from loraeval.checkpoints import scripts

    path = tmp_path / "f.json"
    path.write_text(json.dumps(tree))
    try:
        read_script(path)
    except CheckpointError as error:
        pytest.fail("two lines") if "\n" in str(error) else None
    if isinstance(tree, dict):
        path = tmp_path / "f.toml"
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(scripts, "parse_toml", lambda *_: tree)
                path.write_text("")
                read_script(path)
        except CheckpointError as error:
            pytest.fail("two lines") if "\n" in str(error) else None
