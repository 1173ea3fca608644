"""Read the flags of sd-scripts' and musubi-tuner's training scripts out of their sources.

    python tools/trainer_flags.py --sd-scripts CHECKOUT --musubi-tuner CHECKOUT

Writes ``src/loraeval/checkpoints/data/trainer_flags.json``: per script the flags that its parser
takes, with type, default and choices, and the metadata keys that record them, and the version that
was read. Only facts are taken: names, types, defaults, choices. The sources are parsed, not run. A
CHECKOUT is a folder with a work tree, or a bare git repository (its HEAD is read).
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "src/loraeval/checkpoints/data/parameters.json"
OUT = ROOT / "src/loraeval/checkpoints/data/trainer_flags.json"

# What a flag that is not in parameters.json changes: the first row whose pattern it fits. The last
# row is for what nobody has looked at: it is taken to change the weights, so that a difference in
# it is never called harmless.
CLASSES: tuple[tuple[str, str, str], ...] = (
    ("^(dit|turbo_dit|override_dit|dit_high_noise|unconditional_dit)$", "model", "learned"),
    ("^(log_|wandb|sample|huggingface|metadata|console|validat|show_|output)", "output", "label"),
    ("^(resume_from|save_state|async_upload|no_final|config_file|print|trackio|use_unconditional)",
     "output", "label"),
    ("(block|attn_mode|split_attn|sdpa|flash|sage|xformers|offload|_cpu$|cpu_)(?!.*dim)",
     "precision", "speed"),
    ("(^vae_.*(tiling|chunk|cache|tile)|compile|dynamo|fused|cache_text_encoder|batch_size$)",
     "precision", "speed"),
    ("(persistent|num_workers|ddp_|use_pinned|img_in_txt_in|cuda_|disable_mmap|disable_numpy)",
     "precision", "speed"),
    ("(gradient_checkpointing|t5xxl_device)", "precision", "speed"),
    ("(fp8|_dtype|bf16|fp16|32bit|quant|nvfp4|int8)", "precision", "learned"),
    ("(timestep|sigmoid|logit_|mode_scale|weighting_scheme|flow_shift|guidance|prediction_type)",
     "noise", "learned"),
    ("(noise|preserve_distribution|snr|shift)", "noise", "learned"),
    ("(caption|dropout|attn_mask|max_token|system_prompt|tokenizer)", "captions", "learned"),
    ("(learning_rate|_lr$|optimizer|lr_)", "learning", "learned"),
    ("(network|base_weights|dim_from)", "network", "learned"),
    ("", "model", "learned"),
)  # fmt: skip


@dataclass
class Checkout:
    """The sources of one program, by path."""

    folder: Path
    package: str = ""
    modules: dict[str, ast.Module] = field(default_factory=dict)

    def text(self, path: str) -> str | None:
        """Return a file's text, None where it is not there."""
        if (self.folder / path).is_file():
            return (self.folder / path).read_text("utf-8")
        if not self.is_bare:
            return None
        done = self.git("show", f"HEAD:{path}")
        return done.stdout if done.returncode == 0 else None

    @property
    def is_bare(self) -> bool:
        """Whether this is a git repository without a work tree."""
        return (self.folder / "HEAD").is_file()

    def git(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run git on it."""
        where = ["--git-dir", str(self.folder)] if self.is_bare else ["-C", str(self.folder)]
        return subprocess.run(["git", *where, *words], capture_output=True, text=True, check=False)

    def version(self) -> str:
        """Return what git calls the commit that is read."""
        return self.git("describe", "--tags", "--always", "HEAD").stdout.strip()

    def scripts(self) -> list[str]:
        """Return the training scripts of LoRAs by path."""
        under = "src/musubi_tuner/" if self.package else ""
        if self.is_bare:
            names = self.git("ls-tree", "--name-only", "HEAD", under or ".").stdout.split()
        else:
            names = [str(p.relative_to(self.folder)) for p in (self.folder / under).glob("*.py")]
        return sorted(n for n in names if re.fullmatch(rf"{under}(\w+_)?train_network\.py", n))

    def module(self, path: str) -> ast.Module | None:
        """Return a parsed file."""
        if path not in self.modules:
            text = self.text(path)
            if text is None:
                return None
            self.modules[path] = ast.parse(text)
        return self.modules[path]

    def path_of(self, module: str) -> str:
        """Return the path of a module by its dotted name."""
        return ("src/" if self.package else "") + module.replace(".", "/") + ".py"


def flags_of(source: Checkout, path: str) -> Iterator[dict[str, Any]]:
    """Yield the flags of one script in the order in which its parser gets them."""
    module = source.module(path)
    assert module is not None, path
    functions = {n.name: n for n in module.body if isinstance(n, ast.FunctionDef)}
    start = functions.get("setup_parser") or functions["main"]
    yield from _walk(source, path, start, set())


def _walk(
    source: Checkout, path: str, function: ast.FunctionDef, seen: set[tuple[str, str]]
) -> Iterator[dict[str, Any]]:
    if (path, function.name) in seen:
        return
    seen.add((path, function.name))
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda c: (c.lineno, c.col_offset)):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument":
            row = _argument(call)
            if row is not None:
                yield row
            continue
        target = _target(source, path, call.func)
        takes_parser = any(isinstance(a, ast.Name) and a.id == "parser" for a in call.args)
        if target is not None and (takes_parser or "setup_parser" in target[1].name):
            yield from _walk(source, target[0], target[1], seen)


def _target(source: Checkout, path: str, func: ast.expr) -> tuple[str, ast.FunctionDef] | None:
    """Find the function that is called, in this file or one that it imports."""
    module = source.module(path)
    if module is None:
        return None
    if isinstance(func, ast.Name):
        for node in module.body:
            if isinstance(node, ast.FunctionDef) and node.name == func.id:
                return path, node
        for base, name, known_as in _imports(module):
            if known_as == func.id and base:
                return _target(source, source.path_of(base), ast.Name(name))
    if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name):
        for base, name, known_as in _imports(module):
            found = source.path_of(f"{base}.{name}" if base else name)
            if known_as.rpartition(".")[2] == func.value.id and source.module(found) is not None:
                return _target(source, found, ast.Name(func.attr))
    return None


def _imports(module: ast.Module) -> Iterator[tuple[str, str, str]]:
    """Yield the module imported from (empty for a plain import), the name, and its local name."""
    for node in ast.walk(module):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            base = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                yield base, alias.name, alias.asname or alias.name


def _argument(call: ast.Call) -> dict[str, Any] | None:
    names = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    names = [name for name in names if name.startswith("--")]
    if not names:
        return None
    words = {k.arg: k.value for k in call.keywords}
    action = _constant(words.get("action"))
    switch = action in ("store_true", "store_false")
    kind = words.get("type")
    shown = kind.id if isinstance(kind, ast.Name) else "str"
    row: dict[str, Any] = {
        "name": names[0].removeprefix("--"),
        "type": "switch" if switch else shown if shown in ("int", "float") else "str",
        "default": _constant(words.get("default")) if "default" in words else
                   (False if action == "store_true" else None),
    }  # fmt: skip
    choices = _constant(words.get("choices"))
    if isinstance(choices, (list, tuple)) and choices:
        row["choices"] = [c for c in choices if c is not None]
    if _constant(words.get("nargs")) in ("*", "+"):
        row["list"] = True
    if len(names) > 1:
        row["aliases"] = [name.removeprefix("--") for name in names[1:]]
    return row


def _constant(node: ast.expr | None) -> Any:
    try:
        return ast.literal_eval(node) if node is not None else None
    except ValueError:
        return None


def keys_of(source: Checkout, paths: list[str]) -> dict[str, list[str]]:
    """Return argument to the metadata keys that hold it as it stands or as a bool."""
    found: dict[str, list[str]] = {}
    for path in paths:
        module = source.module(path)
        for node in ast.walk(module) if module else ():
            pairs: list[tuple[Any, Any]] = []
            if isinstance(node, ast.Dict):
                pairs = list(zip(node.keys, node.values, strict=True))
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
                pairs = [(node.targets[0].slice, node.value)]
            for key, value in pairs:
                name = _constant(key) if key is not None else None
                if isinstance(value, ast.Call) and value.args:
                    value = value.args[0]
                if (
                    isinstance(name, str) and name.startswith("ss_")
                    and isinstance(value, ast.Attribute)
                    and isinstance(value.value, ast.Name) and value.value.id == "args"
                ):  # fmt: skip
                    keys = found.setdefault(value.attr, [])
                    if name not in keys:
                        keys.append(name)
    return found


def build(sources: dict[str, Checkout]) -> dict[str, Any]:
    """Return the whole table."""
    known = {row["name"]: row for row in json.loads(TABLE.read_text("utf-8"))}
    rows: dict[str, dict[str, Any]] = {}
    scripts: dict[str, Any] = {}
    for program, source in sources.items():
        base: list[str] = []
        paths = source.scripts()
        recorded = keys_of(source, [*paths, *_trainer_base(source)])
        for path in sorted(paths, key=lambda p: (len(Path(p).name) != len("train_network.py"), p)):
            found = {row["name"]: row for row in flags_of(source, path)}
            found.pop("caption_extention", None)  # sd-scripts' misspelt alias
            own: dict[str, Any] = {}
            for name, row in found.items():
                home = known.get(name)
                if home is None or not home.get("flag"):
                    home = rows.setdefault(name, _new_row(name, row, recorded))
                if row["default"] != home["default"] and not (
                    row["default"] in (None, "") and home["default"] in (None, "")
                ):
                    own.setdefault("defaults", {})[name] = row["default"]
                if "choices" in row and row["choices"] != list(home.get("choices", ())):
                    own.setdefault("choices", {})[name] = row["choices"]
            base = base or list(found)
            scripts[Path(path).name] = {
                "program": program,
                "plus": [n for n in found if n not in base],
                "minus": [n for n in base if n not in found],
                **own,
            }
        scripts[f"{program}:base"] = base
    return {
        "read_from": {name: source.version() for name, source in sources.items()},
        "scripts": scripts,
        "flags": list(rows.values()),
    }


def _trainer_base(source: Checkout) -> list[str]:
    return ["src/musubi_tuner/training/trainer_base.py"] if source.package else []


def _new_row(name: str, row: dict[str, Any], recorded: dict[str, list[str]]) -> dict[str, Any]:
    group, effect = next((g, e) for pattern, g, e in CLASSES if re.search(pattern, name))
    new = {"name": name, "group": group, "effect": effect, "flag": True, **row}
    new.pop("aliases", None)
    if name in recorded:
        new["keys"] = recorded[name]
    return new


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sd-scripts", type=Path, required=True)
    parser.add_argument("--musubi-tuner", type=Path, required=True)
    args = parser.parse_args()
    table = build({
        "sd-scripts": Checkout(args.sd_scripts),
        "musubi-tuner": Checkout(args.musubi_tuner, "musubi_tuner"),
    })  # fmt: skip
    lines = [json.dumps(row) for row in table.pop("flags")]
    head = json.dumps(table, indent=1)
    OUT.write_text(f'{head[:-2]},\n "flags": [\n' + ",\n".join(lines) + "\n]}\n", "utf-8")
    print(f"{OUT}: {len(lines)} flags beyond parameters.json, {table['read_from']}")


if __name__ == "__main__":
    main()
