"""Train the demo's small CLIP with open_clip's own model code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from demo.autoencoder import photographs, pixel_art
from demo.clock import Stage, set_rate
from loraeval.testing.portraits_wear import HEADWEAR
from loraeval.testing.portraits_words import COLOUR_WORDS

CONFIG = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 96, "layers": 4, "width": 128, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 40, "vocab_size": 49408, "width": 48, "heads": 4, "layers": 3},
}
PREPROCESS = {
    "mean": list(open_clip.OPENAI_DATASET_MEAN),
    "std": list(open_clip.OPENAI_DATASET_STD),
    "interpolation": "bicubic",
    "resize_mode": "squash",
}

PIXEL, PHOTO, DRAWN, BLURRED = range(4)
COLOURS = tuple(COLOUR_WORDS)
HATS = tuple(HEADWEAR)
KINDS = (
    ("pixel art", "a pixel art image", "pixel art with a visible pixel grid", "8-bit pixel art",
     "a pixel art portrait", "pixel art, 24x24, portrait", "retro game sprite, pixel art"),
    ("a photograph", "a photo", "a realistic photograph", "a photorealistic portrait",
     "a photo of a person", "a detailed photograph with soft shading"),
    ("a smooth illustration", "a flat vector drawing", "an illustration of a person",
     "a smooth drawing", "a digital painting"),
    ("a blurry image", "a blurry picture", "an out of focus photo", "a low quality blurry image"),
)  # fmt: skip


def captions(facts: np.ndarray, rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Return all different captions, and for each scene, kind and variant the caption's number.

    ``facts`` [n, 4]: colour words of backdrop, hair and clothing, and the headwear's number.
    Returns texts and indices [n, kinds, 3].
    """
    numbers: dict[str, int] = {}
    index = np.empty((len(facts), len(KINDS), 3), np.int64)
    for row, (back, hair, cloth, hat) in enumerate(facts.tolist()):
        details = (
            f", {COLOURS[back]} background",
            f" with {COLOURS[hair]} hair, {COLOURS[back]} background",
            f" wearing {COLOURS[cloth]} clothes",
            f" with a {HATS[hat]}" if hat >= 0 else " without a hat",
            "",
        )
        for kind, phrases in enumerate(KINDS):
            for variant in range(3):
                text = phrases[rng.integers(len(phrases))] + details[rng.integers(len(details))]
                index[row, kind, variant] = numbers.setdefault(text, len(numbers))
    return list(numbers), index


def pictures(
    data: dict[str, torch.Tensor], rows: torch.Tensor, kinds: torch.Tensor
) -> torch.Tensor:
    """Return pictures [b, 3, 96, 96] in 0..1 of these rows in these kinds, lightly varied."""
    soft = photographs(data["photos"][rows])
    hard = pixel_art(data["cells"][rows])
    # As a 512-pixel render looks once resized: cells whose edges fall between pixels.
    big = hard[:, :, ::4, ::4].repeat_interleave(7, 2).repeat_interleave(7, 3)
    big = F.interpolate(big, size=96, mode="bicubic", antialias=True)
    pick = torch.rand(len(rows), 1, 1, 1, device=rows.device)
    hard = torch.where(pick < 0.5, hard, big)
    blurred = torch.where(pick < 0.6, soft, hard)
    blurred = F.interpolate(F.avg_pool2d(blurred, 8), size=96, mode="bicubic")
    which = kinds[:, None, None, None]
    made = torch.where(which == PIXEL, hard, torch.where(which == BLURRED, blurred, soft))
    turned = torch.where(
        torch.rand(len(rows), 1, 1, 1, device=rows.device) < 0.5, made, made.flip(3)
    )
    crop = int(torch.randint(0, 3, (1,)))
    if crop:
        turned = F.interpolate(
            turned[..., crop : 96 - crop, crop : 96 - crop], size=96, mode="bicubic", antialias=True
        )
    return (turned / 2 + 0.5).clamp(0, 1)


def train(
    out: Path, data: dict[str, torch.Tensor], stage: Stage, *, batch: int, peak: float
) -> None:
    """Train to the end of the stage with CLIP's loss; write config and fp16 weights to ``out``."""
    device = data["photos"].device.type
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    texts, index = captions(data["facts"].cpu().numpy(), rng)
    tokenizer = open_clip.SimpleTokenizer(context_length=CONFIG["text_cfg"]["context_length"])
    tokens = tokenizer(texts).to(device)
    numbers = torch.from_numpy(index).to(device)
    model = open_clip.CLIP(**CONFIG, output_dict=True).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.05, fused=device == "cuda"
    )
    loss_of = open_clip.ClipLoss()
    mean, std = (
        torch.tensor(PREPROCESS[k], device=device).reshape(1, 3, 1, 1) for k in ("mean", "std")
    )
    drawn = data["drawn"]
    while stage.progress() < 1:
        set_rate(optimizer, stage.rate(peak))
        rows = torch.randint(len(drawn), (batch,), device=device)
        kinds = torch.multinomial(
            torch.tensor([0.45, 0.4, 0.0, 0.15], device=device), batch, replacement=True
        )
        kinds = torch.where((kinds == PHOTO) & drawn[rows], DRAWN, kinds)
        variant = torch.randint(3, (batch,), device=device)
        wanted = tokens[numbers[rows, kinds, variant]]
        shown = (pictures(data, rows, kinds) - mean) / std
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            made = model(shown, wanted)
        loss = loss_of(
            made["image_features"].float(), made["text_features"].float(), made["logit_scale"]
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, 4.6)
        stage.step += 1
        if stage.step % 200 == 0:
            stage.log(loss=loss.item())
    save(out, model)


def save(out: Path, model: torch.nn.Module) -> None:
    """Write ``open_clip_config.json`` and ``open_clip_model.safetensors`` (fp16)."""
    out.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": CONFIG, "preprocess_cfg": PREPROCESS}
    (out / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n")
    weights = {name: t.detach().cpu().half().contiguous() for name, t in model.state_dict().items()}
    save_file(weights, out / "open_clip_model.safetensors", metadata={"format": "pt"})
