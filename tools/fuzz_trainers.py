"""Readers of trainers' files, of web UIs' images and of foreign prompt sets, for tools/fuzz.py."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

READ_SCRIPT = "loraeval.checkpoints.scripts:read_script"
READ_PROMPTS = "loraeval.prompts.sets:read_prompts"

POWERSHELL = b"""$dim = 32; $list = @("--seed=1", "--flip_aug")
if ($dim -eq 32) { $x = "yes" } else { $x = "no" }
accelerate launch train_network.py @list --network_dim=$dim --network_args "a=$($x)" `
 --learning_rate=1e-4
"""
BATCH = b"""@echo off
set DIM=32
set /a HALF=%DIM%/2
if "%DIM%"=="32" (
 set X=1
) else ( set X=2 )
accelerate launch train_network.py --network_dim=%DIM% --network_alpha=%HALF% ^
 --seed=%X% > log.txt
"""
BASH = b"""ARGS=(--network_dim 8)
ARGS+=("--seed=1")
if [ "$A" = 1 ]; then ARGS+=(--xformers); fi
cat > d.toml <<END
[[datasets]]
resolution = 512
END
python train_network.py "${ARGS[@]}" --dataset_config d.toml --alpha=$((4 / 2)) 2>&1 | tee l
"""
LOG = b"""12:00:00 INFO     Executing command: /v/accelerate launch  a.py:3
                         /sd/train_network.py --network_dim 4
                         --seed 3
"""
YAML = b"""job: extension
config:
  name: x
  process:
    - type: sd_trainer
      network: {type: lora, linear: 16, linear_alpha: 8}
      datasets: [{resolution: [512, 768], caption_ext: txt}]
      train: {steps: 10, lr: 1e-4, optimizer: adamw8bit}
      model: {name_or_path: b, is_xl: true}
"""
PIPE = b"""dataset = 'd.toml'
epochs = 10
micro_batch_size_per_gpu = 1
[model]
type = 'sdxl'
dtype = 'bfloat16'
[adapter]
type = 'lora'
rank = 8
[optimizer]
type = 'adamw'
lr = 1e-4
"""
EASY = b"""[general_args.args]
seed = 1
[network_args.args]
network_dim = 8
[[subsets]]
num_repeats = 3
"""
A1111 = (
    b"a cat, <lora:x-000003:0.8>\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, "
    b'Seed: 5, Size: 512x512, Model: m, Lora hashes: "x: 1"'
)
SAMPLES = b"""[prompt]
width = 512
[[prompt.subset]]
prompt = "a cat"
seed = 1
"""


def notebook() -> bytes:
    """Return a small notebook."""
    cells = ["dim = 8\ncfg = {'a': {'network_dim': dim, 'seed': 1, 'network_alpha': f'{dim}'}}",
             "!python train_network.py --network_dim={dim} --config_file=$c"]  # fmt: skip
    rows = [{"cell_type": "code", "source": [cell]} for cell in cells]
    return json.dumps({"cells": rows}).encode()


def onetrainer() -> bytes:
    """Return settings of OneTrainer."""
    return json.dumps({
        "training_method": "LORA", "base_model_name": "b", "lora_rank": 8, "lora_alpha": 1.0,
        "learning_rate_scheduler": "COSINE", "optimizer": {"optimizer": "ADAMW", "eps": 1e-8},
        "concepts": [{"balancing": 1.0, "text": {"keep_tags_count": 1}}],
    }).encode()  # fmt: skip


def graph() -> bytes:
    """Return a graph of ComfyUI."""
    return json.dumps({
        "1": {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["2", 0],
              "model": ["3", 0], "latent_image": ["4", 0]}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a"}},
        "3": {"class_type": "LoraLoader", "inputs": {"lora_name": "a-000001.safetensors",
              "strength_model": 1, "model": ["3", 0]}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64}},
    }).encode()  # fmt: skip


def png() -> bytes:
    """Return a PNG with the texts of both programs."""
    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", A1111.decode())
    info.add_itxt("prompt", graph().decode(), zip=True)
    buffer = io.BytesIO()
    Image.new("RGB", (24, 24)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def _names(path: Path) -> object:
    from loraeval.checkpoints.file_names import place_of, plain_number
    from loraeval.sources.sample_names import is_sheet_name, sample_name

    text = path.read_bytes().decode("utf-8", "replace")
    return place_of(text), plain_number(text), sample_name(text), is_sheet_name(text)


def _norms(path: Path) -> object:
    from loraeval.checkpoints.norms import moved, norms_from_json
    from loraeval.report.block_chart import block_chart

    norms = norms_from_json(moved(path))
    return None if norms is None else block_chart(norms, path.name)


def rows(late: Callable[[str], Callable[..., Any]], safetensors: Callable[[], list[bytes]],
         json_words: list[str], toml_words: list[str]) -> list[tuple[Any, ...]]:  # fmt: skip
    """Return name, file, seeds, call and words of each target."""
    script, prompts = late(READ_SCRIPT), late(READ_PROMPTS)
    shell = ["$", "${", "`", "\\\n", "'", '"', "@(", "if (", "--", "=", "(", "#", "<<END\n", "%A%",
             "if [ ", "; fi", "train_network.py", "set A=", "\n", "{", "}"]  # fmt: skip

    def of_text(where: str) -> Callable[[Path], object]:
        return lambda path: late(where)(path.read_bytes().decode("utf-8", "replace"))

    return [
        ("script-powershell", "t.ps1", lambda: [POWERSHELL], script, shell),
        ("script-batch", "t.bat", lambda: [BATCH], script, shell),
        ("script-arrays", "t.sh", lambda: [BASH], script, shell),
        ("script-log", "t.log", lambda: [LOG], script, shell),
        ("script-notebook", "t.ipynb", lambda: [notebook()], script, json_words),
        ("script-dataset", "d.toml", lambda: [(b"[[datasets]]\nresolution = 512\nbatch_size = 2\n"
         b"[[datasets.subsets]]\nnum_repeats = 3\nis_reg = true\n")], script, toml_words),
        ("ai-toolkit", "t.yaml", lambda: [YAML], script, ["{", "[", ":", "- ", "&a", "*a", "!!"]),
        ("onetrainer", "t.json", lambda: [onetrainer()], script, json_words),
        ("simpletuner", "t.json", lambda: [(b'{"--model_family": "sdxl", "--lora_rank": 8, '
         b'"--lora_type": "lycoris", "--resolution": 1.0}')], script, json_words),
        ("simpletuner-env", "t.env", lambda: [(b"export LORA_RANK=8\nexport LEARNING_RATE=1e-4\n"
         b"export TRAIN_BATCH_SIZE=2\n")], script, shell),
        ("diffusion-pipe", "t.toml", lambda: [PIPE], script, toml_words),
        ("easy-scripts", "t.toml", lambda: [EASY], script, toml_words),
        ("peft", "adapter_config.json", lambda: [(b'{"peft_type": "LORA", "r": 8, '
         b'"target_modules": ["a"]}')], script, json_words),
        ("names", "name.txt", lambda: [b"my-000001", b"2024-05-01_10-00-00-save-100-1-0",
         b"my_e000001_00_20250101123456_42", b"checkpoint-500"], _names, ["-", "_", "epoch", "0"]),
        ("norms", "a.safetensors", safetensors, _norms, ["F16", "shape", "[", "alpha", "mid"]),
        ("a1111", "t.txt", lambda: [A1111], of_text("loraeval.sources.generation:a1111"),
         ["Steps: ", "<lora:", ">", ",", "\n", "Negative prompt:", '"', "Size: 1x1"]),
        ("comfyui", "t.json", lambda: [graph()], of_text("loraeval.sources.comfyui:graph_of"),
         json_words),
        ("png-text", "a.png", lambda: [png()], late("loraeval.sources.generation:generation_of"),
         ["IHDR", "tEXt", "zTXt", "iTXt", "IEND", "parameters\0", "prompt\0"]),
        ("samples-toml", "s.toml", lambda: [SAMPLES], prompts, toml_words),
        ("samples-json", "s.json", lambda: [b'[{"prompt": "a", "seed": 1, "cfg_scale": 7.0}]',
         b'{"a": {"caption": "b", "tags": "c"}}', b'{"x": "a cat"}'], prompts, json_words),
        ("metadata-csv", "metadata.csv", lambda: [b'file_name,text\na.png,"a, b"\n'], prompts,
         [",", '"', "\n", "file_name", "text"]),
        ("metadata-jsonl", "metadata.jsonl",
         lambda: [b'{"file_name": "a.png", "text": "b"}\n'], prompts, json_words),
        ("a1111-lines", "p.txt", lambda: [b'--prompt "a cat" --steps 20 --seed -1\n'], prompts,
         ["--prompt ", '"', "'", "\\", "\n", "--cfg_scale "]),
    ]  # fmt: skip
