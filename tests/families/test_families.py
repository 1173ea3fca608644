"""One record a family, asked by every stage; no other file tells families apart by name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import loraeval
from loraeval import families
from loraeval.families import FAMILIES, Layer, name_lora, of_training
from loraeval.families.names import names_of

SOURCE = Path(loraeval.__file__).parent
OTHER_WORDS = {"chroma": {"images", "scorers", "prompts", "testing"}}
"""Names of families that other rooms use for something else: chroma is a coordinate of colour."""


def _branches(tree: ast.AST) -> list[tuple[int, str]]:
    """Every place where a family's name decides: comparisons, membership, keys, defaults."""
    found = []
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            parts = list(node.keys)
        elif isinstance(node, ast.Subscript):
            parts = [node.slice]
        elif isinstance(node, (ast.MatchValue, ast.AnnAssign)):
            parts = [node.value]
        elif isinstance(node, ast.arguments):
            parts = [*node.defaults, *node.kw_defaults]
        for part in parts:
            found += [
                (leaf.lineno, leaf.value)
                for leaf in (ast.walk(part) if part is not None else ())
                if isinstance(leaf, ast.Constant) and leaf.value in FAMILIES
            ]
    return found


def test_no_other_file_branches_on_the_name_of_a_family() -> None:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        room = path.relative_to(SOURCE).parts[0]
        if room == "families":
            continue
        for line, name in _branches(ast.parse(path.read_text(encoding="utf-8"))):
            if room not in OTHER_WORDS.get(name, set()):
                found.append(f"{path.relative_to(SOURCE)}:{line} {name}")
    assert found == []


def test_the_search_finds_a_branch() -> None:
    code = "a = family == 'sdxl'\nb = {'sd15': 1}\ndef f(x='flux'): ...\nc = t['sd3']\n"
    assert {name for _, name in _branches(ast.parse(code))} == {"sdxl", "sd15", "flux", "sd3"}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_be_asked_by_every_stage_that_reads_names(name: str) -> None:
    family = FAMILIES[name]
    assert family.name == name
    assert family.title
    assert family.signs
    assert family.versions
    words = [word for other in FAMILIES.values() for word in other.versions if other is not family]
    assert not set(words) & set(family.versions)
    if family.training is not None:
        assert of_training(family.training.version) is family
        assert family.training.native_size % 8 == 0
    if family.layout is not None:
        assert set(family.layout.text_encoders) == set(family.layout.components) - {"unet"}


@pytest.mark.parametrize("name", families.rendered())
def test_every_rendered_family_says_what_the_renderer_asks(name: str) -> None:
    rendering = families.rendering_of(name)
    found = families.of_pipeline(rendering.pipelines[0], rendering.told_by)
    assert found is FAMILIES[name]
    assert set(rendering.parts) == {rendering.denoiser, *rendering.encoders}
    assert rendering.source
    assert rendering.steps > 0
    for theirs, ours in rendering.layers:
        assert all(("{n}" in theirs) == ("{n}" in path) for path in ours)


def test_stacked_rows_belong_to_the_layers_in_their_order() -> None:
    rendering = families.rendering_of("flux")
    paths = [f"transformer_blocks.3.attn.{name}" for name in ("to_v", "to_k", "to_q")]
    table = names_of(rendering, "transformer", [*paths, "norm_out.linear"])
    found = table["unet", "double_blocks_3_img_attn_qkv"]
    assert [target.path.rpartition("_")[2] for target in found] == ["q", "k", "v"]
    (last,) = table["unet", "final_layer_adaLN_modulation_1"]
    assert (last.path, last.swapped) == ("norm_out.linear", True)


def test_sure_layers_overrule_metadata_and_open_ones_do_not() -> None:
    flat = Layer("unet", "double_blocks_0_img_attn_qkv", "x", 3072, 9216)
    assert name_lora([flat], {}).family == "flux"
    assert "chroma" in name_lora([flat], {}).fit
    assert name_lora([flat], {"modelspec.architecture": "chroma/lora"}).family == "chroma"
    sure = Layer("unet", "joint_blocks_0_x_block_attn_qkv", "x", 1536, 4608)
    assert name_lora([sure], {"ss_base_model_version": "sdxl_base_v1-0"}).family == "sd3"


def test_text_encoders_alone_leave_the_family_open() -> None:
    layer = Layer("te1", "text_model_encoder_layers_0_mlp_fc1", "x", 768, 3072)
    found = name_lora([layer], {})
    assert set(found.fit) == {"sdxl", "sd3", "flux"}
    assert found.family == " or ".join(found.fit)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"cross_attention_dim": 1024}, "sd2"),
        ({"cross_attention_dim": 96}, "sd15"),
        (None, "sd15"),
    ],
)
def test_what_shares_a_pipeline_class_is_told_by_its_denoiser(
    config: dict[str, int] | None, name: str
) -> None:
    found = families.of_pipeline("StableDiffusionPipeline", config)
    assert found is not None
    assert found.name == name


def test_the_table_of_the_docs_is_what_the_command_prints(repo: Path) -> None:
    from loraeval.families.__main__ import table

    page = (repo / "docs/base-models.md").read_text(encoding="utf-8")
    shown = page.partition("<!-- table -->\n")[2].partition("<!-- end of table -->")[0]
    assert shown == table(), "write it anew with: python -m loraeval.families"
