"""What a LoRA file is, for files of every format with the real names and shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loraeval.checkpoints.anatomy import check_loadable, read_anatomy
from loraeval.checkpoints.layout import ModuleShape
from loraeval.errors import CheckpointError
from loraeval.testing.kohya_files import write_lora, write_safetensors

SD15 = {"unet": 192, "te": 72}
SDXL = {"unet": 722, "te1": 72, "te2": 192}
K = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
SMALL = {"modules": {K: ModuleShape(768, 320), f"{K[:-1]}v": ModuleShape(768, 320)}}


@pytest.mark.parametrize(
    ("family", "kind", "counts", "name"),
    [
        ("sd15", "kohya", SD15, "kohya"),
        ("sdxl", "kohya", SDXL, "kohya"),
        ("sd15", "locon", {"unet": 278, "te": 72}, "locon"),
        ("sd15", "diffusers", SD15, "diffusers"),
        ("sd15", "processor", SD15, "diffusers"),
        ("sdxl", "peft", SDXL, "peft"),
    ],
)
def test_formats_that_are_rendered(
    tmp_path: Path, family: str, kind: str, counts: dict[str, int], name: str
) -> None:
    path = write_lora(tmp_path / "a.safetensors", family, rank=1, alpha=1, format=kind)  # type: ignore[arg-type]
    anatomy = read_anatomy(path)
    assert (anatomy.format, anatomy.family, anatomy.module_counts) == (name, family, counts)
    assert anatomy.ranks == {1: sum(counts.values())}
    assert anatomy.hash_state == "matches"
    assert anatomy.trains_text_encoder
    if kind in ("kohya", "locon"):
        assert anatomy.expected_bytes == anatomy.file_bytes
    check_loadable(anatomy, family)  # type: ignore[arg-type]
    other = "sdxl" if family == "sd15" else "sd15"
    with pytest.raises(CheckpointError, match=f"LoRA for {family}"):
        check_loadable(anatomy, other)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["dora", "loha", "lokr"])
def test_lycoris_kinds_that_are_merged(tmp_path: Path, kind: str) -> None:
    path = write_lora(tmp_path / "a.safetensors", rank=2, format=kind, **SMALL)  # type: ignore[arg-type]
    anatomy = read_anatomy(path)
    assert (anatomy.format, anatomy.family, anatomy.unsupported) == (kind, "sd15", ())
    check_loadable(anatomy, "sd15")


@pytest.mark.parametrize("kind", ["oft", "glora", "ia3", "full"])
def test_formats_that_are_refused_by_the_keys_that_betray_them(tmp_path: Path, kind: str) -> None:
    path = write_lora(tmp_path / "a.safetensors", rank=2, format=kind, **SMALL)  # type: ignore[arg-type]
    anatomy = read_anatomy(path)
    assert anatomy.format == kind
    assert anatomy.unsupported
    if kind not in ("oft", "ia3", "glora"):
        assert anatomy.family == "sd15"
    with pytest.raises(CheckpointError, match=kind) as caught:
        check_loadable(anatomy, "sd15")
    assert anatomy.unsupported[0] in str(caught.value)


def test_module_names_of_diffusers_are_the_dotted_ones(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    names = set(load_file(write_lora(tmp_path / "a.safetensors", "sdxl", rank=1, format="peft")))
    assert "unet.mid_block.attentions.0.transformer_blocks.9.ff.net.0.proj.lora_A.weight" in names
    assert (
        "unet.up_blocks.1.attentions.2.transformer_blocks.1.attn2.to_out.0.lora_B.weight" in names
    )
    assert "text_encoder_2.text_model.encoder.layers.31.self_attn.q_proj.lora_A.weight" in names


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32"])
def test_expected_size_follows_the_formula(tmp_path: Path, dtype: str) -> None:
    anatomy = read_anatomy(write_lora(tmp_path / "a.safetensors", rank=4, dtype=dtype))
    items = 4 * 589_824 + 264  # rank * parameters per rank + alphas
    data = items * (4 if dtype == "F32" else 2)
    assert anatomy.file_bytes - anatomy.header_bytes == data
    assert anatomy.expected_bytes == anatomy.file_bytes
    assert anatomy.dtype == dtype


def test_text_encoder_keys_that_are_all_zero_were_not_trained(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors", rank=1, untrained=("te",))
    for deep in (True, False):
        anatomy = read_anatomy(path, deep=deep)
        assert not anatomy.trains_text_encoder
        assert [(part.name, part.trained) for part in anatomy.components] == [
            ("unet", True), ("te", False)
        ]  # fmt: skip
    assert read_anatomy(path, deep=False).hash_state == "not checked"


def test_mixed_ranks_and_alphas_make_a_histogram(tmp_path: Path) -> None:
    path = write_lora(
        tmp_path / "a.safetensors", rank=4, alpha=2, ranks={K: 8}, alphas={K: 8}, **SMALL
    )
    part = read_anatomy(path).components[0]
    assert (part.ranks, part.alphas, part.scales) == ({4: 1, 8: 1}, {2: 1, 8: 1}, {0.5: 1, 1: 1})
    assert not read_anatomy(path).uniform_scale


def test_integer_alpha_as_toml_gives_it(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors", rank=4, alpha=2, integer_alpha=True, **SMALL)
    anatomy = read_anatomy(path)
    assert anatomy.components[0].scales == {0.5: 2}
    assert anatomy.dtype == "F16"
    assert anatomy.expected_bytes == anatomy.file_bytes


def test_no_alpha_means_scale_one(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors", rank=4, alpha=None, **SMALL)
    assert read_anatomy(path).components[0].scales == {1.0: 2}


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_found(tmp_path: Path, dtype: str, bad: float) -> None:
    down, up = np.ones((4, 768), np.float32), np.ones((320, 4), np.float32)
    up[17, 3] = bad
    with np.errstate(invalid="ignore"):
        path = write_lora(tmp_path / "a.safetensors", dtype=dtype, weights={K: (down, up)}, **SMALL)
    anatomy = read_anatomy(path)
    assert anatomy.nonfinite == (f"{K}.lora_up.weight",)
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        check_loadable(anatomy, "sd15")


def test_large_finite_numbers_are_not_mistaken(tmp_path: Path) -> None:
    down = np.full((4, 768), 3.0e38, np.float32)
    up = np.full((320, 4), -65504.0, np.float32)
    path = write_lora(tmp_path / "a.safetensors", dtype="F32", weights={K: (down, up)}, **SMALL)
    assert read_anatomy(path).nonfinite == ()
    path = write_lora(tmp_path / "b.safetensors", dtype="F16", weights={K: (down * 0, up)}, **SMALL)
    assert read_anatomy(path).nonfinite == ()


def test_resized_merged_and_damaged_files_are_told(tmp_path: Path) -> None:
    note = "dimension is resized from 64"
    resized = write_lora(tmp_path / "r.safetensors", training_comment=note, **SMALL)
    assert "resized" in str(read_anatomy(resized).resized)
    dynamic = write_lora(tmp_path / "d.safetensors", network_dim="Dynamic", **SMALL)
    assert "Dynamic" in str(read_anatomy(dynamic).resized)
    edited = write_lora(tmp_path / "e.safetensors", rank=4, network_dim=32, **SMALL)
    assert read_anatomy(edited).resized == "recorded rank 32, but the tensors have 4"
    bare = write_lora(tmp_path / "b.safetensors", **SMALL, metadata={"ss_network_dim": "4"})
    assert read_anatomy(bare).merged is None  # --no_metadata leaves as little
    merged = write_lora(
        tmp_path / "m.safetensors", **SMALL, metadata={"modelspec.merged_from": "a, b"}
    )
    assert "merged_from" in str(read_anatomy(merged).merged)
    blob = bytearray((tmp_path / "e.safetensors").read_bytes())
    blob[-1] ^= 1
    (tmp_path / "e.safetensors").write_bytes(blob)
    assert read_anatomy(edited).hash_state == "differs"


def test_text_encoder_only_files_can_not_tell_the_family_but_metadata_can(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "t.safetensors", rank=1, components=("te",), metadata=None)
    anatomy = read_anatomy(path)
    assert anatomy.family == "sd15 or sdxl"
    check_loadable(anatomy, "sd15")
    check_loadable(anatomy, "sdxl")
    told = write_lora(tmp_path / "u.safetensors", rank=1, components=("te",))
    assert read_anatomy(told).family == "sd15"


def test_files_that_are_no_lora(tmp_path: Path) -> None:
    one = np.ones((2, 2), np.float32)
    for name, word in [("model.diffusion_model.out.2.weight", "full checkpoint"),
                       ("emb_params", "textual inversion"), ("x", "no LoRA keys")]:  # fmt: skip
        path = write_safetensors(tmp_path / "a.safetensors", {name: one})
        with pytest.raises(CheckpointError, match=word):
            check_loadable(read_anatomy(path), "sd15")
    with pytest.raises(CheckpointError, match="without tensors"):
        check_loadable(read_anatomy(write_safetensors(tmp_path / "b.safetensors", {})), "sd15")


def test_a_stray_key_is_refused_not_dropped(tmp_path: Path) -> None:
    tensors = {f"{K}.lora_down.weight": np.ones((4, 768), np.float32),
               f"{K}.lora_up.weight": np.ones((320, 4), np.float32),
               "surprise": np.ones(3, np.float32)}  # fmt: skip
    anatomy = read_anatomy(write_safetensors(tmp_path / "a.safetensors", tensors))
    assert anatomy.unknown_keys == ("surprise",)
    with pytest.raises(CheckpointError, match="surprise"):
        check_loadable(anatomy, "sd15")


@pytest.mark.parametrize(
    ("key", "family"),
    [("lora_unet_double_blocks_0_img_attn_qkv", "flux"),
     ("lora_unet_joint_blocks_0_context_block_attn_qkv", "sd3")],
)  # fmt: skip
def test_other_families_are_named(tmp_path: Path, key: str, family: str) -> None:
    path = write_lora(tmp_path / "a.safetensors", metadata=None, modules={key: ModuleShape(64, 64)})
    with pytest.raises(CheckpointError, match=f"LoRA for {family}"):
        check_loadable(read_anatomy(path), "sdxl")


def test_sd2_by_the_width_of_its_text_states(tmp_path: Path) -> None:
    path = write_lora(
        tmp_path / "a.safetensors", metadata=None, modules={K: ModuleShape(1024, 320)}
    )
    assert read_anatomy(path).family == "sd2"
