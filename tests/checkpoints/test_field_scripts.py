"""Scripts and configurations as people post them: what they set is read, no more is claimed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loraeval.checkpoints.parameters import parameters_of_script
from loraeval.checkpoints.scripts import read_script

CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "scripts"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the cases from the field are not here")

SD, MUSUBI = "sd-scripts", "musubi-tuner"
RIGHT: dict[str, tuple[str | None, str | None, dict[str, Any]]] = {
    "a02_arrays.ps1": (SD, "train_network.py", {
        "network_dim": 32, "network_alpha": 16, "learning_rate": 1e-4, "clip_skip": 2,
        "shuffle_caption": True, "pretrained_model_name_or_path": "base.safetensors"}),
    "a03_vars.ps1": (SD, "sdxl_train_network.py", {
        "network_dim": 16, "network_alpha": 8, "max_train_epochs": 12, "mixed_precision": "bf16",
        "network_module": "networks.lora"}),
    "a05_array.sh": (SD, "sdxl_train_network.py", {
        "network_dim": 64, "network_alpha": 32, "max_train_epochs": 8, "seed": 7}),
    "a07_subprocess.ipynb": (SD, "train_network.py", {
        "network_dim": 32, "network_alpha": 16, "max_train_epochs": 10}),
    "a09_pipes.sh": (SD, "train_network.py", {"network_dim": 32, "network_alpha": 16}),
    "a10_easy.toml": (SD, None, {
        "network_dim": 16, "network_alpha": 8, "learning_rate": 4e-4, "train_batch_size": 4,
        "resolution": "768x768", "keep_tokens": 1, "repeats": 10, "caption_extension": ".txt",
        "optimizer_args": "weight_decay=0.1", "enable_bucket": True}),
    "a12_simpletuner.json": ("SimpleTuner", None, {
        "network_dim": 64, "train_batch_size": 2, "resolution": "1024x1024"}),
    "a13_simpletuner.json": ("SimpleTuner", None, {
        "network_dim": 64, "learning_rate": 1e-4, "max_train_steps": 10000, "adapter": "lora"}),
    "a15_gui_flux.json": (SD, "flux_train_network.py", {
        "network_module": "networks.lora_flux", "network_dim": 16, "optimizer_type": "AdamW8bit"}),
    "a16_gui_native.json": (SD, "train_network.py", {
        "network_module": "lycoris.kohya", "network_args": "algo=full preset=full"}),
    "a17_ai_toolkit.yaml": ("ai-toolkit", None, {
        "network_dim": 32, "network_alpha": 32, "max_train_steps": 2000, "learning_rate": 1e-4,
        "optimizer_type": "AdamW8bit", "save_precision": "fp16", "train_batch_size": 1}),
    "a19_markdown.md": (SD, "train_network.py", {
        "network_dim": 16, "network_alpha": 8, "max_train_epochs": 10}),
    "a20_text_only.sh": (SD, "train_network.py", {"network_dim": 16}),
    "a21_config.toml": (SD, None, {"network_dim": 64, "network_alpha": 32}),
    "a21_config_names.sh": (SD, "sdxl_train_network.py", {
        "network_dim": 64, "network_alpha": 32, "max_train_epochs": 10}),
    "a22_gui_locon.json": (SD, "train_network.py", {
        "network_module": "lycoris.kohya", "network_args": "algo=locon conv_alpha=4 conv_dim=8"}),
    "a25_script.sh": (SD, "train_network.py", {
        "lr_scheduler_num_cycles": 3, "caption_extension": ".txt", "masked_loss": True,
        "lr_scheduler": "cosine_with_restarts"}),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_what_a_script_sets_is_read(name: str) -> None:
    program, script, values = RIGHT[name]
    facts = read_script(CASES / name)
    assert (facts.program, facts.trainer) == (program, script)
    assert {key: facts.values.get(key) for key in values} == values
    assert facts.unresolved == {}


@pytest.mark.parametrize("name", RIGHT)
def test_nothing_that_a_script_gives_is_called_a_default(name: str) -> None:
    facts = read_script(CASES / name)
    run = parameters_of_script(facts)
    for given in facts.values:
        assert run.values[given].source == "script", given
    if facts.program != SD:
        assert all(entry.source != "default" for entry in run.values.values())


@pytest.mark.parametrize("name", ["a09_pipes.sh", "a20_text_only.sh", "a05_array.sh"])
def test_what_belongs_to_the_shell_gives_no_warning(name: str) -> None:
    facts = read_script(CASES / name)
    assert (facts.warnings, facts.ignored, facts.complete) == ([], {}, True)


def test_a_comment_ends_a_continued_command() -> None:
    run = parameters_of_script(read_script(CASES / "a20_text_only.sh"))
    assert (run["network_alpha"], run.values["network_alpha"].source) == (1, "default")
    assert run.values["max_train_epochs"].source == "default"


def test_the_trainers_configuration_is_not_accelerates() -> None:
    facts = read_script(CASES / "a21_config_names.sh")
    assert facts.values["config_file"] == "/data/cfg/a21_config.toml"
    assert facts.complete
    assert facts.missing == []
