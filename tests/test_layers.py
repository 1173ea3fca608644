"""Imports run one way, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "loraeval"

LAYERS: list[set[str]] = [
    {"errors", "torchvision_ops", "callable_rooms", "deprecation"},
    {"outside"},
    {"records"},
    {"outcome"},
    {"scores_file", "options"},
    {"families"},
    {"prompts", "checkpoints", "images"},
    {"render", "scorers", "baselines", "sources"},
    {"gate", "testing"},
    {"report"},
    {"evaluation"},
    {"api", "shared_run", "commands", "pytest_ini", "pytest_hooks"},
    {"pytest_evidence"},
    {"cli", "pytest_plugin"},
    {"__main__"},
]
"""Rooms from the ground up; a room imports what lies in rows below its own."""

STRANGERS = {"render", "scorers", "gate"}
"""Rooms that never import each other, whatever their rows: evaluation introduces them."""

HEAVY = {"torch", "torchvision", "diffusers", "transformers", "peft", "accelerate", "open_clip",
         "timm", "altair", "vl_convert", "ray", "pandas", "matplotlib", "numpy", "scipy", "skimage",
         "PIL", "jinja2", "safetensors"}  # fmt: skip


def room_of(module: str) -> str:
    """``loraeval.gate.epochs`` lies in the room ``gate``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "loraeval"


def imports_of(path: Path) -> set[tuple[str, bool]]:
    """Every loraeval module that a file imports, and whether only for type checking."""
    found: set[tuple[str, bool]] = set()

    def visit(node: ast.AST, typing_only: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.body:
                visit(child, True)
            return
        if isinstance(node, ast.Import):
            found.update((alias.name, typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update((name, typing_only) for name in names | {node.module})
        for child in ast.iter_child_nodes(node):
            visit(child, typing_only)

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return {(name, typing) for name, typing in found if name.split(".")[0] == "loraeval"}


def layer(room: str) -> int:
    for index, rooms in enumerate(LAYERS):
        if room in rooms:
            return index
    raise AssertionError(f"the room {room} has no layer: add it to LAYERS and to docs/design.md")


FILES = sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_run_down(path: Path) -> None:
    here = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    for module, typing_only in imports_of(path):
        there = room_of(module)
        if there in ("loraeval", "__version__", here) or module == "loraeval.__version__":
            continue
        assert layer(there) < layer(here), f"{path.name} in {here} imports {module}, not below it"
        if not typing_only and here in STRANGERS:
            assert there not in STRANGERS - {here}, f"{here} imports {there}: they never meet"


def test_layers_name_no_room_that_is_gone() -> None:
    rooms = {p.relative_to(SOURCE).parts[0].removesuffix(".py") for p in FILES}
    assert set().union(*LAYERS) - rooms == set()


@pytest.mark.parametrize(
    "module", ["loraeval", "loraeval.cli", "loraeval.pytest_plugin", "loraeval.records"]
)
def test_light_modules_import_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(' '.join(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert HEAVY & set(loaded) == set()


def test_no_file_has_two_jobs() -> None:
    long = {
        str(p.relative_to(SOURCE)): n
        for p in SOURCE.rglob("*.py")
        if (n := p.read_text(encoding="utf-8").count("\n")) > 400
    }
    assert long == {}
