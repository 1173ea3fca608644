"""Every parameter with its source, for files with and without metadata, and with a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loraeval.checkpoints.layout import ModuleShape
from loraeval.checkpoints.parameters import Parameters, parameters_json, training_parameters
from loraeval.checkpoints.recorded import token_lower_bound
from loraeval.checkpoints.values import canonical, same
from loraeval.errors import CheckpointError
from loraeval.testing.kohya_files import write_lora, write_series

K = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
TE = "lora_te_text_model_encoder_layers_0_mlp_fc1"
SMALL: dict[str, Any] = {
    "rank": 32, "alpha": 16, "modules": {K: ModuleShape(768, 320), TE: ModuleShape(768, 3072)}
}  # fmt: skip

# The seed's tables: value and source for a file with metadata; None where it is not stored.
SEED: dict[str, tuple[Any, str]] = {
    "training_script": ("train_network.py", "derived"),
    "pretrained_model_name_or_path": ("stable-diffusion-v1-5", "recorded"),
    "base_model_version": ("sd_v1", "derived"),
    "output_name": ("run", "recorded"),
    "training_started_at": (1700000000, "recorded"),
    "network_module": ("networks.lora", "derived"),
    "network_dim": (32, "derived"),
    "network_alpha": (16, "derived"),
    "scale": (0.5, "derived"),
    "resolution": ("512x512", "recorded"),
    "train_batch_size": (4, "recorded"),
    "gradient_accumulation_steps": (1, "recorded"),
    "total_batch_size": (4, "recorded"),
    "learning_rate": (1e-4, "recorded"),
    "unet_lr": (1e-4, "recorded"),
    "text_encoder_lr": (5e-5, "recorded"),
    "optimizer_type": ("AdamW8bit", "recorded"),
    "lr_scheduler": ("cosine_with_restarts", "recorded"),
    "lr_scheduler_num_cycles": (None, "not stored"),
    "lr_warmup_steps": (0, "recorded"),
    "min_snr_gamma": (5, "recorded"),
    "mixed_precision": ("fp16", "recorded"),
    "save_precision": ("fp16", "derived"),
    "gradient_checkpointing": (True, "recorded"),
    "cache_latents": (True, "recorded"),
    "cache_latents_to_disk": (None, "not stored"),
    "xformers": (None, "not stored"),
    "noise_offset": (0.1, "recorded"),
    "multires_noise_iterations": (6, "recorded"),
    "multires_noise_discount": (0.3, "recorded"),
    "adaptive_noise_scale": (0.00357, "recorded"),
    "prior_loss_weight": (1, "recorded"),
    "caption_extension": (None, "not stored"),
    "shuffle_caption": (True, "recorded"),
    "keep_tokens": (2, "recorded"),
    "max_token_length": (225, "recorded"),
    "enable_bucket": (False, "recorded"),
    "bucket_reso_steps": (None, "not stored"),
    "bucket_no_upscale": (False, "recorded"),
    "max_data_loader_n_workers": (None, "not stored"),
    "max_train_epochs": (10, "recorded"),
    "max_train_steps": (200, "recorded"),
    "save_every_n_epochs": (None, "not stored"),
    "seed": (42, "recorded"),
    "images": (8, "recorded"),
    "repeats": (10, "recorded"),
}

# What sd-scripts does not record although it can change the weights (not for networks' args).
NOT_STORED = {
    "lr_scheduler_num_cycles", "caption_extension", "bucket_reso_steps",
    "full_bf16", "lr_scheduler_type", "lr_scheduler_args", "lr_scheduler_power",
    "lr_scheduler_min_lr_ratio", "lr_scheduler_timescale", "lr_decay_steps", "network_weights",
    "base_weights", "base_weights_multiplier", "dim_from_weights", "resume", "initial_epoch",
    "initial_step", "skip_until_initial_step", "weighted_captions", "caption_separator",
    "token_warmup_min", "token_warmup_step", "masked_loss", "alpha_mask",
    "conditioning_data_dir", "scale_v_pred_loss_like_noise_pred", "v_pred_like_loss",
    "no_half_vae", "skip_cache_check", "dataset_class",
    "keep_tokens_separator", "secondary_separator", "enable_wildcard", "caption_prefix",
    "caption_suffix",
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_lora(tmp_path / "run.safetensors", **SMALL)


def test_the_seeds_tables_with_metadata(file: Path) -> None:
    run = training_parameters(file)
    found = {name: (run.values[name].value, run.values[name].source) for name in SEED}
    assert found == SEED


def test_what_is_not_stored_is_exactly_the_known_list(file: Path) -> None:
    assert set(training_parameters(file).not_stored) == NOT_STORED


def test_without_metadata_the_tensors_still_tell(tmp_path: Path) -> None:
    run = training_parameters(write_lora(tmp_path / "a.safetensors", metadata=None, **SMALL))
    known = {name for name, entry in run.values.items() if entry.known}
    assert known == {
        "base_model_version", "adapter", "network_dim", "network_alpha", "scale",
        "save_precision", "dora", "text_encoder_trained", "network_train_unet_only",
        "network_train_text_encoder_only", "file_size",
    }  # fmt: skip
    assert all(entry.source != "default" for entry in run.values.values())


def test_no_metadata_keeps_title_and_resolution(tmp_path: Path) -> None:
    run = training_parameters(write_lora(tmp_path / "a.safetensors", minimum=True, **SMALL))
    assert run["output_name"] == "run"
    assert run["resolution"] == "512x512"
    assert not run.known("learning_rate")


def test_a_script_fills_the_rest(file: Path, tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text("python train_network.py --lr_scheduler_num_cycles=3 --network_dim=64 "
                      "--xformers --caption_extension=.txt\n")  # fmt: skip
    run = training_parameters(file, script)
    assert run.not_stored == ()
    assert run.values["lr_scheduler_num_cycles"].source == "script"
    assert (run["bucket_reso_steps"], run.values["bucket_reso_steps"].source) == (64, "default")
    dim = run.values["network_dim"]
    assert (dim.value, dim.source) == (32, "derived")
    assert [(c.value, c.source) for c in dim.conflicts] == [(64, "script")]


def test_tensors_win_over_metadata_and_both_are_shown(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors", network_dim=64, **SMALL)
    dim = training_parameters(path).values["network_dim"]
    assert dim.value == 32
    assert [(c.value, c.source, c.detail) for c in dim.conflicts] == [
        (64, "recorded", "ss_network_dim")
    ]


def test_older_sd_scripts_lack_keys_and_mean_the_default(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors", loss_type=..., huber_c=..., **SMALL)
    entry = training_parameters(path).values["loss_type"]
    assert (entry.value, entry.source) == ("l2", "default")


def test_dataset_config_hides_the_flat_keys_in_a_table(tmp_path: Path) -> None:
    run = training_parameters(write_lora(tmp_path / "a.safetensors", dataset_config=True, **SMALL))
    for name in (
        "train_batch_size",
        "resolution",
        "shuffle_caption",
        "keep_tokens",
        "enable_bucket",
    ):
        assert (run.values[name].value, run.values[name].detail) == (SEED[name][0], "ss_datasets")
    assert "caption_prefix" not in run.not_stored


def test_the_series_tells_how_often_it_was_saved(tmp_path: Path) -> None:
    paths = write_series(tmp_path, "run", epochs=6, **SMALL)
    for path in paths[0::2]:
        path.unlink()
    entry = training_parameters(tmp_path).values["save_every_n_epochs"]
    assert (entry.value, entry.source) == (2, "derived")


def test_captions_that_were_never_read(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors", tags={"robots": 8}, **SMALL)
    assert training_parameters(path)["captions_read"] is False
    path = write_lora(tmp_path / "b.safetensors", **SMALL)
    assert training_parameters(path)["captions_read"] is True


def test_json_round_trip_in_every_form(file: Path, tmp_path: Path) -> None:
    run = training_parameters(file)
    text = parameters_json(run)
    assert Parameters.from_json(json.loads(text)) == run
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "parameters.json").write_text(text)
    assert training_parameters(tmp_path / "base") == run
    assert training_parameters(tmp_path / "base" / "parameters.json") == run


@pytest.mark.parametrize("tree", [
    {}, {"loraeval_parameters": 2}, {"loraeval_parameters": 1, "name": "x", "values": []},
    {"loraeval_parameters": 1, "name": "x", "values": {"a": {"value": [], "source": "default"}}},
    {"loraeval_parameters": 1, "name": "x", "values": {"a": {"value": 1, "source": "magic"}}},
])  # fmt: skip
def test_broken_json_is_one_sentence(tree: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="not the parameters of a run"):
        Parameters.from_json(tree)


@pytest.mark.parametrize(
    ("name", "a", "b"),
    [("network_alpha", "16.0", 16), ("min_snr_gamma", "5", 5.0), ("unet_lr", "1e-4", "0.0001"),
     ("resolution", "(512, 512)", "512,512"), ("resolution", 512, "512x512"),
     ("optimizer_type", "bitsandbytes.optim.adamw.AdamW8bit", "adamw8bit"),
     ("shuffle_caption", "True", True), ("clip_skip", "None", None),
     ("network_args", '{"conv_dim": "4", "dropout": null}', ["conv_dim=4"]),
     ("text_encoder_lr", ["5e-5"], "5e-05")],
)  # fmt: skip
def test_the_same_value_in_two_spellings(name: str, a: Any, b: Any) -> None:
    assert same(canonical(name, a), canonical(name, b))


def test_numbers_that_differ_differ() -> None:
    assert not same(canonical("network_alpha", "16"), canonical("network_alpha", "16.1"))
    assert not same(True, 1)
    assert not same(None, 0)


def test_hostile_metadata_is_data(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors", **SMALL, output_name="\x1b[2J<script>x</script>",
                      tag_frequency="[" * 100_000, dataset_dirs='{"a": 3}', datasets="{}",
                      learning_rate="nan", num_epochs="9" * 5000, keep_tokens="1e999")  # fmt: skip
    run = training_parameters(path)
    assert "\x1b" not in run.name
    parameters_json(run)


@pytest.mark.slow
def test_the_lower_bound_of_tokens_holds_on_real_captions(punks: Path) -> None:
    from loraeval.checkpoints.caption_tokens import caption_lengths, encoder
    from loraeval.errors import MissingExtraError

    try:
        encode = encoder()
    except MissingExtraError as missing:
        pytest.skip(str(missing))
    files = sorted((punks / "training").glob("*.txt"))
    counts = []
    for file in files:
        text = file.read_text("utf-8", "replace")
        counts.append(len(encode(text)))
        assert 0.5 * counts[-1] < token_lower_bound(text) <= counts[-1]
    found = caption_lengths(punks / "training")
    assert found["images"].value == len(files) == 150
    assert found["caption_tokens_min"].value == min(counts)
    assert found["captions_over_75"].value == sum(count > 75 for count in counts)


def test_a_folder_without_captions_is_one_sentence(tmp_path: Path) -> None:
    from loraeval.checkpoints.caption_tokens import caption_lengths

    with pytest.raises(CheckpointError, match="no captions"):
        caption_lengths(tmp_path)
    with pytest.raises(CheckpointError, match="expected a folder"):
        caption_lengths(tmp_path / "nowhere")
