"""LoRA files as sd-scripts, LyCORIS and diffusers write them, with random or given weights.

For tests and demos: names, shapes and metadata are the real ones, only the numbers are made up.
Files are written without torch by ``write_safetensors``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from loraeval.checkpoints.layout import ModuleShape, component_of, lora_modules
from loraeval.families import DEFAULT
from loraeval.records import FamilyName
from loraeval.testing.kohya_metadata import kohya_metadata

Format = Literal[
    "kohya", "locon", "dora", "loha", "lokr", "oft", "glora", "ia3", "full", "diffusers", "peft",
    "processor",
]  # fmt: skip
"""Which program's file to imitate; ``processor`` is the naming of old diffusers releases."""

Tensors = dict[str, np.ndarray]


def write_safetensors(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None,
    dtype: str = "F32",
) -> Path:  # fmt: skip
    """Write ``tensors`` as a safetensors file; floating arrays are stored as ``dtype``
    (F16, BF16, F32), integer arrays as I64. Returns ``path``.
    """
    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata is not None else {}
    blobs: list[bytes] = []
    position = 0
    # The library puts wide types first, then sorts by name; alignment depends on it.
    for name in sorted(tensors, key=lambda n: (tensors[n].dtype.kind != "i", n)):
        kind, blob = _encode(tensors[name], dtype)
        table[name] = {
            "dtype": kind,
            "shape": list(tensors[name].shape),
            "data_offsets": [position, position + len(blob)],
        }
        blobs.append(blob)
        position += len(blob)
    head = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    head += b" " * (-len(head) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little"))
        file.write(head)
        file.writelines(blobs)
    return path


def write_lora(
    path: Path,
    family: FamilyName = DEFAULT.name,
    *,
    rank: int = 4,
    alpha: float | None = 2.0,
    dtype: str = "F16",
    format: Format = "kohya",  # noqa: A002 - the word that people use
    components: tuple[str, ...] | None = None,
    modules: Mapping[str, ModuleShape] | None = None,
    weights: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    ranks: Mapping[str, int] | None = None,
    alphas: Mapping[str, float] | None = None,
    integer_alpha: bool = False,
    untrained: tuple[str, ...] = (),
    metadata: Mapping[str, str] | Literal["kohya"] | None = "kohya",
    seed: int = 0,
    **recorded: Any,
) -> Path:
    """Write a LoRA file with the real module names of ``family`` and return its path.

    ``components`` limits it to some of unet, te / te1, te2; ``modules`` replaces the module list
    (for tiny models); ``weights`` gives (down, up) by module name; ``ranks`` and ``alphas``
    override single modules; ``alpha`` None leaves the alpha keys out; ``untrained`` names the
    components whose up matrices stay zero. ``metadata`` is what sd-scripts would record
    ("kohya", with ``recorded`` as overrides by key without ``ss_``; None drops a key), nothing
    (None), or a mapping; the true ``sshs_model_hash`` is added to kohya's.
    """
    shapes = dict(modules or lora_modules(family, locon=format == "locon"))
    if components is not None:
        shapes = {name: s for name, s in shapes.items() if component_of(name) in components}
    rng = np.random.default_rng(seed)
    tensors: Tensors = {}
    for name, shape in shapes.items():
        r = (ranks or {}).get(name, rank)
        zero = component_of(name) in untrained
        made = _module_tensors(format, shape, r, rng, zero=zero)
        if weights is not None and name in weights:
            down, up = weights[name]
            made = {"lora_down.weight": down, "lora_up.weight": up}
        value = (alphas or {}).get(name, alpha)
        if value is not None and format not in ("diffusers", "peft", "processor", "full", "ia3"):
            kind = np.int64 if integer_alpha else np.float32
            made["alpha"] = np.array(value, dtype=kind)
        for suffix, array in made.items():
            tensors[_key(format, name, suffix)] = array
    if metadata == "kohya":
        metadata = kohya_metadata(family, rank=rank, alpha=alpha or rank, **recorded)
        blob = write_safetensors(path, tensors, {}, dtype).read_bytes()
        data = blob[8 + int.from_bytes(blob[:8], "little") :]
        metadata = {**metadata, "sshs_model_hash": hashlib.sha256(data).hexdigest()}
    return write_safetensors(path, tensors, metadata, dtype)


def write_series(
    folder: Path, name: str = "run", family: FamilyName = DEFAULT.name, *, epochs: int = 3,
    steps_per_epoch: int = 10, **options: Any,
) -> list[Path]:  # fmt: skip
    """Write one file an epoch as sd-scripts names them, the last without a suffix."""
    paths = []
    for epoch in range(1, epochs + 1):
        stem = name if epoch == epochs else f"{name}-{epoch:06d}"
        paths.append(
            write_lora(
                folder / f"{stem}.safetensors",
                family,
                seed=epoch,
                epoch=epoch,
                steps=epoch * steps_per_epoch,
                num_epochs=epochs,
                output_name=name,
                max_train_steps=epochs * steps_per_epoch,
                **options,
            )
        )
    return paths


def _encode(array: np.ndarray, dtype: str) -> tuple[str, bytes]:
    if array.dtype.kind == "i":
        return "I64", array.astype("<i8").tobytes()
    if dtype == "BF16":
        bits = np.ascontiguousarray(array, dtype="<f4").view("<u4").astype(np.uint64)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # to nearest, ties to even
        return "BF16", rounded.astype("<u2").tobytes()
    return dtype, array.astype({"F16": "<f2", "F32": "<f4"}[dtype]).tobytes()


def _module_tensors(
    kind: Format, shape: ModuleShape, rank: int, rng: np.random.Generator, *, zero: bool
) -> Tensors:
    def noise(*size: int) -> np.ndarray:
        return rng.standard_normal(size, dtype=np.float32) * np.float32(0.02)

    into, out = shape.inputs, shape.outputs
    window = (shape.kernel, shape.kernel) if shape.kernel else ()
    point = (1, 1) if shape.kernel else ()
    flat = into * max(1, shape.kernel) ** 2
    plain = {
        "lora_down.weight": noise(rank, into, *window),
        "lora_up.weight": noise(out, rank, *point) * np.float32(not zero),
    }
    made: dict[str, Any] = {
        "dora": lambda: {**plain, "dora_scale": noise(out, 1)},
        "loha": lambda: {
            "hada_w1_a": noise(out, rank), "hada_w1_b": noise(rank, flat),
            "hada_w2_a": noise(out, rank), "hada_w2_b": noise(rank, flat),
        },
        "lokr": lambda: {
            "lokr_w1": noise(4, 4), "lokr_w2_a": noise(out // 4, rank),
            "lokr_w2_b": noise(rank, flat // 4),
        },
        "oft": lambda: {"oft_blocks": noise(out // 4, 4, 4)},
        "glora": lambda: {
            "a1.weight": noise(rank, flat), "a2.weight": noise(flat, rank),
            "b1.weight": noise(rank, flat), "b2.weight": noise(out, rank),
        },
        "ia3": lambda: {"weight": noise(out, 1), "on_input": np.array(0, np.int64)},
        "full": lambda: {"diff": noise(out, into, *window)},
    }  # fmt: skip
    result: Tensors = made[kind]() if kind in made else plain
    return result


_DOTTED = {
    "unet": "unet", "te": "text_encoder", "te1": "text_encoder", "te2": "text_encoder_2",
}  # fmt: skip


def _key(kind: Format, module: str, suffix: str) -> str:
    """The key under which each program stores one tensor of a kohya-named module."""
    if kind == "oft":
        return f"{module.replace('lora_', 'oft_', 1)}.{suffix}"
    if kind not in ("diffusers", "peft", "processor"):
        return f"{module}.{suffix}"
    component = component_of(module)
    path = _dots(module.split("_", 2)[2])
    down = suffix == "lora_down.weight"
    if kind == "peft":
        tail = f".lora_{'A' if down else 'B'}.weight"
    elif component != "unet":
        tail = f".lora_linear_layer.{'down' if down else 'up'}.weight"
    elif kind == "processor":
        path, layer = path.rsplit(".", 1)
        tail = f".processor.{layer}_lora.{'down' if down else 'up'}.weight"
    else:
        tail = f".lora.{'down' if down else 'up'}.weight"
    return f"{_DOTTED[component]}.{path}{tail}"


_DIFFUSERS_BLOCKS = {
    **{f"input_blocks_{i}_1": f"down_blocks_{i // 3}_attentions_{i % 3 - 1}" for i in (4, 5, 7, 8)},
    "middle_block_1": "mid_block_attentions_0",
    **{f"output_blocks_{i}_1": f"up_blocks_{i // 3}_attentions_{i % 3}" for i in range(6)},
}  # fmt: skip


def _dots(path: str) -> str:
    """Turn a kohya module path into the dotted path of diffusers and transformers.

    >>> _dots("input_blocks_7_1_transformer_blocks_3_attn1_to_out_0")
    'down_blocks.2.attentions.0.transformer_blocks.3.attn1.to_out.0'
    >>> _dots("text_model_encoder_layers_11_self_attn_q_proj")
    'text_model.encoder.layers.11.self_attn.q_proj'
    """
    for ours, theirs in _DIFFUSERS_BLOCKS.items():
        if path.startswith(ours):
            path = theirs + path[len(ours) :]
    path = path.replace("text_model_encoder_layers", "text_model.encoder.layers")
    path = re.sub(r"_(\d+)_", r".\1.", path)  # numbers end a name, and start the next
    path = re.sub(r"_(\d+)_", r".\1.", path)
    path = re.sub(r"_(\d+)$", r".\1", path)
    path = re.sub(r"\b(attn[12]|self_attn|mlp|ff)_", r"\1.", path)
    return path.replace("mid_block_", "mid_block.")
