"""Shells, batch files, PowerShell, notebooks and logs: read without being run, nothing guessed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loraeval.checkpoints.parameters import parameters_of_script
from loraeval.checkpoints.scripts import ScriptFacts, read_script
from loraeval.checkpoints.shell.batch import batch_script
from loraeval.checkpoints.shell.posix import posix_script
from loraeval.checkpoints.shell.powershell import powershell_script
from loraeval.checkpoints.shell.words import Script, Variables, Word, arithmetic
from loraeval.errors import CheckpointError

SHARED_FOLDER = [HealthCheck.function_scoped_fixture]


def words(script: Script, index: int = -1) -> list[str]:
    return [w.text + ("?" if w.open else "") for w in script.commands[index].words]


def read(folder: Path, name: str, text: str) -> ScriptFacts:
    (folder / name).write_text(text, encoding="utf-8")
    return read_script(folder / name)


def test_bash_arrays_conditions_and_arithmetic() -> None:
    script = posix_script("""
        DIM=32; ALPHA=$((DIM / 2)); ARGS=(--a 1)
        ARGS+=(--b "x y")
        if [ "$DIM" = 32 ]; then ARGS+=(--yes); else ARGS+=(--no); fi
        if [[ $DIM -gt 64 ]]; then SIZE=big; elif [ -n "$DIM" ]; then SIZE=small; fi
        OPTIONS="--x=1 --y=2"
        run "${ARGS[@]}" --alpha=$ALPHA $OPTIONS "--z=$OPTIONS" --n=${NAME:-none} $SIZE 2>&1 | tee l
    """)
    assert words(script, 0) == [
        "run", "--a", "1", "--b", "x y", "--yes", "--alpha=16", "--x=1", "--y=2",
        "--z=--x=1 --y=2", "--n=none", "small",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ["X=$(cat dim)", "read X", "for X in 1 2; do :; done", "if [ -f y ]; then X=2; fi",
     "while true; do X=5; done", "X=1; case $1 in a) X=2;; esac", "X=$1", "X=`date`",
     "unset X", "X=${Y%.*}"],
)  # fmt: skip
def test_what_bash_may_set_otherwise_is_open(line: str) -> None:
    (word,) = posix_script(f"{line}\nrun $X\n").commands[-1].words[1:]
    assert word.open
    assert word.text == "$X"


def test_single_quotes_comments_and_here_documents() -> None:
    script = posix_script("""
cat > "cfg/run.toml" <<'END'
network_dim = 8 # not a comment of the shell
END
run '--a=$B' --c=d#e # --f=g
""")
    assert script.written == {"cfg/run.toml": "network_dim = 8 # not a comment of the shell\n"}
    assert words(script) == ["run", "--a=$B", "--c=d#e"]


def test_powershell_variables_lists_and_conditions() -> None:
    script = powershell_script("""
        <# block #> param([int]$rank = 4)
        $Dim = 16; $alpha = $dim / 2 ; $odd = $dim / 5
        $list = New-Object System.Collections.ArrayList
        [void]$list.Add("--clip_skip=2")
        $list += '--seed=$dim'
        $more = @(
            "--network_dim=$Dim",   # comment
            "--flip_aug"
        )
        if ($dim -eq 16) { $ok = "yes" } elseif ($dim -eq 2) { $ok = "no" } else { $ok = "never" }
        if ($unknown) { $x = 1 } else { $x = 2 }
        & accelerate launch train.py @more $list --r=$rank --x=$x "--ok=$($ok)" `
            --alpha=$alpha --odd=$odd *> log.txt
    """)
    assert words(script) == [
        "accelerate", "launch", "train.py", "--network_dim=16", "--flip_aug", "--clip_skip=2",
        "--seed=$dim", "--r=$rank?", "--x=$x?", "--ok=yes", "--alpha=8", "--odd=$odd?",
    ]  # fmt: skip


def test_batch_variables_and_conditions() -> None:
    script = batch_script(
        r"""
@echo off
REM set DIM=99
set DIM=32
set "ALPHA=16"
set /a HALF=%DIM%/2
set /p ASK=Give it:
set ARGS=--seed=7 --xformers
if "%DIM%"=="32" (
  set LR=1e-4
) else (
  set LR=2e-4
)
if exist foo set Q=1
run "a b" --network_dim=%DIM% --alpha=%ALPHA% --half=%HALF% %ARGS% ^
  --lr=%LR% --q=%Q% --ask=%ASK% > log.txt 2>&1
""".replace("\n", "\r\n")
    )
    assert words(script) == [
        "run", "a b", "--network_dim=32", "--alpha=16", "--half=16", "--seed=7", "--xformers",
        "--lr=1e-4", "--q=%Q%?", "--ask=%ASK%?",
    ]  # fmt: skip


def notebook(*cells: str) -> str:
    rows = [{"cell_type": "code", "source": text.splitlines(keepends=True)} for text in cells]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": ["# x"]}, *rows]})


def test_a_notebooks_constants_reach_its_shell_lines(tmp_path: Path) -> None:
    facts = read(tmp_path, "a.ipynb", notebook(
        "dim = 32 #@param {type:'integer'}\nrate = 1e-4\nname = f'run_{dim}'\n%env SEED=5",
        "alpha = dim // 2\nif dim == 32:\n  extra = '--flip_aug'\nelse:\n  extra = ''",
        "!accelerate launch sdxl_train_network.py --network_dim={dim} --network_alpha $alpha \\\n"
        "  --output_name={name} --learning_rate={rate} --seed=$SEED --max_train_epochs={epochs()}",
    ))  # fmt: skip
    assert facts.trainer == "sdxl_train_network.py"
    assert facts.values == {
        "network_dim": 32, "network_alpha": 16, "output_name": "run_32", "learning_rate": 1e-4,
        "seed": 5,
    }  # fmt: skip
    assert list(facts.unresolved) == ["max_train_epochs"]


def test_a_notebook_that_writes_its_configuration(tmp_path: Path) -> None:
    facts = read(tmp_path, "a.ipynb", notebook(
        "import toml\ndim = 16\ncfg = {'network_arguments': {'network_dim': dim,\n"
        "  'network_alpha': 8, 'network_module': 'networks.lora', 'unet_lr': rate()}}\n"
        "with open(path, 'w') as f:\n  f.write(toml.dumps(cfg))",
        "!accelerate launch train_network.py --config_file={path} --seed 3",
    ))  # fmt: skip
    assert facts.values["network_dim"] == 16
    assert facts.values["seed"] == 3
    assert "unet_lr" in facts.unresolved
    written = read(tmp_path, "b.ipynb", notebook(
        "%%writefile /content/run.toml\nnetwork_dim = 4\nlearning_rate = 1e-3",
        "import subprocess\nsubprocess.run(['python', 'train_network.py', '--config_file',"
        " '/content/run.toml', '--seed=9'])",
    ))  # fmt: skip
    assert (written.values["network_dim"], written.values["seed"]) == (4, 9)
    assert written.complete


LAUNCH = "accelerate launch train_network.py"


@pytest.mark.parametrize(
    "text",
    ['trainer_file="./scripts/train_network.py"\n', "echo train_network.py --network_dim=4\n",
     "cp train_network.py backup.py\n", "cat train_network.py | head\n", f"{LAUNCH}\n",
     'TRAINER="train_network.py"\necho "$TRAINER --seed 1"\n', f"# {LAUNCH} --seed=1\n"],
)  # fmt: skip
def test_what_launches_nothing_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path, "a.sh", text)
    assert "\n" not in str(caught.value)


def test_two_scripts_that_hide_their_trainer_still_differ(tmp_path: Path) -> None:
    from loraeval.checkpoints.compare import compare_parameters

    script = """
        $trainer_file = "./scripts/train_network.py"
        $dim = {dim}
        accelerate launch $trainer_file --network_dim=$dim --network_alpha={alpha} `
            --learning_rate={rate} --optimizer_type={kind}
    """
    runs = [
        parameters_of_script(read(tmp_path, f"{i}.ps1", script.format_map(values)))
        for i, values in enumerate((
            {"dim": 32, "alpha": 16, "rate": "1e-4", "kind": "AdamW8bit"},
            {"dim": 64, "alpha": 64, "rate": "3e-4", "kind": "Prodigy"},
        ))
    ]  # fmt: skip
    found = compare_parameters(runs)
    assert {name for name, _ in found.evidence} >= {
        "network_dim", "network_alpha", "learning_rate", "optimizer_type"
    }  # fmt: skip


def test_a_pasted_log_with_flags_on_the_next_lines(tmp_path: Path) -> None:
    facts = read(tmp_path, "a.txt", f"{LAUNCH}\n  --network_dim=32\n  --network_alpha=16\nDone\n")
    assert facts.values == {"network_dim": 32, "network_alpha": 16}
    (tmp_path / "config_lora-20250101-120000.toml").write_text("network_dim = 8\nseed = 4\n")
    log = (
        "12:00:00-123456 INFO     Executing command: /venv/bin/accelerate launch     "
        "command_executor.py:85\n"
        "                         --dynamo_backend no --num_processes 1 /sd/train_network.py\n"
        "                         --config_file\n"
        "                         /out/config_lora-20250101-120000.toml\n"
        "12:00:01 INFO     Command executed.\n"
    )
    facts = read(tmp_path, "b.log", log)
    assert (facts.values["network_dim"], facts.values["seed"]) == (8, 4)
    assert facts.complete


def test_an_unresolved_word_may_hold_any_flag(tmp_path: Path) -> None:
    facts = read(tmp_path, "a.sh", f"{LAUNCH} --network_dim=4 $EXTRA\n")
    assert not facts.complete
    run = parameters_of_script(facts)
    assert not run.known("network_alpha")
    assert run["network_dim"] == 4


def test_a_missing_configuration_is_no_default(tmp_path: Path) -> None:
    facts = read(tmp_path, "a.sh", f"{LAUNCH} --config_file=run.toml --seed=1\n")
    run = parameters_of_script(facts)
    assert not run.known("network_dim")
    assert "run.toml" in run.values["network_dim"].detail
    data = read(tmp_path, "b.sh", f"{LAUNCH} --dataset_config d.toml --network_dim 4 "
                "--resolution 512 --train_batch_size=2\n")  # fmt: skip
    run = parameters_of_script(data)
    for name in ("resolution", "train_batch_size", "keep_tokens", "enable_bucket"):
        assert not run.known(name), name
    assert "512x512" in run.values["resolution"].detail
    assert (run["network_alpha"], run.values["network_alpha"].source) == (1, "default")


def test_a_dataset_configuration_wins_and_regularisation_does_not(tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text("""
        [general]
        enable_bucket = true
        [[datasets]]
        resolution = [512, 768]
        batch_size = 4
        [[datasets.subsets]]
        image_dir = "a"
        num_repeats = 10
        keep_tokens = 1
        [[datasets.subsets]]
        image_dir = "b"
        num_repeats = 5
        keep_tokens = 1
        [[datasets.subsets]]
        is_reg = true
        image_dir = "reg"
        num_repeats = 1
    """)
    facts = read(tmp_path, "a.sh", f"{LAUNCH} --dataset_config=d.toml --resolution=1024 --seed=1\n")
    assert facts.values["resolution"] == "512x768"
    assert facts.values["repeats"] == "10 / 5"
    assert facts.values["keep_tokens"] == 1
    assert facts.values["enable_bucket"] is True
    assert facts.complete


def test_flags_are_those_of_the_training_script(tmp_path: Path) -> None:
    flux = read(tmp_path, "a.sh", "python flux_train_network.py --guidance_scale=1 --ae ae.sft\n")
    run = parameters_of_script(flux)
    assert flux.complete
    assert (run["discrete_flow_shift"], run["guidance_scale"]) == (3, 1)
    other = read(tmp_path, "b.sh", "python train_network.py --guidance_scale=1 --seed=1\n")
    assert not other.complete
    assert "flag of" in other.ignored["guidance_scale"]
    wan = read(tmp_path, "c.sh", "accelerate launch src/musubi_tuner/wan_train_network.py "
               "--task t2v-14B --dit d.safetensors --network_module networks.lora_wan "
               "--network_dim 32\n")  # fmt: skip
    assert (wan.program, wan.trainer, wan.complete) == (
        "musubi-tuner",
        "wan_train_network.py",
        True,
    )
    mine = read(tmp_path, "d.sh", "python my_train_network.py --network_dim=4\n")
    assert (mine.program, mine.complete, mine.values) == (None, False, {"network_dim": 4})
    assert all(e.source != "default" for e in parameters_of_script(mine).values.values())


def test_arithmetic_is_of_small_whole_numbers_only() -> None:
    names = {"A": (Word("7"),)}
    assert arithmetic("A * 2 + 1", names) == 15
    assert arithmetic("A / 2", names) == 3
    assert arithmetic("A / 2", names, exact=True) is None
    for text in ("2 ** 99999", "A / 0", "b", "(" * 150, "__import__('os')", "'a' * 9"):
        assert arithmetic(text, names) is None


TEXT = st.text(
    st.sampled_from("aX1=$\"'`\\ \n{}()[]@%^!#;|&<>-.,:/if then fi else done"), max_size=300
)


@pytest.mark.parametrize("reader", [posix_script, powershell_script, batch_script])
@given(text=TEXT)
@settings(max_examples=150, deadline=None)
def test_no_text_breaks_a_reader(reader: Any, text: str) -> None:
    for command in reader(text).commands:
        assert all(isinstance(word, Word) for word in command.words)


@pytest.mark.parametrize(
    ("reader", "text"),
    [(posix_script, "A=" + "$A" * 20_000), (posix_script, "if " * 20_000),
     (posix_script, "'" + "x" * 100_000), (posix_script, "A=(" + "x " * 50_000 + ")\nrun ${A[@]}"),
     (powershell_script, "{" * 20_000), (powershell_script, "if (" * 5_000),
     (powershell_script, '"$(' * 10_000), (batch_script, "if a==a " * 5_000),
     (batch_script, "%A%" * 50_000)],
)  # fmt: skip
def test_hostile_scripts_cost_little(reader: Any, text: str) -> None:
    begun = time.process_time()
    reader(text)
    assert time.process_time() - begun < 3


def test_a_variable_grows_no_further_than_a_word() -> None:
    variables = Variables()
    posix_script("A=x\n" + "A=$A$A\n" * 60, variables)
    value = variables.get("A")
    assert value is not None
    assert len(value[0].text) <= 10_000


@pytest.mark.parametrize("name", ["x" * 5000, "a\x00b", "/", "..", "d/" * 300, "."])
def test_a_configuration_of_an_impossible_name_is_missing(tmp_path: Path, name: str) -> None:
    cell = json.dumps(f"import subprocess\nsubprocess.run(['python', 'train_network.py', "
                      f"'--seed=1', '--config_file', {name!r}])")  # fmt: skip
    text = f'{{"cells": [{{"cell_type": "code", "source": {cell}}}]}}'
    facts = read(tmp_path, "a.ipynb", text)
    assert len(facts.missing) == 1
    assert not facts.complete
