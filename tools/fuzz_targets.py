"""What tools/fuzz.py feeds: a table of readers of files and text from outside.

To add one, write a ``Target``: a file name, seeds that are valid input, words that matter to the
format, and the callable that takes the file. A target whose module is not there yet is skipped.
"""

from __future__ import annotations

import importlib
import io
import json
import operator
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fuzz_trainers
from fuzz_panel import panel_seeds, text_in_image, text_seeds
from fuzz_panel import score as score_by_panel
from fuzz_shown import (
    HOSTILE,
    HOSTILE_WORDS,
    metadata,
    page,
    png_seeds,
    reference_seeds,
    scores,
    store_png,
)

CAPTION = (
    "pixel art, 24x24, portrait of a baker, red hair (#c06148), brown eyes, light skin, "
    "split background in red and blue (#cc2020, #2020cc), palette: #c06148, #fff, sharp, #440a08"
)
TOML_WORDS = ["[set]", "[[prompt]]", "id", "text", "=", "'", '"', "\n", "[", "]", "{", "}", ".",
              "nan", "inf", "1e999", "-", "true", "1979-05-27", "'''", "#", "\\u0000"]  # fmt: skip
JSON_WORDS = ["{", "}", "[", "]", ":", ",", '"', "null", "NaN", "1e999", "-0", "true", "\n",
              '"image"', '"run"', '"prompt"', "../", "/etc/passwd", "\\ud800"]  # fmt: skip
CAPTION_WORDS = ["#", "(", ")", ",", ";", "\n", "hair", "eyes", "palette:", "with", "in the ",
                 "background", "#fff", "dark", "red ", "skin", "top "]  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One reader: ``call`` gets the path of a file of that ``name`` that holds the input."""

    name: str
    file: str
    seeds: Callable[[], list[bytes]]
    call: Callable[[Path], object]
    words: list[str] = field(default_factory=list)


def late(where: str) -> Callable[..., Any]:
    """Return the function ``module:name``, looked up when it is called."""
    module, name = where.split(":")

    def call(*args: Any) -> Any:
        return operator.attrgetter(name)(importlib.import_module(module))(*args)

    call.__doc__ = where
    return call


def text_of(path: Path) -> str:
    """Return the file as text, whatever its bytes."""
    return path.read_bytes().decode("utf-8", errors="replace")


def _prompts_toml() -> list[bytes]:
    row = f"[[prompt]]\nid = 'a'\ntext = '{CAPTION}'\nseed = 3\ntags = ['x', 'y']\n"
    return [f"[set]\nname = 's'\nnegative = 'blurry'\n{row}".encode(), row.encode()]


def _manifest() -> list[bytes]:
    row = {"image": "a.png", "run": "r", "epoch": 3, "prompt_id": "p", "prompt": CAPTION,
           "negative_prompt": None, "seed": 4, "steps": 30, "guidance_scale": 7.5, "width": 512,
           "height": 512, "base_model": "b"}  # fmt: skip
    return [json.dumps(row).encode(), b"\n".join([json.dumps(row).encode()] * 2)]


def _prompt_rows() -> list[bytes]:
    return [json.dumps({"id": "a", "text": CAPTION, "tags": ["x"], "seed": 3}).encode() + b"\n"]


def _scores() -> list[bytes]:
    row = {"image": "a.png", "run": "r", "checkpoint": None, "epoch": 1, "prompt_id": "p",
           "seed": 3, "scores": {"palette": 0.5, "grid": None},
           "details": {"grid": {"reason": "x"}}}  # fmt: skip
    return [json.dumps(row).encode() + b"\n"]


def _image() -> list[bytes]:
    from PIL import Image

    picture = Image.linear_gradient("L").resize((24, 24)).convert("RGB")
    found = []
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP"):
        buffer = io.BytesIO()
        picture.save(buffer, kind)
        found.append(buffer.getvalue())
    return found


def _safetensors() -> list[bytes]:
    import numpy as np
    from safetensors.numpy import save

    stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {
        f"{stem}.lora_down.weight": np.ones((2, 320), np.float16),
        f"{stem}.lora_up.weight": np.ones((320, 2), np.float16),
        f"{stem}.alpha": np.array(1, np.float16),
    }
    metadata = {"ss_network_dim": "2", "ss_network_alpha": "1", "ss_tag_frequency": "{}"}
    return [save(tensors, metadata), save({"a": np.zeros(2, np.float32)})]


def _shell() -> list[bytes]:
    lines = (
        b"DIM=32\naccelerate launch --num_cpu_threads_per_process 1 train_network.py \\\n"
        b"  --network_dim=$DIM --network_alpha 16 --learning_rate=1e-4 \\\n"
        b"  --network_args conv_dim=4 conv_alpha=1 --output_name 'a b' # end\n"
    )
    return [lines]


def _training_toml() -> list[bytes]:
    return [
        b"[a]\nnetwork_dim = 32\nlearning_rate = 1e-4\nbatch_size = 4\nresolution = '512,512'\n"
    ]


def _gui_json() -> list[bytes]:
    return [b'{"LoRA_type": "Standard", "network_dim": 32, "lr_warmup": 10, "optimizer": "AdamW"}']


def _baseline_files() -> dict[str, bytes]:
    """Return the files of a real small baseline, frozen from made-up scores."""
    from loraeval.baselines.files import write_baseline
    from loraeval.baselines.freeze import freeze
    from loraeval.records import ScoreRow

    gated = ("palette", "grid", "style", "realism", "health")
    rows = [
        ScoreRow(
            image=f"{index}.png",
            run="r",
            checkpoint=None,
            epoch=7,
            prompt_id=f"p{index}",
            seed=1,
            scores={name: 0.5 + index / 50 if name != "health" else 1.0 for name in gated},
            versions=dict.fromkeys(gated, "1"),
            encoder="e",
            prompt_digest="0",
        )
        for index in range(12)
    ]
    with tempfile.TemporaryDirectory() as folder:
        where = write_baseline(freeze("fuzz", rows), Path(folder) / "fuzz")
        return {path.name: path.read_bytes() for path in where.iterdir() if path.is_file()}


def _baseline(path: Path) -> object:
    if not (path.parent / "scores.jsonl").exists():
        for name, data in _baseline_files().items():
            if name != path.name:
                (path.parent / name).write_bytes(data)
    return late("loraeval.baselines.files:read_baseline")(path.parent)


def _profile_toml() -> list[bytes]:
    lines = ['name = "p"', 'gated = ["palette", "grid"]', "lattice = [24, 24]", "share = 0.1"]
    return ["\n".join([*lines, "[margins]", "palette = 0.05", ""]).encode()]


def _recipe_toml() -> list[bytes]:
    return [b'base_model = "b"\nwidth = 512\nsteps = 30\nseeds = [1, 2]\ndtype = "float16"\n']


def _parameters_json() -> list[bytes]:
    from loraeval.checkpoints.parameters import parameters_json, training_parameters
    from loraeval.testing.kohya_files import write_lora

    with tempfile.TemporaryDirectory() as folder:
        file = write_lora(Path(folder) / "run.safetensors", components=("te",), rank=1)
        return [parameters_json(training_parameters(file)).encode()]


def _ratings() -> list[bytes]:
    row = {"pair": "a", "choice": "same", "candidate": "c.png", "baseline": "b.png",
           "prompt_id": "p", "swapped": False}  # fmt: skip
    return [json.dumps(row).encode() + b"\n"]


def _model_index() -> list[bytes]:
    return [json.dumps({
        "_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"], "safety_checker": [None, None],
    }).encode()]  # fmt: skip


def _base_folder(path: Path) -> object:
    config = path.parent / "unet" / "config.json"
    if not config.exists():
        config.parent.mkdir()
        config.write_text(json.dumps({"in_channels": 4, "cross_attention_dim": 768}))
    return late("loraeval.render.base_model:base_family")(path.parent)


def _caption_folder(path: Path) -> object:
    from PIL import Image

    image = path.with_suffix(".png")
    if not image.exists():
        Image.new("RGB", (1, 1)).save(image)
    return late("loraeval.prompts.kohya_folder:read_caption_folder")(path.parent)


def _sources(path: Path) -> object:
    from PIL import Image

    image = path.parent / "a.png"
    if not image.exists():
        Image.new("RGB", (1, 1)).save(image)
    return late("loraeval.sources:find_renders")(path)


def _anatomy(path: Path) -> object:
    return late("loraeval.checkpoints.anatomy:read_anatomy")(path)


TARGETS: list[Target] = [
    Target("caption", "caption.txt", lambda: [CAPTION.encode()],
           lambda p: late("loraeval.prompts.caption:parse_caption")(text_of(p)), CAPTION_WORDS),
    Target("colour-words", "name.txt", lambda: [b"light blue green", b"dark olive skin"],
           lambda p: late("loraeval.prompts.colour_words:region")(text_of(p)), CAPTION_WORDS),
    Target("prompts-toml", "set.toml", _prompts_toml,
           late("loraeval.prompts.sets:read_prompts"), TOML_WORDS),
    Target("sample-lines", "set.txt",
           lambda: [f"{CAPTION} --n bad --w 512 --h 512 --d 4 --s 30 --l 7.5\n# x\n".encode()],
           late("loraeval.prompts.sets:read_prompts"), [" --", " --w ", " --d 9", "\n", "#"]),
    Target("prompts-jsonl", "set.jsonl", _prompt_rows,
           late("loraeval.prompts.sets:read_prompts"), JSON_WORDS),
    Target("caption-folder", "a.txt", lambda: [CAPTION.encode()], _caption_folder, CAPTION_WORDS),
    Target("manifest", "renders.jsonl", _manifest, _sources, JSON_WORDS),
    Target("manifest-as-prompts", "renders.jsonl", _manifest,
           late("loraeval.prompts.sets:read_prompts"), JSON_WORDS),
    Target("scores", "scores.jsonl", _scores, late("loraeval.scores_file:read_scores"), JSON_WORDS),
    Target("image", "a.png", _image, late("loraeval.images.reading:read_image"), ["IHDR", "IDAT"]),
    Target("safetensors", "a.safetensors", _safetensors, _anatomy,
           ["{", "}", '"', "data_offsets", "shape", "dtype", "F16", "[", "]", "__metadata__"]),
    Target("script-shell", "train.sh", _shell, late("loraeval.checkpoints.scripts:read_script"),
           ["$", "${", "`", "\\\n", "'", '"', "--network_dim", "=", "(", "#", "train_network.py"]),
    Target("script-toml", "train.toml", _training_toml,
           late("loraeval.checkpoints.scripts:read_script"), TOML_WORDS),
    Target("script-gui", "train.json", _gui_json,
           late("loraeval.checkpoints.scripts:read_script"), JSON_WORDS),
    Target("baseline", "baseline.toml", lambda: [_baseline_files()["baseline.toml"]],
           _baseline, TOML_WORDS),
    Target("profile", "profile.toml", _profile_toml,
           late("loraeval.baselines.profile:read_profile"), TOML_WORDS),
    Target("selection", "select.txt", lambda: [b"run=A|B,epoch=7-9,seed=1"],
           lambda p: late("loraeval.baselines.select:parse_selection")(text_of(p)),
           [",", "=", "|", "-", "epoch", "9" * 5000]),
    Target("recipe", "recipe.toml", _recipe_toml,
           late("loraeval.render.recipe:read_recipe"), TOML_WORDS),
    Target("reference", "reference.json", reference_seeds,
           lambda p: late("loraeval.scorers.reference:ReferenceSet.from_json")(text_of(p)),
           JSON_WORDS),
    Target("parameters-json", "parameters.json", _parameters_json,
           late("loraeval.checkpoints.parameters:training_parameters"), JSON_WORDS),
    Target("ratings", "ratings.jsonl", _ratings,
           late("loraeval.report.ratings:read_ratings"), JSON_WORDS),
    Target("model-index", "model_index.json", _model_index, _base_folder, JSON_WORDS),
    Target("store-png", "render.png", png_seeds, store_png, ["IHDR", "IDAT", "tEXt", "loraeval"]),
    Target("panel", "input.bin", panel_seeds, score_by_panel, CAPTION_WORDS),
    Target("image-text", "text.txt", text_seeds, text_in_image,
           [*JSON_WORDS, "Negative prompt: ", "Steps: ", "Seed: ", "<lora:", ", Size: 1x1", "\0"]),
    Target("shown-metadata", "text.txt", lambda: HOSTILE, metadata, HOSTILE_WORDS),
    Target("shown-scores", "text.txt", lambda: HOSTILE, scores, HOSTILE_WORDS),
    Target("shown-page", "text.txt", lambda: HOSTILE, page, HOSTILE_WORDS),
    *(Target(*row) for row in fuzz_trainers.rows(late, _safetensors, JSON_WORDS, TOML_WORDS)),
]  # fmt: skip
"""Every reader of input from outside, in the order of the layers."""
